"""Matrix products: MatMul, Gemm and Einsum."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgewise.targets.coreml.mil.registry import Node, UnsupportedError, operator
from edgewise.targets.coreml.mil.values import (
    Size,
    Var,
    extents,
    is_float,
    known,
    mb,
    product,
    reshape,
    squeeze,
)

__all__ = ["multiply"]

_LINEAR_RANKS = (2, 3)


@operator("MatMul")
def matmul(node: Node) -> Var:
    """Multiply matrices, with numpy's meaning of vectors and stacks."""
    return multiply(node[0], node[1])


def multiply(x: Var, y: Var) -> Var:
    """Return the matrix product; by constant weights as `linear`, which Core ML knows best."""
    if y.rank == 1:
        return squeeze(multiply(x, mb.expand_dims(x=y, axes=[1])), [-1])
    if x.rank == 1:
        return squeeze(multiply(mb.expand_dims(x=x, axes=[0]), y), [-2])
    weight = known(y)
    if weight is not None and weight.ndim == 2 and x.rank in _LINEAR_RANKS and is_float(y):
        return mb.linear(x=x, weight=np.ascontiguousarray(weight.T))
    return mb.matmul(x=x, y=y)


@operator("com.microsoft.FusedMatMul")
def scaled_matmul(node: Node) -> Var:
    """Convert ONNX Runtime's fused form: transpose either side, multiply, scale."""
    flips = {
        f"transpose_{side}": bool(node.get(f"trans{name}", 0)) for side, name in (("x", "A"), ("y", "B"))
    }
    answer = mb.matmul(x=node[0], y=node[1], **flips)
    alpha = float(node.get("alpha", 1.0))
    return answer if alpha == 1.0 else mb.mul(x=answer, y=alpha)


@operator("Gemm")
def gemm(node: Node) -> Var:
    """Multiply two matrices, scale, and add a third."""
    alpha, beta = float(node.get("alpha", 1.0)), float(node.get("beta", 1.0))
    x = mb.transpose(x=node[0], perm=[1, 0]) if node.get("transA", 0) else node[0]
    weight, bias = known(node[1]), known(node.input(2))
    if weight is None:
        answer = mb.matmul(x=x, y=node[1], transpose_y=bool(node.get("transB", 0)))
        answer = answer if alpha == 1.0 else mb.mul(x=answer, y=alpha)
        return _plus(answer, node.input(2), beta)
    rows = np.ascontiguousarray(weight if node.get("transB", 0) else weight.T)
    rows = rows if alpha == 1.0 else rows * np.float32(alpha)
    if bias is not None and (bias.size == 1 or bias.size == bias.shape[-1] == rows.shape[0]):
        flat = np.broadcast_to(bias.reshape(-1), rows.shape[:1]) * np.float32(beta)
        return mb.linear(x=x, weight=rows, bias=flat.astype(np.float32))
    return _plus(mb.linear(x=x, weight=rows), node.input(2), beta)


def _plus(value: Var, addend: Var | None, factor: float) -> Var:
    if addend is None:
        return value
    return mb.add(x=value, y=addend if factor == 1.0 else mb.mul(x=addend, y=factor))


@operator("Einsum")
def einsum(node: Node) -> Var:
    """Sum over products of one or two tensors: sorted into batch, left, right and summed axes, then `matmul`."""
    equation = node.get("equation", b"")
    text = (equation.decode() if isinstance(equation, bytes) else equation).replace(" ", "")
    terms, out = _terms(text, [value.rank for value in node.inputs if value is not None])
    if any(len(set(term)) != len(term) for term in terms):
        raise UnsupportedError(f"computes {text!r}; a diagonal has no counterpart in MIL")
    if len(terms) == 1:
        return _arranged(_summed(node[0], terms[0], out), [c for c in terms[0] if c in out], out)
    return _contracted(node[0], node[1], terms[0], terms[1], out)


def _terms(text: str, ranks: Sequence[int]) -> tuple[list[str], str]:
    """Return the letters of each tensor and of the answer; "..." becomes capitals, as many as there are axes left."""
    left, arrow, out = text.partition("->")
    terms = left.split(",")
    if not arrow:
        letters = sorted(letter for letter in set(left) if letter.isalpha() and left.count(letter) == 1)
        out = "..." * ("..." in left) + "".join(letters)
    counts = {rank - len(term) + 3 for term, rank in zip(terms, ranks, strict=True) if "..." in term}
    if len(terms) > 2 or len(counts) > 1:
        raise UnsupportedError(
            f"computes {text!r}; MIL is told sums over one or two tensors, broadcast alike"
        )
    rest = "ABCDE"[: max(counts, default=0)]
    return [term.replace("...", rest) for term in terms], out.replace("...", rest)


def _summed(x: Var, term: str, kept: str) -> Var:
    axes = [place for place, letter in enumerate(term) if letter not in kept]
    return mb.reduce_sum(x=x, axes=axes, keep_dims=False) if axes else x


def _arranged(x: Var, have: Sequence[str], want: Sequence[str]) -> Var:
    perm = [list(have).index(letter) for letter in want]
    return x if perm == sorted(perm) else mb.transpose(x=x, perm=perm)


def _contracted(x: Var, y: Var, first: str, second: str, out: str) -> Var:
    x, y = _summed(x, first, second + out), _summed(y, second, first + out)
    first, second = (
        "".join(c for c in first if c in second + out),
        "".join(c for c in second if c in first + out),
    )
    batch = [c for c in first if c in second and c in out]
    inner = [c for c in first if c in second and c not in out]
    rows = [c for c in first if c not in second]
    columns = [c for c in second if c not in first]
    left, size = _stacked(x, first, batch, rows, inner)
    right, other = _stacked(y, second, batch, inner, columns)
    answer = reshape(
        mb.matmul(x=left, y=right),
        [*(size[c] for c in (*batch, *rows)), *(other[c] for c in columns)],
    )
    return _arranged(answer, [*batch, *rows, *columns], out)


def _stacked(
    x: Var, term: str, batch: Sequence[str], before: Sequence[str], after: Sequence[str]
) -> tuple[Var, dict[str, Size]]:
    """Return a stack of matrices [batch, before, after], and the size of each letter."""
    size = dict(zip(term, extents(x), strict=True))
    groups = [product([size[c] for c in letters]) for letters in (batch, before, after)]
    return reshape(_arranged(x, term, [*batch, *before, *after]), groups), size
