"""The harness of the target matrix: its list of cells, its rows and its figures."""

from collections import Counter
from pathlib import Path

import msgspec
import numpy as np
import pytest

from benchmarks.targets import cells, document, figures, matrix
from benchmarks.targets.cells import Aim, Cell
from benchmarks.targets.matrix import Row
from edgewise import targets
from edgewise.bundle.evidence import Evidence
from edgewise.bundle.golden import Difference
from edgewise.errors import InputError
from edgewise.lab.compress.recipe import Candidate
from edgewise.lab.data.samples import Sample
from edgewise.lab.measure import store
from edgewise.lab.result import Cell as Verified
from edgewise.targets.building import Operators
from edgewise.targets.status import status
from models import normal, save, tiny_mlp

LIST = """\
models = ["cnn", "silero"]
[aims]
fp32 = { rms = 1e-4 }
int8 = { agreement = 0.98 }
[places]
here = { most = 10 }
there = { most = 5, silero = 2 }
[recipes]
original = { precision = "fp32", method = "original" }
dynamic = { precision = "int8", method = "dynamic-int8" }
[columns.onnxruntime]
fp32 = "original"
int8 = { silero = "dynamic" }
[[cells]]
target = "onnxruntime"
places = ["here", "there"]
columns = ["fp32", "int8"]
[[missing]]
target = "onnxruntime"
place = "there"
column = "int8"
reason = "upstream: no kernel"
"""


def listed(folder: Path, text: str = LIST) -> tuple[Cell, ...]:
    path = folder / "targets.toml"
    path.write_text(text)
    return cells.read(path)


def cell(
    column: str = "fp32", model: str = "cnn", target: str = "onnxruntime", place: str = "x86-64"
) -> Cell:
    return Cell(
        model=model,
        target=target,
        column=column,
        place=place,
        precision="fp32" if column == "fp32" else "int8",
        recipe={"method": "original" if column == "fp32" else "dynamic-int8"},
        aim=Aim(rms=1e-4) if column == "fp32" else Aim(agreement=0.98),
        samples=6,
    )


def answered(of: Cell, *, rms: float = 0.0, agreement: float = 1.0) -> Row:
    found = Difference(6, 1.0, 1.0, rms, agreement)
    verified = Verified(
        subject=of.id,
        target=of.target,
        place=of.place,
        platform="linux-x86_64",
        runtime="1.0",
        evidence=Evidence.MEASURED,
        loads=True,
        runs=True,
        verdict="met",
        difference=found,
    )
    return Row(cell=of, size=1000, operators=Operators(1, 1), verified=verified)


def test_a_table_of_cells_stands_for_its_columns_places_and_models(tmp_path: Path) -> None:
    assert [one.id for one in listed(tmp_path)] == [
        "cnn/onnxruntime/fp32@here",
        "silero/onnxruntime/fp32@here",
        "silero/onnxruntime/int8@here",
        "cnn/onnxruntime/fp32@there",
        "silero/onnxruntime/fp32@there",
        "silero/onnxruntime/int8@there",
    ]


def test_a_cell_that_cannot_be_keeps_the_upstreams_reason(tmp_path: Path) -> None:
    reasons = {one.id: one.missing for one in listed(tmp_path) if one.missing}
    assert reasons == {"silero/onnxruntime/int8@there": "upstream: no kernel"}


@pytest.mark.parametrize("name", ["dynamic", "here", "original"])
def test_a_list_that_uses_an_unknown_name_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="no list of cells"):
        listed(tmp_path, LIST.replace(f'"{name}"', '"unknown"'))


def test_the_list_has_each_of_its_cells_once() -> None:
    counts = Counter(one.id for one in cells.read())
    assert (len(counts), max(counts.values())) == (168, 1)


def test_each_recipe_is_one_that_its_target_has_in_the_precision_that_is_listed() -> None:
    built = {name for name in targets.names() if status(name).precisions}
    assert {"onnxruntime", "openvino"} <= built
    for one in cells.read():
        if one.target in built:
            assert Candidate.of(one.target, one.recipe).precision == one.precision, one.id


