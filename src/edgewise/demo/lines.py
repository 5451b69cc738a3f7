"""Lines of text as a camera or a scanner sees them, with labels that are exact because we wrote them.

    texts(count, seed)         → different short English lines with numbers, dates, prices and names
    picture(text, rng, fonts)  → one of them as an image: a font, two colours, a slight turn and tilt,
                                 uneven light, blur, low resolution, sensor noise, JPEG

Everything is drawn from the generator that is passed in, so a seed gives the same images again (with the same
versions of Pillow and the fonts). The strengths were set so that the recogniser of the demo errs on some
characters in a hundred: enough errors to compare models by, few enough to look like a product.
"""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageFont

__all__ = ["FONTS", "picture", "texts"]

FONTS = (
    *("DejaVuSans.ttf", "DejaVuSans-Bold.ttf", "DejaVuSans-Oblique.ttf"),
    *("DejaVuSerif.ttf", "DejaVuSerif-Bold.ttf", "DejaVuSerif-Italic.ttf"),
    *("DejaVuSansMono.ttf", "DejaVuSansMono-Bold.ttf"),
    *("STIXGeneral.ttf", "STIXGeneralBol.ttf", "STIXGeneralItalic.ttf"),
)
"""Font files that ship inside matplotlib: sans, serif, mono and book faces."""

PATTERNS = (
    "Invoice {code} due {day} {month} {year}",
    "Total {price} including {percent} tax",
    "{count} {adjective} {thing}s at {price} each",
    "The {adjective} {thing} arrived on {day} {month}",
    "Deliver to {number} {name} {road}, {city}",
    "Please return the {thing} by {time}",
    "Train {number} to {city} leaves at {time}",
    "{name} & {name} Ltd., {city}",
    "Batch {code}, best before {month} {year}",
    "Call {phone} before {time}",
    "Keep the {adjective} {thing} below {number} C",
    "Seat {letter}{number}, gate {letter}, {time}",
    "Meeting with {name} moved to {day} {month}",
    "Save {percent} on every {adjective} {thing}",
    "Order no. {code} ({count} items)",
    "{city}: {adjective} morning, {number} degrees",
    "Pay {price} to {name} by {day} {month}",
    "Open {weekday} to {weekday}, {time} - {time}",
    "Our {thing} won't fit in the {adjective} {thing}",
    "Serial {code}-{number}, made in {city}",
)
WORDS = {
    "adjective": "quiet broken bright heavy early frozen golden hidden narrow modern purple rapid warm",
    "thing": "ticket window bottle jacket garden camera letter kettle bridge parcel engine mirror lamp",
    "name": "Walker Ortega Fischer Jensen Novak Quigley Hughes Yamada Bauer Dixon Keller Moreau Silva Price",
    "city": "Lisbon Oxford Dublin Geneva Tampere Quebec Zagreb Kyoto Vienna Boston Jakarta Nairobi Madrid",
    "road": "Street Avenue Lane Road Square Hill Park Court",
    "month": "January February March April May June July August September October November December",
    "weekday": "Monday Tuesday Wednesday Thursday Friday Saturday Sunday",
}


def texts(count: int, seed: int) -> list[str]:
    """Return `count` lines, all different, in the order in which the seed yields them."""
    rng = np.random.default_rng(seed)
    found: dict[str, None] = {}
    while len(found) < count:
        pattern = PATTERNS[rng.integers(len(PATTERNS))]
        found[_fill(pattern, rng)] = None
    return list(found)


def _fill(pattern: str, rng: np.random.Generator) -> str:
    """Replace every {slot}, each occurrence by a draw of its own."""
    head, *rest = pattern.split("{")
    line = head
    for part in rest:
        slot, after = part.split("}")
        line += _value(slot, rng) + after
    return line


