"""Recurrent layers over (steps, batch, features). Gates, hidden and cell states are float32 throughout.

A layer of direction "reverse" hands its sequence over in the order of computation: the last step of the input
first. Only the backward half of a bidirectional one is in the input's order. The reference does not say so;
coremltools' own tests, which compare with PyTorch on a Mac, do.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgewise.targets.coreml.operators.activation import sigmoid
from edgewise.targets.coreml.operators.registry import operator

Array = NDArray[Any]
Activation = Callable[[Array], Array]

_ACTIVATIONS: dict[str, Activation] = {
    "hard_sigmoid": lambda x: np.clip(0.2 * x + 0.5, 0, 1),
    "linear": lambda x: x,
    "relu": lambda x: np.maximum(x, 0),
    "scaled_tanh": np.tanh,  # by factors of 1: a layer has no parameters for them
    "sigmoid": sigmoid,
    "sigmoid_hard": lambda x: np.clip(0.2 * x + 0.5, 0, 1),
    "tanh": np.tanh,
}


def _sequence(hidden: list[Array], *, whole: Any, flipped: bool = False) -> Array:
    """Return the hidden states in the order of computation, `flipped` or not, or only the last one."""
    if not whole:
        return hidden[-1][np.newaxis]
    return np.stack(hidden[::-1] if flipped else hidden)


def _steps(x: Array, weight: Array, bias: Array | None, direction: str) -> Array:
    """Return the inputs' share of all gates at all steps, in the order of computation."""
    share = np.matmul(x.reshape(-1, x.shape[-1]), weight.T).reshape(*x.shape[:-1], -1)
    share = share if bias is None else share + bias
    return np.asarray(share[::-1] if direction == "reverse" else share)


@operator("rnn")
def _rnn(
    x: Array,
    initial_h: Array,
    weight_ih: Array,
    weight_hh: Array,
    bias: Array | None = None,
    direction: str = "forward",
    output_sequence: Any = False,
    activation: str = "tanh",
) -> Any:
    act, h = _ACTIVATIONS[activation], initial_h
    hidden = []
    for share in _steps(x, weight_ih, bias, direction):
        h = act(share + h @ weight_hh.T)
        hidden.append(h)
    return _sequence(hidden, whole=output_sequence), h


@operator("gru")
def _gru(
    x: Array,
    initial_h: Array,
    weight_ih: Array,
    weight_hh: Array,
    bias: Array | None = None,
    direction: str = "forward",
    output_sequence: Any = False,
    recurrent_activation: str = "sigmoid",
    activation: str = "tanh",
    reset_after: Any = False,
    input_bias: Array | None = None,
) -> Any:
    """The gates lie in the order reset, output, update.

    The reset gate meets the hidden state before the product, and with `reset_after` the product and its `bias`
    after it, as in PyTorch; the rest of the inputs' bias is then `input_bias`.
    """
    gate, act, h = _ACTIVATIONS[recurrent_activation], _ACTIVATIONS[activation], initial_h
    size = initial_h.shape[-1]
    added = np.zeros(3 * size, np.float32) if bias is None else bias
    outer = added if input_bias is None else added + input_bias
    if reset_after:
        middle = np.zeros(size) if input_bias is None else input_bias[size : 2 * size]
        outer = np.concatenate([outer[:size], middle, outer[2 * size :]]).astype(np.float32)
    to_reset, to_output, to_update = (weight_hh[i * size : (i + 1) * size].T for i in range(3))
    hidden = []
    for share in _steps(x, weight_ih, outer, direction):
        reset = gate(share[:, :size] + h @ to_reset)
        update = gate(share[:, 2 * size :] + h @ to_update)
        own = reset * (h @ to_output + added[size : 2 * size]) if reset_after else (reset * h) @ to_output
        h = (1 - update) * act(share[:, size : 2 * size] + own) + update * h
        hidden.append(h)
    return _sequence(hidden, whole=output_sequence), h


@operator("lstm")
def _lstm(
    x: Array,
    initial_h: Array,
    initial_c: Array,
    weight_ih: Array,
    weight_hh: Array,
    bias: Array | None = None,
    peephole: Array | None = None,
    weight_ih_back: Array | None = None,
    weight_hh_back: Array | None = None,
    bias_back: Array | None = None,
    peephole_back: Array | None = None,
    direction: str = "forward",
    output_sequence: Any = False,
    recurrent_activation: str = "sigmoid",
    cell_activation: str = "tanh",
    activation: str = "tanh",
    clip: Any = None,
) -> Any:
    """The gates lie in the order input, forget, output, cell; the results are the sequence, the last h and c.

    Of a bidirectional layer the first half of each state is the forward direction's.
    """
    acts = tuple(_ACTIVATIONS[name] for name in (recurrent_activation, cell_activation, activation))
    ways = [("reverse" if direction == "reverse" else "forward", weight_ih, weight_hh, bias, peephole)]
    if direction == "bidirectional":
        assert weight_ih_back is not None
        assert weight_hh_back is not None
        ways.append(("reverse", weight_ih_back, weight_hh_back, bias_back, peephole_back))
    size = weight_hh.shape[-1]
    results = []
    for i, (way, inward, onward, offset, peeps) in enumerate(ways):
        own = slice(i * size, (i + 1) * size)
        hidden, c = _cells(
            _steps(x, inward, offset, way), initial_h[:, own], initial_c[:, own], onward.T, peeps, acts, clip
        )
        results.append((_sequence(hidden, whole=output_sequence, flipped=i == 1), hidden[-1], c))
    return tuple(np.concatenate(part, axis=-1) for part in zip(*results, strict=True))


def _cells(
    shares: Array,
    h: Array,
    c: Array,
    onward: Array,
    peephole: Array | None,
    activations: tuple[Activation, ...],
    clip: Any,
) -> tuple[list[Array], Array]:
    """Run one direction; return the hidden state of each step and the last cell state."""
    gate, cell, act = activations
    size = h.shape[-1]
    peeps = np.zeros((3, size), np.float32) if peephole is None else peephole.reshape(3, size)
    hidden = []
    for share in shares:
        gates = share + h @ onward
        taken = gate(gates[:, :size] + peeps[0] * c)
        kept = gate(gates[:, size : 2 * size] + peeps[1] * c)
        fresh = cell(gates[:, 3 * size :])
        c = kept * c + taken * fresh
        c = c if clip is None else np.clip(c, -clip, clip)
        shown = gate(gates[:, 2 * size : 3 * size] + peeps[2] * c)
        h = shown * act(c)
        hidden.append(h)
    return hidden, c
