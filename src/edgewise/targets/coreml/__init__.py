"""Core ML: ML Programs (`.mlpackage`) for iPhone, iPad, Mac and Watch.

coremltools sends nothing: importing and using it opens no socket, starts no process and writes no file. It warns
of every framework newer than the ones it was tested with, and of Apple's library, which only a Mac has; none of
that concerns edgewise, so its logger is set to errors before any module of this package can import it.
"""

import logging

logging.getLogger("coremltools").setLevel(logging.ERROR)
