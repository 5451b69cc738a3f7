"""The hand-over's README: what the folder holds, what the model takes and gives, and what belongs around it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from edgewise.bundle.evidence import Evidence
from edgewise.bundle.steps import Ctc, Image, Labels, PostStep, PreStep, PythonStep, Softmax, Tokenize
from edgewise.handover.play import Lint
from edgewise.handover.selection import Port, Selection

__all__ = ["readme"]


def readme(selection: Selection, files: Mapping[str, str], lints: Sequence[Lint] = ()) -> str:
    """Return the README in Markdown; `files` are paths in the folder and what each is."""
    parts = [
        _opening(selection),
        "## Files",
        _table(("file", "what it is"), files.items()),
        "## Inputs",
        _ports(selection.inputs),
        "## Outputs",
        _ports(selection.outputs),
        *_steps("Before the model", selection.model.pre),
        *_steps("After the model", selection.model.post),
        "## Check it",
        _check(selection, files),
        *(_page(selection) if "predict.mjs" in files else ()),
        *_play(lints),
    ]
    return "\n\n".join(parts) + "\n"


def _opening(selection: Selection) -> str:
    variant, tier = selection.variant, selection.tier
    rows = {
        "tier": f"{tier.name} ({tier.platform})",
        "variant": f"{variant.id}, {variant.precision}",
        "why": tier.reason,
        "tried with": f"{variant.runtime} {variant.runtime_version}",
        "artifact": f"sha256 {variant.artifact}",
        "licence of the model": selection.bundle.manifest.licence.model or "unknown",
    }
    for name, figure in variant.figures.items():
        if figure.evidence is not Evidence.NONE:
            where = f", {figure.on}" if figure.on else ""
            rows[name] = f"{figure.value:g} {figure.unit} ({figure.evidence}{where})"
    return f"# {selection.bundle.manifest.name}\n\n{_table(('', ''), rows.items())}"


def _ports(ports: Sequence[Port]) -> str:
    renamed = any((p.name, p.dtype, p.shape) != (p.feature, p.feature_dtype, p.feature_shape) for p in ports)
    if not renamed:
        return _table(("name", "type", "shape"), ((p.name, p.dtype, _shape(p.shape)) for p in ports))
    rows = (
        (p.name, p.dtype, _shape(p.shape), p.feature, p.feature_dtype, _shape(p.feature_shape)) for p in ports
    )
    return _table(("name", "type", "shape", "in the file", "its type", "its shape"), rows)


def _steps(title: str, steps: Sequence[PreStep | PostStep]) -> Iterator[str]:
    if steps:
        yield f"## {title}"
        yield "\n".join(f"{number}. {_said(step)}" for number, step in enumerate(steps, 1))


def _said(step: PreStep | PostStep) -> str:
    match step:
        case Tokenize():
            tensors = ", ".join(f"`{name}`" for name in (step.ids, step.mask, step.types) if name)
            return (
                f"Encode the text with the tokenizer.json (Hugging Face `tokenizers`), special tokens added, "
                f"no padding, cut at {step.max_tokens} tokens: {tensors}, int64 [1, tokens]."
            )
        case Image():
            return _picture(step)
        case PythonStep():
            return f"`{step.function}`, a Python function of the model's builder that is not in this folder: ask for it."
        case Softmax():
            return f"Softmax over the last axis of `{step.output}`."
        case Labels():
            return f"The answer is the name, in labels.txt, of the highest score of `{step.output}`."
        case Ctc():
            return (
                f"Greedy CTC over `{step.output}` [1, T, classes]: the best class of each step, repeats merged, "
                f"class {step.blank} dropped; the others, counted without it, are the lines of the list of characters."
            )


def _picture(step: Image) -> str:
    height, width = (
        str(side) if side else "as the aspect ratio has it" for side in (step.height, step.width)
    )
    filled = (
        f" Fill up with zeros, right and below, to a multiple of {step.multiple}."
        if step.multiple > 1
        else ""
    )
    return (
        f"Decode the picture to {step.channels}, resize it (bilinear, antialiased) to height {height} and width "
        f"{width}, divide by 255, subtract the mean {list(step.mean)}, divide by {list(step.std)}.{filled} "
        f"`{step.input}` is float32, {step.layout}, a batch of one."
    )


def _check(selection: Selection, files: Mapping[str, str]) -> str:
    cases = selection.bundle.main_file(selection.model.golden)
    inside = Path("bundle") / cases.relative_to(selection.bundle.path)
    path = "golden.npz" if "golden.npz" in files else inside.as_posix()
    return (
        f"`{path}` holds requests with the answers of the model that all this was made from: `in/<n>/<input>`, "
        "`out/<n>/<output>`, and where there are steps around the model, `raw/<n>` and `answer/<n>`. An app computes "
        "what the build verified when, over all of them, the root mean square of its differences is at most "
        f"{selection.variant.golden_tolerance:g} of that of the answers."
    )


def _page(selection: Selection) -> Iterator[str]:
    engine = "@litertjs/core" if selection.artifact.format == "tflite" else "onnxruntime-web"
    yield "## In a page"
    yield (
        f"The page brings the engine, the npm package {engine}, under the name by which edgewise's client imports it: "
        "with a bundler, or by an import map before the first module:"
    )
    names = {
        "onnxruntime-web": '"onnxruntime-web/wasm": "/onnxruntime-web/dist/ort.wasm.min.mjs"',
        "@litertjs/core": '"@litertjs/core": "/@litertjs/core/dist/index.js", '
        '"@litertjs/wasm-utils": "/@litertjs/wasm-utils/dist/index.js"',
    }
    yield f'```html\n<script type="importmap">{{"imports": {{{names[engine]}}}}}</script>\n```'


def _play(lints: Sequence[Lint]) -> Iterator[str]:
    if lints:
        yield "## Google Play"
        yield (
            "To have Play deliver the model (Play for On-device AI, a beta), put the files of `model/` and `files/` "
            "into an AI pack; code belongs into the app. "
            "Source: https://developer.android.com/google/play/on-device-ai"
        )
        rows = ((rule.rule, "yes" if rule.kept else "**no**", rule.found) for rule in lints)
        yield _table(("rule", "kept", "found"), rows)


def _table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [titles, ["---"] * len(titles), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def _shape(shape: tuple[int | str | None, ...]) -> str:
    return "[" + ", ".join("?" if size is None else str(size) for size in shape) + "]"
