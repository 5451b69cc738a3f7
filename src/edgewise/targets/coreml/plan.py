"""A MIL program as a plan: what to call, on which slots, and which slots to empty afterwards.

    coremltools' Program → compile_function → Plan → Plan.run(values of the inputs) → values of the outputs

All values live in one list, the slots. Everything that needs a name is looked up at compile time: constants are
converted, weights unpacked and whatever depends on constants alone is computed once; a run copies the list, fills
in the inputs and calls the steps in turn. A slot is emptied after its last use. Nothing is kept between runs, and
steps never change a value in place, so a plan may be run by several threads at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from edgewise.errors import DeviceError
from edgewise.targets.coreml.half import to_half
from edgewise.targets.coreml.operators import OPERATORS, REQUIRED, Operator

__all__ = ["Plan", "compile_function"]

Slots = list[Any]
Argument = int | tuple[int, ...]  # a slot, or the slots of a tuple

_DTYPES = {
    "bool": np.bool_,
    "fp16": np.float32,  # that holds float16's values
    "fp32": np.float32,
    "fp64": np.float64,
    "int16": np.int16,
    "int32": np.int32,
    "int4": np.int8,
    "int64": np.int64,
    "int8": np.int8,
    "uint16": np.uint16,
    "uint32": np.uint32,
    "uint8": np.uint8,
} | dict.fromkeys(("uint1", "uint2", "uint3", "uint4", "uint6"), np.uint8)


@dataclass(frozen=True, slots=True)
class _Kind:
    """How a value of a declared type is held; without a dtype (text, lists) as it comes."""

    dtype: Any = None
    half: bool = False

    def hold(self, value: Any) -> Any:
        if self.dtype is None:
            return value
        array = np.asarray(value, self.dtype)
        return to_half(array) if self.half else array


class _Step(Protocol):
    """One operator of the program. `label` names it in messages; `uses` are the slots that it reads."""

    @property
    def label(self) -> str: ...

    @property
    def uses(self) -> Iterable[int]: ...

    @property
    def outputs(self) -> tuple[int, ...]: ...

    def __call__(self, slots: Slots) -> None: ...


@dataclass(frozen=True, slots=True)
class _Compute:
    """An operator of the registry."""

    label: str
    operator: Operator
    arguments: tuple[Argument, ...]
    outputs: tuple[int, ...]
    kinds: tuple[_Kind, ...]

    @property
    def uses(self) -> Iterator[int]:
        for argument in self.arguments:
            yield from (argument,) if isinstance(argument, int) else argument

    def __call__(self, slots: Slots) -> None:
        result = self.operator.run(
            *[slots[a] if type(a) is int else [slots[i] for i in a] for a in self.arguments]  # type: ignore[union-attr]
        )
        results = result if type(result) is tuple else (result,)
        for slot, kind, value in zip(self.outputs, self.kinds, results, strict=True):
            slots[slot] = kind.hold(value)


@dataclass(frozen=True, slots=True)
class _Block:
    """Steps with the slots that each leaves without a reader, and the block's own inputs and outputs."""

    steps: tuple[_Step, ...]
    spent: tuple[tuple[int, ...], ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    uses: frozenset[int]  # slots from outside

    def run(self, slots: Slots) -> None:
        for step, spent in zip(self.steps, self.spent, strict=True):
            try:
                step(slots)
            except DeviceError:
                raise
            except Exception as error:
                reason = " ".join(str(error).split())[:200] or type(error).__name__
                raise DeviceError(f"Core ML operator {step.label}: {reason}") from error
            for slot in spent:
                slots[slot] = None


@dataclass(frozen=True, slots=True)
class _Cond:
    """One of two blocks is run."""

    label: str
    predicate: int
    branches: tuple[_Block, _Block]
    outputs: tuple[int, ...]

    @property
    def uses(self) -> Iterable[int]:
        return {self.predicate, *self.branches[0].uses, *self.branches[1].uses}

    def __call__(self, slots: Slots) -> None:
        branch = self.branches[0 if slots[self.predicate] else 1]
        branch.run(slots)
        _move(slots, branch.outputs, self.outputs)


@dataclass(frozen=True, slots=True)
class _Loop:
    """`body` is run on the loop's variables for as long as `test` says so."""

    label: str
    variables: tuple[int, ...]
    test: _Block
    body: _Block
    outputs: tuple[int, ...]

    @property
    def uses(self) -> Iterable[int]:
        return {*self.variables, *self.test.uses, *self.body.uses}

    def __call__(self, slots: Slots) -> None:
        _move(slots, self.variables, self.outputs)
        while True:
            _move(slots, self.outputs, self.test.inputs)
            self.test.run(slots)
            if not slots[self.test.outputs[0]]:
                return
            _move(slots, self.outputs, self.body.inputs)
            self.body.run(slots)
            _move(slots, self.body.outputs, self.outputs)


@dataclass(frozen=True, slots=True)
class _Store:
    """Writes a state, which later steps of the same run read."""

    label: str
    state: int
    value: int
    outputs: tuple[int, ...]

    @property
    def uses(self) -> Iterable[int]:
        return (self.value,)

    def __call__(self, slots: Slots) -> None:
        slots[self.state] = slots[self.value]
        for slot in self.outputs:
            slots[slot] = slots[self.value]


def _move(slots: Slots, sources: Sequence[int], destinations: Sequence[int]) -> None:
    for slot, value in zip(destinations, [slots[source] for source in sources], strict=True):
        slots[slot] = value


@dataclass(frozen=True, slots=True)
class Plan:
    """A compiled function."""

    block: _Block
    constants: Slots
    kinds: tuple[_Kind, ...]

    def run(self, values: Sequence[NDArray[Any]]) -> list[Any]:
        """Return the outputs for the inputs, both in the function's order; float16 as float32.

        Raises DeviceError naming the operator that failed.
        """
        slots = self.constants.copy()
        with np.errstate(all="ignore"):  # overflow is inf here, as on hardware
            for slot, kind, value in zip(self.block.inputs, self.kinds, values, strict=True):
                slots[slot] = kind.hold(value)
            self.block.run(slots)
        return [slots[slot] for slot in self.block.outputs]


def compile_function(function: Any) -> Plan:
    """Compile a coremltools Function. Raises DeviceError that names the operators nobody has implemented."""
    unknown = sorted(set(_unknown(function)))
    if unknown:
        raise DeviceError(f"the interpreter of ML Programs does not know the operators {', '.join(unknown)}")
    compiler = _Compiler()
    given = {name: var for name, var in function.inputs.items() if not _is_state(var)}
    for name, var in function.inputs.items():
        slot = compiler.slot(var)
        if name not in given:
            inner = var.sym_type.wrapped_type()
            compiler.slots[slot] = np.zeros(inner.get_shape(), _kind_of(inner.get_primitive()).dtype)
    with np.errstate(all="ignore"):
        block = compiler.block(function, list(given.values()))
    return Plan(block, compiler.kept(block), tuple(_kind(var) for var in given.values()))


_CONTROL = {"cond", "const", "coreml_update_state", "while_loop"}


def _unknown(block: Any) -> Iterator[str]:
    for op in block.operations:
        if op.op_type not in OPERATORS and op.op_type not in _CONTROL:
            yield op.op_type
        for inner in op.blocks:
            yield from _unknown(inner)


def _is_state(var: Any) -> bool:
    from coremltools.converters.mil.mil import types

    return bool(types.is_state(var.sym_type))


def _kind(var: Any) -> _Kind:
    from coremltools.converters.mil.mil import types

    if types.is_tensor(var.sym_type) or types.is_scalar(var.sym_type):
        return _kind_of(var.dtype)
    return _Kind()


def _kind_of(builtin: Any) -> _Kind:
    from coremltools.converters.mil.mil.types import builtin_to_string

    name = builtin_to_string(builtin)
    return _Kind(_DTYPES.get(name), half=name == "fp16")


@dataclass(slots=True)
class _Compiler:
    """Gives each value of the program a slot, and turns operators into steps or, where it can, into constants."""

    slots: Slots = field(default_factory=list)
    places: dict[int, int] = field(default_factory=dict)  # id of coremltools' Var → slot
    fixed: set[int] = field(default_factory=set)  # slots of constants

    def slot(self, var: Any) -> int:
        if id(var) not in self.places:
            self.places[id(var)] = len(self.slots)
            self.slots.append(None)
        return self.places[id(var)]

    def constant(self, value: Any) -> int:
        self.slots.append(value)
        self.fixed.add(len(self.slots) - 1)
        return len(self.slots) - 1

    def kept(self, block: _Block) -> Slots:
        """Return the slots with the constants that a run needs; those of compressed weights are not among them."""
        needed = set(block.outputs) | {slot for step in block.steps for slot in step.uses}
        return [
            value if slot in needed or slot not in self.fixed else None
            for slot, value in enumerate(self.slots)
        ]

    def block(self, block: Any, inputs: Sequence[Any]) -> _Block:
        entry = tuple(self.slot(var) for var in inputs)
        steps = [step for op in block.operations for step in self.steps(op)]
        outputs = tuple(self.slot(var) for var in block.outputs)
        own = {slot for step in steps for slot in step.outputs} | set(entry)
        used = {slot for step in steps for slot in step.uses} | set(outputs)
        return _Block(tuple(steps), _spent(steps, own - set(outputs)), entry, outputs, frozenset(used - own))

    def steps(self, op: Any) -> Iterator[_Step]:
        outputs = tuple(self.slot(var) for var in op.outputs)
        label = f"{op.op_type} ({op.name})"
        match op.op_type:
            case "const":
                self.places[id(op.outputs[0])] = self.constant(_constant(op.outputs[0]))
            case "cond":
                first, second = (self.block(inner, ()) for inner in op.blocks)
                yield _Cond(label, self.slot(op.pred), (first, second), outputs)
            case "while_loop":
                test, body = (self.block(inner, inner.inputs) for inner in op.blocks)
                yield _Loop(label, tuple(self.slot(var) for var in op.loop_vars), test, body, outputs)
            case "coreml_update_state":
                yield _Store(label, self.slot(op.state), self.slot(op.value), outputs)
            case _:
                yield from self.computed(op, label, outputs)

    def computed(self, op: Any, label: str, outputs: tuple[int, ...]) -> Iterator[_Step]:
        operator = OPERATORS[op.op_type]
        arguments = tuple(self.arguments(op, label, operator.parameters))
        kinds = [_kind(var) for var in op.outputs]
        if operator.moves:
            kinds = [_Kind(kind.dtype) for kind in kinds]
        step = _Compute(label, operator, arguments, outputs, tuple(kinds))
        if self.fixed.issuperset(step.uses):
            _Block((step,), ((),), (), (), frozenset()).run(self.slots)
            self.fixed.update(outputs)
        else:
            yield step

    def arguments(self, op: Any, label: str, parameters: Mapping[str, Any]) -> Iterator[Argument]:
        """Yield the slots of the operator's parameters. Raises DeviceError on one that nobody has implemented."""
        given = {name: var for name, var in op.inputs.items() if var is not None}
        if strange := given.keys() - parameters.keys():
            raise DeviceError(
                f"Core ML operator {label}: the interpreter does not know its {', '.join(strange)}"
            )
        for name, default in parameters.items():
            if name not in given:
                if default is REQUIRED:
                    raise DeviceError(f"Core ML operator {label} lacks {name}")
                yield self.constant(default)
            elif isinstance(given[name], (list, tuple)):
                yield tuple(self.slot(var) for var in given[name])
            else:
                yield self.slot(given[name])


def _constant(var: Any) -> Any:
    value = getattr(var.val, "ls", var.val)  # a MIL list wraps a Python list
    return value if isinstance(value, (str, list)) else _kind(var).hold(value)


def _spent(steps: Sequence[_Step], own: set[int]) -> tuple[tuple[int, ...], ...]:
    """Return for each step which of the block's own slots nobody reads after it."""
    read: set[int] = set()
    result = []
    for step in reversed(steps):
        met = (set(step.uses) | set(step.outputs)) & own
        result.append(tuple(sorted(met - read)))
        read |= met
    return tuple(reversed(result))
