"""Why a model does not convert: the operator, its node, and the reason."""

from __future__ import annotations

from edgewise.errors import ToolchainError

__all__ = ["RefusedError"]


class RefusedError(ToolchainError):
    """A node that cannot be told in MIL; `reason` follows "operator X"."""

    def __init__(self, kind: str, node: str, reason: str) -> None:
        self.kind, self.node, self.reason = kind, node, reason
        super().__init__(
            f"Core ML: operator {kind} (node {node!r}) {reason}. "
            "Change this part of the model, or leave Core ML out of its runtimes"
        )
