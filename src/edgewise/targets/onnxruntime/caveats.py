"""What ONNX Runtime's tables say beside an operator, as checks on the graph.

A caveat is a sentence: "Only 2D Pool is supported.", "Weights and bias should be constant." The first rule whose
pattern is found in it decides: True, it holds; False, it keeps the operator off; None, the graph does not say.
A sentence without a rule is None as well: it is quoted, never guessed at.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import onnx

from edgewise.targets.operator import Operator

__all__ = ["holds", "sentences"]

Verdict = bool | None
Rule = Callable[[Operator, re.Match[str]], Verdict]

_FLOAT, _HALF = onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16
_CALLED = {"weight": "w", "weights": "w", "bias": "b", "splits": "split"}
"""What the tables call an input → what ONNX calls it, in lower case."""


def sentences(note: str) -> Iterator[str]:
    """Yield the sentences of a table's note."""
    for line in note.split("<br/>"):
        yield from filter(None, (part.strip() for part in re.split(r"(?<=[a-z)]\.)\s", line)))


def holds(operator: Operator, sentence: str) -> Verdict:
    """Return whether `operator` meets what `sentence` asks for, None where the graph does not decide."""
    for pattern, rule in _RULES:
        if found := re.search(pattern, sentence):
            return rule(operator, found)
    return None


def _spatial(operator: Operator, found: re.Match[str]) -> Verdict:
    """Only 1D/2D Conv: an image has two dimensions more, batch and channels."""
    shape = operator.shape(0)
    return None if shape is None else str(len(shape) - 2) in re.findall(r"(\d)D", found[0])


def _rank(operator: Operator, found: re.Match[str]) -> Verdict:
    shape = operator.shape(0)
    return None if shape is None else len(shape) == int(found[1])


def _rank_at_most(operator: Operator, found: re.Match[str]) -> Verdict:
    shape = operator.shape(0)
    return None if shape is None else len(shape) <= int(found[1])


def _stored(operator: Operator, found: re.Match[str]) -> Verdict:
    """Whether the inputs named before "must be constant" are stored: those that are given, and are no attributes."""
    words = {word.lower() for word in re.findall(r"\w+", found[1])}
    asked = words | {_CALLED[word] for word in words if word in _CALLED}
    given = [(called.lower(), name) for called, name in operator.inputs()]
    formal = {item.name.lower() for item in operator.schema.inputs} if operator.schema else set()
    if not operator.schema or not asked & formal.union(operator.schema.attributes):
        return None
    return all(name in operator.constants for called, name in given if called in asked)


def _quantization(operator: Operator, _: re.Match[str]) -> Verdict:
    if not operator.schema:
        return None
    endings = ("scale", "zero_point")
    return all(name in operator.constants for called, name in operator.inputs() if called.endswith(endings))


def _is(name: str, *allowed: Any) -> Rule:
    return lambda operator, _: operator.attribute(name) in allowed


def _one_of(operator: Operator, found: re.Match[str]) -> Verdict:
    """`mode` == `linear` or `nearest`: the first word is the attribute, the others what it may be."""
    name, *allowed = re.findall(r"\w+", found[0].replace("==", " ").replace(" or ", " "))
    value = operator.attribute(name)
    return str(bool(value)).lower() in allowed if value in (0, 1) else value in allowed


def _numbers(**wanted: float) -> Rule:
    def rule(operator: Operator, _: re.Match[str]) -> Verdict:
        # An attribute that the type does not have is at its only value.
        found = {name: operator.attribute(name) for name in wanted}
        return all(value is None or value == wanted[name] for name, value in found.items())

    return rule


def _types(*positions: int, of: tuple[int, ...]) -> Rule:
    def rule(operator: Operator, _: re.Match[str]) -> Verdict:
        found = [operator.dtype(position) for position in positions]
        return None if None in found else all(dtype in of for dtype in found)

    return rule


def _kernel(operator: Operator, _: re.Match[str]) -> Verdict:
    given, weight = operator.attribute("kernel_shape"), operator.shape(1)
    return given is None or (None if weight is None else list(given) == list(weight[2:]))


