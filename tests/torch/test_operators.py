"""Each operator of the importer against ONNX Runtime: as imported, and after torch.export at another size."""

from __future__ import annotations

import pytest
from operator_cases import CASES, Case
from torch_checks import exported, feed, off, tensors

from edgewise.lab.model.torch_graph import to_torch

FIRST = {"n": 2, "m": 3, "l": 5, "h": 6, "w": 8}
SECOND = {"n": 3, "m": 4, "l": 7, "h": 9, "w": 10}
CLOSE = 1e-5

TABLE = [pytest.param(case, opset, id=f"{case} {opset}") for case in CASES for opset in case.opsets]


@pytest.mark.parametrize(("case", "opset"), TABLE)
def test_operator_answers_as_onnx_runtime_does(case: Case, opset: int) -> None:
    proto = case.proto(opset)
    module = to_torch(proto, [feed(proto, FIRST)])
    assert off(module, proto, feed(proto, SECOND, seed=1)) < CLOSE


@pytest.mark.parametrize(("case", "opset"), [param for param in TABLE if param.values[1] != 13])
def test_operator_is_exported_with_its_open_sizes(case: Case, opset: int) -> None:
    proto = case.proto(opset)
    first = feed(proto, FIRST)
    program = exported(to_torch(proto, [first]), tensors(proto, first))
    assert off(program, proto, feed(proto, SECOND, seed=1)) < CLOSE
