"""Every stored tensor of a model gets a name of its own, whatever a tool wrote, and the answers stay."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from edgewise.lab.compress.fp16 import to_fp16
from edgewise.lab.model.names import distinct
from edgewise.targets.graph import initializers
from models import model, tensor

ROWS = (np.full((1, 2), 3.0, np.float32), np.full((1, 2), -3.0, np.float32))


def branch(name: str, stored: dict[str, float], nodes: Sequence[onnx.NodeProto]) -> onnx.GraphProto:
    weights = [numpy_helper.from_array(np.full(2, value, np.float32), key) for key, value in stored.items()]
    return helper.make_graph(list(nodes), name, [], [tensor(f"{name}_y", [None, 2])], weights)


def two_branches() -> onnx.ModelProto:
    """Return y = (x + 1) + 2 where x has a positive value, else (x + 1) · 5; each of 1, 2 and 5 is stored as w."""
    then = branch("then", {"w": 2.0}, [helper.make_node("Add", ["xw", "w"], ["then_y"])])
    other = branch("other", {"w": 5.0}, [helper.make_node("Mul", ["xw", "w"], ["other_y"])])
    nodes = [
        helper.make_node("Add", ["x", "w"], ["xw"]),
        helper.make_node("ReduceMax", ["x"], ["largest"], keepdims=0),
        helper.make_node("Greater", ["largest", "zero"], ["positive"]),
        helper.make_node("If", ["positive"], ["y"], then_branch=then, else_branch=other),
    ]
    weights = {"w": np.ones(2, np.float32), "zero": np.zeros((), np.float32)}
    return model(nodes, [tensor("x", [None, 2])], [tensor("y", [None, 2])], weights)


def answers(proto: onnx.ModelProto) -> list[NDArray[Any]]:
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    return [session.run(None, {"x": row})[0] for row in ROWS]


def test_tensors_that_share_a_name_are_told_apart_and_the_outermost_keeps_it() -> None:
    proto = two_branches()
    distinct(proto)
    assert [tensor.name for tensor in initializers(proto.graph)] == ["w", "zero", "w_2", "w_3"]


def test_renaming_changes_no_answer() -> None:
    proto = two_branches()
    distinct(proto)
    for answer, expected in zip(answers(proto), [3 + 1 + 2, (-3 + 1) * 5], strict=True):
        np.testing.assert_array_equal(answer, np.full((1, 2), expected, np.float32))


def test_branches_that_share_names_can_be_halved() -> None:
    proto = two_branches()
    distinct(proto)
    for answer, expected in zip(answers(to_fp16(proto)), answers(two_branches()), strict=True):
        np.testing.assert_allclose(answer, expected, rtol=1e-3)
