"""What convolution and pooling share: kernels, strides and padding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgewise.targets.coreml.mil.registry import Node, UnsupportedError

__all__ = ["Window", "window"]

_TYPES = {"SAME_UPPER": "same", "SAME_LOWER": "same_lower", "VALID": "valid"}
_SPATIAL = (1, 2, 3)


@dataclass(frozen=True, slots=True)
class Window:
    """How a kernel moves over one to three spatial axes; `pads` holds (before, after) for each."""

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    pads: tuple[tuple[int, int], ...]
    pad_type: str

    @property
    def reach(self) -> tuple[int, ...]:
        """How many elements the kernel spans along each axis."""
        return tuple((k - 1) * d + 1 for k, d in zip(self.kernel, self.dilations, strict=True))

    @property
    def flat_pads(self) -> list[int]:
        """The amounts in MIL's order: before and after of one axis, then of the next."""
        return [amount for pair in self.pads for amount in pair]


def window(node: Node, kernel: Sequence[int | None]) -> Window:
    """Read the attributes that convolutions and pools have in common."""
    spatial = len(kernel)
    if None in kernel:
        raise UnsupportedError("takes a kernel whose size depends on the model's inputs")
    if spatial not in _SPATIAL:
        raise UnsupportedError(f"works on {spatial} spatial axes; MIL has 1 to 3")
    pads = [int(amount) for amount in node.get("pads", [0] * (2 * spatial))]
    auto = node.get("auto_pad", "NOTSET")
    return Window(
        kernel=tuple(size for size in kernel if size is not None),
        strides=tuple(node.get("strides", [1] * spatial)),
        dilations=tuple(node.get("dilations", [1] * spatial)),
        pads=tuple(zip(pads[:spatial], pads[spatial:], strict=True)),
        pad_type=_TYPES.get(auto, "custom"),
    )
