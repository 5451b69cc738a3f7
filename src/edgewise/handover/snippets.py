"""A file of code for the app: how the model is loaded and asked, in the app's language, by its own runtime.

The templates lie in `templates/`; what differs from model to model, the inputs and outputs, is written by the rules
in `styles.py`. None but the Python one is executed by edgewise, and each says so in its first line.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from importlib.resources import files
from pathlib import PurePosixPath
from string import Template
from typing import Literal, get_args

from edgewise.bundle.steps import Image, Tokenize
from edgewise.errors import InputError
from edgewise.handover.selection import Port, Selection
from edgewise.handover.styles import STYLES, Style

__all__ = ["LANGUAGES", "Language", "language_of", "render"]

Language = Literal["swift", "kotlin", "javascript", "python"]
LANGUAGES: tuple[Language, ...] = get_args(Language)

_PLATFORMS: dict[str, Language] = {
    **dict.fromkeys(("ios", "ipados", "watchos", "tvos", "visionos"), "swift"),
    "android": "kotlin",
    "web": "javascript",
}
_FORMATS: dict[str, Language] = {"mlpackage": "swift", "tflite": "kotlin"}
_TEMPLATES: dict[tuple[Language, str], str] = {
    ("swift", "mlpackage"): "coreml.swift",
    ("swift", "onnx"): "onnxruntime.swift",
    ("kotlin", "onnx"): "onnxruntime.kt",
    ("kotlin", "tflite"): "litert.kt",
    ("javascript", "onnx"): "bundle.mjs",
    ("javascript", "tflite"): "bundle.mjs",
}
_RESERVED = frozenset([
    "as", "break", "case", "class", "continue", "default", "do", "else", "false", "for", "fun", "func",
    "if", "import", "in", "init", "is", "let", "null", "nil", "object", "package", "return", "self",
    "super", "switch", "this", "throw", "true", "try", "typealias", "val", "var", "when", "where", "while",
])  # fmt: skip
"""Words that are no names in Swift or Kotlin."""


class _Snippet(Template):
    """Text with `@{name}` to fill in: `$` means something in Kotlin and JavaScript."""

    delimiter = "@"
    idpattern = r"(?!)"
    braceidpattern = r"[a-z_]+"


def language_of(selection: Selection) -> Language:
    """Return the language of apps on the tier's platform; where that does not tell, of the artifact's format."""
    system = re.split(r"[-_]", selection.tier.platform)[0]
    return _PLATFORMS.get(system) or _FORMATS.get(selection.artifact.format, "python")


def render(selection: Selection, language: Language) -> tuple[str, str]:
    """Return a file name and its text. Raises InputError where that language has no way to run the variant."""
    template = _template(selection, language)
    text = files(__package__).joinpath("templates", f"{template}.txt").read_text("utf-8")
    style = STYLES.get(template)
    words = _tensors(selection, style, language) if style else _client(selection)
    main = PurePosixPath(selection.artifact.files[0].name).parts[0]
    words |= {"main": main, "stem": PurePosixPath(main).stem, "tier": json.dumps(selection.tier.name)}
    suffix = PurePosixPath(template).suffix
    return f"Model{suffix}" if style else f"predict{suffix}", _Snippet(text).substitute(words)


def _template(selection: Selection, language: Language) -> str:
    kind = selection.artifact.format
    if language == "python":
        return "bundle.py"
    if (language, kind) not in _TEMPLATES:
        possible = sorted({other for other, known in _TEMPLATES if known == kind} | {"python"})
        raise InputError(
            f"{selection.variant.id} is {kind}, for which there is no {language} snippet: "
            f"give --language {' or '.join(possible)}"
        )
    return _TEMPLATES[language, kind]


def _client(selection: Selection) -> dict[str, str]:
    """Return what a client of bundles takes, and how the command line gives it."""
    steps = selection.model.pre
    if any(isinstance(step, Tokenize) for step in steps):
        return {"takes": "a text", "argument": "sys.argv[1]"}
    if any(isinstance(step, Image) for step in steps):
        return {"takes": "a picture", "argument": "Path(sys.argv[1])"}
    names = ", ".join(port.name for port in selection.inputs)
    return {"takes": f"an array for each input ({names})", "argument": "dict(np.load(sys.argv[1]))"}


def _tensors(selection: Selection, style: Style, language: Language) -> dict[str, str]:
    inputs = [_words(port, style, language, name) for name, port in _named(selection.inputs)]
    outputs = [_words(port, style, language) for port in selection.outputs]
    return {
        "parameters": ", ".join(style.parameter.format(**w) + w["free_shape"] for w in inputs),
        "inputs": _lines(12, ",", (style.input.format(**words) for words in inputs)),
        "outputs": _lines(12, ",", (style.output.format(**words) for words in outputs)),
        "answers": _lines(12, ",", (style.answer.format(**words) for words in outputs)),
        "comments": _lines(4, "", (style.comment.format(**words) for words in inputs)),
        "imports": _lines(0, "", sorted({f"import java.nio.{w['buffer']}" for w in inputs if "buffer" in w})),
    }


def _words(port: Port, style: Style, language: Language, name: str = "") -> dict[str, str]:
    if port.feature_dtype not in style.types:
        raise InputError(
            f"{port.name} is {port.feature_dtype}, which the {language} API of this runtime has no tensors of: "
            "give --language python, and take its answers as those to match"
        )
    sizes = [str(size) if isinstance(size, int) else "?" for size in port.feature_shape]
    free = "?" in sizes and bool(style.free_shape)
    words = {
        "name": name,
        "dtype": port.feature_dtype,
        "port": _quoted(port.name, language),
        "feature": _quoted(port.feature, language),
        "sizes": f"[{', '.join(sizes)}]",
        "listed": ", ".join(sizes),
        **style.types[port.feature_dtype],
    }
    shape = f"{name}Shape" if free else style.shape.format(**words)
    return {**words, "shape": shape, "free_shape": style.free_shape.format(**words) if free else ""}


def _named(ports: Iterable[Port]) -> Iterator[tuple[str, Port]]:
    """Yield each port with a name that code can have: input_ids → inputIds."""
    taken = set(_RESERVED)
    for place, port in enumerate(ports):
        first, *rest = [word for word in re.split(r"[^A-Za-z0-9]+", port.name) if word] or ["input"]
        name = first[0].lower() + first[1:] + "".join(word[0].upper() + word[1:] for word in rest)
        name = f"input{name}" if name[0].isdigit() else name
        name = f"{name}{place}" if name in taken else name
        taken.add(name)
        yield name, port


def _quoted(name: str, language: Language) -> str:
    quoted = json.dumps(name, ensure_ascii=False)
    return quoted.replace("$", "\\$") if language == "kotlin" else quoted


def _lines(indent: int, between: str, lines: Iterable[str]) -> str:
    return f"{between}\n{' ' * indent}".join(lines)
