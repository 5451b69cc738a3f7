"""Changes what onnx2tf wrote, the results being the same: the original's names and layout, LiteRT's own layers.

    names with ":", which become "__"                           → the original's
    a picture as output, its channels last                      → TRANSPOSE to the original's layout
    BATCH_MATMUL by constant weights (and the bias added to it) → FULLY_CONNECTED
    GATHER of rows of a constant table                          → EMBEDDING_LOOKUP

ai-edge-quantizer 0.10 leaves a GATHER's table in float and cannot store a BATCH_MATMUL's weights in 4 bits: an
"int4" file was as large as the float one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgewise.errors import ToolchainError
from edgewise.targets.litert import flatbuffer

__all__ = ["channels_first", "rewrite", "written"]


def rewrite(source: Path, destination: Path, names: Sequence[str]) -> None:
    """Write `source` with LiteRT's own layers, its inputs and outputs called `names`.

    Raises ToolchainError when it holds operators that no LiteRT has.
    """
    model = flatbuffer.read(source)
    _refuse_custom(model)
    for graph in model.subgraphs:
        _Rewriter(model, graph, flatbuffer.schema()).use_layers()
    _restore_names(model, names)
    _drop_unused(model)
    flatbuffer.write(model, destination)


def channels_first(path: Path, outputs: Sequence[str]) -> None:
    """Move the last axis of these outputs to the second place, where the original has it."""
    model = flatbuffer.read(path)
    rewriter = _Rewriter(model, model.subgraphs[0], flatbuffer.schema())
    for name in outputs:
        rewriter.move_channels(name)
    flatbuffer.write(model, path)


def _refuse_custom(model: Any) -> None:
    """Refuse what onnx2tf writes, and calls a success, for an operator that it knows no equivalent of."""
    custom = sorted({code.customCode.decode() for code in model.operatorCodes if code.customCode})
    if custom:
        raise ToolchainError(f"LiteRT has no such operator: {', '.join(custom)}")


def written(name: str) -> str:
    """Return the original's name as onnx2tf writes it."""
    return name.replace(":", "__")


def _restore_names(model: Any, names: Sequence[str]) -> None:
    originals = {written(name).encode(): name.encode() for name in names}
    for signature in model.signatureDefs or ():
        for entry in (*signature.inputs, *signature.outputs):
            entry.name = originals.get(entry.name, entry.name)


