"""`edgewise.open`: pick the variant for this machine, verify its bytes, load it, answer.

Nothing here imports the lab. The path of a call is short on purpose: check the inputs against the signature,
run the session, follow the declared post-processing, wrap the result.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgewise import targets
from edgewise.bundle import store
from edgewise.bundle.manifest import ModelEntry, TensorSpec, TierEntry, Variant
from edgewise.bundle.processing import Answered, postprocessor, preprocessor
from edgewise.bundle.signing import Trusted
from edgewise.bundle.steps import portable
from edgewise.bundle.store import Bundle
from edgewise.device.tuned import Setup, recall
from edgewise.errors import DeviceError, EdgewiseError, InputError
from edgewise.machine import platform_name

__all__ = ["Answer", "Model", "open_bundle", "pick", "runs_here"]


class Answer(msgspec.Struct, frozen=True, gc=False):
    """What a call returns: outputs by the original's names, and where the answer came from.

    `value` and `confidence` come from the bundle's post-processing, and are None where it declares none.
    `guarantee` is None: no certificate was issued for this variant.
    """

    outputs: dict[str, NDArray[Any]]
    route: str
    reason: str
    value: str | None
    confidence: float | None
    variant: str
    guarantee: str | None = None


class Model:
    """An open bundle. Call it with raw input or with a dict of tensors; close it, or use `with`."""

    def __init__(self, bundle: Bundle, variant: Variant, reason: str, session: targets.Session) -> None:
        model = bundle.model
        self.bundle = bundle
        self.variant = variant
        self.reason = reason
        self._session = session
        self._run = session.run
        self._specs = model.inputs
        self._checks = {spec.name: _Check(spec) for spec in model.inputs}
        self._id = variant.id
        self._pre: Callable[[Any], dict[str, NDArray[Any]]] | None = None
        self._post = postprocessor(model.post, bundle.main_file) if model.post else None

    def __call__(self, inputs: Any) -> Answer:
        """Answer one request.

        Raises InputError naming the input that does not fit the model, DeviceError when the runtime fails on it.
        """
        if not isinstance(inputs, Mapping):
            inputs = self._preprocess(inputs)
        checks = self._checks
        if len(inputs) != len(checks):
            self._refuse_names(inputs)
        for name, array in inputs.items():
            check = checks.get(name)
            if check is None:
                self._refuse_names(inputs)
            elif not check.fits(array):
                check.refuse(array)
        try:
            outputs = self._run(inputs)
        except EdgewiseError:
            raise
        except Exception as error:  # runtimes raise a dozen unrelated types
            raise DeviceError(f"{self._id} failed on this input: {_one_line(error)}") from error
        if self._post is None:
            return Answer(outputs, "device", self.reason, None, None, self._id)
        answered: Answered = self._post(outputs)
        return Answer(outputs, "device", self.reason, answered.value, answered.confidence, self._id)

    def close(self) -> None:
        """Free the model."""
        self._session.close()

    def __enter__(self) -> Model:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.close()

    def _preprocess(self, raw: Any) -> dict[str, NDArray[Any]]:
        model = self.bundle.model
        if not model.pre:
            wanted = ", ".join(spec.name for spec in model.inputs)
            raise InputError(f"this bundle declares no pre-processing: give a dict of tensors ({wanted})")
        if not portable(model.pre):
            raise InputError("this bundle's pre-processing is a Python function of its builder: give tensors")
        if self._pre is None:
            self._pre = preprocessor(model.pre, self.bundle.main_file)
        return self._pre(raw)

    def _refuse_names(self, inputs: Mapping[str, Any]) -> None:
        wanted = ", ".join(spec.name for spec in self._specs)
        raise InputError(f"the model's inputs are {wanted}; got {', '.join(map(str, inputs)) or 'none'}")


class _Check:
    """Compares an array with a spec in well under a microsecond."""

    __slots__ = ("_dtype", "_fixed", "_rank", "_spec")

    def __init__(self, spec: TensorSpec) -> None:
        self._spec = spec
        self._dtype = None if spec.dtype == "str" else np.dtype(spec.dtype)
        self._rank = len(spec.shape)
        self._fixed = [(axis, size) for axis, size in enumerate(spec.shape) if isinstance(size, int)]

    def fits(self, array: Any) -> bool:
        if not isinstance(array, np.ndarray) or array.ndim != self._rank:
            return False
        if self._dtype is not None and array.dtype != self._dtype:
            return False
        shape = array.shape
        return all(shape[axis] == size for axis, size in self._fixed)

    def refuse(self, array: Any) -> None:
        spec = self._spec
        got = f"{array.dtype} {list(array.shape)}" if isinstance(array, np.ndarray) else type(array).__name__
        raise InputError(f"input {spec.name!r} must be {spec.dtype} {list(spec.shape)}, got {got}")


def open_bundle(
    path: str | Path, *, tier: str | None = None, threads: int = 0, trusted: Trusted | None = None
) -> Model:
    """Open a bundle on this machine; `tier` overrides which tier it counts as, and what `edgewise tune` found.

    With `trusted` keys only a bundle that enough of them have signed is opened. Raises InputError where there is no bundle, TrustError when the chosen artifact was changed, DeviceError when
    no variant of it runs here.
    """
    bundle = store.read(path, trusted)
    setup, variant, reason = _settled(bundle, tier, threads)
    bundle.check_artifact(variant.artifact)
    for step in (*bundle.model.pre, *bundle.model.post):
        if hasattr(step, "file"):
            bundle.check_artifact(step.file)
    module = targets.session(variant.runtime)
    session = module.load(
        bundle.main_file(variant.artifact),
        bundle.model.outputs,
        threads=setup.threads,
        settings=setup.settings,
    )
    return Model(bundle, variant, reason, session)


def _settled(bundle: Bundle, tier: str | None, threads: int) -> tuple[Setup, Variant, str]:
    """Return how to run the bundle: as the caller says, else as it was tuned on this machine, else as its tier has it."""
    tuned = None if tier or threads else recall(bundle)
    by_id = {variant.id: variant for variant in bundle.model.variants}
    if tuned and tuned.setup.variant in by_id:
        return tuned.setup, by_id[tuned.setup.variant], f"tuned on this machine: {tuned.setup}"
    variant, reason = pick(bundle.manifest.tiers, bundle.model, tier)
    return Setup(variant=variant.id, threads=threads), variant, reason


def runs_here(runtime: str) -> bool:
    """Tell whether a runtime is installed, and is what devices run."""
    return _missing(runtime) is None


def pick(tiers: Sequence[TierEntry], model: ModelEntry, name: str | None = None) -> tuple[Variant, str]:
    """Return the variant for this machine and why: its tier's if its runtime is here, else one that runs."""
    here = platform_name()
    matching = _matching(tiers, name, here)
    by_id = {variant.id: variant for variant in model.variants}
    for tier in matching:
        variant = by_id.get(tier.variant or "")
        if variant and not _missing(variant.runtime, foreign=name is not None):
            return variant, f"variant of tier {tier.name!r}"
    why = _why_not(matching[0], by_id) if matching else f"no tier for {here}"
    for variant in model.variants:
        if not _missing(variant.runtime):
            return variant, f"{why}; this variant runs here"
    reasons = dict.fromkeys(_missing(variant.runtime) or "" for variant in model.variants)
    raise DeviceError(
        f"no variant runs on this machine ({why}): {'; '.join(reasons) or 'the bundle has none'}"
    )


