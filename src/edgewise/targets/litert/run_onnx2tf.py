"""Runs in the converter's own environment: `python run_onnx2tf.py JOB`, JOB as JSON; needs nothing of edgewise.

Keys: `source` (.onnx), `folder` (for what it writes), `inputs` (names). Every input keeps the original's layout.
The reason of a failure is the last line of stderr.
"""

from __future__ import annotations

import json
import sys
from typing import Any

__all__: list[str] = []


def _offline(event: str, _: tuple[Any, ...]) -> None:
    if event in ("socket.connect", "socket.getaddrinfo"):
        raise PermissionError("a conversion needs no network")


def _correct_pooling() -> None:
    """Let onnx2tf 2.6.9 pad no average pooling that does not ask for it.

    It widens inputs narrower than the kernel, and takes free dimensions for 1. ONNX has no such input.
    """
    from onnx2tf.tflite_builder.op_builders import pool

    if not hasattr(pool, "_calc_min_valid_window_deficit_pads_2d"):
        raise ImportError("this onnx2tf is not the one that edgewise corrects")
    pool._calc_min_valid_window_deficit_pads_2d = lambda **_: [0, 0, 0, 0]


def _convert(job: dict[str, Any]) -> None:
    import onnx2tf

    _correct_pooling()
    onnx2tf.convert(
        input_onnx_file_path=job["source"],
        output_folder_path=job["folder"],
        keep_shape_absolutely_input_names=job["inputs"],
        not_use_onnxsim=True,  # the graph comes simplified, and is the same wherever onnxsim is or is not
        non_verbose=True,
        verbosity="error",
    )


if __name__ == "__main__":
    sys.addaudithook(_offline)
    try:
        _convert(json.loads(sys.argv[1]))
    except Exception as error:  # noqa: BLE001 - one line is what the builder shows
        print(f"{type(error).__name__}: {' '.join(str(error).split())}", file=sys.stderr)  # noqa: T201
        sys.exit(1)
