"""Compiles a function of coremltools' Program into a plan, so that a run looks nothing up.

Each value gets a slot. Constants are converted, weights unpacked, and whatever depends on constants alone is
computed here, once; what only that needed is dropped.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from edgewise.errors import DeviceError
from edgewise.targets.coreml.operators import OPERATORS, REQUIRED
from edgewise.targets.coreml.plan import Argument, Block, Compute, Cond, Kind, Loop, Plan, Slots, Step, Store

__all__ = ["CONTROL", "compile_function"]

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
CONTROL = frozenset({"cond", "const", "coreml_update_state", "while_loop"})  # operators that are not computed


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


def _unknown(block: Any) -> Iterator[str]:
    for op in block.operations:
        if op.op_type not in OPERATORS and op.op_type not in CONTROL:
            yield op.op_type
        for inner in op.blocks:
            yield from _unknown(inner)


def _is_state(var: Any) -> bool:
    from coremltools.converters.mil.mil import types

    return bool(types.is_state(var.sym_type))


def _kind(var: Any) -> Kind:
    from coremltools.converters.mil.mil import types

    if types.is_tensor(var.sym_type) or types.is_scalar(var.sym_type):
        return _kind_of(var.dtype)
    return Kind()


def _kind_of(builtin: Any) -> Kind:
    from coremltools.converters.mil.mil.types import builtin_to_string

    name = builtin_to_string(builtin)
    return Kind(_DTYPES.get(name), half=name == "fp16")


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

    def kept(self, block: Block) -> Slots:
        """Return the slots with the constants that a run needs; those of compressed weights are not among them."""
        needed = set(block.outputs) | {slot for step in block.steps for slot in step.uses}
        return [
            value if slot in needed or slot not in self.fixed else None
            for slot, value in enumerate(self.slots)
        ]

    def block(self, block: Any, inputs: Sequence[Any]) -> Block:
        entry = tuple(self.slot(var) for var in inputs)
        steps = [step for op in block.operations for step in self.steps(op)]
        outputs = tuple(self.slot(var) for var in block.outputs)
        own = {slot for step in steps for slot in step.outputs} | set(entry)
        used = {slot for step in steps for slot in step.uses} | set(outputs)
        return Block(tuple(steps), _spent(steps, own - set(outputs)), entry, outputs, frozenset(used - own))

    def steps(self, op: Any) -> Iterator[Step]:
        outputs = tuple(self.slot(var) for var in op.outputs)
        label = f"{op.op_type} ({op.name})"
        match op.op_type:
            case "const":
                self.places[id(op.outputs[0])] = self.constant(_constant(op.outputs[0]))
            case "cond":
                first, second = (self.block(inner, ()) for inner in op.blocks)
                predicate = self.slot(op.pred)
                uses = first.uses | second.uses | {predicate}
                yield Cond(label, uses, outputs, predicate, (first, second))
            case "while_loop":
                test, body = (self.block(inner, inner.inputs) for inner in op.blocks)
                variables = tuple(self.slot(var) for var in op.loop_vars)
                yield Loop(label, test.uses | body.uses | set(variables), outputs, variables, test, body)
            case "coreml_update_state":
                value = self.slot(op.value)
                yield Store(label, frozenset({value}), outputs, self.slot(op.state), value)
            case _:
                yield from self.computed(op, label, outputs)

    def computed(self, op: Any, label: str, outputs: tuple[int, ...]) -> Iterator[Step]:
        """Yield an operator of the registry, or compute it now if it has only constants."""
        operator = OPERATORS[op.op_type]
        arguments = tuple(self.arguments(op, label, operator.parameters))
        uses = frozenset(slot for each in arguments for slot in ([each] if isinstance(each, int) else each))
        kinds = [_kind(var) for var in op.outputs]
        if operator.moves:
            kinds = [Kind(kind.dtype) for kind in kinds]
        step = Compute(label, uses, outputs, operator, arguments, tuple(kinds))
        if self.fixed.issuperset(uses):
            Block((step,), ((),), (), (), uses).run(self.slots)
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


def _spent(steps: Sequence[Step], own: set[int]) -> tuple[tuple[int, ...], ...]:
    """Return for each step which of the block's own slots nobody reads after it."""
    read: set[int] = set()
    result = []
    for step in reversed(steps):
        met = (set(step.uses) | set(step.outputs)) & own
        result.append(tuple(sorted(met - read)))
        read |= met
    return tuple(reversed(result))