@dataclass(frozen=True, slots=True)
class _Rewriter:
    model: Any
    graph: Any
    schema: Any

    def use_layers(self) -> None:
        """Replace in place; what does not fit the pattern stays as it is."""
        for operator in self.graph.operators:
            if self._is(operator, "BATCH_MATMUL"):
                self._connect(operator)
        self._take_biases()
        operators: list[Any] = []
        for operator in self.graph.operators:
            operators += self._looked_up(operator) or [operator]
        self.graph.operators = operators

    def move_channels(self, name: str) -> None:
        """Add a TRANSPOSE behind the output of this name."""
        (entry,) = (one for one in self.model.signatureDefs[0].outputs if one.name == name.encode())
        last, tensor = entry.tensorIndex, self.graph.tensors[entry.tensorIndex]
        shape = list(tensor.shape if tensor.shapeSignature is None else tensor.shapeSignature)
        axes = [0, len(shape) - 1, *range(1, len(shape) - 1)]
        order = self._constant(tensor.name + b"/order", np.array(axes, np.int32))
        first = self._tensor(tensor.name + b"/channels_first", "FLOAT32", [shape[axis] for axis in axes])
        self.graph.tensors[first].type = tensor.type
        options = self.schema.TransposeOptionsT()
        self.graph.operators.append(self._operator("TRANSPOSE", [last, order], [first], options))
        self.graph.outputs = [first if index == last else index for index in self.graph.outputs]
        entry.tensorIndex = first

    def _is(self, operator: Any, name: str) -> bool:
        return bool(flatbuffer.kind(self.model, operator) == getattr(self.schema.BuiltinOperator, name))

    def _weights(self, index: int) -> NDArray[np.float32] | None:
        """Return a constant float matrix; None for any other tensor."""
        tensor = self.graph.tensors[index]
        data = flatbuffer.constant(self.model, tensor)
        if data is None or tensor.type != self.schema.TensorType.FLOAT32 or len(tensor.shape) != 2:
            return None
        return data.view(np.float32).reshape(tensor.shape)

    def _connect(self, operator: Any) -> None:
        left, right = operator.inputs
        matrix = self._weights(right)
        if matrix is None or operator.builtinOptions.adjX:
            return
        name = self.graph.tensors[right].name
        if not operator.builtinOptions.adjY:  # (inputs, outputs); a dense layer has (outputs, inputs)
            right = self._constant(name + b"/transposed", matrix.T)
        options = self.schema.FullyConnectedOptionsT()
        options.keepNumDims = True
        operator.opcodeIndex = self._code("FULLY_CONNECTED", 5)
        operator.builtinOptionsType = self.schema.BuiltinOptions.FullyConnectedOptions
        operator.builtinOptions = options
        operator.inputs = [left, right, -1]

    def _take_biases(self) -> None:
        """Let a dense layer add the constant vector that is added to it alone."""
        uses = Counter(index for operator in self.graph.operators for index in operator.inputs)
        uses.update(self.graph.outputs)
        layers = {op.outputs[0]: op for op in self.graph.operators if self._is(op, "FULLY_CONNECTED")}
        kept = []
        for operator in self.graph.operators:
            added = self._bias(operator, layers, uses) if self._is(operator, "ADD") else None
            if added is None:
                kept.append(operator)
            else:
                layer, bias = added
                layer.inputs[2] = bias
                layer.outputs = operator.outputs
                layer.builtinOptions.fusedActivationFunction = operator.builtinOptions.fusedActivationFunction
        self.graph.operators = kept

    def _bias(self, add: Any, layers: dict[int, Any], uses: Counter[int]) -> tuple[Any, int] | None:
        for sum_, bias in (add.inputs, reversed(add.inputs)):
            layer = layers.get(sum_)
            if layer is None or uses[sum_] > 1 or layer.inputs[2] != -1:
                continue
            tensor = self.graph.tensors[bias]
            outputs = self.graph.tensors[layer.inputs[1]].shape[0]
            if list(tensor.shape) == [outputs] and flatbuffer.constant(self.model, tensor) is not None:
                return layer, bias
        return None

    def _looked_up(self, gather: Any) -> list[Any]:
        """Return what replaces a GATHER of rows: indices as a vector of int32, look-up, the output's shape."""
        if not self._is(gather, "GATHER"):
            return []
        table, ids = gather.inputs
        output = self.graph.tensors[gather.outputs[0]]
        shape = list(output.shape if output.shapeSignature is None else output.shapeSignature)
        options = gather.builtinOptions
        rows = self._weights(table)
        if rows is None or options.axis or options.batchDims or shape.count(-1) > 1:
            return []
        made: list[Any] = []
        ids = self._vector(ids, output.name, made)
        found = self._tensor(output.name + b"/rows", "FLOAT32", [-1, rows.shape[1]])
        made.append(self._operator("EMBEDDING_LOOKUP", [ids, table], [found]))
        made.append(self._reshape(found, shape, gather.outputs[0]))
        return made

    def _vector(self, ids: int, name: bytes, made: list[Any]) -> int:
        """Append what makes the indices a vector of int32, and return it."""
        tensor = self.graph.tensors[ids]
        if tensor.type != self.schema.TensorType.INT32:
            options = self.schema.CastOptionsT()
            options.inDataType, options.outDataType = tensor.type, self.schema.TensorType.INT32
            shape = tensor.shape if tensor.shapeSignature is None else tensor.shapeSignature
            ids, wide = self._tensor(name + b"/int32", "INT32", list(shape)), ids
            made.append(self._operator("CAST", [wide], [ids], options))
        flat = self._tensor(name + b"/ids", "INT32", [-1])
        made.append(self._reshape(ids, [-1], flat))
        return flat

    def _reshape(self, source: int, shape: Sequence[int], output: int) -> Any:
        name = self.graph.tensors[output].name + b"/shape"
        wanted = self._constant(name, np.array(shape, np.int32))
        return self._operator("RESHAPE", [source, wanted], [output], self.schema.ReshapeOptionsT())

    def _operator(self, name: str, inputs: list[int], outputs: list[int], options: Any = None) -> Any:
        operator = self.schema.OperatorT()
        operator.opcodeIndex = self._code(name, 1)
        operator.inputs, operator.outputs = inputs, outputs
        if options is not None:
            kind = type(options).__name__.removesuffix("T")
            operator.builtinOptionsType = getattr(self.schema.BuiltinOptions, kind)
            operator.builtinOptions = options
        return operator

    def _code(self, name: str, version: int) -> int:
        """Return the index of an operator's code, added where the file has none."""
        builtin = getattr(self.schema.BuiltinOperator, name)
        for index, code in enumerate(self.model.operatorCodes):
            if max(code.builtinCode, code.deprecatedBuiltinCode) == builtin:
                code.version = max(code.version, version)
                return index
        code = self.schema.OperatorCodeT()
        code.builtinCode, code.deprecatedBuiltinCode, code.version = builtin, min(builtin, 127), version
        self.model.operatorCodes.append(code)
        return len(self.model.operatorCodes) - 1

    def _tensor(self, name: bytes, kind: str, shape: list[int], buffer: int = 0) -> int:
        tensor = self.schema.TensorT()
        tensor.name, tensor.type = name, getattr(self.schema.TensorType, kind)
        tensor.shape = [max(size, 1) for size in shape]
        tensor.shapeSignature = shape if -1 in shape else None
        tensor.hasRank, tensor.buffer = True, buffer
        self.graph.tensors.append(tensor)
        return len(self.graph.tensors) - 1

    def _constant(self, name: bytes, array: NDArray[Any]) -> int:
        buffer = self.schema.BufferT()
        buffer.data = np.frombuffer(np.ascontiguousarray(array).tobytes(), np.uint8)
        self.model.buffers.append(buffer)
        kind = {"float32": "FLOAT32", "int32": "INT32"}[array.dtype.name]
        return self._tensor(name, kind, list(array.shape), len(self.model.buffers) - 1)


def _drop_unused(model: Any) -> None:
    """Empty the buffers of constants that no operator reads any more."""
    used = {0}
    for graph in model.subgraphs:
        read = {index for operator in graph.operators for index in operator.inputs if index >= 0}
        used |= {graph.tensors[index].buffer for index in read | set(graph.outputs)}
    used |= {entry.buffer for entry in model.metadata or ()}
    for index, buffer in enumerate(model.buffers):
        if index not in used:
            buffer.data = None
