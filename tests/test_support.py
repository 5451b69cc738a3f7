"""Operator support before building: what each accelerator takes of a model, why not the rest, and how much that is."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from onnxruntime.tools.mobile_helpers import usability_checker

import models
from conftest import Command
from edgewise import targets
from edgewise.bundle.evidence import Evidence
from edgewise.errors import InputError
from edgewise.lab.model.load import load
from edgewise.lab.profile import support
from edgewise.lab.profile.accelerators import _graphs
from edgewise.lab.result import Support
from edgewise.targets.browser import webgpu
from edgewise.targets.onnxruntime import support as onnxruntime_support
from edgewise.targets.onnxruntime.caveats import holds, sentences
from edgewise.targets.onnxruntime.support import PROVIDERS
from edgewise.targets.onnxruntime.tables import FOLDER, Rules, judge, read
from edgewise.targets.operator import Operator, operators
from edgewise.targets.placement import partitions
from models import FLOAT, INT64, model, normal, save, tensor

COREML, NEURAL, NNAPI = PROVIDERS
INT32, BOOL = TensorProto.INT32, TensorProto.BOOL


def node(op: str, inputs: str, **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(op, inputs.split(), ["y"], f"{op}:0", **attributes)


def operator(proto: onnx.ModelProto) -> Operator:
    return next(operators(onnx.shape_inference.infer_shapes(proto)))


def single(
    op: str,
    shape: models.Shape = (1, 4, 8, 8),
    weights: models.Weights | None = None,
    *,
    kind: int = FLOAT,
    free: models.Shape | None = None,
    opset: int = 17,
    **attributes: Any,
) -> onnx.ModelProto:
    """Return a model of one operator on x, of `weights` and, if `free`, of a second input of that shape."""
    given = [tensor("x", shape, kind), *([tensor("free", free)] if free is not None else [])]
    names = " ".join(["x", *(["free"] if free is not None else []), *(weights or {})])
    return model(
        [node(op, names, **attributes)], given, [tensor("y", [None] * len(shape))], weights, opset=opset
    )


def answers(
    proto: onnx.ModelProto, folder: Path, *names: str, **dims: int
) -> dict[tuple[str, bool], Support]:
    """Return what is found for each accelerator: for the model as it is, and with its sizes fixed."""
    found = support(load(save(proto, folder / "m.onnx")), names, dims)
    return {(answer.accelerator, bool(answer.sizes)): answer for answer in found}


def reasons(answer: Support) -> dict[str, dict[str, int]]:
    return {gap.why: gap.ops for gap in answer.gaps}


# The tables' notes


@pytest.mark.parametrize(
    ("sentence", "proto", "verdict"),
    [
        ("Only 2D Pool is supported.", single("AveragePool", kernel_shape=[2, 2]), True),
        ("Only 2D Pool is supported.", single("AveragePool", (1, 4, 8), kernel_shape=[2]), False),
        ("Only 1D/2D Conv is supported.", single("Conv", (1, 4, 8), {"w": normal(1, 4, 4, 3)}), True),
        ("Only 1D/2D Conv is supported.", single("Conv", (1, 4, 8, 8, 8), {"w": normal(1, 4, 4, 3, 3, 3)}), False),
        ("Weights and bias should be constant.", single("Conv", weights={"w": normal(1, 4, 4, 3, 3)}), True),
        ("Weights and bias should be constant.", single("Conv", free=(4, 4, 3, 3)), False),
        ("Input B should be constant.", single("MatMul", (2, 8), free=(8, 4)), False),
        ("If input B is not constant, transB should be 1.", single("Gemm", (2, 8), free=(4, 8), transB=1), True),
        ("If input B is not constant, transB should be 1.", single("Gemm", (2, 8), free=(8, 4)), False),
        ("Only support for transA == 0, alpha == 1.0 and beta == 1.0 is.", single("MatMul", (2, 8), free=(8, 4)), True),
        (
            "Only support for transA == 0, alpha == 1.0 and beta == 1.0 is.",
            single("Gemm", (2, 8), {"w": normal(1, 8, 4)}, alpha=0.5),
            False,
        ),
        ("Input axes should be constant.", single("Squeeze", (1, 4), opset=12, axes=[0]), True),
        ("Only DCR mode DepthToSpace is supported.", single("DepthToSpace", blocksize=2, mode="CRD"), False),
        ("Only DCR mode DepthToSpace is supported.", single("DepthToSpace", blocksize=2), True),
        (
            "Only constant mode and last two dim padding is supported.",
            single("Pad", weights={"pads": np.array([0, 0, 1, 1, 0, 0, 1, 1])}),
            True,
        ),
        (
            "Only constant mode and last two dim padding is supported.",
            single("Pad", weights={"pads": np.array([0, 1, 0, 0, 0, 1, 0, 0])}),
            False,
        ),
        ("Only constant mode Pad is supported.", single("Pad", weights={"p": np.zeros(8, int)}, mode="edge"), False),
        ("Input pads values should be non-negative.", single("Pad", weights={"p": -np.ones(8, int)}), False),
        ("`mode` == `linear` or `nearest`.", single("Resize", weights={"r": normal(1, 0), "s": normal(1, 4)}), True),
        ("`coordinate_transformation_mode` == `asymmetric`.", single("Resize", weights={"r": normal(1, 0)}), False),
        ("`exclude_outside` == false", single("Resize", weights={"r": normal(1, 0)}), True),
        ("Only supports cases when both inputs are fp32.", single("Pow", weights={"e": np.array(2)}), False),
        ("Only supports cases when both inputs are fp32.", single("Pow", weights={"e": normal(1, 1)}), True),
        ("Input slope should either have shape [C, 1, 1] or have 1 element.", single("PRelu", weights={"s": normal(1, 4, 1, 1)}), True),
        ("Input slope should either have shape [C, 1, 1] or have 1 element.", single("PRelu", weights={"s": normal(1, 4, 8, 8)}), False),
        ("Input `indices` with scalar value is not supported.", single("Gather", weights={"i": np.array(0)}), False),
        ("Attribute `end` is not supported.", single("Shape", end=2), False),
        ("Attribute `start` with non-default value is not supported.", single("Shape", start=1), False),
        ("padding_type of SAME_UPPER/SAME_LOWER is not supported.", single("ConvTranspose", weights={"w": normal(1, 4, 4, 3, 3)}, auto_pad="SAME_UPPER"), False),
        ("kernel_shape must have default values.", single("ConvTranspose", weights={"w": normal(1, 4, 4, 3, 3)}, kernel_shape=[3, 3]), True),
        ("output_padding must have default values.", single("ConvTranspose", weights={"w": normal(1, 4, 4, 3, 3)}, output_padding=[1, 1], strides=[2, 2]), False),
        ("Number of splits must evenly divide split axis size.", single("Split", (1, 4), axis=1), True),
        ("Empty slice is not supported.", single("Slice", weights={"b": np.array([0]), "e": np.array([1])}), None),
        ("this ask for a `epislon` (default 1e-4) where onnx don't provide", single("Reciprocal"), None),
    ],
)  # fmt: skip
def test_a_note_of_a_table_is_decided_by_the_graph_or_left_open(
    sentence: str, proto: onnx.ModelProto, verdict: bool | None
) -> None:
    assert holds(operator(proto), sentence) is verdict


def test_a_note_is_read_sentence_by_sentence() -> None:
    note = "Only 2D Pool is supported currently. 3D can be added.<br/>Bias if provided must be constant."
    assert list(sentences(note)) == [
        "Only 2D Pool is supported currently.",
        "3D can be added.",
        "Bias if provided must be constant.",
    ]


def test_an_unknown_rank_leaves_a_note_on_ranks_open() -> None:
    proto = model([node("GlobalAveragePool", "x")], [onnx.ValueInfoProto(name="x")], [tensor("y", [1])])
    assert holds(next(operators(proto)), "Only 2D Pool is supported.") is None


@pytest.mark.parametrize("slip", ["ReduceSum", "ArgMax"])
def test_a_name_misspelt_in_a_table_is_found(slip: str) -> None:
    tables = [read(rules.table) for rules in PROVIDERS.values()]
    assert any(("ai.onnx", slip.lower()) in table for table in tables)


def test_gemm_is_held_to_the_notes_on_its_attributes_that_the_table_has_beside_matmul() -> None:
    proto = single("Gemm", (2, 8), {"w": normal(1, 8, 4)}, alpha=0.5)
    rules = PROVIDERS[COREML]
    assert "alpha == 1.0" in judge(operator(proto), read(rules.table), rules).why


# The same tables, read by ONNX Runtime's own checker


def theirs(proto: onnx.ModelProto, rules: Rules) -> tuple[int, int, int]:
    """Return operators, those supported and partitions as usability_checker counts them: types only, fixed sizes."""
    path = Path(str(files("onnxruntime").joinpath(FOLDER, rules.table)))
    info = usability_checker._check_ep_partitioning(proto, path, True, rules.max_rank or 999)
    return info.num_nodes, info.num_supported_nodes, info.num_partitions


@pytest.mark.parametrize("name", PROVIDERS)
@pytest.mark.parametrize("make", [models.tiny_mlp, models.tiny_cnn])
def test_operators_and_partitions_are_those_of_onnx_runtimes_checker(
    make: Callable[[], onnx.ModelProto], name: str, tmp_path: Path
) -> None:
    *_, graph = _graphs(load(save(make(), tmp_path / "m.onnx")), {})
    found = answers(make(), tmp_path, "onnxruntime", batch=1)[name, False]
    assert (found.operators, found.on, found.partitions) == theirs(graph.proto, PROVIDERS[name])


def test_beyond_the_checker_notes_keep_an_operator_off(tmp_path: Path) -> None:
    *_, graph = _graphs(load(save(models.tiny_transformer(), tmp_path / "m.onnx")), {})
    found = answers(models.tiny_transformer(), tmp_path, "onnxruntime", batch=1, length=8)[NEURAL, False]
    assert theirs(graph.proto, PROVIDERS[NEURAL]) == (13, 11, 2)
    assert (found.operators, found.on, found.partitions) == (13, 9, 4)
    assert reasons(found) == {
        "not in the table": {"LayerNormalization": 1, "ReduceMean": 1},
        "Input B should be constant": {"MatMul": 2},
    }


# Partitions


@pytest.mark.parametrize(
    ("edges", "off", "wanted"),
    [
        (["a b", "b c", "c d"], "", 1),
        (["a b", "b c", "c d"], "b", 2),
        (["a b", "b c", "c d"], "a c", 1),
        (["a b", "a c", "c d", "d e"], "c", 2),
        (["a b", "b c", "x d", "d e"], "b d", 1),
        (["a b", "b c"], "a b", 0),
    ],
)
def test_a_piece_ends_where_its_result_is_needed_off_the_accelerator(
    edges: Sequence[str], off: str, wanted: int
) -> None:
    """Each edge is an operator, named after its input."""
    nodes = [helper.make_node("Relu", [edge[0]], [edge[2]], f"{edge[0]}{edge[2]}") for edge in edges]
    graph = helper.make_graph(nodes, "edges", [], [])
    on = {node.name for node in nodes if node.name[0] not in off.split()}
    assert partitions(graph, on) == wanted


# Targets


def test_a_dynamic_model_is_answered_as_it_is_and_with_its_sizes_fixed(tmp_path: Path) -> None:
    found = answers(models.tiny_cnn(), tmp_path, "onnxruntime")
    as_it_is, fixed = found[NNAPI, False], found[NNAPI, True]
    assert (as_it_is.on, as_it_is.operators, as_it_is.macs_on) == (0, 7, 0)
    assert "the size of an input is not fixed" in reasons(as_it_is)
    assert (fixed.on, fixed.partitions, fixed.sizes) == (7, 1, {"batch": 1})
    assert fixed.macs_on == fixed.macs == 22_560
    assert (COREML, True) not in found  # it takes the same of both


def test_a_size_that_is_given_is_no_longer_dynamic(tmp_path: Path) -> None:
    found = answers(models.tiny_cnn(), tmp_path, "onnxruntime", batch=1)
    assert found[NNAPI, False].on == 7
    assert not any(fixed for _, fixed in found)


def test_macs_are_shared_out_by_where_they_run(tmp_path: Path) -> None:
    found = answers(models.tiny_transformer(), tmp_path, "onnxruntime", batch=1, length=8)[NEURAL, False]
    attention = 2 * 8 * 8 * 16
    assert found.macs - found.macs_on == attention
    assert next(gap.macs for gap in found.gaps if gap.ops == {"MatMul": 2}) == attention


def test_what_is_inside_an_if_stays_on_the_cpu(tmp_path: Path) -> None:
    branches = {
        name: helper.make_graph([helper.make_node(op, ["x"], [name])], name, [], [tensor(name, [2])])
        for name, op in (("then_branch", "Relu"), ("else_branch", "Sigmoid"))
    }
    proto = model(
        [node("If", "yes", **branches)], [tensor("yes", [], BOOL), tensor("x", [2])], [tensor("y", [2])]
    )
    found = answers(proto, tmp_path, "onnxruntime")[COREML, False]
    assert (found.on, found.cpu) == (0, 3)
    assert reasons(found)["in the body of If, which stays on the CPU"] == {"Relu": 1, "Sigmoid": 1}


def unknown() -> onnx.ModelProto:
    nodes = [
        helper.make_node("Relu", ["x"], ["a"]),
        helper.make_node("Frob", ["a"], ["b"], domain="my.ops"),
        helper.make_node("Sigmoid", ["b"], ["y"]),
    ]
    return model(nodes, [tensor("x", [2])], [tensor("y", [2])], domains=["my.ops"])


@pytest.mark.parametrize("target", ["onnxruntime", "openvino"])
def test_an_operator_that_a_runtime_does_not_know_is_unsupported(target: str, tmp_path: Path) -> None:
    found = answers(unknown(), tmp_path, target)["CPU", False]
    assert (found.operators, found.cpu, found.unsupported) == (3, 2, 1)
    assert found.evidence is Evidence.COMPILED
    assert [gap.ops for gap in found.gaps] == [{"my.ops.Frob": 1}]


def test_a_type_that_onnx_runtime_refuses_is_named() -> None:
    proto = model([node("Add", "x n")], [tensor("x", [2]), tensor("n", [2], INT64)], [tensor("y", [2])])
    found = next(iter(onnxruntime_support.partitionings(proto)))
    assert [(place.op, place.where) for place in found.placements] == [("Add", "unsupported")]
    assert "no session of the whole model opens" in found.notes[0]


def test_what_neither_accelerator_nor_cpu_runs_is_unsupported(tmp_path: Path) -> None:
    found = answers(unknown(), tmp_path, "onnxruntime")[COREML, False]
    assert found.unsupported == 1
    assert [gap.where for gap in found.gaps if "my.ops.Frob" in gap.ops] == ["unsupported"]


def test_openvino_names_what_it_cannot_convert(tmp_path: Path) -> None:
    nodes = [node("Det", "x")]
    found = answers(model(nodes, [tensor("x", [1, 3, 3])], [tensor("y", [1])]), tmp_path, "openvino")
    assert reasons(found["CPU", False]) == {"OpenVINO has no conversion for it": {"Det": 1}}
    assert "cannot read this model" in found["CPU", False].notes[0]


@pytest.mark.parametrize("make", [models.tiny_mlp, models.tiny_cnn, models.tiny_transformer])
def test_what_openvino_says_it_runs_it_loads(make: Callable[[], onnx.ModelProto], tmp_path: Path) -> None:
    import openvino

    found = answers(make(), tmp_path, "openvino")["CPU", False]
    assert (found.cpu, found.unsupported) == (found.operators, 0)
    openvino.Core().compile_model(str(tmp_path / "m.onnx"), "CPU")


def test_a_published_table_is_named_with_its_version(tmp_path: Path) -> None:
    import onnxruntime

    found = answers(models.tiny_mlp(), tmp_path, "onnxruntime")[COREML, False]
    assert found.evidence is Evidence.PUBLISHED
    assert f"onnxruntime {onnxruntime.__version__}" in found.source
    assert "coreml_supported_mlprogram_ops.md" in found.source


# WebGPU: checked against Chromium, docs/operator-support.md


def webgpu_reasons(*nodes: onnx.NodeProto, kind: int = FLOAT, opset: int = 17) -> list[str]:
    proto = model(list(nodes), [tensor("x", [2, 8], kind)], [tensor("y", [2, 8], kind)], opset=opset)
    found = next(iter(webgpu.partitionings(onnx.shape_inference.infer_shapes(proto))))
    return [placement.why for placement in found.placements]


@pytest.mark.parametrize(
    ("op", "kind", "why"),
    [
        ("Max", FLOAT, ""),
        ("Max", INT64, "no kernel for int64"),
        ("Sign", FLOAT, "no kernel"),
        ("Mish", FLOAT, "no kernel: runs as the operators that define it, which are not looked at"),
    ],
)
def test_webgpu_takes_what_it_has_a_kernel_for(op: str, kind: int, why: str) -> None:
    assert webgpu_reasons(node(op, "x"), kind=kind, opset=18) == [why]


# Asking


@pytest.fixture
def third_party(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A target that is nothing but an entry point and an empty package."""
    (tmp_path / "bare_target").mkdir()
    (tmp_path / "bare_target" / "__init__.py").touch()
    info = tmp_path / "bare_target-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: bare-target\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[edgewise.targets]\nbare = bare_target\n")
    monkeypatch.syspath_prepend(tmp_path)
    for cached in (targets.names, targets._module):
        cached.cache_clear()
    yield tmp_path / "bare_target"
    for cached in (targets.names, targets._module):
        cached.cache_clear()
    for name in [name for name in sys.modules if name.startswith("bare_target")]:
        del sys.modules[name]


