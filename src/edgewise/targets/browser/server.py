"""A server for one page: files of some folders, and one exchange of bytes in either direction.

It listens on 127.0.0.1 alone, under a path that nobody can guess, since other pages of this machine's browsers
can reach localhost, too. Its headers make the page cross-origin isolated, which WebAssembly threads need.
Source: https://developer.mozilla.org/en-US/docs/Web/API/Window/crossOriginIsolated
"""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import unquote

__all__ = ["Server"]

_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".wasm": "application/wasm",
}
_HEADERS = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class Server:
    """Serves `folders` (name → folder) and `pages` (name → bytes) at `url` until it is closed.

    A GET of `exchange` returns `sent`; what is posted there is found in `received`.
    """

    def __init__(self, folders: Mapping[str, Path], pages: Mapping[str, bytes] | None = None) -> None:
        self.folders = dict(folders)
        self.pages = dict(pages or {})
        self.sent = b""
        self.received = b""
        self.secret = secrets.token_urlsafe()
        self._server = _Listener(("127.0.0.1", 0), _Handler)
        self._server.owner = self
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/{self.secret}/"
        self._thread = Thread(target=self._server.serve_forever, daemon=True, name="edgewise-server")
        self._thread.start()

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Listener(ThreadingHTTPServer):
    """A listener whose handlers find their server; requests in flight do not hold up the end of the process."""

    daemon_threads = True
    owner: Server


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else each small answer waits 40 ms for the other side's acknowledgement
    server: _Listener

    def do_GET(self) -> None:
        owner, path = self.server.owner, self._path()
        if path == "exchange":
            self._answer(owner.sent)
        elif path in owner.pages:
            self._answer(owner.pages[path], _TYPES[Path(path).suffix])
        else:
            self._send(_file(owner, path))

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self._path() != "exchange":
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        self.server.owner.received = body
        self._answer(b"")

    def log_message(self, *_: object) -> None:
        """Say nothing: the caller's terminal is not a server's log."""

    def _path(self) -> str:
        """Return what stands after the secret, or a name that nothing has."""
        _, secret, *rest = unquote(self.path.partition("?")[0]).split("/", 2)
        return rest[0] if rest and secrets.compare_digest(secret, self.server.owner.secret) else "/"

    def _send(self, file: Path | None) -> None:
        if file is None:
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        with file.open("rb") as source:
            self._start(file.stat().st_size, _TYPES.get(file.suffix))
            shutil.copyfileobj(source, self.wfile)

    def _answer(self, body: bytes, kind: str | None = None) -> None:
        self._start(len(body), kind)
        self.wfile.write(body)

    def _start(self, length: int, kind: str | None) -> None:
        self.send_response(HTTPStatus.OK)
        for name, value in _HEADERS.items():
            self.send_header(name, value)
        self.send_header("Content-Type", kind or "application/octet-stream")
        self.send_header("Content-Length", str(length))
        self.end_headers()


def _file(owner: Server, path: str) -> Path | None:
    """Return the file at a path, or None where there is none, or it lies outside its folder."""
    name, _, rest = path.partition("/")
    folder = owner.folders.get(name)
    if folder is None:
        return None
    file = (folder / rest).resolve()
    return file if file.is_relative_to(folder.resolve()) and file.is_file() else None
