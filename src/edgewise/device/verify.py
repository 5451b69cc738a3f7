"""`edgewise verify`: every byte, every signature, and the golden cases run again on this machine."""

from __future__ import annotations

from pathlib import Path

import msgspec

from edgewise import targets
from edgewise.bundle import golden, store
from edgewise.bundle.manifest import Variant
from edgewise.bundle.store import Bundle
from edgewise.errors import EdgewiseError, TrustError

__all__ = ["Checked", "VariantCheck", "verify"]


class VariantCheck(msgspec.Struct, frozen=True):
    """How one variant did on the golden cases here; `note` says why it was not run."""

    variant: str
    ran: bool
    difference: golden.Difference | None
    tolerance: float
    note: str = ""


class Checked(msgspec.Struct, frozen=True):
    """What verification found. It raises instead of returning when something is wrong."""

    bundle: str
    signing: str
    artifacts: int
    variants: tuple[VariantCheck, ...]


def verify(path: str | Path) -> Checked:
    """Verify a bundle on this machine. Raises TrustError naming the file or variant that is wrong."""
    bundle = store.read(path)
    bundle.check()
    cases = golden.decode(bundle.main_file(bundle.model.golden))
    checks = tuple(_check(bundle, variant, cases) for variant in bundle.model.variants)
    return Checked(str(path), bundle.signing, len(bundle.manifest.artifacts), checks)


def _check(bundle: Bundle, variant: Variant, cases: tuple[golden.GoldenCase, ...]) -> VariantCheck:
    try:
        module = targets.session(variant.runtime)
        module.version()
    except EdgewiseError as error:
        return VariantCheck(
            variant.id, ran=False, difference=None, tolerance=variant.golden_tolerance, note=str(error)
        )
    session = module.load(bundle.main_file(variant.artifact), bundle.model.outputs)
    outputs = [session.run(case.inputs) for case in cases]
    session.close()
    difference = golden.compare([case.outputs for case in cases], outputs)
    if not difference.max_rel <= variant.golden_tolerance:
        message = (
            f"{variant.id} answers the golden cases differently here: relative difference {difference.max_rel:.2g}, "
            f"tolerance {variant.golden_tolerance:.2g}: do not use it on this machine"
        )
        raise TrustError(message)
    return VariantCheck(variant.id, ran=True, difference=difference, tolerance=variant.golden_tolerance)
