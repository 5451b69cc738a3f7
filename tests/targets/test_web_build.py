"""A build for the web: made, judged and timed in a browser, and opened there by its tier."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import webpage
from webpage import Client

from edgewise.bundle import store
from edgewise.bundle.evidence import Evidence
from edgewise.facade import build
from edgewise.lab.compress.recipe import Candidate
from edgewise.targets.building import Original
from edgewise.targets.litert.build import LiteRtDynamic
from edgewise.targets.onnxruntime.build import DynamicInt8
from edgewise.targets.status import install
from projects import digits

pytestmark = pytest.mark.slow

FLEET = """
[fleet]
file = "fleet.toml"
"""
TIERS = """\
[[tier]]
name = "page"
share = 1.0
machine = "this"
platform = "web"
runtimes = ["onnxruntime-web", "litert-web"]
"""


def test_what_is_built_for_the_web_is_measured_and_opened_there(
    client: Client, only: Callable[..., None], tmp_path: Path
) -> None:
    only(
        *(Candidate(method, "onnxruntime-web") for method in (Original(), DynamicInt8())),
        *(Candidate(method, "litert-web") for method in (Original(), LiteRtDynamic())),
    )
    config = digits(tmp_path / "project", goal='quality = "95% of original"\nlatency_p95 = "1 s"')
    config.write_text(config.read_text() + FLEET)
    (config.parent / "fleet.toml").write_text(TIERS)
    out = client.folder / "built"
    with webpage.engines():
        install("litert")
        built = build(config, out)
    rows = {row.target: row for row in built.result.candidates if row.target.endswith("-web")}
    assert set(rows) == {"onnxruntime-web", "litert-web"}
    bundle = store.read(built.path)
    (tier,) = bundle.manifest.tiers
    variant = next(one for one in bundle.model.variants if one.id == tier.variant)
    assert variant.runtime in rows
    figure = variant.figures["p95"]
    assert (figure.evidence, figure.unit) == (Evidence.MEASURED, "ms")
    assert figure.value is not None
    assert 0 < figure.value < 50  # a browser's start takes longer
    opened = client.open("built/bundle")
    assert (opened["variant"], opened["engine"]) == (variant.id, variant.runtime)
    assert opened["reason"].startswith("variant of tier 'page'")
    assert "built and verified for" not in opened["reason"]
    found = client.call("() => model.verify()")
    assert found["difference"]["rms"] <= found["tolerance"]
    x = np.load(config.parent / "samples.npz")["x"][:1]
    shape = client.call(
        """async (x) => {
          const { outputs } = await model({ x: { data: Float32Array.from(x), shape: [1, 64] } });
          return outputs.probabilities.shape;
        }""",
        x.ravel().tolist(),
    )
    assert shape == [1, 10]
