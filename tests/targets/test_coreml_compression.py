"""Weights in every compressed form that coremltools makes on Linux are unpacked from the saved file as torch has them.

The reference is torch with the weights that coremltools itself decompresses, put back into the original's layers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mil import LIMITS, PRECISIONS, answers, apart, convert, ct, torch

from edgewise.targets.coreml.package import load_program, read_model

optimize: Any = pytest.importorskip("coremltools.optimize.coreml")

Step = Callable[[Any], Any]


def _applied(function: str, config: str, options: dict[str, Any], joint: dict[str, bool]) -> Step:
    def step(model: Any) -> Any:
        chosen = getattr(optimize, config)(weight_threshold=0, **options)
        return getattr(optimize, function)(model, optimize.OptimizationConfig(global_config=chosen), **joint)

    return step


def linear(mode: str, *, joint: bool = False, **options: Any) -> Step:
    options["mode"] = mode
    flags = {"joint_compression": True} if joint else {}
    return _applied("linear_quantize_weights", "OpLinearQuantizerConfig", options, flags)


def palette(bits: int, *, joint: bool = False, mode: str = "kmeans", **options: Any) -> Step:
    flags = {"joint_compression": True} if joint else {}
    return _applied("palettize_weights", "OpPalettizerConfig", {"nbits": bits, "mode": mode} | options, flags)


def pruned(**options: Any) -> Step:
    return _applied("prune_weights", "OpMagnitudePrunerConfig", options, {})


@dataclass(frozen=True)
class Form:
    """How weights are compressed, the operators that unpack them, and the first iOS that knows those."""

    steps: Sequence[Step]
    operators: set[str]
    target: str


AFFINE, SHIFT = "constexpr_affine_dequantize", "constexpr_blockwise_shift_scale"
TABLE, SPARSE = "constexpr_lut_to_dense", "constexpr_sparse_to_dense"
SPARSE_TABLE, SPARSE_SHIFT = "constexpr_lut_to_sparse", "constexpr_sparse_blockwise_shift_scale"
BLOCKS: dict[str, Any] = {"granularity": "per_block", "block_size": 4}
GROUPS: dict[str, Any] = {"granularity": "per_grouped_channel", "group_size": 8}

FORMS = {
    "int8 per channel": Form([linear("linear_symmetric")], {AFFINE}, "iOS16"),
    "int8 with zero point": Form([linear("linear")], {AFFINE}, "iOS16"),
    "int8 per channel, iOS 18": Form([linear("linear_symmetric")], {SHIFT}, "iOS18"),
    "uint8 per tensor": Form([linear("linear", dtype="uint8", granularity="per_tensor")], {SHIFT}, "iOS18"),
    "int4 per block": Form([linear("linear_symmetric", dtype="int4", **BLOCKS)], {SHIFT}, "iOS18"),
    "uint4 per block": Form([linear("linear", dtype="uint4", **BLOCKS)], {SHIFT}, "iOS18"),
    **{f"palette of {bits} bits": Form([palette(bits)], {TABLE}, "iOS16") for bits in (1, 2, 4, 6, 8)},
    **{
        f"palette of {bits} bits, iOS 18": Form([palette(bits)], {TABLE}, "iOS18")
        for bits in (1, 2, 3, 4, 6, 8)
    },
    "uniform palette": Form([palette(4, mode="uniform")], {TABLE}, "iOS17"),
    "palettes of groups": Form([palette(4, **GROUPS)], {TABLE}, "iOS18"),
    "palettes with a scale": Form(
        [palette(4, enable_per_channel_scale=True, **GROUPS)], {TABLE, SHIFT}, "iOS18"
    ),
    "palette of vectors": Form([palette(4, cluster_dim=2)], {TABLE}, "iOS18"),
    "half pruned": Form([pruned(target_sparsity=0.5)], {SPARSE}, "iOS16"),
    "half pruned, iOS 18": Form([pruned(target_sparsity=0.5)], {SPARSE}, "iOS18"),
    "two of four pruned": Form([pruned(n_m_ratio=(2, 4))], {SPARSE}, "iOS17"),
    "pruned, then a palette": Form(
        [pruned(target_sparsity=0.5), palette(4, joint=True)], {SPARSE, SPARSE_TABLE}, "iOS18"
    ),
    "pruned, then int8": Form(
        [pruned(target_sparsity=0.5), linear("linear_symmetric", joint=True)], {SPARSE, SPARSE_SHIFT}, "iOS18"
    ),
    "a palette, then int8": Form(
        [palette(4), linear("linear_symmetric", joint=True, granularity="per_tensor")],
        {TABLE, SHIFT},
        "iOS18",
    ),
}


def network() -> Any:
    """Return layers whose weights all have different shapes, by which they are put back."""
    nn = torch.nn
    torch.manual_seed(0)
    convolutions = (nn.Conv2d(3, 32, 3), nn.ReLU(), nn.Conv2d(32, 64, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(2))
    return nn.Sequential(*convolutions, nn.Flatten(), nn.Linear(256, 64), nn.ReLU(), nn.Linear(64, 10)).eval()


def image() -> Any:
    return torch.randn(2, 3, 9, 9, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], Path]:
    @cache
    def converted(precision: str, target: str) -> Path:
        return convert(network(), [image()], tmp_path_factory.mktemp("package"), precision, target=target)

    return converted


def _program(package: Path) -> Any:
    (function,) = load_program(package, *read_model(package)).functions.values()
    return function


def _with_weights_of(package: Path) -> Any:
    found = {
        op.val.val.shape: op.val.val
        for op in _program(package).operations
        if op.op_type == "const" and np.ndim(op.val.val) > 1
    }
    module = network()
    for name, weight in module.named_parameters():
        if name.endswith("weight"):
            weight.data = torch.from_numpy(found[tuple(weight.shape)].astype(np.float32))
    return module


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", FORMS)
def test_each_compressed_form_computes_what_torch_does_with_the_same_weights(
    name: str, precision: str, package: Callable[[str, str], Path], tmp_path: Path
) -> None:
    form = FORMS[name]
    model = ct.models.MLModel(str(package(precision, form.target)), skip_model_load=True)
    for step in form.steps:
        model = step(model)
    model.save(str(tmp_path / "compressed.mlpackage"))
    optimize.decompress_weights(model).save(str(tmp_path / "plain.mlpackage"))
    met = {op.op_type for op in _program(tmp_path / "compressed.mlpackage").operations}
    assert {each for each in met if each.startswith("constexpr")} == form.operators
    reference = _with_weights_of(tmp_path / "plain.mlpackage")(image())
    assert apart(reference, answers(tmp_path / "compressed.mlpackage", [image()])) < LIMITS[precision]
