"""Products of matrices: nn.Linear where one factor is learned."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from edgewise.lab.model.torch_graph.registry import Found, Site, module, operator

__all__: list[str] = []


@operator("MatMul")
def matmul(a: Tensor, b: Tensor, bias: Tensor | None = None) -> Tensor:
    """A · b, and the bias that the graph adds to it and nothing else (`translate` joins the two)."""
    return torch.matmul(a, b) if bias is None else torch.matmul(a, b) + bias


@module("MatMul")
def matmul_module(site: Site) -> Found | None:
    """A product with a learned matrix."""
    weight = site.constant(1)
    if weight is None or weight.dim() != 2 or not weight.is_floating_point():
        return None
    return _linear(site, transposed=True, bias=site.given(2))


@operator("Gemm")
def gemm(
    a: Tensor,
    b: Tensor,
    c: Tensor | None = None,
    *,
    alpha: float = 1.0,
    beta: float = 1.0,
    transA: int = 0,  # noqa: N803 - ONNX's word
    transB: int = 0,  # noqa: N803
) -> Tensor:
    """Alpha · a · b + beta · c."""
    made = torch.matmul(a.t() if transA else a, b.t() if transB else b)
    made = made if alpha == 1.0 else made * alpha
    return made if c is None else made + (c if beta == 1.0 else c * beta)


@module("Gemm")
def gemm_module(site: Site) -> Found | None:
    """A product with a learned matrix, and a learned bias."""
    weight, attributes = site.constant(1), site.attributes
    scaled = attributes.get("alpha", 1.0) != 1.0 or attributes.get("beta", 1.0) != 1.0
    if weight is None or scaled or attributes.get("transA", 0):
        return None
    transposed = not attributes.get("transB", 0)
    if site.given(2):
        bias = site.constant(2)
        if bias is None or bias.shape != weight.shape[1 if transposed else 0 :][:1]:
            return None
    return _linear(site, transposed=transposed, bias=site.given(2))


def _linear(site: Site, *, transposed: bool, bias: bool) -> Found:
    weight = site.parameter(1, transposed=transposed)
    made = nn.Linear(weight.shape[1], weight.shape[0], bias=bias, device="meta")
    made.weight = weight
    if bias:
        made.bias = site.parameter(2)
    return Found(made)


@operator("Einsum")
def einsum(*values: Tensor, equation: str) -> Any:
    """Sum of products by Einstein's notation."""
    return torch.einsum(equation, *values)
