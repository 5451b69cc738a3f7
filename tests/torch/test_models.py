"""Real models through the importer: the six that `tests/targets/zoo.py` makes (EDGEWISE_ZOO: a folder of them)."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from torch_checks import Feed, exported, off, tensors

from edgewise.lab.model.torch_graph import to_torch
from edgewise.lab.model.torch_graph.proto import prepared

pytestmark = pytest.mark.slow

MAKER = Path(__file__).parents[1] / "targets" / "zoo.py"
SILERO: dict[str, Any] = {"fixed": {"sr": 16000}, "shapes": {"input": (None, 576), "state": (2, None, 128)}}
MODELS = {"cnn": {}, "depthwise": {}, "transformer": {}, "minilm": {}, "ppocr": {}, "silero": SILERO}


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    given = os.environ.get("EDGEWISE_ZOO")
    return Path(given) if given else tmp_path_factory.mktemp("zoo")


def made(zoo: Path, name: str) -> tuple[onnx.ModelProto, list[Feed]]:
    """Return the model, inputs that are fixed already in it, and three real requests."""
    if not (zoo / name).exists():
        subprocess.run([sys.executable, MAKER, zoo, name], check=True)
    kwargs = MODELS[name]
    fixed = {key: np.array(value, np.int64) for key, value in kwargs.get("fixed", {}).items()}
    proto = prepared(onnx.load(zoo / name / "model.onnx"), fixed, kwargs.get("shapes", {}))
    names = [value.name for value in proto.graph.input]
    with np.load(zoo / name / "eval.npz") as stored:
        return proto, [{key: stored[f"{index}/{key}"] for key in names} for index in range(3)]


def wider(request: Feed, times: int) -> Feed:
    """Return the request repeated along its axis of length 1, the batch."""
    return {name: np.concatenate([array] * times, array.shape.index(1)) for name, array in request.items()}


@pytest.mark.parametrize("name", MODELS)
def test_a_real_model_is_imported_exported_and_trained(name: str, zoo: Path) -> None:
    proto, requests = made(zoo, name)
    module = to_torch(proto, requests)
    assert max(off(module, proto, request) for request in requests) < 1e-4
    program = exported(module, tensors(proto, wider(requests[0], 2)))
    assert off(program, proto, wider(requests[1], 3)) < 1e-4
    assert falls(losses(module, tensors(proto, wider(requests[0], 2))))


def losses(module: torch.nn.Module, given: tuple[torch.Tensor, ...]) -> list[float]:
    """Return the distance to half of the first answer, before and after steps of SGD."""
    optimizer = torch.optim.SGD(module.parameters(), lr=1e-4)
    goal, found = None, []
    for _ in range(4):
        answer = module.train()(*given)
        answer = answer[0] if isinstance(answer, tuple) else answer
        goal = answer.detach() / 2 if goal is None else goal
        loss = ((answer - goal) ** 2).mean() / (goal**2).mean()
        found.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return found


def falls(found: Sequence[float]) -> bool:
    return found[-1] < found[-2]
