"""Multiply-accumulates of one operator, and the kind of work they are, from the shapes around it.

A table maps (domain, operator) to a rule; an operator without a rule multiplies no matrices and costs nothing
here. Sources: https://onnx.ai/onnx/operators and onnxruntime's docs/ContribOperators.md.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

import onnx

from edgewise.lab.profile.result import Kind
from edgewise.lab.profile.values import Value

__all__ = ["Op", "UnknownShapeError", "work"]

Work = list[tuple[Kind, int]]


class UnknownShapeError(Exception):
    """A rule needs the shape of this tensor."""


@dataclass(frozen=True, slots=True)
class Op:
    """A node with what is known of its tensors."""

    node: onnx.NodeProto
    values: Mapping[str, Value]
    constants: Collection[str]

    def has(self, position: int) -> bool:
        """Whether the optional input at `position` is given."""
        return position < len(self.node.input) and bool(self.node.input[position])

    def shape(self, position: int) -> tuple[int, ...]:
        """Return the shape of an input."""
        return self._shape(self.node.input[position])

    def output(self) -> tuple[int, ...]:
        """Return the shape of the first output given."""
        return self._shape(next(name for name in self.node.output if name))

    def constant(self, position: int) -> bool:
        """Whether an input is stored in the model or computed from what is."""
        return self.node.input[position] in self.constants

    def attribute(self, name: str, default: Any) -> Any:
        """Return an attribute's value."""
        found = (a for a in self.node.attribute if a.name == name)
        return next((onnx.helper.get_attribute_value(a) for a in found), default)

    def _shape(self, name: str) -> tuple[int, ...]:
        if name not in self.values:
            raise UnknownShapeError(name)
        return self.values[name].shape


def work(op: Op) -> Work:
    """Return the MACs of an operator by kind; raise UnknownShapeError where a shape it needs is unknown."""
    domain = "" if op.node.domain == "ai.onnx" else op.node.domain
    rule = _RULES.get((domain, op.node.op_type))
    return rule(op) if rule else []


def _conv(x: int = 0, w: int = 1) -> Callable[[Op], Work]:
    def rule(op: Op) -> Work:
        weight, groups = op.shape(w), op.attribute("group", 1)
        macs = math.prod(op.output()) * math.prod(weight[1:])
        return [(_conv_kind(weight[2:], groups, op.shape(x)[1]), macs)]

    return rule


def _conv_kind(kernel: tuple[int, ...], groups: int, channels: int) -> Kind:
    if groups > 1:
        return "conv depthwise" if groups == channels else "conv grouped"
    if all(size == 1 for size in kernel):
        return "conv 1x1"
    return "conv 3x3" if kernel == (3, 3) else "conv other"


def _conv_transpose(op: Op) -> Work:
    # Every input element is spread over output channels of its group × kernel.
    return [("conv transposed", math.prod(op.shape(0)) * math.prod(op.shape(1)[1:]))]


def _matmul(a: int = 0, b: int = 1) -> Callable[[Op], Work]:
    def rule(op: Op) -> Work:
        left = op.shape(a)
        depth = left[-2 if op.attribute("transA", 0) else -1]
        return [(_multiplied(op, a, b), math.prod(op.output()) * depth)]

    return rule


def _multiplied(op: Op, *positions: int) -> Kind:
    return "fully connected" if any(op.constant(position) for position in positions) else "attention"


def _packed_matmul(op: Op) -> Work:
    return [("fully connected", math.prod(op.output()) * op.attribute("K", 0))]


def _einsum(op: Op) -> Work:
    """One MAC for each combination of all indices; ellipses stand for the output's leading dimensions."""
    terms = op.attribute("equation", b"").decode().replace(" ", "").split("->")[0].split(",")
    if len(terms) != 2:
        return []
    sizes: dict[str, int] = {}
    for position, term in enumerate(terms):
        before, dots, after = term.partition("...")
        shape = op.shape(position)
        middle = len(shape) - len(before) - len(after)
        letters = [*before, *(f"…{middle - i}" for i in range(middle if dots else 0)), *after]
        for letter, size in zip(letters, shape, strict=True):
            sizes[letter] = max(size, sizes.get(letter, 1))
    return [(_multiplied(op, 0, 1), math.prod(sizes.values()))]


def _recurrent(op: Op) -> Work:
    steps = math.prod(op.shape(0)[:2])
    return [("recurrent", steps * (math.prod(op.shape(1)) + math.prod(op.shape(2))))]


def _attention(op: Op) -> Work:
    """ai.onnx Attention: Q·Kᵀ and the weighted sum of V, heads folded into the sizes."""
    length = op.shape(1)[-2] + (op.shape(4)[-2] if op.has(4) else 0)
    return [("attention", length * (math.prod(op.shape(0)) + math.prod(op.output())))]


def _packed_attention(op: Op) -> Work:
    """com.microsoft Attention: the projection to Q, K and V by stored weights, then attention."""
    x, out = op.shape(0), op.output()
    projection = math.prod(x[:2]) * math.prod(op.shape(1))
    return [("fully connected", projection), ("attention", 2 * math.prod(out) * x[1])]


def _multi_head(past: int) -> Callable[[Op], Work]:
    def rule(op: Op) -> Work:
        length = op.shape(1)[-2] if op.has(1) else op.shape(0)[1]
        length += op.shape(past)[-2] if op.has(past) else 0
        return [("attention", 2 * math.prod(op.output()) * length)]

    return rule


def _per_row(attribute: str) -> Callable[[Op], Work]:
    """ai.onnx.ml linear models and support vectors: one pass over the stored numbers for each row."""

    def rule(op: Op) -> Work:
        return [("fully connected", op.shape(0)[0] * len(op.attribute(attribute, ())))]

    return rule


_MS, _ML = "com.microsoft", "ai.onnx.ml"
_RULES: dict[tuple[str, str], Callable[[Op], Work]] = {
    ("", "Conv"): _conv(),
    ("", "ConvInteger"): _conv(),
    ("", "QLinearConv"): _conv(0, 3),
    ("", "DeformConv"): _conv(),
    (_MS, "FusedConv"): _conv(),
    ("", "ConvTranspose"): _conv_transpose,
    ("", "Gemm"): _matmul(),
    ("", "MatMul"): _matmul(),
    ("", "MatMulInteger"): _matmul(),
    ("", "QLinearMatMul"): _matmul(0, 3),
    (_MS, "FusedMatMul"): _matmul(),
    (_MS, "FusedGemm"): _matmul(),
    (_MS, "QGemm"): _matmul(0, 3),
    (_MS, "DynamicQuantizeMatMul"): _matmul(),
    (_MS, "MatMulIntegerToFloat"): _matmul(),
    (_MS, "MatMulNBits"): _packed_matmul,
    (_MS, "MatMulBnb4"): _packed_matmul,
    ("", "Einsum"): _einsum,
    ("", "LSTM"): _recurrent,
    ("", "GRU"): _recurrent,
    ("", "RNN"): _recurrent,
    (_MS, "DynamicQuantizeLSTM"): _recurrent,
    ("", "Attention"): _attention,
    (_MS, "Attention"): _packed_attention,
    (_MS, "QAttention"): _packed_attention,
    (_MS, "MultiHeadAttention"): _multi_head(6),
    (_MS, "GroupQueryAttention"): _multi_head(3),
    (_ML, "LinearClassifier"): _per_row("coefficients"),
    (_ML, "LinearRegressor"): _per_row("coefficients"),
    (_ML, "SVMClassifier"): _per_row("support_vectors"),
    (_ML, "SVMRegressor"): _per_row("support_vectors"),
}
