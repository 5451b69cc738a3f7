"""coremltools' own operator tests pass when edgewise's interpreter stands in for the Mac that they were written on."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ct: Any = pytest.importorskip("coremltools")
pytest.importorskip("torch")

SETTINGS = {
    "COMPUTE_UNITS": "CPU_ONLY",
    "INCLUDE_MIL_FP32_UNIT_TESTS": "1",
    "PYMIL_TEST_TARGETS": "mlprogram",
    "PYTHONPATH": str(Path(__file__).parent),
    "TQDM_DISABLE": "1",
}


@pytest.mark.slow
def test_coremltools_own_tests_of_the_operators_pass(tmp_path: Path) -> None:
    tests = Path(ct.__file__).parent / "converters" / "mil" / "mil" / "ops" / "tests"
    options = ["-q", "-p", "coreml_plugin", "-p", "no:cacheprovider", "-W", "ignore", "--tb=line", "-rN"]
    options += ["-o", "xfail_strict=false"]  # some are marked as failing on a Mac, by Apple's own bugs
    options += ["-k", "not efficient_type_inference"]  # it asserts that a busy machine takes less than 10 ms
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, *(str(tests / f"iOS{n}") for n in range(14, 19))],
        cwd=tmp_path,
        env=os.environ | SETTINGS,
        capture_output=True,
        text=True,
        check=False,
    )
    summary = done.stdout.splitlines()[-1]
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-1000:]
    passed = re.search(r"(\d+) passed", summary)
    assert passed is not None
    assert int(passed[1]) > 300, summary
