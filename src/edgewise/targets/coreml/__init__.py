"""Core ML: ML Programs (`.mlpackage`) for iPhone, iPad, Mac and Watch.

coremltools sends nothing: importing and using it opens no socket, starts no process and writes no file. It warns
of every framework newer than the ones it was tested with, and of Apple's library, which only a Mac has; none of
that concerns edgewise, so its logger is set to errors before any module of this package can import it. Its
progress bars are drawn on the error stream whatever it is told: `silent` swallows them.
"""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Iterator

__all__ = ["silent"]

logging.getLogger("coremltools").setLevel(logging.ERROR)


@contextlib.contextmanager
def silent() -> Iterator[None]:
    """Swallow what coremltools writes to the error stream; what it raises is raised."""
    with contextlib.redirect_stderr(io.StringIO()):
        yield
