"""A pytest plugin: coremltools' own operator tests, executed by edgewise's interpreter instead of a Mac.

Their expected results held on a Mac: they are the nearest to Core ML itself that Linux has. Of each test function
one parameter set is kept, drawn with a fixed seed; those that need what only a Mac has, or what edgewise refuses on
purpose, are left out.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import edgewise.targets.coreml  # silences coremltools  # isort: skip
import numpy as np
import pytest
from coremltools.converters.mil import testing_utils
from coremltools.models import MLModel, utils

from edgewise.targets.coreml.compiler import compile_function
from edgewise.targets.coreml.package import load_program, read_model

__all__ = ["edgewise"]

EACH = 1  # parameter sets of a test function
LEFT_OUT = (
    "TestRandom",  # numbers that nobody can foresee
    "test_states.py",  # MLModel.make_state needs a Mac
    "test_ios17_invalid_indices",  # undefined behaviour, which edgewise refuses
    "TestCropResize::test_builder_to_backend_smoke",  # boxes whose meaning is not documented
    "TestNormalizationLocalResponseNorm",  # of rank 3 the reference and the tests differ
    "TestNormalizationBatchNorm::test_builder_to_backend_smoke",  # parameters of mixed types, which no loader takes
    "TestFill::test_builder_to_backend_symbolic",  # a result of unknown rank, which no loader takes
    "TestResample",  # expected results with four digits
)
LIMITS = {False: 1e-4, True: 5e-3}  # relative; True for programs with float16 in them


def predict(mlmodel: Any, data: dict[str, Any], state: Any = None) -> dict[str, Any]:
    """Stand in for `MLModel.predict`, which only a Mac has."""
    function = _function(mlmodel)
    values = [np.atleast_1d(np.asarray(data[name])) for name in function.inputs]
    results = compile_function(function).run(values)
    return {var.name: value for var, value in zip(function.outputs, results, strict=True)}


def compare(mlmodel: Any, input_key_values: dict[str, Any], expected_outputs: Any, **_: Any) -> Any:
    """Stand in for `compare_backend`, whose limits are a Mac's."""
    got = predict(mlmodel, input_key_values)
    half = any("fp16" in str(var.sym_type.__type_info__()) for var in _variables(_function(mlmodel)))
    for name, wanted in (expected_outputs or {}).items():
        found = testing_utils._get_coreml_out_from_dict(got, name)
        if not isinstance(wanted, (dict, str)):
            _close(np.asarray(wanted), np.asarray(found), LIMITS[half])
    return got


def _function(mlmodel: Any) -> Any:
    if not mlmodel.is_package:
        pytest.skip("a neural network, not an ML Program")
    package = Path(mlmodel.package_path)
    (function,) = load_program(package, *read_model(package)).functions.values()
    return function


def _variables(block: Any) -> Iterator[Any]:
    for op in block.operations:
        yield from op.outputs
        for inner in op.blocks:
            yield from _variables(inner)


def _close(wanted: Any, found: Any, limit: float) -> None:
    assert np.squeeze(wanted).shape == np.squeeze(found).shape
    largest = np.abs(wanted[np.isfinite(wanted)], dtype=np.float64).max(initial=1e-3)
    np.testing.assert_allclose(np.squeeze(found), np.squeeze(wanted), rtol=0, atol=limit * largest)


MLModel.predict = predict
testing_utils._IS_MACOS = True
testing_utils.compare_backend = compare
utils._macos_version = lambda: (15, 0)


def pytest_collection_modifyitems(items: list[Any]) -> None:
    groups: dict[str, list[Any]] = defaultdict(list)
    for item in items:
        if not any(each in item.nodeid for each in LEFT_OUT):
            groups[item.nodeid.split("[")[0]].append(item)
    draw = random.Random(7)
    items[:] = [item for group in groups.values() for item in draw.sample(group, min(EACH, len(group)))]
