"""LSTM, GRU and RNN as torch's modules of one layer, their gates put into torch's order."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from edgewise.lab.model.torch_graph.registry import Found, Site, module

__all__ = ["Recurrent"]

_KINDS = {"LSTM": (nn.LSTM, (0, 2, 3, 1)), "GRU": (nn.GRU, (1, 0, 2)), "RNN": (nn.RNN, (0,))}
"""torch's class, and for each of its gates the place of that gate in ONNX (LSTM: iofc to ifgo; GRU: zrh to rzn)."""

_USUAL = {"LSTM": ["Sigmoid", "Tanh", "Tanh"], "GRU": ["Sigmoid", "Tanh"], "RNN": ["Tanh"]}


class Recurrent(nn.Module):  # type: ignore[misc]  # torch comes without types here
    """torch's layer behind ONNX's inputs and outputs: x (steps, batch, features), or batch first.

    Returns y (steps, directions, batch, hidden), the last hidden state (directions, batch, hidden), and for
    LSTM the last cell.
    """

    def __init__(self, layer: nn.Module, *, backwards: bool, batch_first: bool) -> None:
        super().__init__()
        self.layer, self.backwards, self.batch_first = layer, backwards, batch_first

    def outline(self, x: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        """Return tensors shaped like the results. torch would take the steps one by one, and their number as fixed."""
        steps, batch = (x.shape[1], x.shape[0]) if self.batch_first else x.shape[:2]
        directions, hidden = 2 if self.layer.bidirectional else 1, self.layer.hidden_size
        end = (batch, directions, hidden) if self.batch_first else (directions, batch, hidden)
        whole = (batch, steps, directions, hidden) if self.batch_first else (steps, directions, batch, hidden)
        return tuple(x.new_empty(shape) for shape in (whole, end, end))

    def forward(self, x: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        """Run over the whole sequence from the initial state, by default zeros."""
        if self.batch_first:
            x, state = x.transpose(0, 1), tuple(item.transpose(0, 1) for item in state)
        x = x.flip(0) if self.backwards else x
        start = None if not state else state if isinstance(self.layer, nn.LSTM) else state[0]
        y, last = self.layer(x, start)
        y = y.flip(0) if self.backwards else y
        directions = 2 if self.layer.bidirectional else 1
        y = y.reshape(*y.shape[:2], directions, -1).transpose(1, 2)
        ends = last if isinstance(last, tuple) else (last,)
        if self.batch_first:
            return (y.permute(2, 0, 1, 3), *(end.transpose(0, 1) for end in ends))
        return (y, *ends)


def _rule(kind: str) -> Any:
    def rule(site: Site) -> Found:
        """A layer with learned weights; what torch's layer can't express is refused."""
        _refuse(kind, site)
        kernel, recurrence = site.constant(1), site.constant(2)
        made, order = _KINDS[kind]
        directions, hidden = kernel.shape[0], recurrence.shape[2]
        biased = site.given(3)
        layer = made(kernel.shape[2], hidden, bias=biased, bidirectional=directions == 2, device="meta")
        for direction, suffix in zip(range(directions), ("", "_reverse"), strict=False):
            _put(layer, f"weight_ih_l0{suffix}", _gates(kernel[direction], order, hidden))
            _put(layer, f"weight_hh_l0{suffix}", _gates(recurrence[direction], order, hidden))
            if biased:
                first, second = site.constant(3)[direction].chunk(2)
                _put(layer, f"bias_ih_l0{suffix}", _gates(first, order, hidden))
                _put(layer, f"bias_hh_l0{suffix}", _gates(second, order, hidden))
        wrapped = Recurrent(
            layer,
            backwards=site.attributes.get("direction", "forward") == "reverse",
            batch_first=bool(site.attributes.get("layout", 0)),
        )
        state = tuple(index for index in (5, 6) if site.given(index))
        return Found(wrapped, operands=(0, *state), many=True, outline=wrapped.outline)

    return rule


for _kind in _KINDS:
    module(_kind)(_rule(_kind))


def _refuse(kind: str, site: Site) -> None:
    attributes = site.attributes
    if any(site.constant(index) is None for index in (1, 2)) or (site.given(3) and site.constant(3) is None):
        raise NotImplementedError("its weights are not constants")
    if site.given(4):
        raise NotImplementedError("sequence_lens has no counterpart in torch's layer")
    if site.given(7) or attributes.get("input_forget", 0) or attributes.get("clip"):
        raise NotImplementedError("peepholes, input_forget and clip have no counterpart in torch's layer")
    if kind == "LSTM" and site.given(5) != site.given(6):
        raise NotImplementedError("it has an initial hidden state or cell without the other")
    if kind == "GRU" and not attributes.get("linear_before_reset", 0):
        raise NotImplementedError("linear_before_reset=0 has no counterpart in torch's layer")
    asked = attributes.get("activations") or _USUAL[kind]
    if asked[: len(_USUAL[kind])] != _USUAL[kind] or asked != (_USUAL[kind] * 2)[: len(asked)]:
        raise NotImplementedError(f"activations {asked} have no counterpart in torch's layer")


def _gates(stacked: Tensor, order: tuple[int, ...], hidden: int) -> Tensor:
    parts = stacked.split(hidden)
    return torch.cat([parts[place] for place in order])


def _put(layer: nn.Module, name: str, value: Tensor) -> None:
    setattr(layer, name, nn.Parameter(value.contiguous()))
