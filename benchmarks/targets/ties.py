"""Where a cell falls short: how its error is spread over decisions, and how sure the original was of those that moved.

`python -m benchmarks.targets.ties --model ppocr --column fp16` prints what the reasons in benchmarks/targets.toml say.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import click
import msgspec
import numpy as np
from numpy.typing import NDArray

from benchmarks.targets import cells
from edgewise import targets
from edgewise.lab.compress import apply
from edgewise.lab.compress.recipe import Candidate
from edgewise.lab.measure.store import Store
from edgewise.lab.model import load

TARGET = "onnxruntime"
WORST = 5
CLEAR = 0.5

Rows = list[NDArray[Any]]  # one per sample: (decisions, classes)


@click.command()
@click.option("--model", required=True)
@click.option("--column", required=True, help="Of onnxruntime's, in benchmarks/targets.toml.")
@click.option("--zoo", type=click.Path(path_type=Path, exists=True), default=Path("bench-out/zoo"))
def main(model: str, column: str, zoo: Path) -> None:
    """Build one recipe of one model for ONNX Runtime and look at its answers, decision by decision."""
    options = next(
        one.recipe for one in cells.read() if (one.model, one.target, one.column) == (model, TARGET, column)
    )
    source = zoo / model / "model.onnx"
    with Store(zoo / model / "calibration.npz") as store, tempfile.TemporaryDirectory() as folder:
        calibration = [store.inputs(index) for index in range(len(store))]
        made = apply.build(Candidate.of(TARGET, options), source, calibration, Path(folder))
        with Store(zoo / model / "eval.npz") as samples:
            inputs = [samples.inputs(index) for index in range(len(samples))]
        outputs = load(source).outputs
        original, changed = (_answers(path, outputs, inputs) for path in (source, made.files["model.onnx"]))
    click.echo(_said(original, changed))


def _answers(path: Path, outputs: Any, inputs: Any) -> Rows:
    """Return the first output of each sample, a decision per row."""
    session = targets.session(TARGET).load(path, outputs, threads=1)
    answers = (next(iter(session.run(one).values())) for one in inputs)
    return [answer.reshape(-1, answer.shape[-1]) for answer in answers]


def _said(original: Rows, changed: Rows) -> str:
    whole, other = np.concatenate(original), np.concatenate(changed)
    squared = np.sort(((other - whole) ** 2).sum(-1))[::-1]
    first, second = np.sort(whole, -1)[:, -1], np.sort(whole, -1)[:, -2]
    moved, clear = whole.argmax(-1) != other.argmax(-1), first - second >= CLEAR
    per_sample = [
        float(np.linalg.norm(b - a) / np.linalg.norm(a)) for a, b in zip(original, changed, strict=True)
    ]
    figures = {
        "decisions": len(whole),
        "relative difference": float(np.sqrt(squared.sum()) / np.linalg.norm(whole)),
        "the median sample's": float(np.median(per_sample)),
        f"share of the squared error in the {WORST} worst decisions": float(
            squared[:WORST].sum() / squared.sum()
        ),
        "agreement": float(1 - moved.mean()),
        f"agreement where the original leads by {CLEAR:g}": float(1 - moved[clear].mean()),
        "the original's lead where a decision moved, at most": float(
            (first - second)[moved].max(initial=0.0)
        ),
    }
    return msgspec.json.format(msgspec.json.encode(figures), indent=2).decode()


if __name__ == "__main__":
    main(prog_name="python -m benchmarks.targets.ties")
