"""The walk over an ONNX graph: features → node after node → a MIL program with its input types.

Every node's function is handed MIL values and returns MIL values, which are named like the original's tensors: so
Core ML's own reports can be read beside the original. Bodies of If, Loop and Scan are walked by the
same code, seeing the values around them. Constants become MIL constants where their graph begins; what MIL can
work out of them and of shapes, it does as the values are made.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import coremltools as ct
import numpy as np
import onnx
from coremltools.converters.mil.mil import Function, Program
from onnx import numpy_helper

from edgewise.errors import EdgewiseError, ToolchainError
from edgewise.targets.coreml.features import IO, Feature, free_name
from edgewise.targets.coreml.mil.registry import Node, UnsupportedError, function
from edgewise.targets.coreml.mil.values import Var, cast, constant, mb, scalar, to_bool, widened
from edgewise.targets.coreml.refused import RefusedError

__all__ = ["Converted", "Range", "converted"]

_DOMAINS = ("", "ai.onnx")
_MOST_AXES = 5
_TAKES_BYTES = ("DequantizeLinear", "QuantizeLinear")
_DTYPES = {"float16": np.float16, "float32": np.float32, "int32": np.int32}


@dataclass(frozen=True, slots=True)
class Range:
    """How far a dynamic dimension reaches, and the size to prepare for."""

    default: int
    most: int


@dataclass(frozen=True, slots=True)
class Converted:
    """A MIL program and the types of its inputs and outputs, as `coremltools.convert` takes them."""

    program: Any
    inputs: list[Any]
    outputs: list[Any]


def converted(model: onnx.ModelProto, io: IO, ranges: Mapping[str, Range], target: Any) -> Converted:
    """Write `model` as a MIL program for a deployment target.

    `ranges` has an entry for each dynamic dimension: by its name, or as "input[axis]" where it has none.
    Raises RefusedError for the first node which cannot be told in MIL.
    """
    mb.name_count.clear()  # names that coremltools makes up must not depend on what was built before
    dims = {name: ct.RangeDim(1, span.most, span.default) for name, span in ranges.items()}
    inputs = [_input_type(feature, dims) for feature in io.inputs]
    outputs = [
        ct.TensorType(name=feature.feature, dtype=_DTYPES[feature.feature_dtype]) for feature in io.outputs
    ]
    placeholders = {
        kind.name: mb.placeholder(shape=tuple(kind.shape.symbolic_shape), dtype=kind.dtype, name=kind.name)
        for kind in inputs
    }
    with Function(placeholders, opset_version=target) as main:
        values = {feature.name: _entering(main.inputs[feature.feature], feature) for feature in io.inputs}
        features = {part.feature for part in (*io.inputs, *io.outputs)}
        found = _Scope(_opsets(model), values, {}, features).walk(model.graph)
        main.set_outputs([_leaving(value, to) for value, to in zip(found, io.outputs, strict=True)])
    program = Program()
    program.add_function("main", main)
    return Converted(program, inputs, outputs)


def _opsets(model: onnx.ModelProto) -> dict[str, int]:
    return {"" if entry.domain in _DOMAINS else entry.domain: entry.version for entry in model.opset_import}


def _input_type(feature: Feature, dims: Mapping[str, Any]) -> Any:
    shape = [
        part if isinstance(part, int) else dims[part or f"{feature.name}[{axis}]"]
        for axis, part in enumerate(feature.feature_shape)
    ]
    return ct.TensorType(name=feature.feature, shape=shape, dtype=_DTYPES[feature.feature_dtype])


def _entering(value: Var, feature: Feature) -> Var:
    """Return an input as the original has it, in the MIL type that holds it."""
    if not feature.shape:
        value = scalar(value)
    if feature.dtype == "bool":
        return to_bool(value)
    return cast(value, "int32" if feature.feature_dtype == "int32" else "fp32")


def _leaving(value: Var, feature: Feature) -> Var:
    """Return an output as Core ML holds it, under the feature's name."""
    value = mb.expand_dims(x=value, axes=[0]) if not value.rank else value
    value = cast(value, "int32" if feature.feature_dtype == "int32" else "fp32")
    if feature.feature_dtype == "float16":
        return mb.cast(x=value, dtype="fp16", name=feature.feature)
    return mb.identity(x=value, name=feature.feature)


