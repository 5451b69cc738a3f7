"""Whole models, control flow and float16: the interpreter of ML Programs agrees with torch and knows all of MIL."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mil import LIMITS, PRECISIONS, Call, answers, apart, convert, ct, torch

from edgewise.targets.coreml.compiler import CONTROL
from edgewise.targets.coreml.operators import OPERATORS

F = torch.nn.functional
nn = torch.nn


def noise(*shape: int, seed: int = 0) -> Any:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


class Block(torch.nn.Module):  # type: ignore[misc]
    """A pre-norm transformer layer, with torch's own attention."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.first, self.second = nn.LayerNorm(width), nn.LayerNorm(width)

    def forward(self, x: Any, mask: Any) -> Any:
        batch, steps, width = x.shape
        heads = self.qkv(self.first(x)).reshape(batch, steps, 3, 4, width // 4).permute(2, 0, 3, 1, 4)
        seen = F.scaled_dot_product_attention(heads[0], heads[1], heads[2], attn_mask=mask)
        x = x + self.out(seen.transpose(1, 2).reshape(batch, steps, width))
        return x + self.down(F.gelu(self.up(self.second(x))))


class Encoder(torch.nn.Module):  # type: ignore[misc]
    """Token ids and their mask, of any length up to 64, to class scores."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens, self.places = nn.Embedding(50, 32), nn.Embedding(64, 32)
        self.blocks = nn.ModuleList([Block(32) for _ in range(2)])
        self.head = nn.Linear(32, 5)

    def forward(self, ids: Any, mask: Any) -> Any:
        x = self.tokens(ids) + self.places(torch.arange(ids.shape[1]))
        hidden = (1.0 - mask[:, None, None, :].float()) * -1e4
        for block in self.blocks:
            x = block(x, hidden)
        weights = mask[:, :, None].float()
        return self.head((x * weights).sum(1) / weights.sum(1))


def small_cnn() -> Any:
    def separable(inputs: int, outputs: int, stride: int) -> list[Any]:
        deep = nn.Conv2d(inputs, inputs, 3, stride, 1, groups=inputs, bias=False)
        return [deep, nn.BatchNorm2d(inputs), nn.Hardswish(), nn.Conv2d(inputs, outputs, 1), nn.ReLU6()]

    return nn.Sequential(
        nn.Conv2d(3, 16, 3, 2, 1),
        nn.BatchNorm2d(16),
        nn.SiLU(),
        *separable(16, 24, 1),
        *separable(24, 32, 2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(32, 10),
    ).eval()


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_small_cnn_agrees_with_torch(precision: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    module, image = small_cnn(), noise(2, 3, 32, 32)
    got = answers(convert(module, [image], tmp_path, precision), [image])
    assert apart(module(image), got) < LIMITS[precision]


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_transformer_of_dynamic_length_agrees_with_torch_at_each_length(
    precision: str, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    module = Encoder().eval()

    def request(length: int) -> tuple[Any, Any]:
        mask = torch.ones(1, length, dtype=torch.int32)
        mask[:, length - 3 :] = 0
        return torch.arange(3, length + 3, dtype=torch.int32)[None] * 7 % 50, mask

    length = torch.export.Dim("length", min=4, max=64)
    package = convert(module, request(12), tmp_path, precision, dynamic=({1: length}, {1: length}))
    for size in (12, 5, 64):
        assert apart(module(*request(size)), answers(package, request(size))) < LIMITS[precision]


def scripted(module: Any, example: Any, folder: Path) -> Path:
    model = ct.convert(
        torch.jit.script(module),
        inputs=[ct.TensorType(shape=example.shape)],
        compute_precision=ct.precision.FLOAT32,
        minimum_deployment_target=ct.target.iOS17,
    )
    model.save(str(folder / "scripted.mlpackage"))
    return folder / "scripted.mlpackage"


# TorchScript takes an input without an annotation for a tensor.
class Fork(torch.nn.Module):  # type: ignore[misc]
    def forward(self, x):  # type: ignore[no-untyped-def]
        y = x * 2.0 + 1.0 if x.sum() > 0 else torch.sqrt(torch.abs(x))
        return y - 0.5


class Spiral(torch.nn.Module):  # type: ignore[misc]
    def forward(self, x):  # type: ignore[no-untyped-def]
        for i in range(7):
            x = x * 0.9 + i
        while bool(x.sum() < 500.0):
            x = x * 1.5
        return x


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_of_a_condition_the_branch_that_torch_takes_is_run(sign: float, tmp_path: Path) -> None:
    x = sign * noise(3, 4).abs()
    assert apart(Fork()(x), answers(scripted(Fork(), x, tmp_path), [x])) < 1e-6


def test_a_loop_runs_as_often_as_in_torch(tmp_path: Path) -> None:
    x = noise(3, 4)
    assert apart(Spiral()(x), answers(scripted(Spiral(), x, tmp_path), [x])) < 1e-5


def test_what_float16_cannot_hold_becomes_infinite_as_on_hardware(tmp_path: Path) -> None:
    x = torch.tensor([[100.0, 300.0, -300.0]])
    package = convert(Call(lambda _, x: x * x * x), [x], tmp_path, "FLOAT16")
    np.testing.assert_array_equal(answers(package, [x])[0], [[np.inf, np.inf, -np.inf]])


def test_float16_is_the_rounding_of_each_operators_result(tmp_path: Path) -> None:
    x = torch.tensor([[2048.0, 1.0]])
    added = answers(convert(Call(lambda _, x: x + 1.0 - 2048.0), [x], tmp_path, "FLOAT16"), [x])[0]
    # 2049 lies between two float16 numbers, and the even one is 2048; float32 would leave 1.
    np.testing.assert_array_equal(added, [[0.0, -2046.0]])


def test_every_operator_of_every_ios_version_is_known_with_all_its_parameters() -> None:
    registry = pytest.importorskip("coremltools.converters.mil.mil.ops.registry").SSAOpRegistry
    internal = {"_const_symbolic", "conv_quantized"}  # which coremltools saves in no ML Program
    strange = {name: set(versions) for name, versions in registry.core_ops.items() if name not in OPERATORS}
    assert strange.keys() - CONTROL - internal == {
        "random_bernoulli",
        "random_categorical",
        "random_normal",
        "random_uniform",
    }
    for name in registry.core_ops.keys() & OPERATORS.keys():
        wanted = {
            each for version in registry.core_ops[name].values() for each in version.input_spec.input_types
        }
        assert wanted == set(OPERATORS[name].parameters), name
