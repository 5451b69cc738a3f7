"""Debian packages of any architecture, fetched with their dependencies and unpacked, never installed.

apt gets a configuration of its own (architectures, sources, lists, cache, locks and an empty status), so it
changes nothing of the system's and needs no root. Packages come from the mirror that this machine's own sources
name, security updates included, and are checked against Debian's archive keys.
Source: apt.conf(5), "DIRECTORIES"; sources.list(5); apt-get(8), "indextargets".
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from edgewise.errors import ToolchainError

__all__ = ["architecture", "download", "fetch", "unpack"]

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")

_CONFIG = """\
Dir "{0}";
Dir::State "{0}";
Dir::State::status "{0}/status";
Dir::Cache "{0}";
Dir::Etc "{0}";
APT::Architecture "{1}";
APT::Architectures {{ "{1}"; "{2}"; }};
APT::Install-Recommends "false";
APT::Sandbox::User "root";
APT::Update::Error-Mode "any";
Acquire::Languages "none";
Acquire::Retries "2";
"""


def architecture() -> str:
    """Return this machine's architecture in Debian's words, such as amd64. Raises ToolchainError elsewhere."""
    _require()
    return _said("dpkg", "--print-architecture").strip()


def fetch(packages: Sequence[str], folder: Path, *, release: str, foreign: str) -> list[Path]:
    """Download packages of a Debian `release` and architecture `foreign` with their dependencies into `folder`.

    A package may name another architecture or suite, as in `qemu-user:amd64/bookworm-backports`. Returns the .deb
    files. Raises ToolchainError naming what is missing, or with apt's own reason.
    """
    own = architecture()
    for part in ("lists/partial", "archives/partial", "apt.conf.d", "preferences.d"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    (folder / "status").touch()
    (folder / "sources.list").write_text(_sources(release))
    (folder / "apt.conf").write_text(_CONFIG.format(folder.absolute(), foreign, own) + _network())
    _apt(folder, "update")
    _apt(folder, "install", "--yes", "--download-only", *packages)
    return sorted((folder / "archives").glob("*.deb"))


def download(package: str, folder: Path) -> Path:
    """Download one package of this machine's own release, given as `name=version`, into the empty `folder`.

    Returns the .deb file. Raises ToolchainError when apt is missing or does not know it.
    """
    _require()
    try:
        _said("apt-get", "--quiet", "download", package, folder=folder)
    except ToolchainError as error:
        raise ToolchainError(f"{error}. Run `apt-get update` while connected to a Debian mirror") from error
    (found,) = folder.glob("*.deb")
    return found


def unpack(package: Path, folder: Path) -> None:
    """Unpack a .deb's files below `folder`. Raises ToolchainError when it is damaged."""
    _said("dpkg-deb", "--extract", str(package), str(folder))


def _require() -> None:
    about = platform.freedesktop_os_release() if Path("/etc/os-release").exists() else {}
    if about.get("ID") != "debian":
        found = about.get("PRETTY_NAME") or platform.system()
        raise ToolchainError(f"this needs Debian's apt, and this is {found}: run it on Debian 12 or newer")
    for path, package in (("apt-get", "apt"), ("dpkg-deb", "dpkg"), (str(KEYRING), "debian-archive-keyring")):
        if shutil.which(path) is None and not Path(path).exists():
            raise ToolchainError(f"{path} is missing. Run: apt-get install {package}")


def _sources(release: str) -> str:
    """Return the sources of a release, from the mirrors that this machine has for its own."""
    listed = _said("apt-get", "indextargets", "--format", "$(RELEASE) $(REPO_URI)", "Created-By: Packages")
    mirrors = dict(line.split(" ", 1) for line in listed.splitlines())
    own = platform.freedesktop_os_release().get("VERSION_CODENAME", "")
    suites = {
        f"{own}-updates": (release, f"{release}-backports"),
        f"{own}-security": (f"{release}-security",),
    }
    if missing := next((suite for suite in suites if suite not in mirrors), None):
        raise ToolchainError(
            f"apt has no source for {missing}: add it to /etc/apt/sources.list.d and run again"
        )
    return "".join(
        f"deb [signed-by={KEYRING}] {mirrors[known]} {suite} main\n"
        for known, several in suites.items()
        for suite in several
    )


def _network() -> str:
    """Return how the system's apt reaches its mirrors: proxies and certificates, but none of its hooks."""
    settings = _said("apt-config", "dump").splitlines()
    return "".join(
        f"{line}\n" for line in settings if line.startswith(("Acquire::http::", "Acquire::https::"))
    )


def _apt(folder: Path, *arguments: str) -> None:
    """Run apt-get with the configuration in `folder`."""
    try:
        _said("apt-get", "--quiet", *arguments, config=folder.absolute() / "apt.conf")
    except ToolchainError as error:
        raise ToolchainError(f"{error}. Connect this machine to a Debian mirror and run again") from error


def _said(*command: str, config: Path | None = None, folder: Path | None = None) -> str:
    """Run a command, in `folder` if one is given, and return what it prints. Raises ToolchainError with its error."""
    done = subprocess.run(
        command,
        cwd=folder,
        env=os.environ | {"LC_ALL": "C"} | ({"APT_CONFIG": str(config)} if config else {}),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        lines = [line.strip().rstrip(".") for line in done.stderr.splitlines() if line.strip()]
        errors = [line.removeprefix("E: ") for line in lines if line.startswith("E: ")]
        raise ToolchainError(f"{command[0]} failed: {(errors or lines or ['no reason given'])[0]}")
    return done.stdout
