"""`edgewise run`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
import numpy as np

from edgewise.bundle.steps import Image, Tokenize
from edgewise.device.runner import Answer, Model, open_bundle
from edgewise.errors import InputError


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("-i", "--input", "given", required=True, help="Text, a picture's path, or an .npz of tensors.")
@click.option("--tier", help="Answer as this tier would.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(bundle: Path, given: str, tier: str | None, *, as_json: bool) -> None:
    """Answer on this machine, with route and reason."""
    with open_bundle(bundle, tier=tier) as model:
        answer = model(_input(model, given))
    click.echo(_as_json(answer) if as_json else as_text(answer))


def _input(model: Model, given: str) -> Any:
    steps = model.bundle.model.pre
    text = any(isinstance(step, Tokenize) for step in steps)
    if given.endswith(".npz") and (Path(given).is_file() or not text):
        return _tensors(Path(given))
    if text:
        return given
    if any(isinstance(step, Image) for step in steps):
        return _existing(Path(given))
    raise InputError("this bundle takes tensors: give -i an .npz with one array per input")


def _tensors(path: Path) -> dict[str, Any]:
    _existing(path)
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except Exception as error:  # a damaged archive may raise nearly anything
        raise InputError(f"{path} cannot be read as .npz: {error}") from error


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise InputError(f"{path} does not exist: give -i the path of a file")
    return path


def as_text(answer: Answer) -> str:
    """Return the answer on the first line, and on the second where it came from."""
    if answer.value is not None:
        first = f"{answer.value} {answer.confidence:.2f}" if answer.confidence is not None else answer.value
    else:
        first = "\n".join(
            f"{name}: {np.array2string(array, threshold=20)}" for name, array in answer.outputs.items()
        )
    return f"{first}\nfrom {answer.route}: {answer.variant} ({answer.reason})"


def _as_json(answer: Answer) -> str:
    document = {
        "value": answer.value,
        "confidence": answer.confidence,
        "route": answer.route,
        "reason": answer.reason,
        "variant": answer.variant,
        "guarantee": answer.guarantee,
        "outputs": {name: array.tolist() for name, array in answer.outputs.items()},
    }
    return json.dumps(document)
