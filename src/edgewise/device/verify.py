"""`edgewise verify`: every byte, every signature, and the golden cases run again on this machine.

raw input → declared pre-processing → the tensors of the golden case → each variant → the original's outputs
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from edgewise import targets
from edgewise.bundle import golden, store
from edgewise.bundle.golden import GoldenCase
from edgewise.bundle.manifest import Variant
from edgewise.bundle.processing import postprocessor, preprocessor
from edgewise.bundle.steps import portable
from edgewise.bundle.store import Bundle
from edgewise.errors import EdgewiseError, ToolchainError, TrustError

__all__ = ["Checked", "VariantCheck", "verify"]

SAME_TENSORS = 1e-3  # of the largest value: what decoders and float32 arithmetic may differ by


class VariantCheck(msgspec.Struct, frozen=True):
    """How one variant did on the golden cases here; `note` says why it was not run."""

    variant: str
    ran: bool
    difference: golden.Difference | None
    tolerance: float
    note: str = ""


class Checked(msgspec.Struct, frozen=True):
    """What verification found. It raises instead of returning when something is wrong.

    `preprocessing` says for how many raw inputs it gave the tensors it gave in the lab, or why none was tried.
    """

    bundle: str
    signing: str
    artifacts: int
    preprocessing: str
    variants: tuple[VariantCheck, ...]


def verify(path: str | Path) -> Checked:
    """Verify a bundle on this machine. Raises TrustError naming the file, step or variant that is wrong."""
    bundle = store.read(path)
    bundle.check()
    cases = golden.decode(bundle.main_file(bundle.model.golden))
    preprocessing = _check_preprocessing(bundle, cases)
    _check_postprocessing(bundle, cases)
    checks = tuple(_check(bundle, variant, cases) for variant in bundle.model.variants)
    return Checked(str(path), bundle.signing, len(bundle.manifest.artifacts), preprocessing, checks)


def _check_preprocessing(bundle: Bundle, cases: Sequence[GoldenCase]) -> str:
    steps = bundle.model.pre
    given = [(case.raw, case.inputs) for case in cases if case.raw is not None]
    if not steps or not given or not portable(steps):
        why = "a Python function of the builder" if steps and not portable(steps) else "no raw golden input"
        return f"not tried: {why}" if steps else "none declared"
    try:
        preprocess = preprocessor(steps, bundle.main_file)
    except ToolchainError as error:
        return f"not tried: {error}"
    wanted = [inputs for _, inputs in given]
    got = [preprocess(raw if raw.ndim else raw.item()) for raw, _ in given]
    difference = golden.compare(wanted, got)
    if not difference.max_rel <= SAME_TENSORS:
        message = (
            f"{bundle.path}: pre-processing turns the golden inputs into other tensors here: relative difference "
            f"{difference.max_rel:.2g}: install the library versions of the machine that built the bundle"
        )
        raise TrustError(message)
    return f"same tensors as in the lab for {len(given)} raw input{'s' * (len(given) > 1)}"


def _check_postprocessing(bundle: Bundle, cases: Sequence[GoldenCase]) -> None:
    answer = postprocessor(bundle.model.post, bundle.main_file)
    for case in cases:
        got = answer(dict(case.outputs)).value
        if case.answer is not None and got != case.answer:
            raise TrustError(
                f"{bundle.path}: post-processing turns golden outputs into {got!r} here, in the lab into "
                f"{case.answer!r}: build the bundle again"
            )


def _check(bundle: Bundle, variant: Variant, cases: Sequence[GoldenCase]) -> VariantCheck:
    try:
        module = targets.session(variant.runtime)
        module.version()
    except EdgewiseError as error:
        return VariantCheck(
            variant.id, ran=False, difference=None, tolerance=variant.golden_tolerance, note=str(error)
        )
    session = module.load(bundle.main_file(variant.artifact), bundle.model.outputs, options=variant.options)
    outputs = [session.run(case.inputs) for case in cases]
    session.close()
    difference = golden.compare([case.outputs for case in cases], outputs)
    if not difference.rms <= variant.golden_tolerance:
        message = (
            f"{variant.id} answers the golden cases differently here: rms difference {difference.rms:.2g}, "
            f"tolerance {variant.golden_tolerance:.2g}: do not use it on this machine"
        )
        raise TrustError(message)
    return VariantCheck(variant.id, ran=True, difference=difference, tolerance=variant.golden_tolerance)
