"""The Core ML session: it presents the original's inputs and outputs, and says clearly what it cannot run."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import edgewise.targets.coreml  # silences coremltools
from edgewise import targets
from edgewise.bundle.evidence import Evidence
from edgewise.bundle.manifest import FORMATS, TensorSpec
from edgewise.errors import DeviceError, ToolchainError
from edgewise.targets.coreml import session

ct: Any = pytest.importorskip("coremltools")
mb: Any = pytest.importorskip("coremltools.converters.mil").Builder
mil: Any = pytest.importorskip("coremltools.converters.mil.mil")
types = mil.types

__all__ = ["edgewise"]

X = np.arange(6, dtype=np.float32).reshape(2, 3)


def save(
    folder: Path,
    build: Callable[..., Any],
    shapes: Sequence[tuple[int, ...]] = ((2, 3),),
    dtypes: Sequence[Any] = (),
    **options: Any,
) -> Path:
    """Build a program with coremltools' builder and save it; return its Manifest.json."""
    kinds = dtypes or [types.fp32] * len(shapes)
    specs = [mb.TensorSpec(shape=shape, dtype=kind) for shape, kind in zip(shapes, kinds, strict=True)]
    program = mb.program(input_specs=specs, opset_version=ct.target.iOS18)(build)
    settings = {"convert_to": "mlprogram", "minimum_deployment_target": ct.target.iOS18} | options
    if settings["convert_to"] == "mlprogram":
        settings.setdefault("compute_precision", ct.precision.FLOAT32)
    model = ct.convert(program, **settings)
    package = folder / "model.mlpackage"
    model.save(str(package))
    return package / "Manifest.json"


def double(x: Any) -> Any:
    return mb.mul(x=x, y=2.0, name="y")


def port(name: str, dtype: str, shape: Any, feature: str, feature_dtype: str, feature_shape: Any) -> Any:
    return {
        "name": name,
        "dtype": dtype,
        "shape": shape,
        "feature": feature,
        "feature_dtype": feature_dtype,
        "feature_shape": feature_shape,
    }


def describe(manifest: Path, inputs: list[Any], outputs: list[Any]) -> None:
    (manifest.parent.parent / "io.json").write_text(json.dumps({"inputs": inputs, "outputs": outputs}))


def test_it_is_a_target_whose_evidence_is_emulated() -> None:
    module = targets.session("coreml")
    assert module.EVIDENCE is Evidence.EMULATED
    assert module.FORMAT in FORMATS
    assert module.version().startswith(f"coremltools {metadata.version('coremltools')}, ")


def test_without_a_description_the_packages_own_features_are_presented(tmp_path: Path) -> None:
    answer = session.load(save(tmp_path, double), []).run({"x": X})
    assert list(answer) == ["y"]
    np.testing.assert_array_equal(answer["y"], X * 2)


def test_the_originals_names_types_and_shapes_are_presented(tmp_path: Path) -> None:
    def build(a: Any, b: Any) -> Any:
        return mb.add(x=a, y=b, name="total"), mb.expand_dims(x=mb.reduce_max(x=a), axes=[0], name="top")

    manifest = save(tmp_path, build, [(1, 3), (1,)], [types.int32, types.int32])
    describe(
        manifest,
        [
            port("flag", "bool", [], "b", "int32", [1]),
            port("ids", "int64", [1, "length"], "a", "int32", [1, 3]),
        ],
        [
            port("largest", "int64", [], "top", "int32", [1]),
            port("sum", "int64", [1, "length"], "total", "int32", [1, 3]),
        ],
    )
    answer = session.load(manifest, []).run({"ids": np.array([[4, 5, 6]]), "flag": np.array(True)})
    assert [(name, value.dtype.name, value.tolist()) for name, value in answer.items()] == [
        ("largest", "int64", 6),
        ("sum", "int64", [[5, 6, 7]]),
    ]


def test_a_number_too_large_for_core_mls_integers_is_refused(tmp_path: Path) -> None:
    manifest = save(tmp_path, lambda x: mb.add(x=x, y=1, name="y"), [(2,)], [types.int32])
    describe(
        manifest,
        [port("ids", "int64", [2], "x", "int32", [2])],
        [port("y", "int64", [2], "y", "int32", [2])],
    )
    with pytest.raises(DeviceError, match="input ids holds a number that Core ML's int32 cannot"):
        session.load(manifest, []).run({"ids": np.array([1, 2**31])})


