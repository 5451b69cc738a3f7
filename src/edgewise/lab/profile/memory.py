"""Bytes of activations: all of them, and the most alive at once in the file's order.

Constants are not activations. Inputs live until their last use, outputs to the end. Views share their
input's bytes, and an element-wise operator may write over an input that nobody needs any more, unless it
is the caller's. What remains is a lower bound for a runtime that runs the file's operators one at a time;
one that fuses them (the float tensors of a QDQ graph, the scores of attention) can need less.
"""

from __future__ import annotations

from collections.abc import Mapping

import onnx

from edgewise.lab.profile.values import Value
from edgewise.lab.profile.weights import Roots, constants
from edgewise.targets.graph import bodies, nodes

__all__ = ["peak_bytes", "total_bytes"]

_VIEWS = frozenset(("Reshape", "Squeeze", "Unsqueeze", "Flatten", "Identity", "Dropout"))
# fmt: off
_IN_PLACE = frozenset((
    "Abs", "Add", "And", "BatchNormalization", "Cast", "Ceil", "Clip", "Cos", "Div", "Elu", "Erf",
    "Exp", "Floor", "Gelu", "HardSigmoid", "HardSwish", "LeakyRelu", "Log", "Max", "Mean", "Min",
    "Mish", "Mul", "Neg", "Not", "Or", "PRelu", "Pow", "QuickGelu", "Reciprocal", "Relu", "Round",
    "Selu", "Sigmoid", "Sign", "Sin", "Softmax", "Softplus", "Softsign", "Sqrt", "Sub", "Sum", "Swish",
    "Tanh", "ThresholdedRelu",
))
# fmt: on


def total_bytes(graph: onnx.GraphProto, values: Mapping[str, Value]) -> int:
    """Return the bytes of all tensors that top-level operators compute from the inputs."""
    fixed = constants(graph)
    computed = (name for node in graph.node for name in node.output if name not in fixed)
    return sum(values[name].bytes for name in computed if name in values)


def peak_bytes(graph: onnx.GraphProto, values: Mapping[str, Value], outer: Roots | None = None) -> int:
    """Return the most activation bytes alive at one operator; bodies add their own peak to it."""
    fixed = constants(graph, outer or {})
    last = _last_uses(graph)
    given = {value.name for value in graph.input if value.name not in fixed}
    buffers = _Buffers(values, last, given)
    peak = buffers.alive
    for index, node in enumerate(graph.node):
        for position, name in enumerate(node.output):
            if name and name not in fixed:
                buffers.produce(node, position, index)
        inner = max((peak_bytes(body, values, fixed) for body in bodies(node)), default=0)
        peak = max(peak, buffers.alive + inner)
        buffers.release(index)
    return peak


def _last_uses(graph: onnx.GraphProto) -> dict[str, int]:
    """Return the index of the last operator, bodies included, that reads each tensor; outputs never end."""
    last: dict[str, int] = {}
    for index, node in enumerate(graph.node):
        inner = (name for body in bodies(node) for item in nodes(body) for name in item.input)
        last |= dict.fromkeys((*node.input, *inner), index)
    return last | {value.name: len(graph.node) for value in graph.output}


class _Buffers:
    """The memory blocks alive: which block each tensor is in, the block's bytes and its last use."""

    def __init__(self, values: Mapping[str, Value], last: Mapping[str, int], given: set[str]) -> None:
        self._values, self._last, self._given = values, last, given
        self._block = {name: name for name in given}
        self._size = {name: self._bytes(name) for name in given}
        self._end = {name: last.get(name, -1) for name in given}
        self.alive = sum(self._size.values())

    def produce(self, node: onnx.NodeProto, position: int, index: int) -> None:
        """Place an output of `node`: in an input's block if it may be, else in a new one."""
        name = node.output[position]
        block = self._shared(node, index) if position == 0 else None
        if block is None:
            self._size[name] = self._bytes(name)
            self.alive += self._size[name]
        self._block[name] = block or name
        self._end[block or name] = max(self._end.get(block or name, index), self._last.get(name, index))

    def release(self, index: int) -> None:
        """Free the blocks that no later operator needs."""
        for block in [block for block, end in self._end.items() if end <= index]:
            self.alive -= self._size.pop(block)
            del self._end[block]

    def _shared(self, node: onnx.NodeProto, index: int) -> str | None:
        blocks = [self._block[name] for name in node.input if name in self._block]
        if node.op_type in _VIEWS:
            return blocks[0] if blocks else None
        if node.op_type in _IN_PLACE:
            size = self._bytes(node.output[0])
            for block in blocks:
                if block not in self._given and self._end[block] <= index and self._size[block] == size:
                    return block
        return None

    def _bytes(self, name: str) -> int:
        return self._values[name].bytes if name in self._values else 0
