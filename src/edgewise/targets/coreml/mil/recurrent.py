"""LSTM, GRU and RNN.

MIL's own LSTM is the one of ONNX with its gates in another order. Its GRU is defined otherwise in each version
(where the reset gate applies), so GRU and RNN are written step by step: the inputs of all steps are multiplied at
once, and the states in a loop, which is unrolled where it is short.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from edgewise.targets.coreml.mil.registry import Node, UnsupportedError, operator
from edgewise.targets.coreml.mil.values import Size, Var, extent, known, mb, reshape, sizes, vector

__all__: list[str] = []

Array = NDArray[np.float32]
Step = Callable[[Var, Var], Var]

_ACTIVATIONS = {"Sigmoid": "sigmoid", "Tanh": "tanh", "Relu": "relu", "Affine": "linear"}
_IOFC_TO_IFOC = (0, 2, 1, 3)
_UNROLLED = 8
"""Steps up to which a loop is written out."""


def _directions(node: Node) -> tuple[str, ...]:
    direction = node.get("direction", "forward")
    return ("forward", "reverse") if direction == "bidirectional" else (direction,)


def _checked(node: Node) -> None:
    """Refuse what MIL has no counterpart for."""
    lengths = node.input(4)
    steps = sizes(node[0])[1 if node.get("layout", 0) else 0]
    found = known(lengths)
    if lengths is not None and (found is None or steps is None or (found != steps).any()):
        raise UnsupportedError(
            "takes the length of each sequence; run one sequence at a time and leave it out"
        )
    if "clip" in node.attributes:
        raise UnsupportedError("clips its gates")


def _weights(node: Node, position: int, what: str) -> Array:
    found = node.fixed(position, what)
    assert found is not None, "weights are no optional input"
    return np.asarray(found, np.float32)


def _names(node: Node, default: Sequence[str]) -> list[str]:
    names = list(node.get("activations", [*default] * len(_directions(node))))
    names = [name.decode() if isinstance(name, bytes) else name for name in names]
    unknown = [name for name in names if name not in _ACTIVATIONS]
    if unknown or node.get("activation_alpha", []) or names[: len(default)] * len(_directions(node)) != names:
        raise UnsupportedError(f"uses activations {', '.join(names)}, perhaps with settings of their own")
    return [_ACTIVATIONS[name] for name in names[: len(default)]]


def _by_time(node: Node) -> tuple[Var, list[Var | None]]:
    """Return the input as [time, batch, features] and the states as [direction, batch, hidden]."""
    states = [node.input(position) for position in (5, 6)]
    if not node.get("layout", 0):
        return node[0], states
    turned = [None if state is None else mb.transpose(x=state, perm=[1, 0, 2]) for state in states]
    return mb.transpose(x=node[0], perm=[1, 0, 2]), turned


def _arranged(node: Node, sequence: Var, *states: Var) -> tuple[Var, ...]:
    """Return [time, direction, batch, hidden] and [direction, batch, hidden] as the node's layout has them."""
    if not node.get("layout", 0):
        return sequence, *states
    return (
        mb.transpose(x=sequence, perm=[2, 0, 1, 3]),
        *(mb.transpose(x=state, perm=[1, 0, 2]) for state in states),
    )


@operator("LSTM")
def lstm(node: Node) -> tuple[Var, ...]:
    """Convert an LSTM, in one or both directions."""
    _checked(node)
    if node.get("input_forget", 0):
        raise UnsupportedError("couples its input and forget gates")
    x, (hidden, cell) = _by_time(node)
    weight, recurrent = (_weights(node, at, "weights") for at in (1, 2))
    count, size = weight.shape[0], recurrent.shape[2]
    gate, inner, outer = _names(node, ("Sigmoid", "Tanh", "Tanh"))
    batch, direction = extent(x, 1), node.get("direction", "forward")
    sequence, last, memory = mb.lstm(
        x=x,
        initial_h=_joined(hidden, batch, count, size),
        initial_c=_joined(cell, batch, count, size),
        **_lstm_weights(node, weight, recurrent),
        direction=direction,
        output_sequence=True,
        recurrent_activation=gate,
        cell_activation=inner,
        activation=outer,
    )
    if (
        direction == "reverse"
    ):  # in the order of computation, unlike the backward half of a bidirectional layer
        sequence = mb.reverse(x=sequence, axes=[0])
    parts = [extent(x, 0), batch, count, size]
    whole = mb.transpose(x=reshape(sequence, parts), perm=[0, 2, 1, 3])
    ends = [mb.transpose(x=reshape(end, parts[1:]), perm=[1, 0, 2]) for end in (last, memory)]
    return _arranged(node, whole, *ends)


def _joined(state: Var | None, batch: Size, count: int, size: int) -> Var:
    """Return the states of all directions beside each other: [batch, count * size]."""
    if state is None:
        return mb.fill(shape=vector([batch, count * size]), value=np.float32(0))
    return reshape(mb.transpose(x=state, perm=[1, 0, 2]), [batch, count * size])


def _lstm_weights(node: Node, weight: Array, recurrent: Array) -> dict[str, Array]:
    """Return the weights of each direction under MIL's names, the gates in its order."""
    bias, peephole = (node.fixed(position, "weights") for position in (3, 7))
    size, found = recurrent.shape[2], {}
    for place, suffix in enumerate(["", "_back"][: weight.shape[0]]):
        found[f"weight_ih{suffix}"] = _reordered(weight[place])
        found[f"weight_hh{suffix}"] = _reordered(recurrent[place])
        if bias is not None:
            whole = bias[place].astype(np.float32)
            found[f"bias{suffix}"] = _reordered(whole[: 4 * size] + whole[4 * size :])
        if peephole is not None:
            first, out, forget = np.split(peephole[place].astype(np.float32), 3)
            found[f"peephole{suffix}"] = np.concatenate([first, forget, out])
    return found