def test_a_target_that_declares_nothing_says_so(third_party: Path, tmp_path: Path) -> None:
    found = answers(models.tiny_mlp(), tmp_path, "bare")["", False]
    assert (found.evidence, found.notes) == (Evidence.NONE, ("not declared",))


def test_a_third_party_declares_its_support_beside_its_code(third_party: Path, tmp_path: Path) -> None:
    code = Path(__file__).parents[1].joinpath("docs", "operator-support.md").read_text()
    (third_party / "support.py").write_text(code.partition("```python\n")[2].partition("```")[0])
    found = answers(models.tiny_mlp(), tmp_path, "bare")["Relu engine", False]
    assert (found.on, found.operators, found.partitions) == (1, 3, 1)


def test_a_missing_toolchain_is_an_answer_with_its_command(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    found = answers(models.tiny_mlp(), tmp_path, "openvino", "onnxruntime")
    assert "pip install 'edgewise[openvino]'" in found["", False].notes[0]
    assert ("CPU", False) in found


def test_an_unknown_target_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"'abacus': known are .*onnxruntime"):
        answers(models.tiny_mlp(), tmp_path, "abacus")


def test_inspect_prints_what_falls_back_and_why(command: Command, tmp_path: Path) -> None:
    path = save(models.tiny_cnn(), tmp_path / "m.onnx")
    said = command("inspect", path, "--target", "onnxruntime", "--target", "openvino")
    assert said.code == 0
    lines = [" ".join(line.split()) for line in said.out.splitlines()]
    assert "onnxruntime Core ML provider (ML program) 6 of 7 (85.7 %) 100.0 % 2 1 0" in lines
    assert "onnxruntime NNAPI provider, batch = 1 7 of 7 (100.0 %) 100.0 % 1 0 0" in lines
    assert "openvino CPU – – – 7 0" in lines
    assert "on the CPU, not in the table: 1 Flatten" in lines


def test_inspect_as_json_has_the_answers(command: Command, tmp_path: Path) -> None:
    path = save(models.tiny_cnn(), tmp_path / "m.onnx")
    found = json.loads(command("inspect", path, "--target", "openvino", "--json").out)
    assert found["macs"] == 22_560
    assert [(answer["target"], answer["cpu"]) for answer in found["support"]] == [("openvino", 7)]


def test_inspect_without_a_target_says_nothing_of_support(command: Command, tmp_path: Path) -> None:
    path = save(models.tiny_cnn(), tmp_path / "m.onnx")
    assert "support" not in json.loads(command("inspect", path, "--json").out)


def test_a_model_is_not_prepared_for_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgewise.lab.profile.accelerators.fold", None)
    assert support(load(save(models.tiny_mlp(), tmp_path / "m.onnx")), []) == ()


def test_inspect_refuses_an_unknown_target(command: Command, tmp_path: Path) -> None:
    said = command("inspect", save(models.tiny_mlp(), tmp_path / "m.onnx"), "--target", "abacus")
    assert (said.code, said.out) == (2, "")
    assert "known are" in said.err
