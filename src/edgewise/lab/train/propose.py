"""Which students suit a model: a look at its graph and at the steps before it."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence

import onnx

from edgewise.bundle.steps import PreStep, Tokenize
from edgewise.lab.compress.enumerate import is_transformer
from edgewise.lab.train.repeats import Run, repeated
from edgewise.lab.train.students import AnyStudent, Aware, FewerLayers, Pruned, StaticEmbedding
from edgewise.targets.graph import constants, spec

__all__ = ["propose", "students"]

_SHARES = (0.5, 0.7, 0.85)
_LEAST_CONVOLUTIONS = 3
_WEIGHTED = ("MatMul", "Gemm", "Conv")


def students(
    model: onnx.ModelProto, pre: Sequence[PreStep], asked: Sequence[AnyStudent] = ()
) -> tuple[AnyStudent, ...]:
    """Return those that the user asks for, else those proposed."""
    return tuple(asked) or propose(model, pre)


def propose(model: onnx.ModelProto, pre: Sequence[PreStep]) -> tuple[AnyStudent, ...]:
    """Return the students to try on `model`, the nearest to it first; none where no kind suits.

    Which of them is worth it, measurements say. A transformer is not pruned: its layers go first, and cost less.
    """
    if is_transformer(model):
        return (*_fewer(layers(model)), *_static(model, pre))
    convolutions = sum(node.op_type == "Conv" for node in model.graph.node)
    if convolutions >= _LEAST_CONVOLUTIONS:
        return (Aware(), *(Pruned(share=share) for share in _SHARES))
    return ()


def layers(model: onnx.ModelProto) -> int:
    """Return how often the graph repeats its longest piece that has two operators with weights, 1 if never."""
    stored = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    fixed = constants(model.graph)
    signatures: list[Hashable] = [
        (node.op_type, tuple(stored.get(name) for name in node.input)) for node in model.graph.node
    ]
    weighted = [node.op_type in _WEIGHTED and not fixed.isdisjoint(node.input) for node in model.graph.node]
    run = repeated(signatures, weighted)
    return run.count if isinstance(run, Run) else 1


def _fewer(count: int) -> Iterator[FewerLayers]:
    """Half of the layers, then one or two."""
    wanted = {count // 2, 2 if count > 4 else 1, 1}
    yield from (FewerLayers(keep=keep) for keep in sorted(wanted, reverse=True) if 1 <= keep < count)


def _static(model: onnx.ModelProto, pre: Sequence[PreStep]) -> Iterator[StaticEmbedding]:
    """For text, where the answer is one vector for the whole of it."""
    step = next((step for step in pre if isinstance(step, Tokenize)), None)
    outputs = [spec(value) for value in model.graph.output]
    if step and len(outputs) == 1 and len(outputs[0].shape) == 2:
        yield StaticEmbedding(ids=step.ids, mask=step.mask or "")
