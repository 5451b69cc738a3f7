"""A BERT sentence classifier as an ONNX graph, straight from its weights.

The published weights come without a graph, and edgewise starts from one, so the demo writes it the way a
careful exporter would: opset 17, dynamic batch and tokens, one `LayerNormalization` per norm, GELU by `Erf`,
and attention in the shape that ONNX Runtime and OpenVINO recognise and fuse.

    classifier(weights, heads=12)        → embedding [batch, hidden]      (to fit a head on)
    classifier(weights, heads=12, head)  → logits    [batch, classes]     (the model to ship)

Weights carry the names of the original PyTorch `BertModel`; layers and widths are read from their shapes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from edgewise.errors import InputError

__all__ = ["Head", "classifier"]

OPSET, IR_VERSION = 17, 8
EPSILON = 1e-12
# Far enough below every real score to leave no weight on padding, near enough that an int8 range which must
# cover it still resolves the scores themselves; -10000 would spend all 256 steps on the mask.
MASKED = -100.0

Weights = Mapping[str, NDArray[np.float32]]


@dataclass(frozen=True)
class Head:
    """A linear layer over the pooled embedding: `weight` [hidden, classes], `bias` [classes]."""

    weight: NDArray[np.float32]
    bias: NDArray[np.float32]


def classifier(weights: Weights, *, heads: int, head: Head | None = None) -> onnx.ModelProto:
    """Build the graph of an encoder, its masked mean pooling and, when given, its head.

    Inputs `input_ids` and `attention_mask` are int64 [batch, tokens]; token types are all 0. The output is
    `logits` float32 [batch, classes], or `embedding` float32 [batch, hidden] without a head.

    Raises InputError when a weight is missing, or the hidden width cannot be split over `heads`.
    """
    hidden = _weight(weights, "embeddings.word_embeddings.weight").shape[1]
    if hidden % heads:
        raise InputError(
            f"A width of {hidden} cannot be split over {heads} heads. Give the model's own number."
        )
    graph = _Graph(weights)
    state = _embed(graph)
    mask = graph.op("Cast", "attention_mask", name="mask", to=TensorProto.FLOAT)
    bias = _attention_bias(graph, mask)
    for layer in range(_layers(weights)):
        state = _layer(graph, f"encoder.layer.{layer}", state, bias=bias, heads=heads)
    output, width = _pool(graph, state, mask, head), hidden if head is None else head.bias.size
    return graph.model(output, width)


class _Graph:
    """Nodes and constants as they are added; `op` returns the name of what it computes."""

    def __init__(self, weights: Weights) -> None:
        self.weights = weights
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, onnx.TensorProto] = {}

    def op(self, kind: str, *inputs: str, name: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(kind, inputs, [name], name=name, **attributes))
        return name

    def constant(self, name: str, value: Any, dtype: Any = np.float32) -> str:
        if name not in self.constants:
            array = np.asarray(value, dtype, order="C")  # and not ascontiguousarray: a scalar stays one
            self.constants[name] = numpy_helper.from_array(array, name)
        return name

    def linear(self, prefix: str, x: str) -> str:
        """Apply the [out, in] weight and the bias of `prefix`, as MatMul and Add."""
        weight = self.constant(f"{prefix}.weight", _weight(self.weights, f"{prefix}.weight").T)
        bias = self.constant(f"{prefix}.bias", _weight(self.weights, f"{prefix}.bias"))
        return self.op("Add", self.op("MatMul", x, weight, name=f"{prefix}/MatMul"), bias, name=prefix)

    def norm(self, prefix: str, x: str) -> str:
        """Apply the layer norm of `prefix` over the last axis."""
        scale, bias = (
            self.constant(f"{prefix}.{part}", _weight(self.weights, f"{prefix}.{part}"))
            for part in ("weight", "bias")
        )
        return self.op("LayerNormalization", x, scale, bias, name=prefix, axis=-1, epsilon=EPSILON)

    def model(self, output: str, width: int) -> onnx.ModelProto:
        """Close the graph over its two inputs and `output`, and check it."""
        tokens = ["batch", "tokens"]
        inputs = [
            helper.make_tensor_value_info(name, TensorProto.INT64, tokens)
            for name in ("input_ids", "attention_mask")
        ]
        outputs = [helper.make_tensor_value_info(output, TensorProto.FLOAT, ["batch", width])]
        graph = helper.make_graph(self.nodes, "bert", inputs, outputs, list(self.constants.values()))
        opset = [helper.make_opsetid("", OPSET)]
        model = helper.make_model(graph, opset_imports=opset, ir_version=IR_VERSION, producer_name="edgewise")
        onnx.checker.check_model(model)
        return model


def _weight(weights: Weights, name: str) -> NDArray[np.float32]:
    try:
        return weights[name]
    except KeyError as missing:
        raise InputError(
            f"The weights hold no {name}. Give those of a BERT encoder (BertModel)."
        ) from missing


def _layers(weights: Weights) -> int:
    numbers = [int(name.split(".")[2]) for name in weights if name.startswith("encoder.layer.")]
    return max(numbers, default=-1) + 1


def _embed(graph: _Graph) -> str:
    """Sum word, position and token-type embeddings; the type is always 0, so its row joins the positions."""
    words = graph.constant("words", _weight(graph.weights, "embeddings.word_embeddings.weight"))
    types = _weight(graph.weights, "embeddings.token_type_embeddings.weight")
    table = _weight(graph.weights, "embeddings.position_embeddings.weight") + types[:1]
    shape = graph.op("Shape", "input_ids", name="tokens/shape")
    count = graph.op("Gather", shape, graph.constant("second", 1, np.int64), name="tokens/count")
    # By Range and not by Slice: tools can then tell that there is one position for each token.
    bounds = graph.constant("zero", 0, np.int64), count, graph.constant("step", 1, np.int64)
    places = graph.op("Range", *bounds, name="tokens/places")
    rows = graph.op("Gather", graph.constant("positions", table), places, name="embeddings/positions")
    word = graph.op("Gather", words, "input_ids", name="embeddings/words")
    return graph.norm("embeddings.LayerNorm", graph.op("Add", word, rows, name="embeddings/sum"))


def _attention_bias(graph: _Graph, mask: str) -> str:
    """Return 0 where a token may be looked at and MASKED where it is padding: [batch, 1, 1, tokens]."""
    axes = graph.constant("middle_axes", [1, 2], np.int64)
    wide = graph.op("Unsqueeze", mask, axes, name="mask/wide")
    padding = graph.op("Sub", graph.constant("one", 1.0), wide, name="mask/padding")
    return graph.op("Mul", padding, graph.constant("masked", MASKED), name="mask/bias")


def _layer(graph: _Graph, at: str, x: str, *, bias: str, heads: int) -> str:
    """Add one post-norm encoder layer: attention, then the feed-forward pair with GELU."""
    attended = _attention(graph, f"{at}.attention", x, bias=bias, heads=heads)
    attended = graph.op("Add", attended, x, name=f"{at}.attention/residual")
    middle = graph.norm(f"{at}.attention.output.LayerNorm", attended)
    inner = _gelu(graph, graph.linear(f"{at}.intermediate.dense", middle), f"{at}.gelu")
    outer = graph.linear(f"{at}.output.dense", inner)
    outer = graph.op("Add", outer, middle, name=f"{at}/residual")
    return graph.norm(f"{at}.output.LayerNorm", outer)


def _attention(graph: _Graph, at: str, x: str, *, bias: str, heads: int) -> str:
    hidden = _weight(graph.weights, f"{at}.self.query.weight").shape[0]
    split = graph.constant("split_heads", [0, 0, heads, hidden // heads], np.int64)
    parts = {}
    for part, order in (("query", (0, 2, 1, 3)), ("key", (0, 2, 3, 1)), ("value", (0, 2, 1, 3))):
        flat = graph.linear(f"{at}.self.{part}", x)
        per_head = graph.op("Reshape", flat, split, name=f"{at}.{part}/heads")
        parts[part] = graph.op("Transpose", per_head, name=f"{at}.{part}/by_head", perm=order)
    scores = graph.op("MatMul", parts["query"], parts["key"], name=f"{at}.scores")
    scale = graph.constant("head_scale", np.sqrt(hidden / heads))
    scores = graph.op("Div", scores, scale, name=f"{at}.scaled")
    scores = graph.op("Add", scores, bias, name=f"{at}.masked")
    shares = graph.op("Softmax", scores, name=f"{at}.shares", axis=-1)
    mixed = graph.op("MatMul", shares, parts["value"], name=f"{at}.mixed")
    joined = graph.op("Transpose", mixed, name=f"{at}.by_token", perm=(0, 2, 1, 3))
    joined = graph.op(
        "Reshape", joined, graph.constant("join_heads", [0, 0, hidden], np.int64), name=f"{at}.joined"
    )
    return graph.linear(f"{at}.output.dense", joined)


def _gelu(graph: _Graph, x: str, at: str) -> str:
    """Add x/2 · (1 + erf(x/√2)), in the order of operations that the runtimes fuse into one Gelu."""
    scaled = graph.op("Div", x, graph.constant("root_two", np.sqrt(2.0)), name=f"{at}/scaled")
    curve = graph.op(
        "Add", graph.op("Erf", scaled, name=f"{at}/erf"), graph.constant("one", 1.0), name=f"{at}/curve"
    )
    gated = graph.op("Mul", x, curve, name=f"{at}/gated")
    return graph.op("Mul", gated, graph.constant("half", 0.5), name=at)


def _pool(graph: _Graph, state: str, mask: str, head: Head | None) -> str:
    """Average the real tokens, and apply the head. A row that is all padding averages to zero."""
    last, first = graph.constant("last_axis", [-1], np.int64), graph.constant("token_axis", [1], np.int64)
    column = graph.op("Unsqueeze", mask, last, name="pool/mask")
    kept = graph.op("Mul", state, column, name="pool/kept")
    total = graph.op("ReduceSum", kept, first, name="pool/total", keepdims=0)
    count = graph.op("ReduceSum", mask, first, name="pool/count", keepdims=1)
    count = graph.op("Max", count, graph.constant("one", 1.0), name="pool/at_least_one")
    pooled = graph.op("Div", total, count, name="embedding")
    if head is None:
        return pooled
    weight, bias = graph.constant("head.weight", head.weight), graph.constant("head.bias", head.bias)
    return graph.op("Gemm", pooled, weight, bias, name="logits")
