"""Packages for the tests of the Core ML interpreter: torch modules through coremltools' own frontend, saved.

edgewise's own converter has no part in them, so that it and the interpreter cannot share a misreading.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import edgewise.targets.coreml  # silences coremltools
from edgewise.targets.coreml import session

torch: Any = pytest.importorskip("torch")
ct: Any = pytest.importorskip("coremltools")

__all__ = ["LIMITS", "PRECISIONS", "Call", "answers", "apart", "convert", "ct", "edgewise", "torch"]

PRECISIONS = ("FLOAT32", "FLOAT16")
LIMITS = {"FLOAT32": 1e-4, "FLOAT16": 5e-3}
Arrays = list[NDArray[Any]]


class Call(torch.nn.Module):  # type: ignore[misc]
    """A module whose `forward` is a function of the module's children and the inputs."""

    def __init__(self, function: Callable[..., Any], **children: Any) -> None:
        super().__init__()
        self.function = function
        for name, child in children.items():
            setattr(self, name, child)
        self.eval()

    def forward(self, *inputs: Any) -> Any:
        return self.function(self, *inputs)


def convert(
    module: Any,
    inputs: Sequence[Any],
    folder: Path,
    precision: str = "FLOAT32",
    *,
    target: str = "iOS17",
    dynamic: Any = None,
    traced: bool = False,
) -> Path:
    """Export (or, for what the frontend does not know from there, trace) a module; convert and save it."""
    options: dict[str, Any] = {
        "compute_precision": ct.precision[precision],
        "minimum_deployment_target": ct.target[target],
    }
    if traced:
        source = torch.jit.trace(module, tuple(inputs))
        options["inputs"] = [ct.TensorType(shape=value.shape, dtype=value.numpy().dtype) for value in inputs]
    else:
        exported = torch.export.export(module, tuple(inputs), dynamic_shapes=dynamic)
        source = exported.run_decompositions({})
    package = folder / f"{precision}-{target}.mlpackage"
    model = ct.convert(source, **options)
    model.save(str(package))
    return package


def answers(package: Path, inputs: Sequence[Any]) -> Arrays:
    """Run a package as a session does; return its outputs in their order."""
    loaded = session.load(package / "Manifest.json", [])
    feeds = {}
    for port, value in zip(loaded._inputs, inputs, strict=True):  # type: ignore[attr-defined]
        feeds[port.name] = np.asarray(value, port.dtype)
    return list(loaded.run(feeds).values())


def apart(wanted: Any, got: Arrays) -> float:
    """Return the largest difference of any output, relative to that output's largest value."""
    expected = [
        value.detach().numpy() for value in (wanted if isinstance(wanted, (tuple, list)) else [wanted])
    ]
    assert [tuple(each.shape) for each in got] == [tuple(each.shape or (1,)) for each in expected]
    gaps = []
    for one, other in zip(expected, got, strict=True):
        first, second = one.astype(np.float64).ravel(), other.astype(np.float64).ravel()
        gap = np.abs(np.subtract(first, second, where=first != second, out=np.zeros_like(first)))
        gaps.append(gap.max(initial=0) / max(np.abs(first[np.isfinite(first)]).max(initial=0), 1e-6))
    return float(max(gaps))
