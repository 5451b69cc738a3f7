"""Bad input, through the command line: a message that names what and where, exit code 2, and nothing left behind."""

from __future__ import annotations

import errno
import os
import resource
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

import guarded
from conftest import Command
from edgewise.facade import Build
from projects import Project

Break = Callable[[Project], object]
METRIC = 'metric = "accuracy"'


def external(project: Project, location: str = "weights.bin") -> Path:
    """Keep the model's weights in a file of their own, which the model says is at `location`."""
    proto = onnx.load(project.model)
    project.model.unlink()
    onnx.save(proto, project.model, save_as_external_data=True, location="weights.bin", size_threshold=0)
    proto = onnx.load(project.model, load_external_data=False)
    for stored in proto.graph.initializer:
        next(entry for entry in stored.external_data if entry.key == "location").value = location
    project.model.write_bytes(proto.SerializeToString())
    return project.folder / "weights.bin"


def with_nan(array: np.ndarray, value: float = np.nan) -> np.ndarray:
    changed = array.copy()
    changed[3, 5] = value
    return changed


def user_metric(body: str) -> Break:
    def write(project: Project) -> None:
        project.write("mine.py", f"def score(outputs, label):\n    {body}\n")
        project.set(METRIC, 'metric = "mine.py:score"')

    return write


def leaking(project: Project) -> None:
    """Put sample 0 into two splits."""
    project.change(
        x=lambda x: np.concatenate([x, x[:1]]),
        labels=lambda labels: np.append(labels, labels[0]),
        split=lambda _: np.array(["calibration"] * 100 + ["search"] * 300 + ["test"] * 501),
    )


def leaking_groups(project: Project) -> None:
    project.change(
        split=lambda _: np.array(["calibration"] * 100 + ["search"] * 300 + ["test"] * 500),
        groups=lambda _: np.arange(900) % 450,
    )


