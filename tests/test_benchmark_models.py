"""The nine models of the benchmarks: what is listed, the imbalanced twin, and the metrics that the projects bring."""

from __future__ import annotations

import importlib.util
import itertools
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from benchmarks.models import MODELS, detector, imbalance, make, making
from benchmarks.models.magika import features
from benchmarks.models.packages import Deb, Npm, fetch
from edgewise.bundle.processing import load_function
from edgewise.errors import InputError, ToolchainError, TrustError
from edgewise.lab import settings
from edgewise.lab.config import ConfigFile
from edgewise.lab.data import metrics
from edgewise.lab.places import debian
from models import model, normal, tensor, tiny_cnn

FILES = making.HERE / "files"
OWN = [name for name, found in MODELS.items() if found.module.startswith("benchmarks.")]


def test_there_are_nine_models_each_made_by_a_module_that_exists() -> None:
    assert len(MODELS) == 9
    assert all(importlib.util.find_spec(found.module) for found in MODELS.values())


@pytest.mark.parametrize("name", OWN)
def test_each_project_asks_for_99_percent_of_the_original(name: str) -> None:
    file = settings.read(FILES / name / "edgewise.toml", ConfigFile)
    assert file.goal.quality == "99% of original"
    assert file.model.name == name == MODELS[name].module.rpartition(".")[2]
    assert metrics.kind(file.data.metric or "")
    assert (FILES / name / "NOTICE.md").is_file()


def test_an_unknown_model_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no model 'resnet': known are sentiment, recogniser"):
        make("resnet", tmp_path)


def test_a_model_that_needs_torch_says_so_where_it_is_not_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("fashion", "training"):
        monkeypatch.delitem(sys.modules, f"benchmarks.models.{module}", raising=False)
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ToolchainError, match=r"torch is not installed. Run: pip install 'edgewise\[torch\]'"):
        make("fashion", tmp_path / "project")


def answers(proto: onnx.ModelProto, feeds: dict[str, Any]) -> NDArray[np.float32]:
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    found: NDArray[np.float32] = session.run(None, feeds)[0]
    return found


def ranges(proto: onnx.ModelProto, name: str) -> NDArray[np.float32]:
    """Return the largest weight of each channel."""
    array = next(numpy_helper.to_array(t) for t in proto.graph.initializer if t.name == name)
    return np.asarray(np.abs(array).reshape(len(array), -1).max(axis=1))


def test_the_twin_gives_the_same_answers_from_channels_of_very_different_range() -> None:
    plain, twin = tiny_cnn(), tiny_cnn()
    assert imbalance.spread(twin, seed=1) == 1
    image = normal(7, 16, 3, 8, 8)
    expected = answers(plain, {"image": image})
    np.testing.assert_allclose(answers(twin, {"image": image}), expected, atol=1e-4 * np.abs(expected).max())
    spans = [ranges(proto, "w1").max() / ranges(proto, "w1").min() for proto in (plain, twin)]
    assert spans[1] > 20 * spans[0]


def test_full_convolutions_are_spread_too() -> None:
    twin, plain = separable(), separable()
    assert imbalance.spread(twin, seed=1) == 2
    image = normal(8, 4, 3, 8, 8)
    expected = answers(plain, {"image": image})
    np.testing.assert_allclose(answers(twin, {"image": image}), expected, atol=1e-4 * np.abs(expected).max())
    assert not np.allclose(ranges(twin, "w2"), ranges(plain, "w2"))


def test_a_channel_that_something_else_reads_stays_as_it_is() -> None:
    twin = separable(second_reader=True)
    assert imbalance.spread(twin, seed=1) == 1
    assert np.array_equal(ranges(twin, "w1"), ranges(separable(), "w1"))


def separable(*, second_reader: bool = False) -> onnx.ModelProto:
    """3×3, ReLU, depthwise, ReLU, 1×1; where there is a second reader, the first ReLU is an output as well."""
    nodes = [
        helper.make_node("Conv", ["image", "w1", "b1"], ["a"], "conv", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["a"], ["b"], "relu1"),
        helper.make_node("Conv", ["b", "w2"], ["c"], "depthwise", group=8, pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["d"], "relu2"),
        helper.make_node("Conv", ["d", "w3"], ["y"], "pointwise"),
    ]
    weights = {"w1": normal(1, 8, 3, 3, 3), "b1": normal(2, 8), "w2": normal(3, 8, 1, 3, 3)}
    outputs = [tensor("y", ["batch", 4, 8, 8])]
    outputs += [tensor("b", ["batch", 8, 8, 8])] if second_reader else []
    weights["w3"] = normal(4, 4, 8, 1, 1)
    return model(nodes, [tensor("image", ["batch", 3, 8, 8])], outputs, weights)


