"""ARM64 Linux (phones' and Raspberry Pi's processors) on this machine: released wheels under QEMU's user emulation.

    install()   Debian's arm64 Python + the aarch64 wheels of what is installed here + QEMU → one folder in the cache
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
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import msgspec

import edgewise
from edgewise.bundle.canonical import digest_document
from edgewise.errors import InputError, ToolchainError
from edgewise.lab import jobs
from edgewise.lab.cache import Cache, default_folder
from edgewise.lab.places import debian
from edgewise.lab.places.place import PythonPlace
from edgewise.lab.watcher import Silent, Watcher

__all__ = ["CPUS", "emulated", "install"]

CPUS = ("cortex-a53", "cortex-a76")
TARGETS = ("onnxruntime", "litert")
INSTALL = "edgewise targets --install arm64"

RELEASE, PYTHON, GLIBC = "bookworm", "3.11", 36  # glibc 2.36, which decides what wheels run
PACKAGES = ("python3.11-minimal", "libpython3.11-stdlib", "libstdc++6")
QEMU = 10  # the oldest that can be trusted
RUNTIMES = ("ai-edge-litert", "tokenizers", "pillow")  # beside the base install: what else devices run
# edgewise's own package comes before the runtime: it switches off the telemetry that starts with the import.
IMPORTS = "edgewise.targets.onnxruntime, onnxruntime, ai_edge_litert.interpreter, tokenizers, PIL.Image"


def emulated(cpu: str, cache: Path | None = None) -> PythonPlace:
    """Return the place that is an ARM64 processor of this name.

    Raises InputError for one that is not in `CPUS`, ToolchainError with the command that installs what is missing.
    """
    if cpu not in CPUS:
        raise InputError(f"{cpu!r} is no processor to verify on: known are {', '.join(CPUS)}")
    folder = _folder(_cache(cache))
    if not (folder / "pins.json").is_file():
        raise ToolchainError(f"the ARM64 emulation is not installed. Run: {INSTALL}")
    return _place(cpu, folder, _own(_cache(cache)))


def install(cache: Path | None = None, watcher: Watcher | None = None) -> Path:
    """Install the emulation into the cache (300 MB) unless it is there, try it, and return its folder.

    Needs Debian, its package mirror and a package index; not root. Raises ToolchainError with what is missing.
    """
    watcher, store = watcher or Silent(), _cache(cache)
    folder = _folder(store)
    if (folder / "pins.json").is_file():
        return folder
    watcher.stage("Installing the ARM64 emulation", 3)
    with store.fill(folder) as staging:
        packages = _debian(staging)
        watcher.step(f"{len(packages)} Debian packages")
        _wheels(staging / "site")
        wheels = sorted(f"{one.name} {one.version}" for one in _distributions(staging / "site"))
        watcher.step(f"{len(wheels)} wheels")
        _try(_place(CPUS[-1], staging, _own(store)))
        watcher.step("ONNX Runtime and LiteRT start")
        (staging / "pins.json").write_bytes(msgspec.json.encode({"packages": packages, "wheels": wheels}))
    return folder


def _cache(folder: Path | None) -> Cache:
    return Cache((folder or default_folder()).absolute())


def _folder(store: Cache) -> Path:
    """Return where the emulation lies: named by all that was asked for, so a newer runtime here has another."""
    asked = (1, RELEASE, PACKAGES, _requirements(pinned=True))
    return store.folder / "toolchains" / f"arm64-{digest_document(asked)[:12]}"


def _requirements(*, pinned: bool) -> list[str]:
    """Return what the ARM64 side needs: edgewise's base install and `RUNTIMES`, `pinned` as installed here."""
    base = [one for one in importlib.metadata.requires("edgewise") or () if "extra ==" not in one]
    return [_pinned(one) if pinned else one for one in (*base, *RUNTIMES)]


def _pinned(requirement: str) -> str:
    name = re.split(r"[^\w.-]", requirement, maxsplit=1)[0]
    try:
        return f"{name}=={importlib.metadata.version(name)}"
    except importlib.metadata.PackageNotFoundError:
        return requirement


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
        raise ToolchainError(
            f"QEMU {QEMU} or newer is needed, got {said.splitlines()[:1]}: older ones compute garbage"
        )


def _wheels(site: Path) -> None:
    """Install aarch64 wheels into `site`: the versions installed here, or where one has none, what is allowed."""
    platforms = [f"manylinux_2_{minor}_aarch64" for minor in range(GLIBC, 16, -1)] + ["manylinux2014_aarch64"]
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", "install", "--quiet"]
    command += [
        "--target",
        str(site),
        "--only-binary=:all:",
        "--implementation=cp",
        f"--python-version={PYTHON}",
    ]
    command += [f"--abi={abi}" for abi in (f"cp{PYTHON.replace('.', '')}", "abi3", "none")]
    command += [f"--platform={one}" for one in platforms]
    for pinned in (True, False):
        done = subprocess.run(
            [*command, *_requirements(pinned=pinned)], capture_output=True, text=True, check=False
        )
        if done.returncode == 0:
            return
        shutil.rmtree(site, ignore_errors=True)
    errors = [line.removeprefix("ERROR: ") for line in done.stderr.splitlines() if line.startswith("ERROR: ")]
    reason = (errors or done.stderr.splitlines() or ["no reason given"])[-1]
    raise ToolchainError(
        f"pip could not fetch aarch64 wheels: {reason}. Connect this machine to a package index and run: {INSTALL}"
    )


def _distributions(site: Path) -> list[importlib.metadata.Distribution]:
    return list(importlib.metadata.distributions(path=[str(site)]))


def _own(store: Cache) -> Path:
    """Return a folder with the running edgewise alone, as links: what is installed beside it is not for ARM64."""
    metadata = importlib.metadata.distribution("edgewise")
    file = next(file for file in metadata.files or () if file.name == "METADATA")
    links = (Path(edgewise.__file__).parent, Path(str(metadata.locate_file(file))).parent)
    folder = store.folder / "toolchains" / f"edgewise-{digest_document([str(link) for link in links])[:12]}"
    if not folder.is_dir():
        with store.fill(folder) as staging:
            for link in links:
                (staging / link.name).symlink_to(link, target_is_directory=True)
    return folder


def _place(cpu: str, folder: Path, own: Path) -> PythonPlace:
    """Return the place; Python takes modules from `own`, the wheels and its library, and from nowhere else."""
    root = folder / "root"
    command = (folder / "qemu-aarch64", "-cpu", cpu, "-L", root, root / f"usr/bin/python{PYTHON}", "-sSP")
    environment = {
        "PATH": os.defpath,
        "HOME": str(folder / "home"),  # there is none
        "LANG": "C.UTF-8",
        "PYTHONPATH": os.pathsep.join((str(own), str(folder / "site"))),
        "PYTHONWARNINGS": "ignore",  # numpy warns of divisions by zero that only the emulator sees
        "OPENBLAS_NUM_THREADS": "1",
    }
    return PythonPlace(cpu, "linux-aarch64", tuple(map(str, command)), environment, TARGETS, emulated=True)


def _try(place: PythonPlace) -> None:
    """Import all runtimes once: it shows that they start, and leaves their compiled modules for later starts."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        command = [*place.python, "-c", f"import {IMPORTS}, edgewise.cli.verify, edgewise.device.probe"]
        code = jobs.execute(command, folder, timeout=600, environment=place.environment)
        if code:
            raise ToolchainError(f"the ARM64 runtimes do not start: {jobs.ending(code, folder)}")
