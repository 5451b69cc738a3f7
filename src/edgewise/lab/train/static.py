"""A static embedding: one vector for each token, their mean, and a small head. No attention, so a thousand times cheaper.

The vectors begin as what the original's last layer makes of each token between the tokens that every text begins and
ends with, reduced by PCA, and weighted by rank as rare words say more: the recipe of model2vec. Then they and the
head are trained. model2vec itself takes a model and tokenizer of the transformers library, and here is an ONNX graph.
Tulkens, van Dongen: Model2Vec, https://github.com/MinishLab/model2vec
Arora et al.: A Simple but Tough-to-Beat Baseline for Sentence Embeddings, https://openreview.net/forum?id=SyK00v5xx
"""

# mypy: allow-untyped-calls, allow-subclassing-any
from __future__ import annotations

import copy
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, fx, nn

from edgewise.errors import InputError, ToolchainError
from edgewise.lab.model.load import OnnxModel
from edgewise.lab.train.corpus import Corpus
from edgewise.lab.train.fit import outputs
from edgewise.lab.train.layers import found
from edgewise.lab.train.students import StaticEmbedding

__all__ = ["occurring", "static"]

_AT_ONCE = 512
_RARITY = 1e-4


class _Pooled(nn.Module):
    """Vectors of tokens, their mean where the mask is 1, and the head."""

    def __init__(self, table: NDArray[np.float32], classes: int) -> None:
        super().__init__()
        self.vectors: nn.Module = nn.Embedding.from_pretrained(torch.from_numpy(table), freeze=False)
        width = table.shape[1]
        self.head = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, classes))

    def forward(self, ids: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return the output for ids [batch, tokens]."""
        vectors = self.vectors(ids)
        if mask is None:
            return self.head(vectors.mean(1))
        share = mask.to(vectors.dtype).unsqueeze(-1)
        return self.head((vectors * share).sum(1) / share.sum(1).clamp(min=1.0))


class _Few(nn.Module):
    """The vectors of some tokens; the optimizer then works on these alone."""

    def __init__(self, table: Tensor, tokens: Tensor) -> None:
        super().__init__()
        self.register_buffer("places", torch.zeros(len(table), dtype=torch.int64))
        self.places[tokens] = torch.arange(len(tokens))
        self.few = nn.Embedding.from_pretrained(table[tokens].clone(), freeze=False)

    def forward(self, ids: Tensor) -> Tensor:
        """Return a vector for each id."""
        return self.few(self.places[ids])


@contextmanager
def occurring(student: StaticEmbedding, model: OnnxModel, net: nn.Module, corpus: Corpus) -> Iterator[None]:
    """For the time being, leave in `net` the vectors of those tokens alone that occur in the samples."""
    place = [spec.name for spec in model.inputs].index(student.ids)
    tokens = torch.cat([batch.inputs[place].flatten() for batch in corpus.batches]).unique()
    pooled: Any = net.get_submodule("net")
    table = pooled.vectors.weight.detach().cpu()
    device = pooled.vectors.weight.device
    pooled.vectors = _Few(table, tokens).to(device)
    try:
        yield
    finally:
        table[tokens] = pooled.vectors.few.weight.detach().cpu()
        pooled.vectors = nn.Embedding.from_pretrained(table).to(device)


def static(
    student: StaticEmbedding, model: OnnxModel, module: fx.GraphModule, corpus: Corpus, kept: Path
) -> nn.Module:
    """Return the net, its inputs those of `model`; `kept` is a file that keeps what the original makes of tokens.

    Raises InputError where the model is not one of text with one answer, ToolchainError where its layers are not found.
    """
    names = [spec.name for spec in model.inputs]
    for name in (student.ids, student.mask):
        if name and name not in names:
            raise InputError(f"{student.name}: the model has no input {name!r}, but {', '.join(names)}")
    answer = corpus.batches[0].answers
    if len(answer) != 1 or answer[0].dim() != 2:
        raise InputError(f"{student.name}: it gives one vector for a text, and the model's output is another")
    if kept.exists():
        states = np.load(kept, allow_pickle=False)
    else:
        states = _states(student, names, module, corpus)
        fresh = kept.with_name(f"{os.getpid()}-{kept.name}")  # another training may read meanwhile
        np.save(fresh, states)
        fresh.replace(kept)
    net = _Pooled(_reduced(states, student.size), answer[0].shape[-1])
    return _wired(net, names, student)


def _wired(net: nn.Module, names: Sequence[str], student: StaticEmbedding) -> nn.Module:
    """Return a module that takes all inputs of the original, in its order, and uses some."""
    graph = fx.Graph()
    given = {name: graph.placeholder(f"input_{place}") for place, name in enumerate(names)}
    used = (student.ids, student.mask) if student.mask else (student.ids,)
    graph.output(graph.call_module("net", tuple(given[name] for name in used)))
    return fx.GraphModule(nn.ModuleDict({"net": net}), graph, "StaticEmbedding")


def _states(
    student: StaticEmbedding, names: Sequence[str], module: fx.GraphModule, corpus: Corpus
) -> NDArray[np.float32]:
    """Return what the original's last layer makes of each token, [tokens, width], the mean over its places."""
    layers = found(module)
    if not layers:
        raise ToolchainError(f"{student.name}: no layers that repeat were found in the model")
    place = names.index(student.ids)
    encoder = _until(module, layers[-1])
    begins, ends = _frame([batch.inputs[place] for batch in corpus.batches])
    rows = []
    for tokens in torch.arange(_vocabulary(module, place)).split(_AT_ONCE):
        ids = torch.stack(
            [torch.full_like(tokens, one) for one in begins]
            + [tokens]
            + [torch.full_like(tokens, one) for one in ends],
            1,
        )
        ones, zeros = torch.ones_like(ids), torch.zeros_like(ids)
        given = [ids if name == student.ids else ones if name == student.mask else zeros for name in names]
        with torch.no_grad():
            rows.append(outputs(encoder, given)[0].mean(1))
    return np.asarray(torch.cat(rows).numpy(), np.float32)


def _until(module: fx.GraphModule, node: fx.Node) -> fx.GraphModule:
    """Return a copy of the module that answers what `node` computes."""
    copied = copy.deepcopy(module)
    end = next(one for one in copied.graph.nodes if one.op == "output")
    end.args = (next(one for one in copied.graph.nodes if one.name == node.name),)
    copied.graph.eliminate_dead_code()
    copied.recompile()
    return copied


def _frame(ids: Sequence[Tensor]) -> tuple[list[int], list[int]]:
    """Return the token that all texts begin with and the one that all end with, where there are such."""
    firsts = set(torch.cat([batch[:, 0] for batch in ids]).tolist())
    lasts = set(torch.cat([batch[:, -1] for batch in ids]).tolist())
    return (list(firsts) if len(firsts) == 1 else []), (list(lasts) if len(lasts) == 1 else [])


def _vocabulary(module: fx.GraphModule, place: int) -> int:
    """Return how many tokens the table has that the ids choose from."""
    given = [node for node in module.graph.nodes if node.op == "placeholder"][place]
    front, seen = [given], {given}
    while front:
        node = front.pop(0)
        inner = module.get_submodule(str(node.target)) if node.op == "call_module" else None
        if isinstance(inner, nn.Embedding):
            return int(inner.num_embeddings)
        fresh = [user for user in node.users if user not in seen]
        seen.update(fresh)
        front += fresh
    raise ToolchainError("the table of tokens was not found in the model")


def _reduced(states: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    """Return the states' first `size` principal components, weighted by rank, of unit variance over all."""
    centred = states.astype(np.float64) - states.mean(0)
    _, axes = np.linalg.eigh(centred.T @ centred)
    made = centred @ axes[:, ::-1][:, :size]
    rank = 1 / np.arange(2, len(made) + 2)
    made *= (_RARITY / (_RARITY + rank / rank.sum()))[:, np.newaxis]
    return np.asarray(made / made.std(), np.float32)
