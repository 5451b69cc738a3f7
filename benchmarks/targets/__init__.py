"""The target matrix: every cell of benchmarks/targets.toml built, executed and compared with the original.

cells.py       targets.toml → the cells
zoo folder     model.onnx, calibration.npz, eval.npz of each model    (tests/targets/zoo.py)
reference.py   one process per model: simplify as `edgewise build` does; the original's answers
matrix.py      build each artifact through the door, once; execute it in each of its places → rows
trial.py       one process per cell: load, answer, compare
places.py      the seam: this machine, an emulated processor, a browser
figures.py     rows → the figures of the matrix against their aims
document.py    rows and figures → JSON and Markdown
"""
