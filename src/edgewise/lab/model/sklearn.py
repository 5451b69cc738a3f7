"""A fitted scikit-learn estimator → ONNX, in the process that trained it.

edgewise never opens a pickle, so the estimator is exported where it lives:

    from edgewise.lab.model import export_sklearn
    export_sklearn(estimator, "model.onnx", features=X.shape[1])

Classifiers answer `label` and `probabilities`, the latter a tensor of shape (batch, classes). The graph uses
ai.onnx.ml operators, which ONNX Runtime runs and most other runtimes don't.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import onnx

from edgewise.bundle.atomic import write_file
from edgewise.errors import InputError, missing_extra
from edgewise.lab.model.runtime import open_session, reason

__all__ = ["export_sklearn", "from_sklearn"]

Dtype = Literal["float32", "float64", "int64", "str"]

# The newest pair that every runtime in use reads; newer ones bring these estimators nothing.
_OPSETS = {"": 17, "ai.onnx.ml": 3}


def from_sklearn(estimator: Any, *, features: int, dtype: Dtype = "float32") -> onnx.ModelProto:
    """Convert a fitted estimator or pipeline whose input `x` is (batch, features) of `dtype`.

    Raises InputError when it is not fitted, was fitted on another number of features, or has no converter.
    """
    try:
        from skl2onnx.common import data_types
    except ImportError as error:
        raise missing_extra("skl2onnx", "lab") from error
    name = type(estimator).__name__
    _check_fitted(estimator, name, features)
    types = {
        "float32": data_types.FloatTensorType,
        "float64": data_types.DoubleTensorType,
        "int64": data_types.Int64TensorType,
        "str": data_types.StringTensorType,
    }
    if dtype not in types:
        raise InputError(f"dtype {dtype!r} is not supported for {name}: use one of {', '.join(types)}")
    try:
        proto = _convert(estimator, [("x", types[dtype]([None, features]))])
        open_session(proto)
    except Exception as error:
        raise InputError(
            f"{name} can't be exported to ONNX: {reason(error)}. "
            "Supported estimators: https://onnx.ai/sklearn-onnx/supported.html"
        ) from error
    return proto


def export_sklearn(estimator: Any, path: Path | str, *, features: int, dtype: Dtype = "float32") -> Path:
    """Write `from_sklearn(…)` to `path` in one step and return the path; raises what that raises."""
    proto = from_sklearn(estimator, features=features, dtype=dtype)
    write_file(Path(path), proto.SerializeToString(deterministic=True))
    return Path(path)


def _check_fitted(estimator: Any, name: str, features: int) -> None:
    from sklearn.exceptions import NotFittedError
    from sklearn.utils.validation import check_is_fitted

    try:
        check_is_fitted(estimator)
    except NotFittedError as error:
        raise InputError(f"{name} is not fitted: call fit(X, y) before exporting it") from error
    except TypeError as error:
        raise InputError(f"{name} is not a scikit-learn estimator: give a fitted one") from error
    expected = getattr(estimator, "n_features_in_", features)
    if expected != features:
        raise InputError(
            f"{name} was fitted on {expected} features, not {features}: pass features={expected}"
        )


def _convert(estimator: Any, inputs: list[tuple[str, Any]]) -> onnx.ModelProto:
    from skl2onnx import convert_sklearn
    from sklearn.base import is_classifier

    try:
        options = {"zipmap": False} if is_classifier(estimator) else None
        proto = convert_sklearn(estimator, initial_types=inputs, options=options, target_opset=_OPSETS)
    except NameError:  # LinearSVC has no probabilities, so no zipmap to switch off
        proto = convert_sklearn(estimator, initial_types=inputs, target_opset=_OPSETS)
    # Each step of a pipeline repeats the import of its domain; one entry per domain is valid ONNX.
    versions = {entry.domain: entry.version for entry in sorted(proto.opset_import, key=lambda e: e.version)}
    del proto.opset_import[:]
    proto.opset_import.extend(onnx.helper.make_opsetid(*item) for item in sorted(versions.items()))
    return proto