def _reordered(weight: Array) -> Array:
    gates = np.split(weight, 4)
    return np.concatenate([gates[place] for place in _IOFC_TO_IFOC])


@operator("GRU", "RNN")
def stepwise(node: Node) -> tuple[Var, ...]:
    """Write a GRU or RNN step by step, in one or both directions."""
    _checked(node)
    x, (initial, _) = _by_time(node)
    size = _weights(node, 2, "weights").shape[2]
    sequences, ends = [], []
    for place, direction in enumerate(_directions(node)):
        gates, step = (_gru if node.kind == "GRU" else _rnn)(node, x, place)
        state = _state(initial, place, extent(x, 1), size)
        sequence, last = _run(gates, state, step, backwards=direction == "reverse")
        sequences.append(sequence)
        ends.append(last)
    return _arranged(node, mb.stack(values=sequences, axis=1), mb.stack(values=ends, axis=0))


def _state(initial: Var | None, place: int, batch: Size, size: int) -> Var:
    if initial is None:
        return mb.fill(shape=vector([batch, size]), value=np.float32(0))
    return mb.gather(x=initial, indices=np.int32(place), axis=0)


def _biases(node: Node, place: int, count: int) -> tuple[Array, Array]:
    """Return the biases of the inputs and of the states."""
    bias = node.fixed(3, "weights")
    whole = np.zeros(2 * count, np.float32) if bias is None else bias[place].astype(np.float32)
    return whole[:count], whole[count:]


def _applied(name: str, x: Var) -> Var:
    return x if name == "linear" else {"sigmoid": mb.sigmoid, "tanh": mb.tanh, "relu": mb.relu}[name](x=x)


def _rnn(node: Node, x: Var, place: int) -> tuple[Var, Step]:
    weight, recurrent = (_weights(node, at, "weights")[place] for at in (1, 2))
    first, second = _biases(node, place, len(weight))
    (name,) = _names(node, ("Tanh",))

    def step(gates: Var, state: Var) -> Var:
        return _applied(name, mb.add(x=gates, y=mb.linear(x=state, weight=recurrent)))

    return mb.linear(x=x, weight=weight, bias=first + second), step


def _gru(node: Node, x: Var, place: int) -> tuple[Var, Step]:
    weight, recurrent = (_weights(node, at, "weights")[place] for at in (1, 2))
    first, second = _biases(node, place, len(weight))
    size, late = recurrent.shape[1], bool(node.get("linear_before_reset", 0))
    gate, inner = _names(node, ("Sigmoid", "Tanh"))
    # Only a bias inside the product with the reset gate has to stay apart from the inputs' own.
    outside = second * (np.arange(len(second)) < 2 * size) if late else second

    def step(gates: Var, state: Var) -> Var:
        update, reset, new = mb.split(x=gates, num_splits=3, axis=1)
        both = mb.linear(x=state, weight=recurrent[: 2 * size])
        from_update, from_reset = mb.split(x=both, num_splits=2, axis=1)
        update = _applied(gate, mb.add(x=update, y=from_update))
        reset = _applied(gate, mb.add(x=reset, y=from_reset))
        if late:
            kept = mb.linear(x=state, weight=recurrent[2 * size :], bias=second[2 * size :])
            kept = mb.mul(x=reset, y=kept)
        else:
            kept = mb.linear(x=mb.mul(x=reset, y=state), weight=recurrent[2 * size :])
        new = _applied(inner, mb.add(x=new, y=kept))
        return mb.add(x=new, y=mb.mul(x=update, y=mb.sub(x=state, y=new)))

    return mb.linear(x=x, weight=weight, bias=first + outside), step


def _run(gates: Var, state: Var, step: Step, *, backwards: bool) -> tuple[Var, Var]:
    """Return the states of all steps and the last one."""
    steps = sizes(gates)[0]
    if steps is None or steps > _UNROLLED:
        return _looped(gates, state, step, backwards=backwards)
    states: list[Var] = []
    for place in range(steps)[::-1] if backwards else range(steps):
        state = step(mb.gather(x=gates, indices=np.int32(place), axis=0), state)
        states.append(state)
    return mb.stack(values=states[::-1] if backwards else states, axis=0), state


def _looped(gates: Var, state: Var, step: Step, *, backwards: bool) -> tuple[Var, Var]:
    steps, batch, size = extent(gates, 0), extent(state, 0), extent(state, 1)
    rows = mb.fill(shape=vector([steps, batch, size]), value=np.float32(0))

    def more(count: Var, _: Var, __: Var) -> Var:
        return mb.squeeze(x=mb.less(x=count, y=steps), axes=[0])

    def body(count: Var, state: Var, rows: Var) -> tuple[Var, Var, Var]:
        place = mb.sub(x=mb.sub(x=steps, y=1), y=count) if backwards else count
        now = mb.squeeze(x=mb.gather(x=gates, indices=place, axis=0), axes=[0])
        state = step(now, state)
        row = mb.expand_dims(x=state, axes=[0])
        rows = mb.scatter(data=rows, indices=place, updates=row, axis=0, mode="update")
        return mb.add(x=count, y=1), state, rows

    start = mb.const(val=np.zeros(1, np.int32))
    _, last, rows = mb.while_loop(_cond=more, _body=body, loop_vars=(start, state, rows))
    return rows, last
