"""Which texts of a `.pt2` may reach torch, which evaluates some of them and calls what others name.

`torch.export.load` hands symbolic sizes to `sympy.sympify`, which evaluates Python; guards become a function by
`exec`; and the target of a node is looked up by attribute, from the module `torch` on. A saved program needs
arithmetic, comparisons and operators of a few namespaces, so all else is refused by these lists.
Source: torch/_export/serde/serialize.py and torch/export/_unlift.py of PyTorch 2.13; the documentation says of the
loader: "Never load data from an untrusted source".
"""

from __future__ import annotations

import ast
import re

__all__ = ["is_arithmetic", "is_operator"]

_NODES = (
    ast.Expression,
    ast.BinOp,
    ast.UnaryOp,
    ast.BoolOp,
    ast.Compare,
    ast.Call,
    ast.keyword,
    ast.Attribute,
    ast.Subscript,
    ast.Name,
    ast.Constant,
    ast.Tuple,
    ast.operator,
    ast.unaryop,
    ast.boolop,
    ast.cmpop,
    ast.expr_context,
)
_FUNCTIONS = frozenset(
    [
        "FloorDiv",
        "ModularIndexing",
        "Where",
        "PythonMod",
        "Mod",
        "CleanDiv",
        "CeilToInt",
        "FloorToInt",
        "CeilDiv",
        "LShift",
        "RShift",
        "PowByNatural",
        "FloatPow",
        "FloatTrueDiv",
        "IntTrueDiv",
        "IsNonOverlappingAndDenseIndicator",
        "TruncToFloat",
        "TruncToInt",
        "RoundToInt",
        "RoundDecimal",
        "ToFloat",
        "Identity",
        "Max",
        "Min",
        "Abs",
        "Eq",
        "Ne",
        "Gt",
        "Ge",
        "Lt",
        "Le",
        "And",
        "Or",
        "Not",
        "Pow",
        "sqrt",
        "floor",
        "ceiling",
        "Symbol",
        "Integer",
        "Float",
        "Rational",
        "Add",
        "Mul",
        "Equality",
        "Unequality",
        "StrictLessThan",
        "StrictGreaterThan",
        "LessThan",
        "GreaterThan",
        "max",
        "min",
        "abs",
    ]
)
_TEXTS = frozenset(("Symbol", "Float"))  # take a text as what it is; others of sympy's would evaluate one
_METHODS = frozenset(("size", "stride", "dim", "storage_offset"))
_MOST = 2000  # characters: sizes are short, and parsing is not free

_ATEN_DUNDERS = "and|or|xor|lshift|rshift|iand|ior|ixor|ilshift|irshift"
_OPERATORS = re.compile(
    rf"""torch\.ops\.(?:aten|prims|quantized_decomposed)\.(?:(?!__)\w+|__(?:{_ATEN_DUNDERS})__)(?:\.(?!__)\w+)?
    | torch\.ops\.higher_order\.(?:cond|while_loop|scan|map_impl|wrap_with_set_grad_enabled|wrap_with_autocast)
    | torch\.sym_(?:not|max|min|sum|ite|int|float|sqrt)
    | torch\._sym_sqrt
    | math\.(?:ceil|floor|trunc|sqrt|pow|log|log2|exp|inf)
    | _operator\.(?:add|sub|mul|truediv|floordiv|mod|pow|neg|pos|abs|eq|ne|lt|le|gt|ge|and_|or_|xor|not_|getitem
        |lshift|rshift|index)""",
    re.VERBOSE,
)


def is_operator(target: str) -> bool:
    """Tell whether a node's target is an operator of torch that only computes."""
    return _OPERATORS.fullmatch(target) is not None


def is_arithmetic(text: str) -> bool:
    """Tell whether a size or a guard is plain arithmetic: evaluating it can do nothing but give a value."""
    if len(text) > _MOST:
        return False
    try:
        nodes = list(ast.walk(ast.parse(text, mode="eval")))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    texts = {id(part) for node in nodes for part in _quoted(node)}
    return all(isinstance(node, _NODES) and _plain(node, texts) for node in nodes)


def _quoted(node: ast.AST) -> list[ast.expr]:
    """Return the parts of a node that may be texts: the name of a symbol, the key of an input in a guard."""
    match node:
        case ast.Call(func=ast.Name(id=name), args=args) if name in _TEXTS:
            return args
        case ast.Subscript(slice=key):
            return [key]
    return []


def _plain(node: ast.AST, texts: set[int]) -> bool:
    """Tell whether one part is harmless, its own parts aside."""
    match node:
        case ast.Constant(value=str()):
            return id(node) in texts
        case ast.Constant(value=value):
            return value is None or isinstance(value, int | float)
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return not name.startswith("__")
        case ast.Call(func=ast.Name(id=name)):
            return name in _FUNCTIONS
        case ast.Call(func=function, args=args, keywords=keywords):
            return (
                isinstance(function, ast.Attribute) and function.attr in _METHODS and not (args or keywords)
            )
    return not isinstance(node, ast.keyword) or (
        node.arg is not None and isinstance(node.value, ast.Constant)
    )