def _padded(operator: Operator, found: re.Match[str]) -> Verdict:
    if operator.attribute("mode") != "constant":
        return False
    if "last two" not in found[0]:
        return True
    pads = operator.value(1)
    return None if pads is None else not pads.reshape(2, -1)[:, :-2].any()


def _pads_positive(operator: Operator, _: re.Match[str]) -> Verdict:
    pads = operator.value(1)
    return None if pads is None else bool((pads >= 0).all())


def _even_split(operator: Operator, _: re.Match[str]) -> Verdict:
    shape, axis = operator.shape(0), operator.attribute("axis") or 0
    parts = operator.attribute("num_outputs") or len(operator.node.output)
    size = None if shape is None else shape[axis]
    stored = operator.constant(1) if operator.input(1) else True
    return False if not stored else (None if size is None else size % parts == 0)


def _indices(operator: Operator, _: re.Match[str]) -> Verdict:
    return operator.constant(1) or _types(1, of=(onnx.TensorProto.INT32,))(operator, _)


def _not_scalar(operator: Operator, _: re.Match[str]) -> Verdict:
    shape = operator.shape(1)
    return None if shape is None else len(shape) > 0


def _slope(operator: Operator, _: re.Match[str]) -> Verdict:
    slope = operator.value(1)
    return None if slope is None else slope.size == 1 or (slope.ndim == 3 and slope.shape[1:] == (1, 1))


def _fixed(operator: Operator, _: re.Match[str]) -> Verdict:
    shape = operator.shape(0)
    return operator.attribute("mode") != "CRD" or (shape is not None and None not in shape)


def _gemm_b(operator: Operator, _: re.Match[str]) -> Verdict:
    return operator.constant(1) or operator.attribute("transB") == 1


def _grid(operator: Operator, _: re.Match[str]) -> Verdict:
    linear = operator.attribute("mode") in ("linear", "bilinear")
    reflected = operator.attribute("padding_mode") == "reflection"
    return not (linear and reflected and not operator.attribute("align_corners"))


def _always(*_: object) -> Verdict:
    """A remark that asks for nothing."""
    return True


_RULES: tuple[tuple[str, Rule], ...] = (
    (r"^Produced by|^Decomposed into|can be added if needed|runtime tensor", _always),
    (r"Only [\dD/]+ (Conv|Pool|Resize) is supported", _spatial),
    (r"^(\d)D input", _rank),
    (r"Input rank up to (\d)", _rank_at_most),
    (r"If input B is not constant, transB should be 1", _gemm_b),
    (r"Input indices should be constant if not int32", _indices),
    (r"Number of splits must evenly divide", _even_split),
    (r"quantization scales and zero points should be constant", _quantization),
    (r"^(.*?)\b(must|should) be constant", _stored),
    (r"Both inputs must be bool", _types(0, 1, of=(onnx.TensorProto.BOOL,))),
    (r"both inputs are fp32", _types(0, 1, of=(_FLOAT,))),
    (r"branches must be float or float16", _types(1, 2, of=(_FLOAT, _HALF))),
    (r"SAME_UPPER/SAME_LOWER is not supported", _is("auto_pad", "NOTSET", "VALID")),
    (r"kernel_shape must have default", _kernel),
    (r"^output_shape is not supported", _is("output_shape", None)),
    (r"`end` is not supported", _is("end", None)),
    (
        r"output_padding must have default",
        lambda operator, _: not any(operator.attribute("output_padding") or ()),
    ),
    (r"batch_dims must be 0", _numbers(batch_dims=0)),
    (r"transA == 0, alpha == 1.0 and beta == 1.0", _numbers(transA=0, alpha=1.0, beta=1.0)),
    (r"`start` with non-default value", _numbers(start=0)),
    (r"Only DCR mode", _is("mode", "DCR")),
    (r"'mode' is 'CRD' the input must have a fixed shape", _fixed),
    (r"Only constant mode( and last two dim)?", _padded),
    (r"pads values should be non-negative", _pads_positive),
    (r"`indices` with scalar value is not supported", _not_scalar),
    (r"slope should either have shape \[C, 1, 1\]", _slope),
    (r"padding_mode==reflection && align_corners==0", _grid),
    (r"`\w+` == `?\w+`?( or `\w+`)*", _one_of),
)
