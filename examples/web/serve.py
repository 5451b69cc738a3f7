"""Serve the example on this machine: `python examples/web/serve.py BUNDLE`, such as demo-out/sentiment/out/bundle.

Needs `edgewise targets --install onnxruntime-web` once. Any web server will do for the same four folders:

    index.html
    edgewise/   the client, as it lies in the Python package (edgewise/web)
    engine/     what the install fetched from npm
    bundle/     what `edgewise build` wrote
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import edgewise
from edgewise.errors import EdgewiseError
from edgewise.targets.browser.server import Server
from edgewise.targets.onnxruntime_web.engine import ENGINE


def main(bundle: Path) -> None:
    """Serve until Ctrl-C."""
    folders = {
        "edgewise": Path(edgewise.__file__).parent / "web",
        "engine": ENGINE.toolchain.path(),
        "bundle": bundle,
    }
    page = Path(__file__).with_name("index.html").read_bytes()
    server = Server(folders, {"index.html": page})
    print(f"{server.url}index.html (Ctrl-C ends)")  # noqa: T201
    try:
        while True:
            time.sleep(1)
    except KeyboardInterrupt:
        server.close()


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]))
    except (IndexError, EdgewiseError) as error:
        sys.exit(__doc__ if isinstance(error, IndexError) else f"serve: {error}")