def test_a_package_in_the_cache_is_not_fetched_again(tmp_path: Path) -> None:
    (tmp_path / "left-1.0.tgz").write_bytes(b"kept")
    assert fetch(Npm("left", "1.0", "sha512-"), tmp_path).read_bytes() == b"kept"


def test_a_debian_package_that_is_not_the_pinned_one_is_refused_and_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def download(pin: str, folder: Path) -> Path:
        (folder / "left.deb").write_bytes(pin.encode())
        return folder / "left.deb"

    monkeypatch.setattr(debian, "download", download)
    with pytest.raises(TrustError, match=r"another left_1.0_all.deb than the one that was pinned"):
        fetch(Deb("left", "1.0", "00"), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_pages_are_drawn_again_from_their_seed_and_their_boxes_do_not_touch() -> None:
    texts = ["Total $10.50", "Open Monday to Friday", "Seat A12, gate B", "Batch QX-1234"]
    pixels, boxes = detector.page(texts, np.random.default_rng(3))
    again, _ = detector.page(texts, np.random.default_rng(3))
    assert np.array_equal(pixels, again)
    assert pixels.shape == (320, 320, 3)
    assert len(boxes) >= 3
    assert all(above[3] < below[1] for above, below in itertools.pairwise(boxes))


def page_map(*boxes: Sequence[int]) -> dict[str, NDArray[np.float32]]:
    """Return what a perfect detector says: each box shrunk by a quarter of its height on every side."""
    scores = np.zeros((1, 1, 64, 128), np.float32)
    for left, top, right, bottom in boxes:
        less = (bottom - top) // 4
        scores[0, 0, top + less : bottom - less, left + less : right - less] = 0.9
    return {"map": scores}


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ([(10, 4, 90, 20), (20, 36, 110, 52)], 1.0),
        ([(10, 4, 90, 20)], 2 / 3),
        ([(10, 4, 90, 20), (20, 36, 110, 52), (10, 56, 60, 63)], 4 / 5),
        ([(10, 4, 40, 20), (60, 36, 110, 52)], 1 / 2),
        ([], 0.0),
    ],
    ids=["all", "one missing", "one too many", "one too short", "none"],
)
def test_box_f1_counts_lines_found_by_half(found: list[tuple[int, ...]], expected: float) -> None:
    box_f1 = load_function(FILES / "detector" / "box_f1.py", "box_f1")
    label = np.array([(10, 4, 90, 20), (20, 36, 110, 52), (-1, -1, -1, -1)])
    assert box_f1(page_map(*found), label) == pytest.approx(expected)


def test_frame_auc_averages_to_the_area_under_the_curve(tmp_path: Path) -> None:
    from sklearn.metrics import roc_auc_score

    rng = np.random.default_rng(0)
    speech, silence = rng.normal(1, 1, 80), rng.normal(0, 1, 60).round(1)
    np.savez(tmp_path / "reference.npz", speech=speech, silence=silence)
    (tmp_path / "frame_auc.py").write_text((FILES / "silero" / "frame_auc.py").read_text())
    frame_auc = load_function(tmp_path / "frame_auc.py", "frame_auc")
    expected = roc_auc_score([1] * 80 + [0] * 60, [*speech, *silence])
    for scores, label in ((speech, 1), (silence, 0)):
        parts = [frame_auc({"output": np.array([[score]])}, label) for score in scores]
        assert np.mean(parts) == pytest.approx(expected)


@pytest.mark.parametrize("guess", [[], [7, 3], [1, 2, 3], [50256], list(range(60))])
def test_a_guess_does_not_change_what_is_decoded(guess: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    decode = load_function(FILES / "whisper" / "token_agreement.py", "decode")
    module = sys.modules[decode.__module__]

    def following(tokens: Sequence[int], features: NDArray[np.float32]) -> list[int]:
        """Say of each token what is likeliest after it: a word that all before it decide, and the end after five."""
        return [50256 if end == 7 else sum(tokens[:end]) % 11 for end in range(1, len(tokens) + 1)]

    monkeypatch.setattr(module, "_next", following)
    plain = decode(np.zeros((1, 1, 1), np.float32))
    assert plain[-1] == 50256
    assert len(plain) == 6
    assert decode(np.zeros((1, 1, 1), np.float32), [*plain[:2], *guess]) == plain


def test_the_ends_of_a_file_are_read_without_the_white_space_around_it(tmp_path: Path) -> None:
    path = tmp_path / "short.txt"
    path.write_bytes(b"  \nab\n\n")
    found = features(path)
    assert found.shape == (2048,)
    assert found[:6].tolist() == [*b"ab\n\n", 256, 256]
    assert found[-6:].tolist() == [256, *b"  \nab"]
