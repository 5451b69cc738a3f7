"""The text detector: where on a page is print?

model       the detector of PP-OCRv4 (mobile, fp32), as rapidocr ships it
samples     514 pages of 320×320 pixels, drawn here with the words and fonts of the OCR demo, their boxes known; few and
            small because a page takes a tenth of a second, and the bytes of all samples are held in memory

make_project(folder, cache) → folder/edgewise.toml
"""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from benchmarks.models import making
from edgewise.demo import lines
from edgewise.demo.ocr import RAPIDOCR
from edgewise.demo.packages import fetch, read

__all__ = ["make_project", "page"]

DETECTOR = "rapidocr_onnxruntime/models/ch_PP-OCRv4_det_infer.onnx"
PAGES, SIDE, MOST, SEED = 514, 320, 12, 0
Boxes = list[tuple[int, int, int, int]]


def make_project(folder: Path, cache: Path) -> Path:
    """Write edgewise.toml, model.onnx, samples.npz, box_f1.py and NOTICE.md; return the path of the first."""

    def build(staging: Path) -> None:
        (staging / "model.onnx").write_bytes(read(fetch(RAPIDOCR, cache / "packages"), DETECTOR))
        words = lines.texts(PAGES * MOST, SEED)
        drawn = [
            page(words[row * MOST : (row + 1) * MOST], np.random.default_rng([SEED, row]))
            for row in range(PAGES)
        ]
        labels = np.full((PAGES, MOST, 4), -1, np.int64)
        for row, (_, boxes) in enumerate(drawn):
            labels[row, : len(boxes)] = boxes
        np.savez_compressed(
            staging / "samples.npz", raw=np.stack([pixels for pixels, _ in drawn]), labels=labels
        )

    return making.make(build, folder, cache, code=(__file__, str(lines.__file__)))


def page(texts: list[str], rng: np.random.Generator) -> tuple[NDArray[np.uint8], Boxes]:
    """Draw lines of text down a page as long as there is room; return uint8 [SIDE, SIDE, 3] and their boxes.

    A box is left, top, right, bottom in pixels, tight around the ink.
    """
    light, dark = rng.integers(150, 256, 3).tolist(), rng.integers(0, 110, 3).tolist()
    ink, paper = (dark, light) if rng.random() < 0.8 else (light, dark)
    image = Image.new("RGB", (SIDE, SIDE), tuple(paper))
    boxes: Boxes = []
    top = int(rng.integers(4, 30))
    for text in texts[: int(rng.integers(3, MOST + 1))]:
        font = _font(rng)
        kept = _fitting(text, font)
        left, above, right, below = (int(edge) for edge in font.getbbox(kept))
        if top + below - above > SIDE - 4:
            break
        start = int(rng.integers(4, SIDE - 4 - (right - left) + 1))
        ImageDraw.Draw(image).text((start - left, top - above), kept, tuple(ink), font)
        boxes.append((start, top, start + right - left, top + below - above))
        top = boxes[-1][3] + int(rng.integers(4, 26))
    return _captured(image, rng), boxes


def _font(rng: np.random.Generator) -> ImageFont.FreeTypeFont:
    from matplotlib import get_data_path

    path = Path(get_data_path()) / "fonts" / "ttf" / str(rng.choice(lines.FONTS))
    return ImageFont.truetype(str(path), int(rng.integers(8, 26)), layout_engine=ImageFont.Layout.BASIC)


def _fitting(text: str, font: ImageFont.FreeTypeFont) -> str:
    """Return the words from the start that fit on the page."""
    words = text.split()
    while len(words) > 1 and font.getlength(" ".join(words)) > SIDE - 12:
        words.pop()
    kept = " ".join(words)
    while font.getlength(kept) > SIDE - 12:
        kept = kept[:-1]
    return kept


def _captured(image: Image.Image, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Weaken the contrast, light it unevenly, blur, add the sensor's noise, and keep what JPEG keeps."""
    pixels = np.asarray(image.filter(ImageFilter.GaussianBlur(float(rng.uniform(0, 1.0)))), np.float64)
    slope = np.linspace(-1, 1, SIDE)[None, :, None] * rng.uniform(-40, 40)
    noise = rng.normal(0, rng.uniform(0, 20), pixels.shape)
    noisy = np.clip(128 + (pixels - 128) * rng.uniform(0.25, 1.0) + slope + noise, 0, 255).astype(np.uint8)
    buffer = BytesIO()
    Image.fromarray(noisy).save(buffer, "JPEG", quality=int(rng.integers(40, 95)))
    return np.asarray(Image.open(buffer).convert("RGB"))