# What is wrong: how to make it so, and what the message must say.
BROKEN: dict[str, tuple[Break, list[str]]] = {
    # the model
    "no model": (lambda p: p.model.unlink(), ["model.onnx", "does not exist"]),
    "empty model": (lambda p: p.model.write_bytes(b""), ["model.onnx", "is empty"]),
    "not ONNX": (lambda p: p.model.write_bytes(b"GIF89a picture"), ["model.onnx", "not an ONNX model"]),
    "a folder for a model": (lambda p: p.set('"model.onnx"', '"."'), ["is a folder"]),
    "truncated ONNX": (
        lambda p: p.model.write_bytes(p.model.read_bytes()[:-2000]),
        ["model.onnx", "truncated", "copy or download it again"],
    ),
    "external data missing": (lambda p: external(p).unlink(), ["model.onnx", "weights.bin", "missing"]),
    "external data cut short": (
        lambda p: external(p).write_bytes(b"short"),
        ["weights.bin", "5 bytes", "cut short"],
    ),
    "external data outside the folder": (
        lambda p: external(p, "../weights.bin"),
        ["model.onnx", "'../weights.bin'", "not inside its folder"],
    ),
    "external data at an absolute path": (
        lambda p: external(p, "/etc/passwd"),
        ["model.onnx", "'/etc/passwd'", "not inside its folder"],
    ),
    # the data
    "no data": (lambda p: p.samples.unlink(), ["samples.npz", "does not exist"]),
    "damaged data": (
        lambda p: p.samples.write_bytes(p.samples.read_bytes()[:5000]),
        ["samples.npz", "cannot be read"],
    ),
    "wrong input name": (
        lambda p: p.change(image=lambda _: np.zeros((900, 64), np.float32)),
        ["samples.npz", "'image' is no input", "inputs are x"],
    ),
    "input missing": (lambda p: p.change(x=lambda _: None), ["samples.npz", "holds no samples"]),
    "wrong input shape": (
        lambda p: p.change(x=lambda x: x[:, :63]),
        ["samples.npz: sample 0", "'x'", "[1, 63]", "['batch', 64]"],
    ),
    "wrong input type": (
        lambda p: p.change(x=lambda x: x.astype(np.float64)),
        ["samples.npz: sample 0", "'x' is float64", "float32"],
    ),
    "NaN": (lambda p: p.change(x=with_nan), ["samples.npz: sample 3", "'x' holds NaN"]),
    "infinity": (
        lambda p: p.change(x=lambda x: with_nan(x, np.inf)),
        ["samples.npz: sample 3", "'x' holds infinity"],
    ),
    "labels missing": (
        lambda p: p.change(labels=lambda _: None),
        ["edgewise.toml", "'accuracy' needs labels", "samples.npz"],
    ),
    "labels out of range": (
        lambda p: p.change(labels=lambda labels: labels + 1),
        ["samples.npz: sample ", "label 10 is out of range", "0 to 9"],
    ),
    "labels of another length": (
        lambda p: p.change(labels=lambda labels: labels[:-1]),
        ["samples.npz", "'labels' has 899 entries for 900 samples"],
    ),
    "empty data": (
        lambda p: p.change(x=lambda x: x[:0], labels=lambda labels: labels[:0]),
        ["samples.npz is empty", "at least 20"],
    ),
    "tiny data": (
        lambda p: p.change(x=lambda x: x[:7], labels=lambda labels: labels[:7]),
        ["samples.npz has 7 samples", "at least 20"],
    ),
    "leaking splits": (leaking, ["samples.npz", "leaking splits", "samples 0 (calibration) and 900 (test)"]),
    "leaking groups": (leaking_groups, ["samples.npz", "leaking splits", "share a group"]),
    # edgewise.toml
    "no configuration": (lambda p: p.config.unlink(), ["edgewise.toml does not exist", "edgewise init"]),
    "not TOML": (lambda p: p.set("[goal]", "[goal"), ["edgewise.toml is not valid TOML", "line 9"]),
    "unknown key": (
        lambda p: p.set('size = "1 MB"', 'sise = "1 MB"'),
        ["edgewise.toml, line 12", "unknown key 'sise'"],
    ),
    "bad unit": (
        lambda p: p.set('"1 MB"', '"1 megabyte"'),
        ["edgewise.toml, line 12, goal.size", "bad unit in '1 megabyte'"],
    ),
    "impossible goal": (
        lambda p: p.set('"1 s"', '"0 ms"'),
        ["edgewise.toml, line 11, goal.latency_p95", "impossible goal '0 ms'"],
    ),
    "impossible quality": (
        lambda p: p.set('"95% of original"', '"120% of original"'),
        ["edgewise.toml, line 10, goal.quality", "impossible goal '120% of original'"],
    ),
    "unknown metric": (
        lambda p: p.set(METRIC, 'metric = "acuracy"'),
        ["unknown metric 'acuracy'", "known are accuracy"],
    ),
    "metric missing": (lambda p: p.set(METRIC, ""), ["edgewise.toml", "metric is missing"]),
    "no fleet": (lambda p: p.set('"fleet.toml"', '"flet.toml"'), ["flet.toml does not exist"]),
    "unknown runtime": (
        lambda p: p.write("fleet.toml", '[[tier]]\nname = "tv"\nshare = 1.0\nruntimes = ["abacus"]\n'),
        ["tier 'tv'", "unknown runtime 'abacus'"],
    ),
    # the user's own metric
    "metric file missing": (
        lambda p: p.set(METRIC, 'metric = "mine.py:score"'),
        ["mine.py does not exist"],
    ),
    "metric that raises": (
        user_metric("raise RuntimeError('the dog ate it')"),
        ["mine.py:score raised RuntimeError: the dog ate it"],
    ),
    "metric that returns NaN": (
        user_metric("return float('nan')"),
        ["mine.py:score returned nan", "return a finite number"],
    ),
}


@pytest.mark.parametrize("what", BROKEN)
def test_bad_input_is_named_and_leaves_nothing_behind(
    what: str, project: Project, command: Command, tidy: Path
) -> None:
    break_it, wanted = BROKEN[what]
    break_it(project)
    before = sorted(project.folder.rglob("*"))
    said = command("build", project.config, "-o", tidy / "new" / "out")
    message = said.err.splitlines()[-1]
    assert (said.code, said.out) == (2, "")
    assert message.startswith("edgewise: ")
    assert [part for part in wanted if part not in message] == []
    assert sorted(project.folder.rglob("*")) == before or what.startswith("metric")  # __pycache__


