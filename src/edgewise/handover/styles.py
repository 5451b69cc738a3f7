"""How inputs and outputs are written in each snippet: the words that differ by type, and a line for each tensor.

A line is a format string: `name` is the input as code calls it, `feature` the tensor's name in the file and `port`
the original's, both quoted; `shape` is written out where it is fixed, and else a parameter of its own. The other
fields are those of `types`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["STYLES", "Style"]

Words = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Style:
    """One template's way of writing. `types`: numpy dtype → words; a dtype that is not there has no snippet."""

    types: Mapping[str, Words]
    parameter: str
    input: str
    output: str
    answer: str = ""
    comment: str = "/// - {name}: {dtype} {sizes}"
    shape: str = "{sizes}"
    free_shape: str = ""


_COREML = Style(
    types={dtype: {} for dtype in ("float16", "float32", "float64", "int32")},
    parameter="{name}: MLMultiArray",
    input="{feature}: {name}",
    output="{port}: answer.featureValue(for: {feature})!.multiArrayValue!",
)

_SWIFT = Style(
    types={
        "float32": {"array": "Float", "element": "float"},
        "int8": {"array": "Int8", "element": "int8"},
        "uint8": {"array": "UInt8", "element": "uInt8"},
        "int32": {"array": "Int32", "element": "int32"},
        "uint32": {"array": "UInt32", "element": "uInt32"},
        "int64": {"array": "Int64", "element": "int64"},
        "uint64": {"array": "UInt64", "element": "uInt64"},
        "bool": {"array": "Bool", "element": "bool"},
    },
    parameter="{name}: [{array}]",
    free_shape=", {name}Shape: [NSNumber]",
    input="{feature}: try tensor({name}, .{element}, {shape})",
    output="{feature}",
)

_KOTLIN = Style(
    types={
        "float32": {"array": "FloatArray", "buffer": "FloatBuffer", "read": "floatBuffer"},
        "float64": {"array": "DoubleArray", "buffer": "DoubleBuffer", "read": "doubleBuffer"},
        "int16": {"array": "ShortArray", "buffer": "ShortBuffer", "read": "shortBuffer"},
        "int32": {"array": "IntArray", "buffer": "IntBuffer", "read": "intBuffer"},
        "int64": {"array": "LongArray", "buffer": "LongBuffer", "read": "longBuffer"},
    },
    parameter="{name}: {array}",
    free_shape=", {name}Shape: LongArray",
    shape="longArrayOf({listed})",
    input="{feature} to OnnxTensor.createTensor(environment, {buffer}.wrap({name}), {shape})",
    output="{port} to tensor(answer, {feature}).{read}.let {{ b -> {array}(b.remaining()).also {{ b.get(it) }} }}",
    comment=" * @param {name} {dtype} {sizes}",
)

_LITERT = Style(
    types={
        "float32": {"array": "FloatArray", "word": "Float"},
        "int8": {"array": "ByteArray", "word": "Int8"},
        "int32": {"array": "IntArray", "word": "Int"},
        "int64": {"array": "LongArray", "word": "Long"},
        "bool": {"array": "BooleanArray", "word": "Boolean"},
    },
    parameter="{name}: {array}",
    input="{feature} to model.createInputBuffer({feature}).also {{ it.write{word}({name}) }}",
    output="{feature} to model.createOutputBuffer({feature})",
    answer="{port} to answer.getValue({feature}).read{word}()",
    comment=" * @param {name} {dtype} {sizes}",
)

STYLES = {
    "coreml.swift": _COREML,
    "onnxruntime.swift": _SWIFT,
    "onnxruntime.kt": _KOTLIN,
    "litert.kt": _LITERT,
}
"""By the name of the template."""
