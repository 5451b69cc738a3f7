"""edgewise's own side: `edgewise build` as a user runs it, on a project that asks for nothing but the quality floor."""

from __future__ import annotations

import re
import sys
import time
import tomllib
from dataclasses import dataclass
from pathlib import Path

from benchmarks.compress.results import Prefer, Search
from edgewise import report
from edgewise.errors import EdgewiseError
from edgewise.lab import jobs
from edgewise.lab.result import BuildResult

__all__ = ["Built", "asking", "build", "cost"]

FLOOR = "99% of original"
PATIENCE_S = 4 * 3600.0


@dataclass(frozen=True, slots=True)
class Built:
    """A finished build, and its seconds of wall clock; where there is none, the reason."""

    config: Path
    seconds: float
    result: BuildResult | None = None
    reason: str | None = None

    @property
    def chosen(self) -> str | None:
        """The candidate for this machine."""
        return self.result.tiers[0].chosen if self.result else None


def build(project: Path, prefer: Prefer, work: Path, *, threads: int = 0) -> Built:
    """Build the project in the folder `project`; builds in the same folder `work` share a cache, empty at first."""
    config = _project(project, prefer, work / prefer, threads)
    out = work / f"{prefer}-out"
    command = [sys.executable, "-m", "edgewise", "build", str(config), "-o", str(out)]
    start = time.monotonic()
    try:
        code = jobs.execute([*command, "--cache", str(work / "cache")], config.parent, timeout=PATIENCE_S)
        seconds = time.monotonic() - start
        if code not in (0, 1):
            return Built(config, seconds, reason=jobs.ending(code, config.parent))
        return Built(config, seconds, report.read(out / "report.json"))
    except EdgewiseError as error:
        return Built(config, time.monotonic() - start, reason=str(error))


def _project(project: Path, prefer: Prefer, folder: Path, threads: int) -> Path:
    """Return the edgewise.toml of a copy of the project (links) with other goals."""
    folder.mkdir()
    for file in project.iterdir():
        if file.name != "edgewise.toml":
            (folder / file.name).symlink_to(file.absolute())
    config = folder / "edgewise.toml"
    config.write_text(asking((project / "edgewise.toml").read_text(), prefer, threads))
    return config


def asking(text: str, prefer: Prefer, threads: int = 0) -> str:
    """Return an edgewise.toml that asks for the floor and one preference, on this machine; its margin stays."""
    margin = tomllib.loads(text).get("goal", {}).get("margin")
    tables = re.split(r"(?m)^(?=\[)", text)
    kept = [table for table in tables if not re.match(r"\[(goal|fleet|measure)\]", table)]
    goal = ["[goal]", f'quality = "{FLOOR}"', f'prefer = "{prefer}"']
    goal += [f"margin = {margin}"] if margin is not None else []
    measure = ["[measure]", f"threads = {threads}"]
    measure += ["rounds = 1"] if prefer == "size" else []  # the smallest is chosen, whatever its times
    return "\n".join(["".join(kept).rstrip(), "", *goal, "", *measure, ""])


def cost(built: Built) -> Search | None:
    """Return what a build cost: every row that was answered for, but the original's, is one evaluation."""
    if built.result is None:
        return None
    tried = [row for row in built.result.candidates if row.id != built.result.original]
    return Search(len(tried), sum(row.status == "ok" for row in tried), built.seconds)
