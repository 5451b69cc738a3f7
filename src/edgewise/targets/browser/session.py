"""A session in a browser: `run` sends the inputs to a page as numpy's own bytes, and gets the outputs back so.

Playwright serves one thread, so each session has one of its own, which also makes callers wait for each other.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from edgewise.bundle.manifest import TensorSpec
from edgewise.errors import DeviceError
from edgewise.targets import Tensors, closed
from edgewise.targets.browser import chromium
from edgewise.targets.browser.engines import Engine
from edgewise.targets.browser.page import Page

__all__ = ["BrowserSession", "version"]

T = TypeVar("T")


def version(engine: Engine) -> str:
    """Return the engine's version in npm, and the browser's. Raises ToolchainError when any part is missing."""
    chromium.driver()
    engine.toolchain.path()
    return f"{engine.version} in {chromium.version()}"


class BrowserSession:
    """A model in a page of its own browser. `beside` is a pattern of the files that belong to `path`.

    `last_ms` and `load_ms` are taken by the page's clock (5 µs steps), without the way there and back. `version`
    is what the engine calls itself, beside what npm calls it; `reason` what it says about where operators run.
    """

    def __init__(
        self,
        engine: Engine,
        path: Path,
        outputs: Sequence[TensorSpec],
        *,
        beside: str,
        threads: int,
        provider: str,
    ) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="edgewise-browser")
        self._page: Page | None = None
        self.last_ms = 0.0
        try:
            self._page = self._do(lambda: Page(engine, path.parent, threads=threads, provider=provider))
            names = [path.name, *sorted(file.name for file in path.parent.glob(beside))]
            loaded = self._ask(lambda page: page.load(names, outputs))
        except DeviceError as error:
            self.close()
            raise DeviceError(f"{engine.name} cannot load {path}: {error}") from error
        except BaseException:
            self.close()
            raise
        self.load_ms = float(loaded["ms"])
        self.version = f"{engine.packages[0].pin}, calls itself {loaded['version']}, in {chromium.version()}"
        self.reason = str(loaded["reason"])

    def run(self, inputs: Tensors) -> dict[str, NDArray[Any]]:
        """Return the outputs by the original's names, in its order; each array is fresh."""
        return self._ask(lambda page: self._run(page, inputs))

    def peak(self) -> int:
        """Return the most memory in bytes that the page's process held above the engine without a model."""
        return self._ask(lambda page: page.peak())

    def close(self) -> None:
        """End the browser. A closed session can't run."""
        page, self._page = self._page, None
        if page is not None:
            self._do(page.close)
        self._thread.shutdown()

    def _run(self, page: Page, inputs: Tensors) -> dict[str, NDArray[Any]]:
        page.server.sent = _packed(inputs.values())
        answer = page.ask("run", names=list(inputs))
        self.last_ms = float(answer["ms"])
        body = io.BytesIO(page.server.received)
        return {name: np.load(body, allow_pickle=False) for name in answer["names"]}

    def _ask(self, question: Callable[[Page], T]) -> T:
        page = self._page
        if page is None:
            closed()
        return self._do(lambda: question(page))

    def _do(self, work: Callable[[], T]) -> T:
        return self._thread.submit(work).result()


def _packed(arrays: Any) -> bytes:
    """Return arrays as .npy bytes, one after the other; text is of fixed width there."""
    body = io.BytesIO()
    for array in arrays:
        plain = np.asarray(array)
        np.save(body, plain.astype(np.str_) if plain.dtype.hasobject else plain, allow_pickle=False)
    return body.getvalue()