def test_outputs_come_in_the_order_asked_for_and_by_position_where_names_differ(tmp_path: Path) -> None:
    manifest = save(tmp_path, lambda x: (mb.abs(x=x, name="a"), mb.exp(x=x, name="b")))
    specs = {name: TensorSpec(name, "float32", (2, 3)) for name in ("a", "b", "first", "second")}
    asked = session.load(manifest, [specs["b"], specs["a"]]).run({"x": X})
    assert list(asked) == ["b", "a"]
    renamed = session.load(manifest, [specs["first"], specs["second"]]).run({"x": X})
    np.testing.assert_array_equal(renamed["second"], asked["b"])
    with pytest.raises(DeviceError, match="has outputs a, b; expected first: build it again"):
        session.load(manifest, [specs["first"]])


@pytest.mark.parametrize(
    ("inputs", "reason"),
    [
        ({}, "input x is missing"),
        ({"x": X, "z": X}, "the model has no input z"),
        ({"x": X[:, :2]}, r"input x has shape \(2, 2\); the model takes \(2, 3\)"),
        ({"x": X[0]}, r"input x has shape \(3,\)"),
        ({"x": X.astype(np.float64)}, "input x is float64; the model takes float32"),
    ],
)
def test_an_input_that_does_not_fit_is_named(inputs: Any, reason: str, tmp_path: Path) -> None:
    loaded = session.load(save(tmp_path, double), [])
    with pytest.raises(DeviceError, match=reason):
        loaded.run(inputs)


def test_a_length_that_core_ml_would_refuse_is_refused(tmp_path: Path) -> None:
    size = ct.RangeDim(lower_bound=2, upper_bound=4, default=3)
    shape = (1, mil.get_new_symbol())
    manifest = save(tmp_path, double, [shape], inputs=[ct.TensorType("x", shape=(1, size))])
    loaded = session.load(manifest, [])
    for length in (2, 4):
        assert loaded.run({"x": np.ones((1, length), np.float32)})["y"].shape == (1, length)
    with pytest.raises(DeviceError, match=r"has shape \(1, 5\); the package takes \(1, 2\.\.4\)"):
        loaded.run({"x": np.ones((1, 5), np.float32)})


def test_a_state_is_read_and_written_and_starts_as_zeros_in_each_run(tmp_path: Path) -> None:
    def build(x: Any, total: Any) -> Any:
        grown = mb.add(x=mb.read_state(input=total), y=x)
        kept = mb.coreml_update_state(state=total, value=grown)
        return mb.mul(x=kept, y=np.float16(10.0), name="y")

    specs = [mb.TensorSpec(shape=(3,), dtype=types.fp16), mb.StateTensorSpec(shape=(3,), dtype=types.fp16)]
    program = mb.program(input_specs=specs, opset_version=ct.target.iOS18)(build)
    ct.convert(program, minimum_deployment_target=ct.target.iOS18).save(str(tmp_path / "model.mlpackage"))
    loaded = session.load(tmp_path / "model.mlpackage" / "Manifest.json", [])
    for _ in range(2):
        answer = loaded.run({"x": np.array([1, 2, 3], np.float16)})
        np.testing.assert_array_equal(answer["y"], np.array([10, 20, 30]))


def test_a_shape_that_the_program_computes_from_scalars_is_used(tmp_path: Path) -> None:
    def build(x: Any) -> Any:
        rows, columns = (mb.gather(x=mb.shape(x=x), indices=i) for i in range(2))
        return mb.reshape(x=x, shape=mb.concat(values=[columns, rows], axis=0), name="y")

    sizes = (ct.RangeDim(1, 4), ct.RangeDim(1, 4))
    shape = (mil.get_new_symbol(), mil.get_new_symbol())
    manifest = save(tmp_path, build, [shape], inputs=[ct.TensorType("x", shape=sizes)])
    answer = session.load(manifest, []).run({"x": X})
    np.testing.assert_array_equal(answer["y"], X.reshape(3, 2))


def test_answers_belong_to_the_caller(tmp_path: Path) -> None:
    loaded = session.load(save(tmp_path, lambda x: mb.reshape(x=x, shape=[3, 2], name="y")), [])
    given = X.copy()
    loaded.run({"x": given})["y"][:] = 9
    np.testing.assert_array_equal(given, X)


def test_several_threads_may_run_one_session(tmp_path: Path) -> None:
    loaded = session.load(save(tmp_path, lambda x: mb.softmax(x=x, name="y")), [])

    def wrong(seed: int) -> int:
        x = np.random.default_rng(seed).standard_normal((2, 3)).astype(np.float32)
        wanted = np.exp(x) / np.exp(x).sum(-1, keepdims=True)
        return sum(not np.allclose(loaded.run({"x": x})["y"], wanted, atol=1e-6) for _ in range(100))

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(wrong, range(8))) == 0