@dataclass(slots=True)
class _Scope:
    """One graph, and the values it can see; `names` are those taken in the whole program."""

    opsets: Mapping[str, int]
    values: dict[str, Var]
    outside: Mapping[str, Var]
    names: set[str]

    def walk(self, graph: onnx.GraphProto) -> list[Var]:
        """Convert all nodes and return the values of the graph's outputs."""
        for tensor in graph.initializer:
            self.values[tensor.name] = constant(numpy_helper.to_array(tensor))
        for node in graph.node:
            self._convert(node)
        return [self._value(output.name) for output in graph.output]

    def _value(self, name: str) -> Var:
        found = self.values.get(name)
        found = self.outside.get(name) if found is None else found
        if found is None:
            raise ToolchainError(f"the model's graph uses {name!r} before anything makes it: export it again")
        return found

    def _convert(self, proto: onnx.NodeProto) -> None:
        kind = kind_of(proto)
        make = function(kind)
        if make is None:
            raise _refusal(proto, "has no counterpart in edgewise's Core ML converter")
        try:
            found = make(self._node(proto, kind))
        except EdgewiseError:
            raise
        except UnsupportedError as reason:
            raise _refusal(proto, str(reason)) from reason
        except (
            Exception
        ) as error:  # coremltools checks types and shapes as values are made, and raises anything
            raise _refusal(proto, f"was refused by coremltools: {_first_line(error)}") from error
        self._keep(proto, found if isinstance(found, tuple | list) else (found,))

    def _node(self, proto: onnx.NodeProto, kind: str) -> Node:
        domain = "" if proto.domain in _DOMAINS else proto.domain
        return Node(
            kind=kind,
            inputs=tuple(self._input(kind, name) if name else None for name in proto.input),
            outputs=tuple(proto.output),
            attributes={attribute.name: _attribute(attribute) for attribute in proto.attribute},
            opset=self.opsets.get(domain, 1),
            body=self._body,
        )

    def _input(self, kind: str, name: str) -> Var:
        value = self._value(name)
        return value if kind in _TAKES_BYTES else widened(value)

    def _body(self, graph: onnx.GraphProto, inputs: Sequence[Var]) -> list[Var]:
        names = [value.name for value in graph.input]
        around = {**self.outside, **self.values}
        return _Scope(self.opsets, dict(zip(names, inputs, strict=True)), around, self.names).walk(graph)

    def _keep(self, proto: onnx.NodeProto, found: Sequence[Var | None]) -> None:
        for name, value in zip(proto.output, found, strict=False):
            if name and value is not None:
                if value.rank < 0:
                    raise _refusal(proto, "makes a tensor whose number of axes depends on the model's inputs")
                if value.rank > _MOST_AXES:
                    raise _refusal(
                        proto, f"makes a tensor with {value.rank} axes; Core ML has {_MOST_AXES} at most"
                    )
                self.values[name] = value
                self._name(value, name)

    def _name(self, value: Var, name: str) -> None:
        """Name a value that coremltools has named after its operator's type like the original's tensor."""
        if value.op is None or value.name in self.names or value.op.op_type == "const":
            return
        value.set_name(free_name(name.removesuffix("_output_0"), self.names))  # which torch writes everywhere
        if len(value.op.outputs) == 1:
            value.op.name = value.name


def kind_of(proto: onnx.NodeProto) -> str:
    """Return the name that a node's operator is registered by."""
    return proto.op_type if proto.domain in _DOMAINS else f"{proto.domain}.{proto.op_type}"


def _attribute(attribute: onnx.AttributeProto) -> Any:
    value = onnx.helper.get_attribute_value(attribute)
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, onnx.TensorProto):
        return numpy_helper.to_array(value)
    return value


def _refusal(proto: onnx.NodeProto, reason: str) -> RefusedError:
    return RefusedError(kind_of(proto), proto.name or next(iter(proto.output), ""), reason)


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
