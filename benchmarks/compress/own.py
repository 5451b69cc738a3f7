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

__all__ = ["Built", "Wish", "asking", "build", "cost"]

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


@dataclass(frozen=True, slots=True)
class Wish:
    """What a build is asked for: what to prefer, the quality floor, and whether students are trained."""

    prefer: Prefer
    floor: str = FLOOR
    trained: bool = False

    @property
    def name(self) -> str:
        """A name for a folder."""
        return f"{self.prefer}-trained" if self.trained else self.prefer


def build(project: Path, wish: Wish, work: Path, *, threads: int = 0) -> Built:
    """Build the project in the folder `project`; builds in the same folder `work` share a cache, empty at first."""
    config = _project(project, wish, work / wish.name, threads)
    out = work / f"{wish.name}-out"
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


def _project(project: Path, wish: Wish, folder: Path, threads: int) -> Path:
    """Return the edgewise.toml of a copy of the project (links) with other goals."""
    folder.mkdir()
    for file in project.iterdir():
        if file.name != "edgewise.toml":
            (folder / file.name).symlink_to(file.absolute())
    config = folder / "edgewise.toml"
    config.write_text(asking((project / "edgewise.toml").read_text(), wish, threads))
    return config


def asking(text: str, wish: Wish, threads: int = 0) -> str:
    """Return an edgewise.toml that asks for the floor and one preference, on this machine; its margin stays."""
    margin = tomllib.loads(text).get("goal", {}).get("margin")
    tables = re.split(r"(?m)^(?=\[)", text)
    kept = [table for table in tables if not re.match(r"\[(goal|fleet|measure|train)\]", table)]
    goal = ["[goal]", f'quality = "{wish.floor}"', f'prefer = "{wish.prefer}"']
    goal += [f"margin = {margin}"] if margin is not None else []
    measure = ["[measure]", f"threads = {threads}"]
    measure += ["rounds = 1"] if wish.prefer == "size" else []  # the smallest is chosen, whatever its times
    train = ["", "[train]", 'samples = "train.npz"'] if wish.trained else []
    return "\n".join(["".join(kept).rstrip(), "", *goal, "", *measure, *train, ""])


def cost(built: Built) -> Search | None:
    """Return what a build cost: every row that was answered for, but the original's, is one evaluation."""
    if built.result is None:
        return None
    tried = [row for row in built.result.candidates if row.id != built.result.original]
    return Search(len(tried), sum(row.status == "ok" for row in tried), built.seconds)
