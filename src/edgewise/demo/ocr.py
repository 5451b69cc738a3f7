"""The text recogniser project: read a line of print.

model       the recogniser of PP-OCRv4 (mobile, fp32), as rapidocr ships it
samples     1,000 lines rendered here (lines.py); the original misreads about 5 characters in 100

make_project(folder, cache) → folder/edgewise.toml, ready for `edgewise build`
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from edgewise.demo import project
from edgewise.demo.packages import Package, fetch, read
from edgewise.errors import ToolchainError

__all__ = ["make_project"]

RAPIDOCR = Package(
    "rapidocr-onnxruntime",
    "1.4.4",
    "rapidocr_onnxruntime-1.4.4-py3-none-any.whl",
    "971d7d5f223a7a808662229df1ef69893809d8457d834e6373d3854bc1782cbf",
)
RECOGNISER = "rapidocr_onnxruntime/models/ch_PP-OCRv4_rec_infer.onnx"
LINES, SEED = 1_000, 0


def make_project(folder: Path, cache: Path) -> Path:
    """Write the project into `folder` and return the path of its `edgewise.toml`.

    Files: edgewise.toml, fleet.toml, model.onnx, characters.txt, lines.npz, samples.py, NOTICE.md. Downloads
    15 MB and draws the lines on the first call; later calls copy from `cache`.

    Raises InputError when `folder` holds something else or cannot be written, ToolchainError when a library
    or the package cannot be had, TrustError when the package is not the one that was pinned.
    """
    return project.make("ocr", lambda staging: _build(staging, cache), folder, cache)


def _build(staging: Path, cache: Path) -> None:
    model = read(fetch(RAPIDOCR, cache / "packages"), RECOGNISER)
    (staging / "model.onnx").write_bytes(model)
    (staging / "characters.txt").write_bytes("".join(f"{c}\n" for c in characters(model)).encode())
    draw_lines(staging / "lines.npz", count=LINES, seed=SEED)
    project.write_templates("ocr", staging)


def characters(model: bytes) -> list[str]:
    """Return the character of every class after the blank (class 0) of a serialised PP-OCR recogniser.

    The model carries its characters in its metadata; the space, its last class, is not among them.
    Raises ToolchainError when they do not fit the model's number of classes.
    """
    import onnx

    proto = onnx.load_from_string(model)
    listed = {entry.key: entry.value for entry in proto.metadata_props}.get("character", "").split("\n")
    found = [*listed, " "]
    classes = proto.graph.output[0].type.tensor_type.shape.dim[-1].dim_value
    if len(found) + 1 != classes or not all(len(character) == 1 for character in found):
        message = f"the recogniser lists {len(listed)} characters for {classes} classes"
        raise ToolchainError(f"{message}. Use {RAPIDOCR.pin}, which lists two fewer than its classes")
    return found


def draw_lines(path: Path, *, count: int, seed: int) -> None:
    """Write `count` lines to an .npz: `labels` (unicode) and one uint8 [height, width, 3] array per line."""
    from matplotlib import get_data_path

    from edgewise.demo import lines

    fonts = Path(get_data_path()) / "fonts" / "ttf"
    labels = lines.texts(count, seed)
    pictures = {
        f"line_{row:04d}": lines.picture(text, np.random.default_rng([seed, row]), fonts)
        for row, text in enumerate(labels)
    }
    np.savez_compressed(path, labels=np.array(labels), **pictures)  # type: ignore[arg-type]
