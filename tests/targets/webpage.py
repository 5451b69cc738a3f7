"""A page in a real Chromium with the JavaScript client in it, and bundles behind the same local server.

Engines are installed into the cache of whoever runs the tests, where they are kept.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

import edgewise
from edgewise.cache import default_folder
from edgewise.targets.browser import chromium
from edgewise.targets.browser.engines import Engine
from edgewise.targets.browser.server import Server
from edgewise.targets.litert_web.engine import ENGINE as LITERT
from edgewise.targets.onnxruntime_web.engine import ENGINE as ORT

ENGINES = (ORT, LITERT)
CACHE = default_folder()  # read before the tests get a cache of their own
CLIENT = Path(edgewise.__file__).parent / "web"
HTML = """<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,">
<script type="importmap">{imports}</script>
<script type="module">
import * as edgewise from "./web/edgewise.js";
globalThis.edgewise = edgewise;
globalThis.module = (name) => import(`./web/${{name}}.js`);
globalThis.told = async (work) => {{
  try {{ return {{ value: await work() }}; }} catch (error) {{ return {{ error: error.name, message: error.message }}; }}
}};
globalThis.ready = true;
</script>"""


@contextmanager
def engines() -> Iterator[None]:
    """Work with the cache of whoever runs the tests, both engines in it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGEWISE_CACHE", str(CACHE))
        for engine in ENGINES:
            engine.toolchain.install()
        yield


class PageError(Exception):
    """What the client threw: the name of its class, and its words."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(f"{name}: {message}")
        self.name = name


class Client:
    """A page that can open the bundles below a folder, with the engines it is given."""

    def __init__(self, folder: Path, engines: tuple[Engine, ...] = ENGINES, provider: str = "wasm") -> None:
        self.folder = folder
        self._open = ExitStack()
        places = {engine.name: engine.toolchain.path() for engine in engines}
        imports = {name: f"./{one.name}/{file}" for one in engines for name, file in one.imports.items()}
        html = HTML.format(imports=json.dumps({"imports": imports})).encode()
        self.server = Server({"web": CLIENT, "bundles": folder, **places}, {"index.html": html})
        self._open.callback(self.server.close)
        playwright = self._open.enter_context(chromium.driver().sync_playwright())
        self._browser = chromium.launch(playwright, provider)
        self._open.callback(self._browser.close)
        self.page = self.new_page()
        self.requests: list[str] = []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(f"{self.server.url}index.html")
        self.page.wait_for_function("globalThis.ready")

    def new_page(self) -> Any:
        """Return an empty page: Playwright's browsers share a thread's one loop, so tests share a browser."""
        return self._browser.new_page()

    def call(self, code: str, argument: Any = None) -> Any:
        """Run an async function of the page. Raises PageError with what it threw."""
        told = self.page.evaluate(f"(argument) => told(() => ({code})(argument))", argument)
        if "error" in told:
            raise PageError(told["error"], told["message"])
        return told.get("value")

    def open(self, name: str, options: Mapping[str, Any] | None = None) -> Any:
        """Open a bundle as the page's `model`; return what can be told of it."""
        return self.call(
            """async ([name, options]) => {
              globalThis.model?.close();
              globalThis.model = await edgewise.open(`./bundles/${name}/`, options ?? {});
              const { signing, variant, engine, version, reason } = model;
              return { signing, variant, engine, version, reason };
            }""",
            [name, options],
        )

    def answer(self, raw: Any) -> Any:
        """Ask the page's `model`; `raw` is JavaScript's own (text, numbers)."""
        return self.call(
            """async (raw) => {
              const { outputs, ...rest } = await model(raw);
              return { ...rest, outputs: Object.fromEntries(
                Object.entries(outputs).map(([name, { data }]) => [name, Array.from(data, Number)])) };
            }""",
            raw,
        )

    def close(self) -> None:
        self._open.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
