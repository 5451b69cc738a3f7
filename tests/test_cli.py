"""The command line: every verb's help and JSON, exit codes, progress, Ctrl-C, and the names of the package."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import psutil
import pytest

import bundles
import edgewise
import guarded
from conftest import Command
from edgewise.cli import VERBS
from edgewise.facade import Build
from edgewise.lab.result import BuildResult
from projects import Project

# Every verb


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself_and_offers_json(verb: str, command: Command) -> None:
    said = command(verb, "--help")
    assert said.code == 0
    assert "--json" in said.out


def test_help_lists_the_verbs_in_the_order_of_the_work(command: Command) -> None:
    listed = [
        line.split()[0] for line in command("--help").out.partition("Commands:")[2].splitlines() if line
    ]
    assert listed == list(VERBS)


def test_the_version_is_that_of_the_package(command: Command) -> None:
    from importlib.metadata import version

    assert command("--version").out.strip().endswith(version("edgewise"))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["biuld"], "No such command 'biuld'"),
        (["run", "bundle"], "Missing option '-i'"),
        (["inspect", "m.onnx", "--dim", "batch"], "write NAME=N"),
        (["demo", "vision"], "'vision' is not one of 'sentiment', 'ocr'"),
    ],
)
def test_wrong_usage_is_exit_2(arguments: list[str], said: str, command: Command) -> None:
    told = command(*arguments)
    assert told.code == 2
    assert said in told.err


# What nobody foresaw


@pytest.mark.parametrize("debug", [False, True])
def test_an_unforeseen_error_is_one_line_and_exit_3(
    *, debug: bool, monkeypatch: pytest.MonkeyPatch, command: Command
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise KeyError("oops")

    monkeypatch.setattr("edgewise.cli.verify.verify", broken)
    monkeypatch.setenv("EDGEWISE_DEBUG", "1" if debug else "")
    said = command("verify", "bundle")
    *traceback, line = said.err.splitlines()
    assert said.code == 3
    assert line.startswith("edgewise: unforeseen KeyError: 'oops'. This is a fault of edgewise: report it")
    assert bool(traceback) == debug


@pytest.mark.parametrize("verb", ["verify", "run"])
def test_a_path_that_the_system_refuses_is_one_line_and_exit_2(verb: str, command: Command) -> None:
    said = command(verb, "b" * 5000, *(["-i", "x"] if verb == "run" else []))
    assert said.code == 2
    assert "File name too long: give another path" in said.err
    assert said.err.count("\n") == 1


# init


def test_what_init_writes_lacks_nothing_but_the_users_model(
    command: Command, tidy: Path, tmp_path: Path
) -> None:
    assert command("init", tmp_path / "new").code == 0
    said = command("build", tmp_path / "new")
    assert said.code == 2
    assert said.err.endswith(f"{tmp_path / 'new' / 'model.onnx'} does not exist\n")


def test_init_as_json_says_where(command: Command, tidy: Path, tmp_path: Path) -> None:
    said = command("init", tmp_path / "new", "--json")
    assert json.loads(said.out) == {"config": str(tmp_path / "new" / "edgewise.toml")}


def test_init_leaves_an_existing_configuration_alone(command: Command, project: Project) -> None:
    before = project.config.read_text()
    said = command("init", project.folder)
    assert (said.code, project.config.read_text()) == (2, before)
    assert f"{project.config} exists already" in said.err


def test_init_below_a_file_is_refused(command: Command, project: Project) -> None:
    said = command("init", project.model / "new")
    assert said.code == 2
    assert said.err.startswith(f"edgewise: cannot write {project.model / 'new'}: Not a directory")


# inspect


def test_inspect_tells_what_a_model_costs(command: Command, project: Project) -> None:
    said = command("inspect", project.model, "--dim", "batch=1")
    assert said.code == 0
    assert said.out.startswith("MACs 2,368   parameters 2,410\n")  # 64 × 32 + 32 × 10, and 42 biases


def test_inspect_as_json_is_the_profile(command: Command, project: Project) -> None:
    found = json.loads(command("inspect", project.model, "--json").out)
    assert (found["macs"], found["parameters"]) == (2368, 2410)


def test_an_unknown_dimension_is_refused(command: Command, project: Project) -> None:
    said = command("inspect", project.model, "--dim", "length=3")
    assert (said.code, said.out) == (2, "")
    assert "no dynamic dimension 'length'; it has: batch" in said.err


# run


def test_run_answers_text_with_label_and_confidence_first(tmp_path: Path, command: Command) -> None:
    said = command("run", bundles.text(tmp_path / "b"), "-i", "great battery life")
    assert said.out.splitlines() == [
        "positive 0.95",
        "from device: onnxruntime (variant of tier 'all')",
    ]


def test_run_as_json_has_every_field_of_the_answer(tmp_path: Path, command: Command) -> None:
    said = command("run", bundles.text(tmp_path / "b"), "-i", "awful", "--json")
    answer = json.loads(said.out)
    assert set(answer) == set(edgewise.Answer.__struct_fields__)
    assert (answer["value"], answer["route"]) == ("negative", "device")


def test_run_takes_a_picture_by_its_path(tmp_path: Path, command: Command) -> None:
    file = tmp_path / "night.png"
    file.write_bytes(bundles.png(0))
    assert command("run", bundles.picture(tmp_path / "b"), "-i", file).out.startswith("dark 1.00\n")


def test_run_takes_tensors_from_npz(tmp_path: Path, command: Command) -> None:
    np.savez(tmp_path / "x.npz", x=np.ones((1, 8), np.float32))
    said = command("run", bundles.write(tmp_path / "b"), "-i", tmp_path / "x.npz")
    assert said.out.startswith("logits: [[")


def test_text_that_ends_like_a_file_is_still_text(tmp_path: Path, command: Command) -> None:
    assert command("run", bundles.text(tmp_path / "b"), "-i", "great samples.npz").code == 0


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("x.npz", None, "does not exist"),
        ("x.npz", b"PK\x03\x04 cut short", "cannot be read as .npz"),
        ("x.npz", b"", "cannot be read as .npz"),
        ("x.txt", b"great", "this bundle takes tensors"),
    ],
)
def test_input_that_cannot_be_read_is_named(
    name: str, content: bytes | None, said: str, tmp_path: Path, command: Command
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    told = command("run", bundles.write(tmp_path / "b"), "-i", tmp_path / name)
    assert (told.code, told.out) == (2, "")
    assert said in told.err


# verify


@pytest.mark.slow
def test_verify_says_what_was_checked(built: Build, command: Command) -> None:
    said = command("verify", built.path)
    assert said.code == 0
    assert "artifacts as written, signing: development\n  pre-processing: none declared\n" in said.out


@pytest.mark.slow
def test_verify_as_json_lists_every_variant(built: Build, command: Command) -> None:
    checked = json.loads(command("verify", built.path, "--json").out)
    assert [check["variant"] for check in checked["variants"]] == [c.candidate for c in built.result.claims]


@pytest.mark.slow
def test_a_manifest_changed_after_signing_is_exit_4(built: Build, tmp_path: Path, command: Command) -> None:
    copy = shutil.copytree(built.path, tmp_path / "bundle")
    manifest = copy / "manifest.json"
    manifest.write_bytes(manifest.read_bytes().replace(b'"share":0.4', b'"share":0.5'))
    said = command("verify", copy)
    assert said.code == 4
    assert "does not fit manifest.json" in said.err


# build and demo


@pytest.mark.slow
def test_a_build_whose_goals_are_met_is_exit_0(build_run: guarded.Run) -> None:
    assert (build_run.code, build_run.err[-300:] if build_run.code else "") == (0, "")


@pytest.mark.slow
def test_progress_is_plain_lines_where_there_is_no_terminal(build_run: guarded.Run, built: Build) -> None:
    tried = len(built.result.candidates) - 1
    assert f"Building candidates ({tried})\n" in build_run.err
    assert f"\n  {tried}/{tried} " in build_run.err
    assert "\x1b" not in build_run.err


@pytest.mark.slow
def test_the_table_says_how_its_figures_are_known(build_run: guarded.Run) -> None:
    assert "\nFigures: measured, on linux-" in build_run.out.replace("darwin-", "linux-")


@pytest.mark.slow
def test_every_candidate_and_tier_is_in_the_tables(build_run: guarded.Run, built: Build) -> None:
    named = [row.id for row in built.result.candidates] + [tier.name for tier in built.result.tiers]
    assert [name for name in named if name not in build_run.out] == []


@pytest.fixture
def prepared(monkeypatch: pytest.MonkeyPatch, built: Build, project: Project) -> None:
    """A demo whose download and build were done before."""
    monkeypatch.setattr("edgewise.demo.sentiment.make_project", lambda *_: project.config)
    monkeypatch.setattr("edgewise.facade.build", lambda *_, **__: built)


@pytest.mark.slow
@pytest.mark.usefixtures("prepared")
@pytest.mark.parametrize("verb", ["build", "demo"])
def test_a_build_as_json_is_its_result_and_nothing_else(verb: str, built: Build, command: Command) -> None:
    said = command(verb, "--json")
    assert msgspec.json.decode(said.out, type=BuildResult) == built.result
    assert (said.code, said.err) == (0, "")


# A missing extra


@pytest.mark.parametrize(
    ("verb", "library"), [("build", "onnx"), ("build", "rich"), ("build", "jinja2"), ("inspect", "onnx")]
)
def test_a_missing_library_of_the_lab_is_named_with_its_command(
    verb: str, library: str, project: Project, tidy: Path
) -> None:
    code = f"""
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == {library!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Absent())
from edgewise.cli import main
main()
"""
    given = {"build": project.config, "inspect": project.model}[verb]
    done = subprocess.run(
        [sys.executable, "-c", code, verb, given], capture_output=True, text=True, check=False
    )
    assert done.returncode == 3
    said = f"edgewise: {library} is not installed. Run: pip install 'edgewise[lab]'\n"
    assert done.stderr.endswith(said)
    assert not (project.folder / "edgewise-out").exists()


# Ctrl-C

SLOW = ("openvino/openvino-ptq-performance", "openvino/openvino-ptq-mixed")
QUICK = "openvino/original"


@pytest.fixture
def cache_with_gaps(built: Build, home: Path, tmp_path: Path) -> Path:
    """A cache that lacks three artifacts, one of them quick to build."""
    cache = shutil.copytree(home / "cache", tmp_path / "cache")
    gaps = {built.result.row(name).artifact for name in (QUICK, *SLOW)}
    for entry in (cache / "builds").iterdir():
        if artifact_in(entry) in gaps:
            shutil.rmtree(entry)
    return cache


def artifact_in(entry: Path) -> str:
    from edgewise.lab.compress.worker import Done

    return msgspec.json.decode((entry / "built.json").read_bytes(), type=Done).artifact.digest


@dataclass(frozen=True)
class Stopped:
    """A build that was stopped while it built candidates: its end, its workers, and what they had finished."""

    code: int
    err: str
    workers: list[psutil.Process]
    left_behind: list[Path]
    new_entries: int
    finished: set[str]


@pytest.fixture
def stop(project: Project, cache_with_gaps: Path, tmp_path: Path) -> Callable[[signal.Signals], Stopped]:
    """Return a function that starts a build and stops it by a signal once the quick artifact is built."""

    def run(by: signal.Signals) -> Stopped:
        temporary = tmp_path / "tmp"
        temporary.mkdir()
        entries = cache_with_gaps / "builds"
        before = set(entries.iterdir())
        build = subprocess.Popen(
            [guarded.EDGEWISE, "build", project.config, "-o", tmp_path / "out", "--cache", cache_with_gaps],
            env=os.environ | {"TMPDIR": str(temporary)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert build.stderr is not None
        for line in build.stderr:
            if QUICK in line:
                break
        workers = psutil.Process(build.pid).children(recursive=True)
        build.send_signal(by)
        _, err = build.communicate(timeout=30)
        after = set(entries.iterdir())
        return Stopped(
            code=build.returncode,
            err=err,
            workers=workers,
            left_behind=[*temporary.iterdir(), *tmp_path.glob("*out*")],
            new_entries=len(after - before),
            finished={artifact_in(entry) for entry in after},
        )

    return run


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="processes are stopped another way there")
@pytest.mark.parametrize("by", [signal.SIGINT, signal.SIGTERM])
def test_a_build_that_is_stopped_clears_up_and_says_where_finished_work_is(
    by: signal.Signals, stop: Callable[[signal.Signals], Stopped], cache_with_gaps: Path
) -> None:
    stopped = stop(by)
    kept = f"finished candidates stay in {cache_with_gaps} and are used on the next run"
    assert (stopped.code, stopped.err.splitlines()[-1]) == (130, f"edgewise: interrupted; {kept}")
    assert stopped.workers != []
    assert [worker for worker in stopped.workers if worker.is_running()] == []
    assert stopped.left_behind == []


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="processes are stopped another way there")
def test_the_next_run_takes_what_a_stopped_one_had_finished(
    stop: Callable[[signal.Signals], Stopped],
    project: Project,
    cache_with_gaps: Path,
    built: Build,
    command: Command,
) -> None:
    stopped = stop(signal.SIGINT)
    assert 0 < stopped.new_entries < len((QUICK, *SLOW))
    project.set("rounds = 6", "rounds = 1")
    said = command("build", project.config, "--cache", cache_with_gaps, "--json")
    rows = msgspec.json.decode(said.out, type=BuildResult).candidates
    assert {row.id for row in rows if row.cached} == {
        row.id for row in built.result.candidates if row.artifact in stopped.finished and row.id != "original"
    }


# The package


def test_public_names_are_reachable_documented_and_listed() -> None:
    assert dir(edgewise) == sorted(edgewise.__all__)
    assert all(getattr(edgewise, name).__doc__ for name in edgewise.__all__)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'biuld'"):
        edgewise.biuld  # noqa: B018
