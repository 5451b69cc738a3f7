"""A .tflite file as objects: constants, kinds of operators, and reading and writing the whole.

Schema: https://ai.google.dev/edge/api/tflite, tflite/schema/schema.fbs; LiteRT's wheel has it as Python classes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgewise.errors import missing_extra

__all__ = ["constant", "kind", "read", "schema", "write"]


def schema() -> Any:
    """Return LiteRT's schema classes. Raises ToolchainError when LiteRT is missing."""
    try:
        from ai_edge_litert import schema_py_generated
    except ImportError as error:
        raise missing_extra("ai-edge-litert", "litert") from error
    return schema_py_generated


def read(path: Path) -> Any:
    """Return the file as a ModelT."""
    schema()
    from ai_edge_litert.tools import flatbuffer_utils

    return flatbuffer_utils.read_model(str(path))


def write(model: Any, path: Path) -> None:
    """Write a ModelT. The same objects give the same bytes."""
    from ai_edge_litert.tools import flatbuffer_utils

    path.write_bytes(flatbuffer_utils.convert_object_to_bytearray(model))


def kind(model: Any, operator: Any) -> int:
    """Return an operator's BuiltinOperator; codes up to 127 may be in the older of two fields."""
    code = model.operatorCodes[operator.opcodeIndex]
    return int(max(code.builtinCode, code.deprecatedBuiltinCode))


def constant(model: Any, tensor: Any) -> NDArray[np.uint8] | None:
    """Return the bytes of a constant, or None for a tensor that is computed."""
    data = model.buffers[tensor.buffer].data
    return None if data is None or not len(data) else np.frombuffer(bytes(data), np.uint8)
