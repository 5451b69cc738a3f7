"""Train a small network on the CPU and export it: one thread and fixed seeds, so that a machine gets its weights again.

One thread is also the fastest where others use the machine: threads that wait for each other burn what they wait.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["adam", "export", "export_scripted", "fit", "momentum"]


def adam(network: nn.Module) -> torch.optim.Optimizer:
    """AdamW; its learning rate comes from the schedule."""
    return torch.optim.AdamW(network.parameters(), weight_decay=0.01)


def momentum(network: nn.Module) -> torch.optim.Optimizer:
    """SGD with Nesterov momentum; its learning rate comes from the schedule."""
    return torch.optim.SGD(network.parameters(), 0.1, momentum=0.9, weight_decay=5e-4, nesterov=True)


def fit(
    network: Callable[[], nn.Module],
    inputs: Sequence[Tensor],
    labels: Tensor,
    *,
    rounds: int,
    rate: float,
    batch: int = 64,
    smoothing: float = 0.0,
    optimizer: Callable[[nn.Module], torch.optim.Optimizer] = adam,
    augment: Callable[[Tensor], Tensor] = lambda x: x,
) -> nn.Module:
    """Return a classifier trained for `rounds` passes; the learning rate rises to `rate` and falls to nothing.

    `inputs` are the network's arguments, each with one row per label. `augment` takes a batch of each.
    """
    torch.set_num_threads(1)
    torch.manual_seed(0)
    fitted = network().train()
    steps = optimizer(fitted)
    total = rounds * -(-len(labels) // batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(steps, rate, total_steps=total)
    for _ in range(rounds):
        for rows in torch.randperm(len(labels)).split(batch):
            scores = fitted(*(augment(x[rows]) for x in inputs))
            loss = functional.cross_entropy(scores, labels[rows], label_smoothing=smoothing)
            steps.zero_grad()
            loss.backward()
            steps.step()
            schedule.step()
    return fitted.eval()


def export(
    network: nn.Module,
    example: tuple[Tensor, ...],
    axes: dict[str, dict[int, str]],
    *,
    output: str = "logits",
) -> bytes:
    """Return the network as serialised ONNX, as torch's current exporter writes it, without its traces of this machine.

    `axes` names the inputs and their changing axes.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            network,
            example,
            input_names=list(axes),
            output_names=[output],
            dynamic_shapes=tuple(axes.values()),
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    model = program.model_proto
    for part in (
        model.graph,
        *model.graph.node,
        *model.graph.value_info,
        *model.graph.input,
        *model.graph.output,
    ):
        del part.metadata_props[:]  # where each operator stood in the source: paths, which differ by machine
    return bytes(model.SerializeToString(deterministic=True))


def export_scripted(
    network: nn.Module, example: tuple[Tensor, ...], axes: dict[str, dict[int, str]]
) -> bytes:
    """Return it as the older exporter (TorchScript, opset 17) writes it, the batch first in the output `logits`."""
    file = io.BytesIO()
    names: dict[str, Any] = {"input_names": list(axes), "output_names": ["logits"]}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network,
            example,
            file,
            **names,
            dynamic_axes=axes | {"logits": {0: "batch"}},
            opset_version=17,
            dynamo=False,
        )
    return file.getvalue()