def _matching(tiers: Sequence[TierEntry], name: str | None, here: str) -> list[TierEntry]:
    """Return the tier of that name; without a name those that fit this machine, exact platforms first."""
    if name is None:
        return [tier for fit in (here, "any") for tier in tiers if tier.platform == fit]
    named = [tier for tier in tiers if tier.name == name]
    if not named:
        known = ", ".join(tier.name for tier in tiers) or "none"
        raise InputError(f"the bundle has no tier {name!r}; its tiers: {known}")
    return named


def _why_not(tier: TierEntry, by_id: Mapping[str, Variant]) -> str:
    variant = by_id.get(tier.variant or "")
    if variant is None:
        return f"the build chose nothing for tier {tier.name!r}"
    installed = _missing(variant.runtime, foreign=True) is None
    lacking = "is not what this machine itself runs" if installed else "is not installed"
    return f"the runtime of tier {tier.name!r}, {variant.runtime}, {lacking}"


def _missing(runtime: str, *, foreign: bool = False) -> str | None:
    """Return why a runtime cannot be used here, or None; an emulator or browser serves only where it is asked for."""
    try:
        module = targets.session(runtime)
        module.version()
    except (EdgewiseError, ImportError) as error:
        return str(error)
    return None if module.NATIVE or foreign else f"{runtime} is not what this machine itself runs"


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
