"""A torch module → `.onnx` or `.pt2`, in the process that trained it.

edgewise never opens a pickled module, so it is exported where it lives:

    from edgewise.lab.model import export_torch
    export_torch(module, {"ids": ids, "mask": mask}, "model.onnx",
                 dynamic={"ids": {0: "batch", 1: "length"}, "mask": {0: "batch", 1: "length"}}, names=["logits"])
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from edgewise.bundle.atomic import write_file
from edgewise.errors import InputError, missing_extra

__all__ = ["export_torch"]


def export_torch(
    module: Any,
    example_inputs: Any,
    path: Path | str,
    *,
    dynamic: Any = None,
    names: Sequence[str] | None = None,
) -> Path:
    """Write `module` to `path`, an `.onnx` or a `.pt2`, in one step, and return the path.

    `example_inputs`: a dict of tensors by the names of `forward`, a tuple, or one tensor. `dynamic`: which axes may
    differ, as in torch.export's `dynamic_shapes`, with a text for a name. `names`: of the outputs; without it, the
    keys of the dict that `forward` returns. An .onnx is written only when ONNX Runtime answers as the module does.

    Raises InputError when the module cannot be exported, ToolchainError when torch is missing or cannot convert it.
    """
    path = Path(path)
    for library in ("torch", "onnxscript"):
        if find_spec(library) is None:
            raise missing_extra(library, "torch")
    from edgewise.lab.model.torch_program.tracing import trace

    who = type(module).__name__
    match path.suffix.lower():
        case ".onnx":
            data = _onnx(trace(module, example_inputs, dynamic, who=who), who, names)
        case ".pt2" if names is None:
            data = _program(trace(module, example_inputs, dynamic, who=who).program)
        case ".pt2":
            raise InputError(
                f"{path}: a .pt2 keeps no names of outputs: let forward return a dict, or write .onnx"
            )
        case _:
            raise InputError(f"{path}: give a path that ends in .onnx or .pt2")
    write_file(path, data)
    return path


def _onnx(traced: Any, who: str, names: Sequence[str] | None) -> bytes:
    from edgewise.lab.model.torch_program.convert import convert
    from edgewise.lab.model.torch_program.proof import prove

    proto = convert(traced, who, names)
    prove(traced.program, proto, who)
    return bytes(proto.SerializeToString(deterministic=True))


def _program(program: Any) -> bytes:
    import torch

    buffer = io.BytesIO()
    torch.export.save(program, buffer)
    return buffer.getvalue()
