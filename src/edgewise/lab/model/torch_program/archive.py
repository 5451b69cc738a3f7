"""A `.pt2` is looked at before torch opens it: what would run code is refused, what is left is data.

The file is a zip. Its graph is JSON, its weights are plain bytes; but it may also hold pickles, compiled libraries
and texts that torch evaluates. Those are read here through torch's own reader, from the same bytes, so that what
was checked is what is opened; and torch.load is held to `weights_only` for the process.
Source: torch/export/pt2_archive/_package.py and docs/source/export/pt2_archive.md of PyTorch 2.13.
"""

from __future__ import annotations

import io
import json
import os
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from edgewise.errors import InputError
from edgewise.lab.model.torch_program.harmless import is_arithmetic, is_operator

__all__ = ["read"]

_AGAIN = (
    "Save it again where it was made: torch.export.save(torch.export.export(model.eval(), inputs), {name!r})."
)
# Names in the archive, as torch/csrc/export/pt2_archive_constants.h has them.
_VERSION, _MODELS, _CONSTANTS = "archive_version", "models/", "data/constants/"
_COMPILED = ("data/aotinductor/", "data/executorch/")
_OBJECTS = ("custom_obj_", "opaque_obj_")
_LOOKED_UP = ("torch", "_operator", "math", "#")  # how a target begins that the loader looks up
_TREES = frozenset(("builtins.tuple", "builtins.list", "builtins.dict", "collections.OrderedDict"))


def read(path: Path) -> torch.export.ExportedProgram:
    """Return the program in the file at `path`. Raises InputError where it is no .pt2, or holds more than data."""
    data = path.read_bytes()
    if why := _refusal(data):
        raise InputError(f"{path} {why}. {_AGAIN.format(name=path.name)}")
    try:
        with _tensors_only():
            return torch.export.load(io.BytesIO(data))
    except Exception as error:
        said = " ".join(str(error).split())[:200]
        raise InputError(
            f"{path} cannot be opened by torch {torch.__version__}: {said}. It may come from another version of "
            f"torch. {_AGAIN.format(name=path.name)}"
        ) from error


@contextmanager
def _tensors_only() -> Iterator[None]:
    """Hold torch.load to tensors: the loader itself asks for whole pickles."""
    name = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"
    before = os.environ.get(name)
    os.environ[name] = "1"
    try:
        yield
    finally:
        os.environ.pop(name)
        os.environ.update({name: before} if before is not None else {})


def _refusal(data: bytes) -> str | None:
    """Return what is wrong with the bytes of a file, None where it holds a program and nothing else."""
    if data[:4] != b"PK\x03\x04":
        return f"is not a .pt2: it starts with {data[:8]!r}" if data else "is empty"
    try:
        outer = zipfile.ZipFile(io.BytesIO(data)).namelist()
        reader = torch._C.PyTorchFileReader(io.BytesIO(data))
        records = set(reader.get_all_records())
    except Exception:  # noqa: BLE001 - both raise nearly anything on a damaged file
        return "is a damaged .pt2: copy it again"
    if "version" in outer or _VERSION not in records:
        older = any(name.endswith(("data.pkl", "constants.pkl")) for name in (*records, *outer))
        what = (
            "a pickle or TorchScript, which run code when they are opened" if older else "of an older format"
        )
        return f"is not a program as torch.export.save writes it, but {what}"
    return _unwanted(reader, records)


def _unwanted(reader: Any, records: set[str]) -> str | None:
    if compiled := [name for name in records if name.startswith(_COMPILED)]:
        return f"holds compiled code ({sorted(compiled)[0]}), and only a program is taken"
    programs = sorted(name for name in records if name.startswith(_MODELS))
    if len(programs) != 1:
        return f"holds {len(programs)} programs, and one is taken"
    try:
        documents = {
            name: json.loads(reader.get_record(name)) for name in sorted(records) if name.endswith(".json")
        }
        found = [what for document in documents.values() for what in _code(document, "")]
    except (ValueError, TypeError, RecursionError):
        return "is damaged: its JSON cannot be read"
    found += [f"a pickle ({name})" for name in sorted(records) if _is_pickle(name)]
    return f"holds what would run code: {found[0]}" if found else None


def _is_pickle(record: str) -> bool:
    """Tell whether torch would unpickle a record without bounds: objects, not tensors."""
    return record.startswith(_CONSTANTS) and record.rpartition("/")[2].startswith(_OBJECTS)


def _code(value: Any, key: str) -> Iterator[str]:
    """Yield what in a document is more than data: by the key that torch reads it under."""
    if isinstance(value, dict):
        for name, item in value.items():
            if key == "range_constraints" and not is_arithmetic(name):
                yield f"the expression {name[:60]!r}"
            yield from _code(item, name)
    elif isinstance(value, list):
        for item in value:
            yield from _code(item, key)
    elif key == "use_pickle" and value:
        yield "pickled weights"
    elif isinstance(value, str):
        yield from _text(value, key)


def _text(value: str, key: str) -> Iterator[str]:
    if key in ("target", "as_operator") and value.startswith(_LOOKED_UP) and not is_operator(value):
        yield f"a call of {value[:60]!r}"
    elif key in ("expr_str", "guards_code") and not is_arithmetic(value):
        yield f"the expression {value[:60]!r}"
    elif key in ("in_spec", "out_spec") and (other := _other_tree(json.loads(value))):
        yield f"a container of type {other!r}"
    elif key == "path_name" and value.startswith(_OBJECTS):
        yield f"a pickled object ({value[:60]})"


def _other_tree(spec: Any) -> str | None:
    """Return the type of a container that torch would import, None where all are plain."""
    if isinstance(spec, list):
        return next((found for item in spec if (found := _other_tree(item))), None)
    if not isinstance(spec, dict):
        return None
    if spec.get("type") is not None and spec["type"] not in _TREES:
        return str(spec["type"])
    if any(isinstance(item, dict | list) for item in _listed(json.loads(spec.get("context") or "null"))):
        return "enum"  # the loader imports its module
    return _other_tree(spec.get("children_spec", []))


def _listed(context: Any) -> list[Any]:
    """Return what the keys of a container are; a lone value as a list of one."""
    return context if isinstance(context, list) else [context]
