"""A MIL program as a plan: what to call, on which slots, and which slots to empty afterwards.

    coremltools' Program → compiler.compile_function → Plan → Plan.run(inputs) → outputs

All values live in one list, the slots. A run copies the list, which holds the constants, fills in the inputs and
calls the steps in turn; a slot is emptied after its last use. Nothing is kept between runs, and steps never change
a value in place, so a plan may be run by several threads at once.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgewise.errors import DeviceError
from edgewise.targets.coreml.half import to_half
from edgewise.targets.coreml.operators import Operator

__all__ = ["Argument", "Block", "Compute", "Cond", "Kind", "Loop", "Plan", "Slots", "Step", "Store"]

Slots = list[Any]
Argument = int | tuple[int, ...]  # a slot, or the slots of a tuple


@dataclass(frozen=True, slots=True)
class Kind:
    """How a value of a declared type is held; without a dtype (text, lists) as it comes."""

    dtype: Any = None
    half: bool = False

    def hold(self, value: Any) -> Any:
        """Convert a value to its type."""
        if self.dtype is None:
            return value
        array = np.asarray(value, self.dtype)
        return to_half(array) if self.half else array


@dataclass(frozen=True, slots=True)
class Step(ABC):
    """One operator of the program: its name for messages, and the slots that it reads and fills."""

    label: str
    uses: frozenset[int]
    outputs: tuple[int, ...]

    @abstractmethod
    def run(self, slots: Slots) -> None:
        """Fill the outputs."""


@dataclass(frozen=True, slots=True)
class Block:
    """Steps in order, the slots that nobody reads after each, and the block's own inputs and outputs."""

    steps: tuple[Step, ...]
    spent: tuple[tuple[int, ...], ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    uses: frozenset[int]  # slots from outside

    def run(self, slots: Slots) -> None:
        """Fill the outputs. Raises DeviceError naming the operator that failed."""
        for step, spent in zip(self.steps, self.spent, strict=True):
            try:
                step.run(slots)
            except DeviceError:  # of a block within this one
                raise
            except Exception as error:
                reason = " ".join(str(error).split())[:200] or type(error).__name__
                raise DeviceError(f"Core ML operator {step.label}: {reason}") from error
            for slot in spent:
                slots[slot] = None


@dataclass(frozen=True, slots=True)
class Compute(Step):
    """An operator of the registry."""

    operator: Operator
    arguments: tuple[Argument, ...]
    kinds: tuple[Kind, ...]

    def run(self, slots: Slots) -> None:
        """Call the operator's function and hold its results as the program declares them."""
        values = [slots[a] if isinstance(a, int) else [slots[i] for i in a] for a in self.arguments]
        result = self.operator.run(*values)
        results = result if type(result) is tuple else (result,)
        for slot, kind, value in zip(self.outputs, self.kinds, results, strict=True):
            slots[slot] = kind.hold(value)


@dataclass(frozen=True, slots=True)
class Cond(Step):
    """One of two blocks is run."""

    predicate: int
    branches: tuple[Block, Block]

    def run(self, slots: Slots) -> None:
        """Run the first block if the predicate holds, else the second."""
        branch = self.branches[0 if slots[self.predicate] else 1]
        branch.run(slots)
        _move(slots, branch.outputs, self.outputs)


@dataclass(frozen=True, slots=True)
class Loop(Step):
    """A block is run on the loop's variables for as long as another says so."""

    variables: tuple[int, ...]
    test: Block
    body: Block

    def run(self, slots: Slots) -> None:
        """Keep the variables in the outputs: the blocks empty their inputs."""
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
class Store(Step):
    """A state is written, for later steps of the same run."""

    state: int
    value: int

    def run(self, slots: Slots) -> None:
        """Put the value into the state and into the operator's result."""
        for slot in (self.state, *self.outputs):
            slots[slot] = slots[self.value]


def _move(slots: Slots, sources: Sequence[int], destinations: Sequence[int]) -> None:
    for slot, value in zip(destinations, [slots[source] for source in sources], strict=True):
        slots[slot] = value


@dataclass(frozen=True, slots=True)
class Plan:
    """A compiled function."""

    block: Block
    constants: Slots
    kinds: tuple[Kind, ...]

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
