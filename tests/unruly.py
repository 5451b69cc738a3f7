"""A third party's target, installed as pip would, whose builds and sessions go wrong in every way there is."""

from __future__ import annotations

from pathlib import Path

__all__ = ["FLEET", "install"]

FLEET = """\
[[tier]]
name = "all"
share = 1
machine = "this"
runtimes = ["onnxruntime", "unruly"]
"""

_BUILD = """\
import ctypes, os, pathlib, subprocess, sys, time
from typing import ClassVar, Literal
from edgewise.targets.building import Method, Operators, Original
from edgewise.targets.onnxruntime import build as onnxruntime

class Fails(Method, frozen=True, tag="fails", kw_only=True):
    precision: ClassVar[str] = "fp32"
    way: Literal["hog", "hog-in-a-child", "hang", "crash", "slow", "hang-when-run", "crash-when-run"]

FORMAT = "onnx"
MAIN = "model.onnx"
METHODS = (Original, Fails)

def toolchain():
    return os.environ.get("UNRULY_TOOLCHAIN", "unruly 1.0")

def methods(traits):
    return [Original(), *(Fails(way=way) for way in os.environ.get("UNRULY_WAYS", "").split())]

def build(method, job):
    way = getattr(method, "way", "")
    if way == "hog":
        kept = []
        for _ in range(200):
            kept.append(bytearray(b"x") * 50_000_000)
            time.sleep(0.05)
    if way == "hog-in-a-child":
        subprocess.run([sys.executable, "-c", "import time\\nkept = []\\n"
            "for _ in range(200): kept.append(bytearray(b'x') * 50_000_000); time.sleep(0.05)"])
    if way == "hang":
        subprocess.run(["sleep", "3600"])
    if way == "crash":
        ctypes.string_at(0)
    if way == "slow":  # the first time: it says which process it is, and waits
        place = pathlib.Path(os.environ["UNRULY_PLACE"])
        if not (place / "second").exists():
            (place / "first").write_text(str(os.getpid()))
            time.sleep(3600)
    onnxruntime.build(Original(), job)
    if way.endswith("when-run"):
        (job.folder / "way").write_text(way)

def operators(main):
    return onnxruntime.operators(main)
"""
_SESSION = """\
import ctypes, time
from edgewise.targets.onnxruntime import session as onnxruntime
FORMAT, PROVIDER, SETTINGS = onnxruntime.FORMAT, onnxruntime.PROVIDER, {}
NATIVE, EVIDENCE = False, onnxruntime.EVIDENCE

def version():
    return "1.0"

def load(path, outputs, *, threads=0, settings=None):
    way = path.with_name("way").read_text() if path.with_name("way").exists() else ""
    if way == "hang-when-run":
        time.sleep(3600)
    if way == "crash-when-run":
        ctypes.string_at(0)
    return onnxruntime.load(path, outputs, threads=threads)
"""


def install(site: Path) -> Path:
    """Write the package and its entry point into a folder for the path, and return that."""
    (site / "unruly_target").mkdir(parents=True)
    for name, code in (("__init__.py", ""), ("build.py", _BUILD), ("session.py", _SESSION)):
        (site / "unruly_target" / name).write_text(code)
    info = site / "unruly-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: unruly\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[edgewise.targets]\nunruly = unruly_target\n")
    return site
