"""`edgewise verify`: every byte, every signature, and the golden cases run again on this machine.

raw input → declared pre-processing → the tensors of the golden case → each variant → the original's outputs
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgewise import targets
from edgewise.bundle import golden, store
from edgewise.bundle.golden import GoldenCase
from edgewise.bundle.manifest import TensorSpec, Variant
from edgewise.bundle.processing import postprocessor, preprocessor
from edgewise.bundle.signing import SigningState, Trusted
from edgewise.bundle.steps import portable
from edgewise.bundle.store import Bundle
from edgewise.errors import DeviceError, EdgewiseError, ToolchainError, TrustError

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


def verify(
    path: str | Path, trusted: Trusted | None = None, *, require: SigningState = "unsigned"
) -> Checked:
    """Verify a bundle on this machine, signed as `require` says, or better.

    Raises TrustError naming the file, step, golden case or variant that is wrong, DeviceError where a variant fails.
    """
    bundle = store.read(path, trusted)
    _check_signing(bundle, require)
    bundle.check()
    cases = golden.decode(bundle.main_file(bundle.model.golden))
    _check_cases(bundle, cases)
    preprocessing = _check_preprocessing(bundle, cases)
    _check_postprocessing(bundle, cases)
    checks = tuple(_check(bundle, variant, cases) for variant in bundle.model.variants)
    return Checked(str(path), bundle.signing, len(bundle.manifest.artifacts), preprocessing, checks)


def _check_signing(bundle: Bundle, require: SigningState) -> None:
    states = get_args(SigningState)  # from weak to strong
    if states.index(bundle.signing) < states.index(require):
        raise TrustError(
            f"{bundle.path}: signing is {bundle.signing}, and {require} is required: "
            "refuse the bundle, or give the keys that its publisher signs releases with"
        )


def _check_cases(bundle: Bundle, cases: Sequence[GoldenCase]) -> None:
    """Refuse golden cases that are not requests to this model: passing them would show nothing."""
    if not cases:
        raise TrustError(f"{bundle.path} holds no golden case, so nothing can be verified: build it again")
    for number, case in enumerate(cases):
        for kind, specs, arrays in (
            ("input", bundle.model.inputs, case.inputs),
            ("output", bundle.model.outputs, case.outputs),
        ):
            wrong = _misfit(specs, arrays)
            if wrong:
                raise TrustError(
                    f"{bundle.path}: golden case {number}: {kind} {wrong}: build the bundle again"
                )


def _misfit(specs: Sequence[TensorSpec], arrays: Mapping[str, NDArray[np.generic]]) -> str | None:
    """Return what is wrong with the tensors of a case, or None."""
    wanted = {spec.name: spec for spec in specs}
    odd = sorted(wanted.keys() ^ arrays.keys())
    if odd:
        return f"{odd[0]!r} is {'missing' if odd[0] in wanted else 'not one of the model'}"
    for name, array in arrays.items():
        spec = wanted[name]
        if not _fits(spec, array):
            return (
                f"{name!r} is {array.dtype} {list(array.shape)}, of the model {spec.dtype} {list(spec.shape)}"
            )
    return None


def _fits(spec: TensorSpec, array: NDArray[Any]) -> bool:
    """Tell whether an array is of a spec's type and shape; ONNX leaves the shape empty where it is not known."""
    same = array.dtype.kind in "US" if spec.dtype == "str" else array.dtype == np.dtype(spec.dtype)
    if not same or not spec.shape:
        return same
    sizes = zip(spec.shape, array.shape, strict=False)
    return array.ndim == len(spec.shape) and all(
        size in (None, got) or isinstance(size, str) for size, got in sizes
    )


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
    session = module.load(bundle.main_file(variant.artifact), bundle.model.outputs)
    try:
        outputs = [session.run(case.inputs) for case in cases]
    except Exception as error:  # runtimes raise a dozen unrelated types
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise DeviceError(f"{variant.id} failed on a golden case: {reason}") from error
    session.close()
    difference = golden.compare([case.outputs for case in cases], outputs)
    if not difference.rms <= variant.golden_tolerance:
        message = (
            f"{variant.id} answers the golden cases differently here: rms difference {difference.rms:.2g}, "
            f"tolerance {variant.golden_tolerance:.2g}: do not use it on this machine"
        )
        raise TrustError(message)
    return VariantCheck(variant.id, ran=True, difference=difference, tolerance=variant.golden_tolerance)
