"""Whisper's encoder and decoder in plain torch, with the names of the published weights.

Source: Radford et al., "Robust Speech Recognition via Large-Scale Weak Supervision", arXiv:2212.04356, section 2.2.
"""

# mypy: allow-subclassing-any
from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["Decoder", "Encoder", "Sizes"]


@dataclass(frozen=True, slots=True)
class Sizes:
    """The checkpoint's `dims`, as it names them."""

    n_mels: int
    n_audio_ctx: int
    n_audio_state: int
    n_audio_head: int
    n_audio_layer: int
    n_vocab: int
    n_text_ctx: int
    n_text_state: int
    n_text_head: int
    n_text_layer: int


class _Attention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key = nn.Linear(width, width), nn.Linear(width, width, bias=False)
        self.value, self.out = nn.Linear(width, width), nn.Linear(width, width)

    def forward(self, x: Tensor, source: Tensor, *, causal: bool = False) -> Tensor:
        query, key, value = (
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for part in (self.query(x), self.key(source), self.value(source))
        )
        mixed = functional.scaled_dot_product_attention(query, key, value, is_causal=causal)
        return self.out(mixed.transpose(1, 2).flatten(2))


class _Block(nn.Module):
    def __init__(self, width: int, heads: int, *, cross: bool = False) -> None:
        super().__init__()
        self.attn, self.attn_ln = _Attention(width, heads), nn.LayerNorm(width)
        self.cross_attn = _Attention(width, heads) if cross else None
        self.cross_attn_ln = nn.LayerNorm(width) if cross else None
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        self.mlp_ln = nn.LayerNorm(width)

    def forward(self, x: Tensor, source: Tensor | None = None) -> Tensor:
        normed = self.attn_ln(x)
        x = x + self.attn(normed, normed, causal=source is not None)
        if self.cross_attn is not None and self.cross_attn_ln is not None:
            x = x + self.cross_attn(self.cross_attn_ln(x), source)
        return x + self.mlp(self.mlp_ln(x))


class Encoder(nn.Module):
    """mel float32 [batch, 80, 3000] → features [batch, 1500, width]."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        width = sizes.n_audio_state
        self.conv1 = nn.Conv1d(sizes.n_mels, width, 3, padding=1)
        self.conv2 = nn.Conv1d(width, width, 3, stride=2, padding=1)
        self.positional_embedding = nn.Parameter(torch.zeros(sizes.n_audio_ctx, width))
        self.blocks = nn.ModuleList(_Block(width, sizes.n_audio_head) for _ in range(sizes.n_audio_layer))
        self.ln_post = nn.LayerNorm(width)

    def forward(self, mel: Tensor) -> Tensor:
        x = functional.gelu(self.conv2(functional.gelu(self.conv1(mel))))
        x = x.transpose(1, 2) + self.positional_embedding
        for block in self.blocks:
            x = block(x)
        return self.ln_post(x)


class Decoder(nn.Module):
    """tokens int64 [batch, count] and features → the scores of each next token [batch, count, vocabulary]."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        width = sizes.n_text_state
        self.token_embedding = nn.Embedding(sizes.n_vocab, width)
        self.positional_embedding = nn.Parameter(torch.zeros(sizes.n_text_ctx, width))
        blocks = (_Block(width, sizes.n_text_head, cross=True) for _ in range(sizes.n_text_layer))
        self.blocks, self.ln = nn.ModuleList(blocks), nn.LayerNorm(width)

    def forward(self, tokens: Tensor, features: Tensor) -> Tensor:
        x = self.token_embedding(tokens) + self.positional_embedding[: tokens.shape[1]]
        for block in self.blocks:
            x = block(x, features)
        return self.ln(x) @ self.token_embedding.weight.T
