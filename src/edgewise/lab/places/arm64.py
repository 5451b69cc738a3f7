"""ARM64 Linux (phones' and Raspberry Pi's processors) on this machine: released wheels under QEMU's user emulation.

    toolchain() Debian's arm64 Python + the aarch64 wheels of what is installed here + QEMU → one folder in the cache
    emulated()  → the place "cortex-a53" or "cortex-a76", which runs edgewise's own source tree

It shows that an artifact loads in the runtime's aarch64 build and what it computes there: `emulated`, numerics
only. It says nothing of speed, and nothing of processors with instructions that these two lack.

The processor is always named, because QEMU's default, `-cpu max`, is no device: it has instructions, such as SME
(the scalable matrix extension), with which ONNX Runtime computes dynamic int8 otherwise than on nearly every
phone sold (0.026 away on a small transformer, no worse in quality). A53 has plain Armv8.0; A76 adds the int8 dot
products and half-precision arithmetic of Armv8.2, for which the runtimes have kernels of their own. QEMU must be
10 or newer: 7.2, Debian 12's own, lets recent ONNX Runtime and LiteRT crash, and computes garbage on `max`.
"""

from __future__ import annotations

import importlib.metadata
import os
import re
import subprocess
import tempfile
from pathlib import Path

import msgspec

import edgewise
from edgewise.cache import Cache, default_folder
from edgewise.errors import InputError, ToolchainError
from edgewise.lab import jobs
from edgewise.lab.places import debian, wheels
from edgewise.lab.places.place import PythonPlace
from edgewise.targets.toolchains import Toolchain

__all__ = ["CPUS", "TARGETS", "emulated", "toolchain"]

CPUS = ("cortex-a53", "cortex-a76")
TARGETS = ("onnxruntime", "litert")
RELEASE, PYTHON, GLIBC = "bookworm", "3.11", 36  # glibc 2.36, which decides what wheels run
PACKAGES = ("python3.11-minimal", "libpython3.11-stdlib", "libstdc++6")
QEMU = 10  # the oldest that can be trusted
RUNTIMES = ("ai-edge-litert", "tokenizers", "pillow")  # beside the base install: what else devices run
# edgewise's own package comes before the runtime: it switches off the telemetry that starts with the import.
IMPORTS = "edgewise.targets.onnxruntime, onnxruntime, ai_edge_litert.interpreter, tokenizers, PIL.Image"


def emulated(cpu: str) -> PythonPlace:
    """Return the place that is an ARM64 processor of this name.

    Raises InputError for one that is not in `CPUS`, ToolchainError with the command that installs what is missing.
    """
    if cpu not in CPUS:
        raise InputError(f"{cpu!r} is no processor to verify on: known are {', '.join(CPUS)}")
    return _place(cpu, toolchain().path())


def toolchain() -> Toolchain:
    """Return the emulation as something to install: 350 MB, in a folder of its own for each set of versions here.

    Installing needs Debian, its package mirror and a package index, but not root.
    """
    versions = map(wheels.pinned, _requirements())
    return Toolchain("arm64", (f"the ARM64 emulation of Debian {RELEASE}", *versions), _make)


def _make(folder: Path) -> None:
    packages = _debian(folder)
    wheels.install(_requirements(), folder / "site", python=PYTHON, machine="aarch64", glibc=GLIBC)
    _try(_place(CPUS[-1], folder))
    pins = {"packages": packages, "wheels": wheels.installed(folder / "site")}
    (folder / "pins.json").write_bytes(msgspec.json.encode(pins))


def _requirements() -> list[str]:
    """Return what the ARM64 side needs: edgewise's base install and `RUNTIMES`."""
    base = [one for one in importlib.metadata.requires("edgewise") or () if "extra ==" not in one]
    return [*sorted(base), *RUNTIMES]


def _debian(staging: Path) -> list[str]:
    """Unpack Python for arm64 to `root`, and QEMU for this machine beside it; return the packages' files."""
    qemu = f"qemu-user:{debian.architecture()}/{RELEASE}-backports"
    with tempfile.TemporaryDirectory(dir=staging, prefix=".apt-") as work:
        packages = debian.fetch((*PACKAGES, qemu), Path(work), release=RELEASE, foreign="arm64")
        for package in packages:
            emulator = package.name.startswith("qemu-user")
            debian.unpack(package, Path(work) / "qemu" if emulator else staging / "root")
        (Path(work) / "qemu/usr/bin/qemu-aarch64").rename(staging / "qemu-aarch64")
    _check_qemu(staging / "qemu-aarch64")
    return [package.name for package in packages]


def _check_qemu(program: Path) -> None:
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=False).stdout
    found = re.search(r"version (\d+)", said)
    if not found or int(found[1]) < QEMU:
        got = (said.splitlines() or ["nothing that runs"])[0]
        raise ToolchainError(f"QEMU {QEMU} or newer is needed, older ones compute garbage: found {got}")


def _own() -> Path:
    """Return a folder with the running edgewise alone, as links: what is installed beside it is not for ARM64."""
    cache = Cache(default_folder())
    metadata = importlib.metadata.distribution("edgewise")
    file = next(file for file in metadata.files or () if file.name == "METADATA")
    links = (Path(edgewise.__file__).parent, Path(str(metadata.locate_file(file))).parent)
    folder = cache.entry("toolchains/edgewise", [str(link) for link in links])
    if not folder.is_dir():
        with cache.fill(folder) as staging:
            for link in links:
                (staging / link.name).symlink_to(link, target_is_directory=True)
    return folder


def _place(cpu: str, folder: Path) -> PythonPlace:
    """Return the place; Python takes modules from edgewise, the wheels and its library, and from nowhere else."""
    folder = folder.absolute()
    root = folder / "root"
    command = (folder / "qemu-aarch64", "-cpu", cpu, "-L", root, root / f"usr/bin/python{PYTHON}", "-sSP")
    environment = {
        "PATH": os.defpath,
        "HOME": str(folder / "home"),  # there is none
        "LANG": "C.UTF-8",
        "PYTHONPATH": os.pathsep.join((str(_own().absolute()), str(folder / "site"))),
        "PYTHONWARNINGS": "ignore",  # numpy warns of divisions by zero that only the emulator sees
        "OPENBLAS_NUM_THREADS": "1",
    }
    return PythonPlace(cpu, "linux-arm64", tuple(map(str, command)), environment, TARGETS, emulated=True)


def _try(place: PythonPlace) -> None:
    """Import all runtimes once: it shows that they start, and leaves their compiled modules for later starts."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        command = [*place.python, "-c", f"import {IMPORTS}, edgewise.cli.verify, edgewise.device.probe"]
        code = jobs.execute(command, folder, timeout=600, environment=place.environment)
        if code:
            raise ToolchainError(f"the ARM64 runtimes do not start: {jobs.ending(code, folder)}")
