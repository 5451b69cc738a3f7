"""The interpreter of ML Programs computes what torch computes, for each family of operators.

The programs come from coremltools' own torch frontend and are read back from the saved package.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mil import LIMITS, PRECISIONS, Call, answers, apart, convert, torch

F = torch.nn.functional
nn = torch.nn


def noise(*shape: int, seed: int = 0) -> Any:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def eighths(*shape: int, seed: int = 0) -> Any:
    """Numbers that float16 holds exactly, so that rounding down cannot jump."""
    return torch.randint(-31, 32, shape, generator=torch.Generator().manual_seed(seed)) / 8


def distinct(*shape: int) -> Any:
    """Sixteenths, each once: orders are clear."""
    count = int(np.prod(shape))
    order = torch.randperm(count, generator=torch.Generator().manual_seed(0))
    return ((order - count // 2) / 16).reshape(shape)


def whole(high: int, *shape: int, seed: int = 0) -> Any:
    return torch.randint(0, high, shape, generator=torch.Generator().manual_seed(seed), dtype=torch.int32)


def unary(_: Any, x: Any) -> Any:
    small, large = x / 8, x.abs() + 0.5
    return (
        *(
            f(x)
            for f in (torch.abs, torch.ceil, torch.floor, torch.neg, torch.sign, torch.square, torch.round)
        ),
        *(
            f(small)
            for f in (torch.acos, torch.asin, torch.atan, torch.atanh, torch.cosh, torch.sinh, torch.tan)
        ),
        *(f(x) for f in (torch.cos, torch.sin, torch.erf, torch.tanh, torch.exp, torch.exp2)),
        *(f(large) for f in (torch.log, torch.log1p, torch.rsqrt, torch.sqrt)),
        torch.clamp(x, -1.5, 2.0),
    )


def binary(_: Any, x: Any, y: Any) -> Any:
    other = y.abs() + 0.5
    return (
        *(f(x, y) for f in (torch.add, torch.sub, torch.mul, torch.maximum, torch.minimum)),
        x / other,
        torch.floor_divide(x, other),
        torch.remainder(x, other),
        torch.pow(other, x / 4),
        *(f(x, y).float() for f in (torch.eq, torch.ne, torch.lt, torch.le, torch.gt, torch.ge)),
        torch.logical_and(x > 0, y > 0).float(),
        torch.logical_or(x > 0, y > 0).float(),
        torch.logical_xor(x > 0, y > 0).float(),
        torch.logical_not(x > 0).float(),
        torch.where(x > y, x, y * 2),
    )


def casts(_: Any, x: Any, n: Any) -> Any:
    return x.int(), x.bool().float(), n.float() / 3, (n // 3).float(), n % 4, (x.int() * n).float()


def activations(m: Any, x: Any) -> Any:
    return (
        *(f(x) for f in (F.relu, F.relu6, F.elu, F.gelu, F.hardsigmoid, F.hardswish, F.sigmoid, F.silu)),
        *(f(x) for f in (F.softplus, F.softsign, F.hardtanh, F.leaky_relu)),
        F.gelu(2 * x, approximate="tanh"),
        F.softmax(x, 1),
        F.log_softmax(x, -1),
        F.glu(x, 1),
        m.prelu(x),
    )


def products(m: Any, x: Any, y: Any) -> Any:
    return (
        m.linear(x),
        m.plain(x),
        x @ y,
        x[0] @ y[0],
        torch.einsum("bij,bkj->bik", x, x),
        torch.einsum("bhid,bhjd->bhij", x.reshape(2, 5, 2, 3), x.reshape(2, 5, 2, 3)),
        x @ m.linear.weight.T,
    )


def attention(m: Any, x: Any, mask: Any) -> Any:
    heads = m.qkv(x).reshape(2, 5, 3, 4, 8).permute(2, 0, 3, 1, 4)
    plain = F.scaled_dot_product_attention(heads[0], heads[1], heads[2])
    added = F.scaled_dot_product_attention(heads[0], heads[1], heads[2], attn_mask=mask)
    allowed = F.scaled_dot_product_attention(heads[0], heads[1], heads[2], attn_mask=mask > 0)
    return plain, added, allowed


def convolutions(m: Any, x: Any) -> Any:
    return tuple(child(x) for _, child in sorted(m.named_children()))


def convolution_family() -> Any:
    return Call(
        convolutions,
        a=nn.Conv2d(8, 6, 3),
        b=nn.Conv2d(8, 6, 3, stride=2, padding=1, bias=False),
        c=nn.Conv2d(8, 12, (3, 5), dilation=2, padding=(2, 4), groups=4),
        d=nn.Conv2d(8, 16, 5, groups=8, padding=2, stride=(1, 2)),
        e=nn.Conv2d(8, 8, 1),
        f=nn.Conv2d(8, 4, 1, stride=2),
        g=nn.Conv2d(8, 4, 4, padding="same"),
        h=nn.ConvTranspose2d(8, 6, 3, stride=2, padding=1),
        i=nn.ConvTranspose2d(8, 8, 4, stride=2, padding=1, groups=4),
        j=nn.ConvTranspose2d(8, 6, 3, stride=2, padding=1, output_padding=1),
        k=nn.ConvTranspose2d(8, 6, 3, dilation=2, bias=False),
        l=nn.Conv2d(8, 4, 3, padding=1, padding_mode="reflect"),
    )


def lines_and_volumes(m: Any, x: Any, v: Any) -> Any:
    return m.line(x), m.back(x), m.volume(v), F.max_pool3d(v, 2, 2), F.avg_pool3d(v, 2, 2), m.thin(x)


def pools(_: Any, x: Any) -> Any:
    return (
        F.max_pool2d(x, 3, 2, 1),
        F.max_pool2d(x, 2, ceil_mode=True),
        F.max_pool2d(x, 3, 2, 1, ceil_mode=True),
        F.avg_pool2d(x, 3, 2, 1),
        F.avg_pool2d(x, 3, 2, 1, count_include_pad=False),
        F.avg_pool2d(x, (2, 3), (1, 2)),
        F.adaptive_avg_pool2d(x, 1),
        F.adaptive_max_pool2d(x, 1),
        F.max_pool1d(x[:, :, 0], 3, 2),
        F.avg_pool1d(x[:, :, 0], 2),
    )


def norms(m: Any, x: Any) -> Any:
    return (
        *(child(x) for _, child in sorted(m.named_children())),
        F.layer_norm(x, (9,)),
        F.normalize(x, dim=1),
        x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6),
    )


def norm_family() -> Any:
    batch = nn.BatchNorm2d(8)
    batch.running_mean.normal_(generator=torch.Generator().manual_seed(1))
    batch.running_var.uniform_(0.5, 2, generator=torch.Generator().manual_seed(2))
    return Call(
        norms,
        a=batch,
        b=nn.InstanceNorm2d(8, affine=True),
        c=nn.GroupNorm(4, 8),
        d=nn.LayerNorm((7, 9)),
        e=nn.LocalResponseNorm(3),
    )


def reductions(_: Any, x: Any) -> Any:
    return (
        x.sum(1),
        x.mean((1, 2), keepdim=True),
        x.amax(2),
        x.amin((0, 1)),
        x.logsumexp(-1),
        x.norm(dim=1),
        x.abs().sum(2),
        x.var(1),
        x.std(2),
        x.cumsum(1),
        x.argmax(1).int(),
        x.argmin(2).int(),
        *(each if each.dtype.is_floating_point else each.int() for each in x.max(1)),
        *(each if each.dtype.is_floating_point else each.int() for each in x.topk(3, -1)),
        *(each if each.dtype.is_floating_point else each.int() for each in x.sort(1)),
        x.argsort(1, descending=True).int(),
    )


def lookups(m: Any, x: Any, n: Any) -> Any:
    i = n.long()
    return (
        m.table(n),
        torch.gather(x, 1, i),
        x[i[0]],
        x[:, i[0]],
        torch.scatter(x, 1, i, x[:, :3] * 2),
        torch.scatter_add(x, 1, i, x[:, :3]),
        torch.index_put(x, (i[0],), x[:3] * 3),
        x.masked_fill(x > 0.5, -1.0),
        F.one_hot(i, 4).float(),
    )


def shapes(_: Any, x: Any) -> Any:
    return (
        x.reshape(6, -1),
        x.flatten(1),
        x.permute(2, 0, 1, 3),
        torch.cat([x, x * 2], 1),
        torch.stack([x, -x], 2),
        *x.split([1, 3], 1),
        *x.chunk(2, 3),
        x[:, 1:, ::2, -3:],
        x[0, -1],
        x.flip([2, 3]),
        x.repeat(2, 1, 1, 2),
        x[:1].expand(3, 4, 6, 6),
        x.unsqueeze(1).squeeze(1).transpose(1, 3),
        torch.roll(x, 2, 3),
        F.pixel_shuffle(x, 2),
        F.pixel_unshuffle(x, 2),
        F.pad(x, (1, 2, 0, 3)),
        F.pad(x, (1, 2, 2, 1), mode="reflect"),
        F.pad(x, (1, 2, 2, 1), mode="replicate"),
        torch.tril(x),
        torch.triu(x, 1),
        torch.full_like(x, 2.5) + torch.arange(6),
        torch.zeros(2, 3) + 1,
    )


def resizes(_: Any, x: Any) -> Any:
    return (
        F.interpolate(x, scale_factor=2, mode="nearest"),
        F.interpolate(x, size=(10, 15), mode="bilinear", align_corners=True),
        F.interpolate(x, size=(10, 15), mode="bilinear", align_corners=False),
        F.interpolate(x, scale_factor=2, mode="bilinear"),
        F.interpolate(x[:, :, 0], scale_factor=2, mode="nearest"),
    )


def samples(_: Any, x: Any, at: Any) -> Any:
    return tuple(
        F.grid_sample(x, at, mode=mode, padding_mode=padding, align_corners=corners)
        for mode, padding, corners in (
            ("bilinear", "zeros", True),
            ("bilinear", "border", False),
            ("bilinear", "reflection", True),
            ("bilinear", "reflection", False),
            ("nearest", "zeros", False),
        )
    )


def recurrent(m: Any, x: Any) -> Any:
    one, (h, c) = m.one(x)
    both, (hidden, cell) = m.both(x)
    return one, h, c, both, hidden, cell, *m.gru(x), *m.rnn(x)


@dataclass(frozen=True)
class Family:
    """A module, inputs for it, and the first iOS that has its operators."""

    module: Callable[[], Any]
    inputs: Callable[[], tuple[Any, ...]]
    target: str = "iOS17"
    traced: bool = False


FAMILIES = {
    "unary": Family(lambda: Call(unary), lambda: (eighths(4, 40),)),
    "binary": Family(lambda: Call(binary), lambda: (eighths(4, 40), eighths(3, 1, 40, seed=1))),
    "casts": Family(lambda: Call(casts), lambda: (eighths(4, 10), whole(9, 4, 10))),
    "activations": Family(
        lambda: Call(activations, prelu=nn.PReLU(6, init=0.3)), lambda: (3 * noise(2, 6, 4, 5),)
    ),
    "products": Family(
        lambda: Call(products, linear=nn.Linear(6, 3), plain=nn.Linear(6, 7, bias=False)),
        lambda: (noise(2, 5, 6), noise(2, 6, 4)),
    ),
    "attention": Family(
        lambda: Call(attention, qkv=nn.Linear(32, 96)), lambda: (noise(2, 5, 32), noise(2, 1, 5, 5)), "iOS18"
    ),
    "attention, decomposed": Family(
        lambda: Call(attention, qkv=nn.Linear(32, 96)), lambda: (noise(2, 5, 32), noise(2, 1, 5, 5))
    ),
    "convolutions": Family(convolution_family, lambda: (noise(2, 8, 11, 13),)),
    "lines and volumes": Family(
        lambda: Call(
            lines_and_volumes,
            line=nn.Conv1d(4, 6, 3, padding=1, dilation=2),
            back=nn.ConvTranspose1d(4, 6, 3, stride=2),
            volume=nn.Conv3d(4, 5, 3, padding=1),
            thin=nn.Conv1d(4, 4, 3, groups=4),
        ),
        lambda: (noise(2, 4, 9), noise(1, 4, 4, 6, 8)),
    ),
    "pools": Family(lambda: Call(pools), lambda: (noise(2, 3, 9, 11),)),
    "norms": Family(norm_family, lambda: (noise(2, 8, 7, 9) + 0.5,)),
    "reductions": Family(lambda: Call(reductions), lambda: (distinct(3, 4, 5),)),
    "lookups": Family(lambda: Call(lookups, table=nn.Embedding(4, 5)), lambda: (noise(4, 4), whole(4, 4, 3))),
    "shapes": Family(lambda: Call(shapes), lambda: (noise(2, 4, 6, 6),)),
    "resizes": Family(lambda: Call(resizes), lambda: (noise(1, 2, 5, 6),)),
    "samples": Family(lambda: Call(samples), lambda: (noise(2, 3, 5, 6), 0.7 * noise(2, 4, 4, 2, seed=5))),
    "recurrent": Family(
        lambda: Call(
            recurrent,
            one=nn.LSTM(6, 5, num_layers=2),
            both=nn.LSTM(6, 5, bidirectional=True),
            gru=nn.GRU(6, 5),
            rnn=nn.RNN(6, 5, nonlinearity="relu"),
        ),
        lambda: (noise(7, 1, 6),),
        traced=True,
    ),
}


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", FAMILIES)
def test_each_family_of_operators_agrees_with_torch(name: str, precision: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    family = FAMILIES[name]
    module, inputs = family.module(), family.inputs()
    got = answers(
        convert(module, inputs, tmp_path, precision, target=family.target, traced=family.traced), inputs
    )
    assert apart(module(*inputs), got) < LIMITS[precision]
