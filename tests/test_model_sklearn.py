from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier

from edgewise.errors import InputError
from edgewise.lab.model import export_sklearn, from_sklearn, load
from edgewise.lab.model.runtime import open_session
from edgewise.lab.profile import profile
from models import normal

X = normal(1, 40, 4)
Y = (X[:, 0] > 0).astype(int)


def answers(estimator: Any, *, features: int = 4) -> list[Any]:
    return list(open_session(from_sklearn(estimator, features=features)).run(None, {"x": X}))


def test_a_classifier_answers_the_probabilities_of_scikit_learn_as_a_tensor() -> None:
    estimator = LogisticRegression().fit(X, Y)
    assert np.allclose(answers(estimator)[1], estimator.predict_proba(X), atol=1e-6)


def test_a_pipeline_answers_as_in_scikit_learn() -> None:
    estimator = make_pipeline(StandardScaler(), DecisionTreeClassifier(max_depth=3)).fit(X, Y)
    assert np.array_equal(answers(estimator)[0], estimator.predict(X))


def test_a_classifier_without_probabilities_is_converted() -> None:
    estimator = LinearSVC().fit(X, Y)
    assert np.array_equal(answers(estimator)[0], estimator.predict(X))


def test_a_regressor_answers_as_in_scikit_learn() -> None:
    estimator = LinearRegression().fit(X, X[:, 1])
    assert np.allclose(answers(estimator)[0][:, 0], estimator.predict(X), atol=1e-5)


def test_an_unfitted_estimator_is_refused() -> None:
    with pytest.raises(InputError, match=r"LogisticRegression is not fitted: call fit"):
        from_sklearn(LogisticRegression(), features=4)


def test_an_estimator_without_a_converter_is_refused_by_name() -> None:
    class Oracle(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
        def fit(self, _: Any) -> "Oracle":
            self.known_ = True
            return self

    with pytest.raises(InputError, match="Oracle can't be exported"):
        from_sklearn(Oracle().fit(X), features=4)


def test_another_number_of_features_is_refused() -> None:
    with pytest.raises(InputError, match=r"pass features=4"):
        from_sklearn(LogisticRegression().fit(X, Y), features=5)


def test_what_is_no_estimator_is_refused() -> None:
    with pytest.raises(InputError, match="not a scikit-learn estimator"):
        from_sklearn(42, features=4)


def test_an_unknown_dtype_is_refused() -> None:
    with pytest.raises(InputError, match="float32, float64, int64, str"):
        from_sklearn(LogisticRegression().fit(X, Y), features=4, dtype="complex")  # type: ignore[arg-type]


def test_an_exported_estimator_loads(tmp_path: Path) -> None:
    path = export_sklearn(LogisticRegression().fit(X, Y), tmp_path / "model.onnx", features=4)
    assert [spec.shape for spec in load(path).inputs] == [(None, 4)]


def test_a_failed_export_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(InputError):
        export_sklearn(LogisticRegression(), tmp_path / "model.onnx", features=4)
    assert list(tmp_path.iterdir()) == []


def test_coefficients_count_as_parameters(tmp_path: Path) -> None:
    path = export_sklearn(LinearRegression().fit(X, X[:, 1]), tmp_path / "model.onnx", features=4)
    assert profile(load(path)).parameters == 5
