"""What the tests of targets share: toolchains, made once per session into the tests' own cache."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from webpage import ENGINES, Client


@pytest.fixture(scope="session")
def engines(home: Path) -> None:
    """Both engines for browsers, from npm."""
    for engine in ENGINES:
        engine.toolchain.install()


@pytest.fixture(scope="session")
def client(engines: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """One page for many tests; bundles go into `client.folder`."""
    with Client(tmp_path_factory.mktemp("bundles")) as page:
        yield page
