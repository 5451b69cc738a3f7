"""Microsoft Olive in an environment of its own: its pins and edgewise's need not agree.

`auto-opt` ends with exit code 0 also where it made nothing, or a file that it left as it was; what counts is the file.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from edgewise.errors import ToolchainError

__all__ = ["PYTHON", "auto_opt"]

PYTHON = Path(__file__).parent.parent.parent / ".venv" / "olive" / "bin" / "python"
"""Where `make bench-compress` puts it."""

_QUIET = {"OLIVE_DISABLE_TELEMETRY": "1", "HF_HUB_OFFLINE": "1", "ORT_DISABLE_TELEMETRY": "1"}


def auto_opt(python: str, source: Path, folder: Path) -> list[Path]:
    """Return the files that `olive auto-opt` makes of an ONNX file. Raises ToolchainError with its reason."""
    if not Path(python).exists():
        raise ToolchainError(f"no Olive: {python} is not there; `make bench-compress` installs it")
    command = [python, "-m", "olive", "auto-opt", "-m", str(source), "-o", str(folder)]
    asked = ["--precision", "int8", "--device", "cpu", "--provider", "CPUExecutionProvider"]
    done = subprocess.run(
        [*command, *asked],
        env=os.environ | _QUIET,
        cwd=folder.parent,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    made = sorted(folder.rglob("*.onnx"))
    if not made:
        raise ToolchainError(f"it made no file (exit code {done.returncode}): {_reason(done)}")
    return [made[0], *sorted(made[0].parent.glob("*.data"))]


def _reason(done: subprocess.CompletedProcess[str]) -> str:
    """Return the last line that names an error, else the last one."""
    lines = [line.strip() for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    errors = [line for line in lines if "Error" in line]
    return (errors or lines or ["it said nothing"])[-1][:200]
