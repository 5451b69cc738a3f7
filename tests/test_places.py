"""Places: an artifact is executed elsewhere, and whatever it does there is a result with a reason."""

from __future__ import annotations

import platform
from pathlib import Path
from threading import Event

import numpy as np
import pytest

import bundles
from edgewise.bundle.evidence import Evidence
from edgewise.errors import InputError, ToolchainError
from edgewise.lab.jobs import JobError
from edgewise.lab.places import arm64, debian, wheels
from edgewise.lab.places.place import HERE, PythonPlace
from edgewise.machine import platform_name
from edgewise.targets.graph import spec
from models import normal, save, tiny_mlp

INPUTS = [{"x": normal(seed, 1, 8)} for seed in range(3)]
TOLD = '{"platform":"linux-arm64","runtime":"1.0","evidence":"measured","loads":true}'


@pytest.fixture
def mlp(tmp_path: Path) -> Path:
    return save(tiny_mlp(), tmp_path / "model.onnx")


def shell(script: str, *, emulated: bool = True) -> PythonPlace:
    """A place whose Python is a shell script."""
    return PythonPlace("odd", "linux-arm64", ("/bin/sh", "-c", script), {}, emulated=emulated)


def test_an_artifact_runs_here_in_a_process_of_its_own(mlp: Path) -> None:
    outputs = [spec(output) for output in tiny_mlp().graph.output]
    executed = HERE.run("onnxruntime", mlp, outputs, INPUTS)
    assert (executed.place, executed.runs, executed.report.evidence) == (
        platform_name(),
        True,
        Evidence.MEASURED,
    )
    assert [answer["logits"].shape for answer in executed.answers] == [(1, 3)] * 3


def test_running_leaves_nothing_behind(mlp: Path, tidy: Path) -> None:
    assert HERE.run("onnxruntime", mlp, (), INPUTS).runs


def test_what_an_emulator_ran_is_called_emulated(mlp: Path) -> None:
    emulator = PythonPlace("emulator", HERE.platform, HERE.python, HERE.environment, emulated=True)
    assert emulator.run("onnxruntime", mlp, (), INPUTS).report.evidence is Evidence.EMULATED


def test_what_an_emulator_could_not_run_has_no_evidence(mlp: Path) -> None:
    executed = shell("echo 'no such emulator' >&2; exit 1").run("onnxruntime", mlp, (), INPUTS)
    assert (executed.runs, executed.answers, executed.report.loads) == (False, (), False)
    assert (executed.report.evidence, executed.report.platform) == (Evidence.NONE, "linux-arm64")
    assert executed.report.reason == "its process ended with exit code 1: no such emulator"


def test_a_crash_says_how_far_it_came(mlp: Path) -> None:
    crashing = shell(f"echo '{TOLD}'; printf '{{\"platf'; echo 'uncaught signal 11' >&2; kill -SEGV $$")
    report = crashing.run("onnxruntime", mlp, (), INPUTS).report
    assert (report.loads, report.evidence) == (True, Evidence.EMULATED)
    assert report.reason == "crashed with SIGSEGV: uncaught signal 11"


def test_a_place_that_hangs_is_stopped(mlp: Path) -> None:
    report = shell("sleep 60").run("onnxruntime", mlp, (), INPUTS, timeout=0.3).report
    assert report.reason == "took longer than 0.3 s and was stopped"


def test_an_interrupted_run_is_no_result(mlp: Path) -> None:
    stop = Event()
    stop.set()
    with pytest.raises(JobError, match="stopped"):
        shell("sleep 60").run("onnxruntime", mlp, (), INPUTS, stop=stop)


def test_a_bundle_is_verified_in_a_place(tmp_path: Path) -> None:
    checked = HERE.verify(bundles.write(tmp_path / "b"))
    assert [(one["variant"], one["ran"]) for one in checked["variants"]] == [("onnxruntime", True)]


def test_a_bundle_that_is_refused_there_says_why(tmp_path: Path) -> None:
    bundle = bundles.write(tmp_path / "b")
    model = next(bundle.rglob("model.onnx"))
    model.write_bytes(model.read_bytes() + b" ")
    with pytest.raises(JobError, match=rf"{platform_name()}.* exit code 4: .*model.onnx was changed"):
        HERE.verify(bundle)


@pytest.mark.parametrize("cpu", ["max", "cortex-a999", ""])
def test_only_processors_with_a_name_that_is_known_are_emulated(cpu: str) -> None:
    with pytest.raises(InputError, match="known are cortex-a53, cortex-a76"):
        arm64.emulated(cpu)


def test_an_emulation_that_is_not_installed_names_the_command() -> None:
    with pytest.raises(ToolchainError, match=r"ARM64 .*numpy==.* Run: edgewise targets --install arm64$"):
        arm64.emulated("cortex-a53")


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ("echo qemu-aarch64 version 7.2.22 '(Debian 1:7.2)'", "qemu-aarch64 version 7.2.22"),
        ("exit 1", "nothing that runs"),
    ],
)
def test_an_old_qemu_is_refused(said: str, found: str, tmp_path: Path) -> None:
    program = tmp_path / "qemu-aarch64"
    program.write_text(f"#!/bin/sh\n{said}\n")
    program.chmod(0o755)
    with pytest.raises(ToolchainError, match=f"QEMU 10 or newer is needed, .* found {found}"):
        arm64._check_qemu(program)


def test_another_system_than_debian_is_told_what_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        platform, "freedesktop_os_release", lambda: {"ID": "fedora", "PRETTY_NAME": "Fedora 44"}
    )
    with pytest.raises(ToolchainError, match="Debian's apt, and this is Fedora 44: run it on Debian 12"):
        debian.architecture()


def test_a_missing_tool_is_named_with_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "freedesktop_os_release", lambda: {"ID": "debian"})
    monkeypatch.setenv("PATH", "/none")
    with pytest.raises(ToolchainError, match=r"apt-get is missing. Run: apt-get install apt"):
        debian.architecture()


def test_the_other_side_gets_the_versions_that_are_installed_here() -> None:
    assert wheels.pinned("numpy<2.5,>=2.0") == f"numpy=={np.__version__}"
    assert wheels.pinned("no-such-package>=1") == "no-such-package>=1"