def test_an_operator_that_nobody_implemented_is_named(tmp_path: Path) -> None:
    manifest = save(tmp_path, lambda x: mb.add(x=x, y=mb.random_normal(shape=[2, 3]), name="y"))
    with pytest.raises(DeviceError, match="does not know the operators random_normal"):
        session.load(manifest, [])


def test_an_operator_that_fails_is_named(tmp_path: Path) -> None:
    def build(x: Any, i: Any) -> Any:
        return mb.gather(x=x, indices=i, axis=0, name="picked")

    loaded = session.load(save(tmp_path, build, [(2, 3), (2,)], [types.fp32, types.int32]), [])
    with pytest.raises(DeviceError, match=r"gather \(picked\): an index lies outside 0\.\.1: 0\.\.7"):
        loaded.run({"x": X, "i": np.array([0, 7], np.int32)})


def test_what_is_no_package_is_refused(tmp_path: Path) -> None:
    for content in (None, "no JSON", "{}"):
        package = tmp_path / "broken.mlpackage"
        package.mkdir(exist_ok=True)
        if content is not None:
            (package / "Manifest.json").write_text(content)
        with pytest.raises(DeviceError, match=r"broken\.mlpackage is no Core ML package") as caught:
            session.load(package / "Manifest.json", [])
        assert "\n" not in str(caught.value)


def test_a_manifest_that_points_outside_its_package_is_refused(tmp_path: Path) -> None:
    manifest = save(tmp_path, double)
    text = manifest.read_text().replace("com.apple.CoreML/model.mlmodel", "../../outside.mlmodel")
    manifest.write_text(text)
    with pytest.raises(DeviceError, match="outside the package"):
        session.load(manifest, [])


def test_weights_that_are_cut_short_are_refused(tmp_path: Path) -> None:
    table = np.random.default_rng(0).standard_normal((3, 2000)).astype(np.float32)
    manifest = save(tmp_path, lambda x: mb.matmul(x=x, y=table, name="y"))
    (weights,) = manifest.parent.rglob("weight.bin")
    weights.write_bytes(weights.read_bytes()[:100])
    with pytest.raises(DeviceError, match="cannot load the program"):
        session.load(manifest, [])


def test_a_neural_network_is_refused_with_what_to_do(tmp_path: Path) -> None:
    program = mb.program(input_specs=[mb.TensorSpec(shape=(2, 3))])(double)
    network = ct.convert(program, convert_to="neuralnetwork")
    ct.models.MLModel(network.get_spec(), skip_model_load=True).save(str(tmp_path / "old.mlpackage"))
    with pytest.raises(DeviceError, match="holds a neuralNetwork, not an ML Program"):
        session.load(tmp_path / "old.mlpackage" / "Manifest.json", [])


def test_a_program_of_several_functions_is_refused(tmp_path: Path) -> None:
    parts = []
    for name in ("left", "right"):
        (tmp_path / name).mkdir()
        parts.append(save(tmp_path / name, double).parent)
    several = ct.utils.MultiFunctionDescriptor()
    for package in parts:
        several.add_function(str(package), "main", package.parent.name)
    several.default_function_name = "left"
    ct.utils.save_multifunction(several, str(tmp_path / "both.mlpackage"))
    with pytest.raises(DeviceError, match=r"has 2 functions \(left, right\)"):
        session.load(tmp_path / "both.mlpackage" / "Manifest.json", [])


def test_a_description_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    manifest = save(tmp_path, double)
    (tmp_path / "io.json").write_text('{"inputs": []}')
    with pytest.raises(DeviceError, match=r"io\.json does not describe inputs and outputs"):
        session.load(manifest, [])


def test_a_closed_session_says_so(tmp_path: Path) -> None:
    loaded = session.load(save(tmp_path, double), [])
    loaded.close()
    with pytest.raises(DeviceError, match="closed"):
        loaded.run({"x": X})


def test_a_missing_coremltools_names_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    manifest = save(tmp_path, double)

    def missing(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(session, "installed", missing)
    monkeypatch.setitem(sys.modules, "coremltools.proto", None)
    for call in (session.version, lambda: session.load(manifest, [])):
        with pytest.raises(ToolchainError, match=r"pip install 'edgewise\[coreml\]'"):
            call()


def test_running_prints_nothing_opens_no_socket_and_leaves_nothing_in_the_home(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    manifest = save(tmp_path, double)
    code = f"""
import os, sys
def hook(event, args):
    if event.startswith("socket."):
        os._exit(9)
sys.addaudithook(hook)
from pathlib import Path
from edgewise import targets
import numpy as np
targets.session("coreml").load(Path({str(manifest)!r}), []).run({{"x": np.ones((2, 3), np.float32)}})
"""
    done = subprocess.run(
        [sys.executable, "-c", code], env={"HOME": str(home)}, capture_output=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert not any(home.rglob("*"))
