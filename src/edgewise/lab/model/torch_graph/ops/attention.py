"""Attention and rotary positions, operators of their own since opset 23."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812 - as torch's own manual writes it
from torch import Tensor

from edgewise.lab.model.torch_graph.registry import operator

__all__: list[str] = []


@operator("Attention")
def attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None = None,
    *,
    is_causal: int = 0,
    kv_num_heads: int | None = None,
    q_num_heads: int | None = None,
    qk_matmul_output_mode: int = 0,  # of the fourth output only
    scale: float | None = None,
    softcap: float = 0.0,
    softmax_precision: int = 1,
) -> Tensor:
    """Scaled dot-product attention of (batch, heads, length, width) or (batch, length, heads · width) tensors."""
    if softcap:
        raise NotImplementedError("softcap has no counterpart in torch's attention")
    flat = query.dim() == 3
    if flat:
        query, key, value = _heads(query, q_num_heads), _heads(key, kv_num_heads), _heads(value, kv_num_heads)
    grouped = query.shape[1] != key.shape[1]
    made = F.scaled_dot_product_attention(
        query, key, value, mask, 0.0, bool(is_causal), scale=scale, enable_gqa=grouped
    )
    return made.transpose(1, 2).flatten(2) if flat else made


def _heads(x: Tensor, heads: int | None) -> Tensor:
    assert heads is not None, "three-dimensional attention says how many heads there are"
    return x.unflatten(2, (heads, -1)).transpose(1, 2)


@operator("RotaryEmbedding")
def rotary(
    x: Tensor,
    cos: Tensor,
    sin: Tensor,
    positions: Tensor | None = None,
    *,
    interleaved: int = 0,
    num_heads: int = 0,
    rotary_embedding_dim: int = 0,
) -> Tensor:
    """Turn pairs of features by an angle that grows with the position."""
    heads = _heads(x, num_heads) if x.dim() == 3 else x
    if positions is not None:
        cos, sin = F.embedding(positions, cos), F.embedding(positions, sin)
    cos, sin = cos.unsqueeze(1), sin.unsqueeze(1)
    width = rotary_embedding_dim or heads.shape[-1]
    turned, kept = heads[..., :width], heads[..., width:]
    first, second = (turned[..., ::2], turned[..., 1::2]) if interleaved else turned.chunk(2, -1)
    pair = (first * cos - second * sin, second * cos + first * sin)
    made = torch.stack(pair, -1).flatten(-2) if interleaved else torch.cat(pair, -1)
    made = torch.cat((made, kept), -1)
    return made.transpose(1, 2).flatten(2) if x.dim() == 3 else made
