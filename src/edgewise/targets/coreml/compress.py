"""Weights in fewer bits, by coremltools.optimize: integers with scales, or places in a palette.

Both come in a coarse form that iOS 17 unpacks (a scale per channel, a palette per tensor), and a finer one that
iOS 18 brought (a scale per block of a channel, a palette per group of channels). The finer form needs a channel
count that the block divides, and leaves a weight alone where it does not: here each weight is given the finest
form that it can take.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["Compression", "compressed"]

_SMALLEST = 512
"""Elements from which on a weight is compressed: below, scales and description outweigh what is saved."""

_SMALLEST_GROUP = 256
"""Elements that share a palette of 16 numbers, at least: with fewer the palettes outweigh what is saved."""


@dataclass(frozen=True, slots=True)
class Compression:
    """How weights are stored: `bits` each, with a scale or palette for every `block`; 0 is the coarse form."""

    bits: int
    block: int = 0
    palette: bool = False

    @property
    def target(self) -> str:
        """The oldest system that unpacks it."""
        return "iOS18" if self.bits < 8 and self.block else "iOS17"


def compressed(package: Any, how: Compression) -> Any:
    """Return the package with its weights compressed; biases, norms and small weights stay as they are."""
    from coremltools.optimize import coreml

    compress = coreml.palettize_weights if how.palette else coreml.linear_quantize_weights
    setting = _palette if how.palette else _integers
    weights = coreml.get_weights_metadata(package, weight_threshold=_SMALLEST)
    settings = {name: setting(how, weight) for name, weight in weights.items() if weight.val.ndim > 1}
    return compress(package, coreml.OptimizationConfig(op_name_configs=settings))


def _integers(how: Compression, weight: Any) -> Any:
    from coremltools.optimize import coreml

    inputs = [weight.val.shape[axis] for axis in _input_axes(weight)]
    block = next((size for size in _halves(how.block) if not any(part % size for part in inputs)), 0)
    return coreml.OpLinearQuantizerConfig(
        mode="linear_symmetric",
        dtype=f"int{how.bits}",
        granularity="per_block" if block else "per_channel",
        block_size=block or 32,
        weight_threshold=_SMALLEST,
    )


def _palette(how: Compression, weight: Any) -> Any:
    from coremltools.optimize import coreml

    shape, axis = weight.val.shape, _output_axis(weight)
    each = weight.val.size // shape[axis]
    sizes = [how.block * factor for factor in (1, 2, 4, 8)] if how.block else []
    group = next((size for size in sizes if not shape[axis] % size and size * each >= _SMALLEST_GROUP), 0)
    return coreml.OpPalettizerConfig(
        nbits=how.bits,
        granularity="per_grouped_channel" if group else "per_tensor",
        group_size=group or 32,
        weight_threshold=_SMALLEST,
    )


def _halves(block: int) -> list[int]:
    """Return block sizes to try: the one asked for, and smaller ones down to 8."""
    return [block >> shift for shift in range(3) if block >> shift >= 8]


def _kinds(weight: Any) -> Sequence[str]:
    return [child.op_type for child in weight.child_ops]


def _input_axes(weight: Any) -> tuple[int, ...]:
    """Return the axes that may hold the inputs of a channel, as coremltools picks them by operator."""
    if "matmul" in _kinds(weight):
        return (-1, -2)
    return (0,) if "conv_transpose" in _kinds(weight) else (1,)


def _output_axis(weight: Any) -> int:
    if "matmul" in _kinds(weight):
        return -1
    return 1 if "conv_transpose" in _kinds(weight) else 0