def test_a_cell_is_met_within_its_aim_and_missed_beyond() -> None:
    within, beyond = answered(cell(), rms=1e-4), answered(cell(), rms=2e-4)
    assert (within.verdict, beyond.verdict) == ("met", "missed")
    assert answered(cell("int8"), agreement=0.97).verdict == "missed"
    assert Row(cell=cell(), reason="no compiler").verdict == "not assessed"


def test_the_figures_count_cells_without_a_named_reason_as_a_miss() -> None:
    rows = [answered(cell("int8"))] * 9 + [Row(cell=cell("int8"), reason="it crashed")]
    named = Row(
        cell=msgspec.structs.replace(cell("int8"), missing="upstream: no kernel"), reason="it crashed"
    )
    assert next(figures.figures(rows)).reached == "no"
    assert next(figures.figures([*rows[:9], named])).reached == "yes"


def test_the_figure_of_a_precision_names_its_furthest_cell() -> None:
    rows = [answered(cell("int8", "cnn"), agreement=0.99), answered(cell("int8", "silero"), agreement=0.981)]
    agreement = next(one for one in figures.figures(rows) if one.figure == "int8 agreement")
    assert agreement.how == "2 of 2 executed cells within; furthest silero/onnxruntime/int8@x86-64"
    assert (agreement.shown, agreement.reached) == ("98.1%", "yes")


def test_a_cell_that_is_known_to_fall_short_is_still_a_miss_and_says_why(tmp_path: Path) -> None:
    known = msgspec.structs.replace(cell("int8", "silero"), short="near ties")
    rows = [answered(cell("int8", "cnn"), agreement=0.99), answered(known, agreement=0.97)]
    shown = tuple(figures.figures(rows))
    agreement = next(one for one in shown if one.figure == "int8 agreement")
    assert agreement.how.startswith("1 of 2 executed cells within, 1 of the others with a measured reason;")
    assert (agreement.shown, agreement.reached) == ("97.0%", "no")
    document.write(tmp_path, rows, shown)
    assert (tmp_path / "targets.md").read_text().count("near ties") == 1


def test_the_browser_counts_models_that_both_engines_answer_in_float_and_int8() -> None:
    both = [
        answered(cell(column, model, target, "chromium"))
        for column in ("fp32", "int8")
        for model in ("cnn", "silero")
        for target in ("onnxruntime-web", "litert-web")
    ]
    one_missed = [*both[:-1], answered(both[-1].cell, agreement=0.5)]
    counts = [[one.shown for one in figures.figures(rows)][-1] for rows in (both, one_missed)]
    assert counts == ["2", "1"]


def test_a_run_is_written_and_read_back(tmp_path: Path) -> None:
    rows = (answered(cell()), Row(cell=cell("int8"), reason="it | crashed"))
    document.write(tmp_path, rows, tuple(figures.figures(rows)))
    assert document.read(tmp_path)[0] == rows
    assert "| it / crashed |" in (tmp_path / "targets.md").read_text()


@pytest.mark.slow
def test_cells_run_in_processes_of_their_own_and_each_becomes_a_row(tmp_path: Path) -> None:
    zoo(tmp_path / "cnn")
    asked = (cell(), cell("int8"), cell(target="toaster"), cell(place="the moon"))
    here, quantized, nowhere, moon = matrix.run(asked, tmp_path, at_once=2)
    assert (here.verdict, here.evidence) == ("met", "measured")
    assert here.difference == Difference(6, 0.0, 0.0, 0.0, 1.0)
    assert quantized.operators is not None
    assert quantized.operators.quantized == 2
    assert (nowhere.built, nowhere.reason) == (False, "edgewise has no target toaster yet")
    assert (moon.built, moon.executed) == (True, False)
    assert "the moon" in str(moon.reason)


def zoo(folder: Path) -> None:
    """Write a tiny model's folder in the zoo, so that none is made."""
    folder.mkdir()
    (folder / "about.json").write_text('{"about": "tiny", "calibration": 6, "evaluation": 6, "labels": null}')
    save(tiny_mlp(), folder / "model.onnx")
    samples = [Sample({"x": np.asarray(normal(seed, 1, 8))}) for seed in range(6)]
    for name in ("calibration", "eval"):
        store.write(folder / f"{name}.npz", samples)
