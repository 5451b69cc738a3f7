"""The process that opens a `.pt2`, or runs the user's own `file.py:function`, and writes `model.onnx`."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from edgewise.errors import InputError, ToolchainError
from edgewise.lab import jobs
from edgewise.lab.model.torch_program.job import Job, Made
from edgewise.lab.quiet import no_telemetry

__all__ = ["make"]


def make(job: Job) -> Made:
    """Do the job. Raises InputError where the user can put it right."""
    no_telemetry()
    # Torch names folders by the user, though nothing goes into them here; to look one up opens a socket.
    os.environ.setdefault("USER", "edgewise")
    import torch

    from edgewise.lab.model.torch_program.convert import convert
    from edgewise.lab.model.torch_program.proof import prove

    traced = _traced(job.source)
    who = Path(job.source).name
    try:
        proto = convert(traced, who)
        proof = prove(traced.program, proto, who)
    except ToolchainError as error:
        return Made(refused=str(error))
    _save(proto, Path(job.out))
    return Made(str(torch.__version__), proof.requests, proof.sizes, proof.rms)


def _traced(source: str) -> Any:
    from edgewise.lab.model.torch_program.archive import read
    from edgewise.lab.model.torch_program.tracing import Traced, trace

    if ".py:" not in source:
        return Traced(read(Path(source)), {})
    return trace(*_called(source), who=Path(source).name)


def _called(source: str) -> tuple[Any, ...]:
    """Run the user's function; return module, example inputs and, where given, dynamic shapes."""
    import torch

    from edgewise.bundle.processing import load_function

    file, _, name = source.rpartition(":")
    sys.path.insert(0, str(Path(file).parent.absolute()))  # what lies beside the file may be imported by it
    function = load_function(Path(file), name)
    torch.manual_seed(0)
    try:
        made = function()
    except (Exception, SystemExit) as error:  # the user's code may raise anything
        raise InputError(f"{source} raised {type(error).__name__}: {error}") from error
    if not isinstance(made, tuple) or len(made) not in (2, 3):
        raise InputError(
            f"{source} returned {type(made).__name__}{f' of {len(made)}' if isinstance(made, tuple) else ''}: return "
            "(module, example_inputs) or (module, example_inputs, dynamic_shapes)"
        )
    return made


def _save(proto: Any, path: Path) -> None:
    """Write the model; what protobuf cannot hold in one file goes beside it."""
    import onnx

    from edgewise.targets.graph import PROTOBUF_LIMIT

    if proto.ByteSize() < PROTOBUF_LIMIT:
        path.write_bytes(proto.SerializeToString(deterministic=True))
    else:
        onnx.save(proto, path, save_as_external_data=True, location=f"{path.name}.data")


if __name__ == "__main__":
    jobs.serve(Job, make)
