"""Declared steps in a browser: the same tensors and the same answers as in Python."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import sklearn
from numpy.typing import NDArray
from PIL import Image as PilImage
from webpage import Client, PageError

from edgewise.bundle.processing import postprocessor, preprocessor
from edgewise.bundle.steps import Ctc, Image, PostStep, Softmax

pytestmark = pytest.mark.slow

PHOTOS = Path(sklearn.__file__).parent / "datasets" / "images"
CTC = Ctc(output="y", file="letters.txt")
STEPS: dict[str, dict[str, Any]] = {
    "as it is": {},
    "both sides": {"height": 224, "width": 224},
    "larger": {"height": 500, "width": 700},
    "one side smaller, one larger": {"height": 100, "width": 900},
    "a height alone, filled up": {"height": 48, "multiple": 64},
    "a width alone": {"width": 33},
    "a width alone, filled up": {"width": 50, "multiple": 32},
    "normalised": {"height": 64, "width": 64, "mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)},
    "one mean for all": {"height": 64, "width": 64, "mean": (0.5,), "std": (0.5,)},
    "BGR": {"height": 32, "width": 48, "channels": "BGR", "mean": (0.1, 0.2, 0.3), "std": (1.0, 2.0, 3.0)},
    "grey": {"height": 28, "width": 28, "channels": "L", "mean": (0.13, 0.0, 0.0), "std": (0.3, 1.0, 1.0)},
    "channels last": {"height": 40, "width": 30, "layout": "NHWC"},
}
AS_BYTES = "btoa(Array.from(new Uint8Array(data.buffer), (byte) => String.fromCharCode(byte)).join(''))"


def native(raw: Any, step: Image) -> NDArray[Any]:
    return preprocessor((step,), Path)(raw)[step.input]


def document(step: Any) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.to_builtins(step)
    return found


def in_page(client: Client, picture: str, step: Image) -> NDArray[np.float32]:
    """Return what the page makes of the file `picture`, or of the picture that the expression makes."""
    shape, data = client.call(
        f"""async ([picture, step]) => {{
          const {{ preprocessor }} = await module("steps");
          const raw = picture.startsWith("(") ? eval(picture) : await (await fetch(`./bundles/${{picture}}`)).blob();
          const {{ shape, data }} = (await (await preprocessor([step]))(raw))[step.input];
          return [shape, {AS_BYTES}];
        }}""",
        [picture, document(step)],
    )
    return np.frombuffer(base64.b64decode(data), np.float32).reshape(shape)


@pytest.fixture(scope="module")
def files(client: Client) -> Path:
    """Photos in the ways that cameras and web sites store them."""
    photo = PilImage.open(PHOTOS / "china.jpg")
    turned = PilImage.Exif()
    turned[0x0112] = 6  # orientation: to be turned by 90 degrees
    photo.save(client.folder / "turned.jpg", exif=turned)
    photo.save(client.folder / "photo.png")
    photo.save(client.folder / "photo.webp")
    photo.save(client.folder / "rough.jpg", quality=40, progressive=True)
    photo.convert("L").save(client.folder / "grey.jpg")
    photo.convert("P").save(client.folder / "palette.png")
    (client.folder / "flower.jpg").write_bytes((PHOTOS / "flower.jpg").read_bytes())
    return client.folder


@pytest.mark.parametrize("name", STEPS)
def test_a_photo_becomes_the_same_tensor(client: Client, files: Path, name: str) -> None:
    step = Image(input="image", **STEPS[name])
    for file in ("flower.jpg", "photo.png"):
        np.testing.assert_array_equal(in_page(client, file, step), native((files / file).read_bytes(), step))


@pytest.mark.parametrize("file", ["turned.jpg", "photo.webp", "rough.jpg", "grey.jpg", "palette.png"])
def test_every_kind_of_file_becomes_the_same_tensor(client: Client, files: Path, file: str) -> None:
    step = Image(input="image", height=60, width=90)
    np.testing.assert_array_equal(in_page(client, file, step), native((files / file).read_bytes(), step))


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 50), (37, 3), (5, 7), (64, 64)])
def test_pixels_of_any_size_become_the_same_tensor(client: Client, height: int, width: int) -> None:
    for channels in (None, 3):
        shape = (height, width) if channels is None else (height, width, channels)
        raw = np.random.default_rng(height * width).integers(0, 256, shape, np.uint8)
        for step in (
            Image(input="image", height=13, width=29),
            Image(input="image", height=48),
            Image(input="image", width=2, multiple=3),
            Image(input="image", height=1, width=1),
        ):
            picture = f"({{ data: Uint8Array.from({raw.ravel().tolist()}), shape: {list(shape)} }})"
            np.testing.assert_array_equal(in_page(client, picture, step), native(raw, step))


def test_a_canvas_and_its_pixels_are_pictures(client: Client) -> None:
    raw = np.random.default_rng(1).integers(0, 256, (6, 8, 3), np.uint8)
    step = Image(input="image", height=4, width=4)
    opaque = np.dstack([raw, np.full((6, 8), 255, np.uint8)])
    pixels = f"new ImageData(Uint8ClampedArray.from({opaque.ravel().tolist()}), 8, 6)"
    canvas = f"(() => {{ const c = new OffscreenCanvas(8, 6); c.getContext('2d').putImageData({pixels}, 0, 0); return c; }})()"
    for picture in (f"({pixels})", canvas):
        np.testing.assert_array_equal(in_page(client, picture, step), native(raw, step))


def test_a_picture_whose_colours_a_browser_would_change_is_refused(client: Client, files: Path) -> None:
    clear = PilImage.new("RGBA", (4, 4), (200, 100, 50, 10))
    clear.save(files / "clear.png")
    (files / "none.png").write_bytes(b"not a picture")
    for file, message in (("clear.png", "transparent pixels"), ("none.png", "no picture")):
        with pytest.raises(PageError, match=f"InputError: no picture .*{message}|InputError: {message}"):
            in_page(client, file, Image(input="image"))


def answered(client: Client, post: PostStep, scores: NDArray[np.float32], letters: str = "") -> list[Any]:
    found: list[Any] = client.call(
        """async ([post, letters, shape, scores]) => {
          const { postprocessor } = await module("steps");
          const numbers = Float32Array.from(scores, Number);
          const run = await postprocessor([post], async () => letters);
          const { value, confidence, outputs } = run({ y: { dtype: "float32", shape, data: numbers } });
          return [value, confidence, Array.from(outputs.y.data, String)];
        }""",
        [
            document(post),
            letters,
            list(scores.shape),
            [str(one).replace("inf", "Infinity") for one in scores.ravel().tolist()],
        ],
    )
    return [found[0], found[1], np.array(found[2]).astype(np.float32)]


@pytest.mark.parametrize("letters", ["a\nb\nc\nd\n", "a\r\nb\r\nc\r\nd", "é\n\u3000\n日\n😀\n", "a\nb"])
@pytest.mark.parametrize("blank", [0, 2, 4])
def test_ctc_reads_the_same_text(client: Client, tmp_path: Path, letters: str, blank: int) -> None:
    file = tmp_path / "letters.txt"
    file.write_bytes(letters.encode())
    scores = np.random.default_rng(blank).random((1, 40, 5)).astype(np.float32)
    step = Ctc(output="y", file="letters.txt", blank=blank)
    wanted = postprocessor((step,), lambda _: file)({"y": scores})
    value, confidence, _ = answered(client, step, scores, letters)
    assert value == wanted.value
    assert confidence == pytest.approx(wanted.confidence)


@pytest.mark.parametrize("row", [[1, 2, 3], [1e4, -1e4, 0], [7, 7, 7], [np.inf, 0, 1], [np.nan, 0, 1]])
def test_softmax_gives_the_same_shares(client: Client, row: list[float]) -> None:
    scores = np.array([row, row[::-1]], np.float32)
    with np.errstate(invalid="ignore"):
        wanted = postprocessor((Softmax(output="y"),), Path)({"y": scores}).outputs["y"]
    np.testing.assert_allclose(answered(client, Softmax(output="y"), scores)[2], wanted.ravel(), atol=1e-7)


def test_scores_that_are_not_finite_or_of_a_batch_have_no_answer(client: Client) -> None:
    for scores in (np.full((1, 4, 5), np.nan, np.float32), np.zeros((2, 4, 5), np.float32)):
        assert answered(client, CTC, scores, "a\nb\n")[:2] == [None, None]