@pytest.mark.slow
def test_an_earlier_output_stays_as_it_was(
    built: Build, project: Project, command: Command, tmp_path: Path
) -> None:
    out = shutil.copytree(built.report.parent, tmp_path / "out")
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    project.model.write_bytes(b"")
    assert command("build", project.config, "-o", out).code == 2
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before


# Outputs that cannot be


def a_file(place: Path) -> Path:
    place.write_text("mine")
    return place


def somebodys_folder(place: Path) -> Path:
    place.mkdir()
    (place / "thesis.tex").write_text("mine")
    return place


OUTPUTS: dict[str, tuple[Callable[[Path], Path], str]] = {
    "a file in the way": (a_file, "is a file"),
    "a folder that is not edgewise's": (somebodys_folder, "not an edgewise output"),
    "below a file": (lambda place: a_file(place) / "out", "is not writable"),
    "where root may not write either": (lambda _: Path("/proc/edgewise-out"), "/proc is not writable"),
}


@pytest.mark.parametrize("what", OUTPUTS)
def test_an_output_that_cannot_be_written_is_refused_before_any_work(
    what: str, digits_project: Project, command: Command, tidy: Path, tmp_path: Path
) -> None:
    make, wanted = OUTPUTS[what]
    out = make(tmp_path / "place")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    said = command("build", digits_project.config, "-o", out)
    assert (said.code, said.err.count("\n")) == (2, 1)
    assert str(out).startswith(said.err.split()[1])
    assert wanted in said.err
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_the_folder_one_stands_in_is_not_replaced(
    digits_project: Project, command: Command, tidy: Path
) -> None:
    said = command("build", digits_project.config, "-o", ".")
    assert (said.code, said.err) == (
        2,
        "edgewise: . cannot be replaced as a whole: choose a new folder inside it\n",
    )


def test_a_cache_that_cannot_be_written_is_named(
    project: Project, command: Command, tidy: Path, tmp_path: Path
) -> None:
    cache = a_file(tmp_path / "place") / "cache"
    said = command("build", project.config, "-o", tidy / "out", "--cache", cache)
    assert said.code == 2
    assert f"the cache {cache} is not writable" in said.err.splitlines()[-1]


# A full disk


def test_no_room_for_temporary_files_names_the_folder(digits_project: Project, tmp_path: Path) -> None:
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    limit = 20_000  # bytes of one file: the model fits, the samples do not
    done = subprocess.run(
        [guarded.EDGEWISE, "build", digits_project.config, "-o", tmp_path / "out"],
        env=os.environ | {"TMPDIR": str(temporary)},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    message = done.stderr.splitlines()[-1]
    assert message.startswith(f"edgewise: no room for temporary files in {temporary} (File too large)")
    assert list(tmp_path.iterdir()) == [temporary]
    assert list(temporary.iterdir()) == []


def test_no_room_in_the_cache_stops_the_build_and_names_it(
    project: Project, command: Command, tidy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = "import numpy\ndef savez(*_, **__):\n    raise OSError(28, 'No space left on device')\nnumpy.savez = savez\n"
    project.write("sitecustomize.py", full)
    monkeypatch.setenv("PYTHONPATH", str(project.folder))  # of the workers: this process is running
    cache = tmp_path / "cache"
    said = command("build", project.config, "-o", tidy / "out", "--cache", cache)
    assert said.code == 2
    message = said.err.splitlines()[-1]
    assert message.startswith(f"edgewise: the cache {cache} is not writable (No space left on device)")
    assert [path for path in cache.rglob("*") if path.is_file()] == []


@pytest.mark.slow
@pytest.mark.usefixtures("built", "few")  # `built` has filled the cache and made the key
def test_no_room_for_the_output_names_it_and_leaves_nothing(
    project: Project, command: Command, tidy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        if tidy in Path(f"/proc/self/fd/{descriptor}").readlink().parents:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    said = command("build", project.config, "-o", tidy / "out")
    assert said.code == 2
    message = said.err.splitlines()[-1]
    assert message.startswith(f"edgewise: cannot write {tidy}")
    assert "No space left on device; nothing was left behind" in message
