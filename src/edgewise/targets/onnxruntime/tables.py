"""The operator tables of ONNX Runtime's mobile providers, read from the installed package.

They are made for people: a name and a note in Markdown. A name may be misspelt ("Argmax", "ai.onnx.ReduceSum"),
so names are compared without regard to case; the notes go through `caveats.py`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files

from edgewise.errors import ToolchainError
from edgewise.targets.onnxruntime.caveats import holds, sentences
from edgewise.targets.operator import Operator

__all__ = ["Rules", "Verdict", "judge", "read"]

FOLDER = "tools/mobile_helpers"
_ROW = re.compile(r"^\|(?P<domain>ai\.onnx|com\.microsoft)[.:](?P<op>\w+)\|(?P<note>.*)\|$")

Table = Mapping[tuple[str, str], Sequence[str]]


@dataclass(frozen=True, slots=True)
class Rules:
    """What a provider asks for beside its table.

    `fixed`: every shape has to be known. `max_rank`: of its tensors, 0 for no limit.
    """

    table: str
    fixed: bool = False
    max_rank: int = 0


@dataclass(frozen=True, slots=True)
class Verdict:
    """Why an operator is not taken (empty: it is), and the caveats that the graph does not decide."""

    why: str
    open: tuple[str, ...] = ()


def read(name: str) -> Table:
    """Return (domain, operator in lower case) → the sentences beside it. Raises ToolchainError if it is missing."""
    try:
        text = files("onnxruntime").joinpath(FOLDER, name).read_text("utf-8")
    except OSError as error:
        raise ToolchainError(
            f"this build of onnxruntime comes without {FOLDER}/{name}. Run: pip install onnxruntime"
        ) from error
    rows = filter(None, map(_ROW.match, text.splitlines()))
    return {(row["domain"], row["op"].lower()): tuple(sentences(row["note"])) for row in rows}


def judge(operator: Operator, table: Table, rules: Rules) -> Verdict:
    """Return whether a provider takes `operator`: first what it asks of all, then the table and its notes."""
    notes = table.get((operator.domain, operator.node.op_type.lower()))
    if notes is None:
        return Verdict("not in the table")
    if why := _general(operator, rules):
        return Verdict(why)
    if operator.type == "Gemm":  # one builder serves both, and the notes on its attributes are MatMul's
        notes = (*notes, *table.get(("ai.onnx", "matmul"), ()))
    verdicts = {note: holds(operator, note) for note in notes}
    failed = next((note for note, verdict in verdicts.items() if verdict is False), "")
    undecided = tuple(note for note, verdict in verdicts.items() if verdict is None)
    return Verdict(failed.rstrip("."), undecided)


def _general(operator: Operator, rules: Rules) -> str:
    if operator.within:
        return f"in the body of {operator.within}, which stays on the CPU"
    shapes = [operator.shape(at) for at, name in enumerate(operator.node.input) if name]
    if None in shapes:
        return "the rank of an input is unknown"
    if rules.fixed and any(None in shape for shape in shapes if shape):
        return "the size of an input is not fixed"
    if rules.max_rank and any(len(shape) > rules.max_rank for shape in shapes if shape):
        return f"an input has more than {rules.max_rank} dimensions"
    return ""
