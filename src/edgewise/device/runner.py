"""`edgewise.open`: pick the variant for this machine, verify its bytes, load it, answer.

Nothing here imports the lab. The path of a call is short on purpose: check the inputs against the signature,
run the session, follow the declared post-processing, wrap the result.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping
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
from edgewise.bundle.steps import portable
from edgewise.bundle.store import Bundle
from edgewise.errors import DeviceError, InputError, ToolchainError

__all__ = ["Answer", "Model", "open_bundle", "pick"]


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
        """Answer one request. Raises InputError naming the input that does not fit the model."""
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
        outputs = self._run(inputs)
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
        if type(array) is not np.ndarray or array.ndim != self._rank:
            return False
        if self._dtype is not None and array.dtype != self._dtype:
            return False
        shape = array.shape
        return all(shape[axis] == size for axis, size in self._fixed)

    def refuse(self, array: Any) -> None:
        spec = self._spec
        got = f"{array.dtype} {list(array.shape)}" if isinstance(array, np.ndarray) else type(array).__name__
        raise InputError(f"input {spec.name!r} must be {spec.dtype} {list(spec.shape)}, got {got}")


def open_bundle(path: str | Path, *, tier: str | None = None, threads: int = 0) -> Model:
    """Open a bundle on this machine; `tier` overrides which tier it counts as.

    Raises InputError where there is no bundle, TrustError when the chosen artifact was changed, DeviceError when
    no variant of it runs here.
    """
    bundle = store.read(path)
    variant, reason = pick(bundle.manifest.tiers, bundle.model, tier)
    bundle.check_artifact(variant.artifact)
    for step in (*bundle.model.pre, *bundle.model.post):
        if hasattr(step, "file"):
            bundle.check_artifact(step.file)
    module = targets.session(variant.runtime)
    session = module.load(
        bundle.main_file(variant.artifact), bundle.model.outputs, threads=threads, options=variant.options
    )
    return Model(bundle, variant, reason, session)


def pick(tiers: tuple[TierEntry, ...], model: ModelEntry, name: str | None = None) -> tuple[Variant, str]:
    """Return the variant for this machine and why: its tier's if its runtime is here, else one that runs."""
    here = f"{platform.system().lower()}-{platform.machine().lower()}"
    if name is not None and all(tier.name != name for tier in tiers):
        known = ", ".join(tier.name for tier in tiers)
        raise InputError(f"the bundle has no tier {name!r}: it has {known}")
    matching = [
        tier for tier in tiers if tier.name == name or (name is None and tier.platform in (here, "any"))
    ]
    by_id = {variant.id: variant for variant in model.variants}
    for tier in matching:
        if tier.variant and _runs(by_id[tier.variant].runtime):
            return by_id[tier.variant], f"variant of tier {tier.name!r}"
    for variant in model.variants:
        if _runs(variant.runtime):
            why = (
                f"the runtime of tier {matching[0].name!r} is not installed"
                if matching
                else f"no tier for {here}"
            )
            return variant, f"{why}; this variant runs here"
    wanted = ", ".join(sorted({variant.runtime for variant in model.variants}))
    raise DeviceError(
        f"no variant runs on this machine: install one of {wanted} (pip install 'edgewise[{wanted}]')"
    )


def _runs(runtime: str) -> bool:
    try:
        targets.session(runtime).version()
    except (ToolchainError, InputError, ImportError):
        return False
    return True
