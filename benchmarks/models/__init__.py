"""The nine models that compression is held to, each as an edgewise project of real weights and data.

registry.py    what there is; `make(name, folder)` → folder/edgewise.toml
making.py      a project is made once per version of what makes it, and kept in edgewise's cache
packages.py    pinned packages of npm and Debian, beside those of PyPI (edgewise.demo.packages)
training.py    train and export a small network on the CPU, the same weights again from the same seed (torch)
imbalance.py   the same function with very unequal channels
speech.py      recorded speech, 16 kHz
files/         the edgewise.toml, metrics and notices of each project

    python -m benchmarks.models NAME FOLDER

One file per model. The first two are the projects of `edgewise demo`. Fixtures only: see each NOTICE.md before using
weights or data for anything else.
"""

from benchmarks.models.registry import MODELS, make

__all__ = ["MODELS", "make"]
