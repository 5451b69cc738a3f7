"""The target matrix, built and executed: what its cells have to reach (`make test-targets`; it takes half an hour).

With EDGEWISE_TARGETS set to the folder of a finished `python -m benchmarks.targets --out FOLDER`, that run is judged
instead of a new one.
"""

import os
from pathlib import Path

import pytest
from webpage import CACHE

from benchmarks.targets import cells, document, figures, matrix
from benchmarks.targets.matrix import Row

pytestmark = pytest.mark.slow

MISSED = {"Core ML from ONNX, fp16": "5"}  # of six: why PP-OCR falls short, the list says


@pytest.fixture(scope="session")
def rows(tmp_path_factory: pytest.TempPathFactory) -> tuple[Row, ...]:
    if folder := os.environ.get("EDGEWISE_TARGETS"):
        return document.read(Path(folder))[0]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(
            "EDGEWISE_CACHE", str(CACHE)
        )  # where `make` put the converters, the engines and the emulation
        return matrix.run(cells.read(), tmp_path_factory.mktemp("zoo"), at_once=os.cpu_count() or 1)


def described(found: list[Row]) -> str:
    return "\n".join(document.line(row) for row in found)


def test_every_cell_of_the_list_was_tried_and_no_other(rows: tuple[Row, ...]) -> None:
    assert [row.cell for row in rows] == list(cells.read())


def test_nine_cells_in_ten_are_built_and_executed(rows: tuple[Row, ...]) -> None:
    share = sum(row.executed for row in rows) / len(rows)
    assert share >= figures.EXECUTED, described([row for row in rows if not row.executed])


def test_each_cell_that_is_missing_has_a_named_upstream_reason(rows: tuple[Row, ...]) -> None:
    unnamed = [row for row in rows if not row.executed and not row.cell.missing]
    assert not unnamed, described(unnamed)


def test_no_cell_is_said_to_be_impossible_that_runs(rows: tuple[Row, ...]) -> None:
    there = [row for row in rows if row.executed and row.cell.missing]
    assert not there, described(there)


@pytest.mark.parametrize("name", figures.PRECISIONS)
def test_executed_cells_answer_as_the_original_does(rows: tuple[Row, ...], name: str) -> None:
    executed = [row for row in rows if row.executed and row.cell.precision in figures.PRECISIONS[name]]
    missed = [row for row in executed if row.verdict != "met" and not row.cell.short]
    assert executed
    assert not missed, described(missed)


def test_each_reason_for_falling_short_is_still_needed(rows: tuple[Row, ...]) -> None:
    reasons = {row.cell.short for row in rows if row.cell.short}
    needed = {row.cell.short for row in rows if row.verdict == "missed"}
    assert reasons <= needed, reasons - needed


def test_each_evidence_word_fits_its_place(rows: tuple[Row, ...]) -> None:
    emulated = {"cortex-a53", "cortex-a76"}
    for row in rows:
        if row.executed:
            expected = (
                {"emulated"} if row.cell.place in emulated or row.cell.target == "coreml" else {"measured"}
            )
            assert row.evidence in expected, document.line(row)


def test_the_figures_of_core_ml_litert_and_the_browser_are_reached_but_for_one(rows: tuple[Row, ...]) -> None:
    shown = {figure.figure: figure for figure in figures.figures(rows)}
    wanted = [title for title in shown if title.startswith(("Core ML", "LiteRT", "browser"))]
    assert len(wanted) == 4
    assert {title: shown[title].shown for title in wanted if shown[title].reached != "yes"} == MISSED
