"""One Chromium with one page that runs one model. Playwright's objects belong to the thread that made them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import edgewise
from edgewise.bundle.manifest import TensorSpec
from edgewise.errors import DeviceError
from edgewise.targets.browser import chromium
from edgewise.targets.browser.engines import Engine
from edgewise.targets.browser.server import Server

__all__ = ["Page"]

_HERE = Path(__file__).parent
_CLIENT = Path(edgewise.__file__).parent / "web"
_HTML = """<!doctype html>
<meta charset="utf-8">
<link rel="icon" href="data:,">
<script type="importmap">{imports}</script>
<script type="module" src="./page.js"></script>
"""


class Page:
    """A page with an engine in it, ready for a model whose files lie in `folder`. Close it."""

    def __init__(self, engine: Engine, folder: Path, *, threads: int, provider: str) -> None:
        self._engine = engine
        self._settings = {"provider": provider, "threads": threads, "outputs": []}
        self._open = ExitStack()
        with self._open:  # what was opened is closed when a later step fails
            self.server = Server(
                {"engine": engine.toolchain.path(), "web": _CLIENT, "artifact": folder},
                {"index.html": _html(engine), "page.js": (_HERE / "page.js").read_bytes()},
            )
            self._open.callback(self.server.close)
            playwright = self._open.enter_context(chromium.driver().sync_playwright())
            self._browser = chromium.launch(playwright, provider)
            self._open.callback(self._browser.close)
            self._page = self._browser.new_page()
            self._page.goto(f"{self.server.url}index.html")
            self.ask("start")
            self._base = self._resident(reset=True)
            self._open = self._open.pop_all()

    def load(self, names: Sequence[str], outputs: Sequence[TensorSpec]) -> Any:
        """Load the artifact of these files, the one to open first."""
        self._settings["outputs"] = [
            {"name": spec.name, "dtype": spec.dtype, "shape": list(spec.shape)} for spec in outputs
        ]
        return self.ask("load", names=names)

    def ask(self, action: str, **request: Any) -> Any:
        """Have the page do something. Raises DeviceError with its words when it cannot, or is gone."""
        request |= {"action": action, "engine": self._engine.name, "settings": self._settings}
        try:
            answer = self._page.evaluate("async (request) => globalThis.edgewise(request)", request)
        except chromium.driver().Error as error:
            raise DeviceError(f"the page is gone: {str(error).splitlines()[0]}") from error
        if "error" in answer:
            raise DeviceError(answer["error"])
        return answer

    def peak(self) -> int:
        """Return the most memory that the page's process held since the engine started, in bytes; 0 where unknown."""
        return max(0, self._resident() - self._base)

    def close(self) -> None:
        """End the browser and the server."""
        with suppress(Exception):  # a browser that died is closed
            self._open.close()

    def _resident(self, *, reset: bool = False) -> int:
        """Return the peak resident bytes of the pages' processes, and forget the peak where asked."""
        session = self._browser.new_browser_cdp_session()
        processes = session.send("SystemInfo.getProcessInfo")["processInfo"]
        session.detach()
        return sum(_peak(one["id"], reset=reset) for one in processes if one["type"] == "renderer")


def _html(engine: Engine) -> bytes:
    imports = {name: f"./engine/{file}" for name, file in engine.imports.items()}
    return _HTML.format(imports=json.dumps({"imports": imports})).encode()


def _peak(process: int, *, reset: bool) -> int:
    """Read Linux's account of a process; other systems keep none that can be read here."""
    status = Path(f"/proc/{process}/status")
    if not status.exists():
        return 0
    if reset:
        with suppress(OSError):  # forbidden in some sandboxes: the peak of the start counts, then
            status.with_name("clear_refs").write_text("5")  # proc(5): resets VmHWM to VmRSS
    line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024