def _value(slot: str, rng: np.random.Generator) -> str:
    if slot in WORDS:
        return str(rng.choice(WORDS[slot].split()))
    n = [int(x) for x in rng.integers(0, 10, 8)]
    letters = [chr(ord("A") + int(x)) for x in rng.integers(0, 26, 2)]
    return {
        "code": f"{letters[0]}{letters[1]}-{n[0]}{n[1]}{n[2]}{n[3]}",
        "day": str(1 + (n[0] * 10 + n[1]) % 28),
        "year": f"20{n[0] % 3}{n[1]}",
        "price": f"${n[0] + 1}{n[1]}.{n[2]}{n[3]}" if n[4] % 2 else f"${n[0] + 1},{n[1]}{n[2]}{n[3]}.00",
        "percent": f"{n[0] + 1}.{n[1]}%",
        "count": str(2 + n[0] * 10 + n[1]),
        "number": str(10 + n[0] * 10 + n[1]),
        "time": f"{n[0] + 8}:{n[1] % 6}{n[2]}",
        "phone": f"{n[0]}{n[1]}{n[2]}-{n[3]}{n[4]}{n[5]}{n[6]}",
        "letter": letters[0],
    }[slot]


def picture(text: str, rng: np.random.Generator, fonts: Path) -> NDArray[np.uint8]:
    """Render one line as uint8 [height, width, 3] RGB, about 12 to 70 pixels high.

    `fonts` is the folder that holds FONTS. A missing font raises OSError.
    """
    size = int(rng.integers(20, 42))
    font = ImageFont.truetype(str(fonts / str(rng.choice(FONTS))), size, layout_engine=ImageFont.Layout.BASIC)
    page = _written(text, font, rng)
    page = _tilted(page, rng)
    page = _lit(page, rng)
    return _captured(page, rng)


def _written(text: str, font: ImageFont.FreeTypeFont, rng: np.random.Generator) -> Image.Image:
    """Write dark on light or light on dark, with uneven margins."""
    left, top, right, bottom = font.getbbox(text)
    pad = [int(x * font.size) for x in (*rng.uniform(0.4, 0.7, 2), *rng.uniform(0.15, 0.35, 2))]
    light, dark = rng.integers(150, 256, 3), rng.integers(0, 90, 3)
    ink, paper = (dark, light) if rng.random() < 0.8 else (light, dark)
    width, height = int(right - left) + pad[0] + pad[1], int(bottom - top) + pad[2] + pad[3]
    page = Image.new("RGB", (width, height), tuple(int(x) for x in paper))
    ImageDraw.Draw(page).text((pad[0] - left, pad[2] - top), text, tuple(int(x) for x in ink), font)
    return page


def _tilted(page: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Move each corner a little: a slight rotation and perspective at once."""
    width, height = page.size
    corners = np.array([(0, 0), (width, 0), (width, height), (0, height)], np.float64)
    shift = rng.uniform(-1, 1, (4, 2)) * (0.25 * height, 0.07 * height)
    coefficients = _perspective(corners, corners + shift)
    paper = page.getpixel((0, 0))
    return page.transform(
        page.size, Image.Transform.PERSPECTIVE, coefficients, Image.Resampling.BICUBIC, fillcolor=paper
    )


def _perspective(target: NDArray[np.float64], source: NDArray[np.float64]) -> list[float]:
    """Return the 8 numbers that send the target's corners to the source's."""
    rows, values = [], []
    for (x, y), (u, v) in zip(target, source, strict=True):
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
        values += [u, v]
    return [float(c) for c in np.linalg.solve(np.array(rows), np.array(values))]


def _lit(page: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Weaken the contrast and lay a slope of light over the line."""
    pixels = np.asarray(page, np.float64)
    contrast, slope = rng.uniform(0.35, 1.0), rng.uniform(-40, 40)
    lit = 128 + (pixels - 128) * contrast + np.linspace(-slope, slope, pixels.shape[1])[None, :, None]
    return Image.fromarray(np.clip(lit, 0, 255).astype(np.uint8))


def _captured(page: Image.Image, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Blur, lose resolution, add the sensor's noise, and keep what JPEG keeps."""
    page = page.filter(ImageFilter.GaussianBlur(float(rng.uniform(0.0, 0.03) * page.height)))
    scale = rng.uniform(0.5, 1.0)
    page = page.resize(
        (max(8, int(page.width * scale)), max(8, int(page.height * scale))), Image.Resampling.BILINEAR
    )
    noise = rng.normal(0, rng.uniform(0, 14), (page.height, page.width, 1))
    noisy = np.clip(np.asarray(page, np.float64) + noise, 0, 255).astype(np.uint8)
    buffer = BytesIO()
    Image.fromarray(noisy).save(buffer, "JPEG", quality=int(rng.integers(45, 95)))
    return np.asarray(Image.open(buffer).convert("RGB"))
