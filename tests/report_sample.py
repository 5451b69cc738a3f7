"""One rich, realistic build result for the report's tests and pictures, and telling variants of it."""

from __future__ import annotations

from typing import Any

import msgspec

from edgewise.bundle.evidence import Evidence, Figure
from edgewise.bundle.golden import Difference
from edgewise.bundle.manifest import Verdict
from edgewise.lab.compress.recipe import Candidate
from edgewise.lab.result import (
    BuildResult,
    CandidateRow,
    Cell,
    Claim,
    Gap,
    GoalResult,
    Support,
    TierResult,
)
from edgewise.targets.building import Fp16, Method, NncfPtq, Operators, Original, WeightInt8
from edgewise.targets.onnxruntime.build import DynamicInt8, StaticInt8
from edgewise.targets.openvino.build import OpenVinoPtq, OpenVinoWeights

HOSTILE = (
    "Fail: node <Add_12> & \"x\"|'y'\n"
    "<script>alert('owned')</script> <img src=https://evil.example/x.png onerror=1>"
)
HERE = "linux-x86_64, 2 threads"
FLOOR = "quality ≥ 99 % of original"
STOPPED = "NNCF ran 600 s and was stopped: 2.9 of 3.0 GB memory used, calibration 41 % done"
ORIGINAL = "original"
FAST = "openvino/openvino-ptq-mixed-transformer"
SMALL = "onnxruntime/weight-int8"
DYNAMIC = "onnxruntime/dynamic-int8-per-channel"

_PERCENTILE = StaticInt8(calibration="percentile")
_MIXED = OpenVinoPtq(preset="mixed", transformer=True)

# method, target, MB, p50, p95, load ms, memory MB, quality, agreement, max difference, quantized, Pareto
_TRIED: tuple[tuple[Method, str, float, float, float, float, float, float, float, float, int, bool], ...] = (
    (Original(), "onnxruntime", 90.4, 5.61, 6.42, 212, 196, 0.8043, 1.0, 2.4e-7, 0, True),
    (Original(), "openvino", 90.9, 4.38, 4.97, 361, 214, 0.8043, 1.0, 6.1e-6, 0, True),
    (Fp16(), "onnxruntime", 45.3, 7.92, 8.71, 240, 171, 0.8043, 0.9998, 0.0041, 0, False),
    (Fp16(), "openvino", 45.5, 4.41, 5.02, 342, 168, 0.8041, 0.9996, 0.0043, 0, True),
    (WeightInt8(), "onnxruntime", 22.9, 5.93, 6.61, 188, 101, 0.8037, 0.9941, 0.062, 38, True),
    (WeightInt8(), "openvino", 23.1, 4.61, 5.24, 330, 133, 0.8037, 0.9941, 0.063, 38, False),
    (DynamicInt8(), "onnxruntime", 22.7, 3.64, 4.33, 151, 92, 0.7952, 0.9727, 0.41, 36, False),
    (DynamicInt8(per_channel=True), "onnxruntime", 22.8, 3.71, 4.36, 153, 93, 0.7989, 0.9793, 0.31, 36, True),
    (StaticInt8(), "onnxruntime", 23.6, 4.12, 4.92, 177, 98, 0.6213, 0.7120, 2.9, 36, False),
    (_PERCENTILE, "onnxruntime", 23.6, 4.15, 4.90, 178, 98, 0.7846, 0.9480, 0.77, 36, False),
    (NncfPtq(transformer=True), "onnxruntime", 23.4, 4.06, 4.77, 175, 99, 0.7968, 0.9741, 0.38, 36, False),
    (OpenVinoPtq(), "openvino", 23.2, 3.02, 3.39, 318, 129, 0.7881, 0.9538, 0.71, 37, False),
    (_MIXED, "openvino", 23.3, 3.12, 3.48, 322, 131, 0.8032, 0.9874, 0.19, 37, True),
    (OpenVinoWeights(), "openvino", 23.0, 4.59, 5.20, 327, 132, 0.8039, 0.9948, 0.058, 38, True),
)  # fmt: skip


def measured(value: float, unit: str, spread: float = 0.0, split: str | None = None) -> Figure:
    """A measured figure with an interval of ± `spread`."""
    low, high = (round(value - spread, 9), round(value + spread, 9)) if spread else (None, None)
    return Figure(
        evidence=Evidence.MEASURED, unit=unit, value=value, low=low, high=high, split=split, on=HERE
    )


def _tried(entry: tuple[Any, ...]) -> CandidateRow:
    method, target, megabytes, p50, p95, load, memory, quality, agreement, difference, quantized, pareto = (
        entry
    )
    candidate = Candidate(method, target)
    return CandidateRow(
        id=ORIGINAL if candidate.id == "onnxruntime/original" else candidate.id,
        target=target,
        precision=candidate.precision,
        recipe=candidate.recipe,
        status="ok",
        artifact=f"{round(1e6 * megabytes):064x}",
        figures={
            "quality": measured(quality, "share", 0.0141, "search"),
            "margin": measured(round(quality - 0.7963, 4), "share", 0.0061, "search"),
            "p50": measured(p50, "ms", round(0.02 * p50, 4), "search"),
            "p95": measured(p95, "ms", round(0.04 * p95, 4), "search"),
            "load": measured(load, "ms"),
            "memory": measured(memory * 1e6, "B"),
            "size": measured(megabytes * 1e6, "B"),
        },
        difference={"cases": 64, "max_abs": difference, "max_rel": difference / 4, "agreement": agreement},
        operators=Operators(quantized, 38),
        holds_floor=quality >= 0.797,
        pareto=pareto,
        build_seconds=round(4 + megabytes / 10, 1),
        cached=target == "openvino",
    )


def _failed(method: Method, target: str, reason: str) -> CandidateRow:
    candidate = Candidate(method, target)
    units = {"quality": "share", "p50": "ms", "p95": "ms", "load": "ms", "memory": "B", "size": "B"}
    return CandidateRow(
        id=candidate.id,
        target=target,
        precision=candidate.precision,
        recipe=candidate.recipe,
        status="failed",
        reason=reason,
        figures={name: Figure.none(unit) for name, unit in units.items()},
    )


def _goal(kind: Any, asked: str, got: Figure, verdict: Any) -> GoalResult:
    return GoalResult(kind=kind, asked=asked, got=got, verdict=verdict)


def _tiers() -> tuple[TierResult, ...]:
    quality = measured(0.7987, "share", 0.0143, "test")
    return (
        TierResult(
            name="Office laptops",
            description="x86-64 laptops bought since 2020, Windows and Linux",
            share=0.55,
            machine="this",
            platform="linux-x86_64",
            runtimes=("onnxruntime", "openvino"),
            chosen=FAST,
            reason="the fastest of the 9 of 14 candidates that hold the quality floor on search",
            goals=(
                _goal("quality", FLOOR, quality, "met"),
                _goal("latency_p95", "p95 ≤ 10 ms", measured(3.48, "ms", 0.14, "test"), "met"),
                _goal("size", "size ≤ 25 MB", measured(23.3e6, "B"), "met"),
                _goal("memory", "memory ≤ 200 MB", measured(131e6, "B"), "met"),
            ),
        ),
        TierResult(
            name="Android phones, 2021 and later, including foldables",
            description="8 GB, big.LITTLE ARM64; no such phone was at hand",
            share=0.30,
            machine=None,
            platform="android-arm64",
            runtimes=("onnxruntime",),
            chosen=SMALL,
            reason="the smallest that holds the floor; no phone was measured, so speed did not decide",
            goals=(
                _goal("quality", FLOOR, measured(0.7990, "share", 0.0143, "test"), "met"),
                _goal("latency_p95", "p95 ≤ 30 ms", Figure.none("ms", on="android-arm64"), "not assessed"),
                _goal("size", "size ≤ 25 MB", measured(22.9e6, "B"), "met"),
            ),
        ),
        TierResult(
            name="Shop-floor gateways",
            description="ARM64 boards with 64 MB left for the model",
            share=0.15,
            machine=None,
            platform="linux-arm64",
            runtimes=("onnxruntime",),
            chosen=DYNAMIC,
            reason="the smallest of the 4 that come closest to the goals; nothing fits 10 MB",
            goals=(
                _goal("quality", FLOOR, measured(0.7937, "share", 0.0145, "test"), "not shown"),
                _goal("latency_p95", "p95 ≤ 30 ms", Figure.none("ms", on="linux-arm64"), "not assessed"),
                _goal("size", "size ≤ 10 MB", measured(22.8e6, "B"), "missed"),
            ),
            reachable="22.7 MB with int8 weights; 10 MB needs a smaller model, not a smaller file",
        ),
    )  # fmt: skip


def _claim(
    candidate: str, quality: float, between: tuple[float, float], agreement: float, verdict: Any
) -> Claim:
    low, high = between
    margin = round(quality - 0.7942, 4)
    return Claim(
        candidate=candidate,
        quality=measured(quality, "share", 0.0143, "test"),
        original=measured(0.8022, "share", 0.0142, "test"),
        floor=0.7942,
        margin=Figure(
            evidence=Evidence.MEASURED, unit="share", value=margin, low=low, high=high, split="test", on=HERE
        ),
        agreement=measured(agreement, "share", 0.003, "test"),
        verdict=verdict,
    )


def _cell(
    place: str, evidence: Evidence, difference: Difference | None, verdict: Verdict, **other: Any
) -> Cell:
    return Cell(
        subject=SMALL,
        target="onnxruntime",
        place=place,
        platform="linux-arm64" if place.startswith("cortex") else place,
        runtime="1.32.0",
        evidence=evidence,
        loads=True,
        runs=difference is not None,
        verdict=verdict,
        difference=difference,
        **other,
    )


_ON_A53 = Figure(evidence=Evidence.EMULATED, unit="share", value=0.81, low=0.66, high=0.94, split="test")
CELLS = (
    _cell(
        "linux-x86_64",
        Evidence.MEASURED,
        Difference(32, 0.016, 0.008, 0.004, 1.0),
        "met",
        quality=measured(0.84, "share", 0.13, "test"),
    ),
    _cell(
        "cortex-a53", Evidence.EMULATED, Difference(32, 0.31, 0.12, 0.09, 0.97), "not shown", quality=_ON_A53
    ),
    _cell(
        "cortex-a76", Evidence.EMULATED, None, "missed", reason="the process was ended by signal 11 <SIGSEGV>"
    ),
)


NNAPI = Support(
    target="onnxruntime",
    accelerator="NNAPI provider",
    evidence=Evidence.PUBLISHED,
    source="onnxruntime 1.32.0, nnapi_supported_ops.md (MIT)",
    sizes={"batch": 1, "tokens": 128},
    operators=230,
    on=208,
    cpu=22,
    macs=1_400_000_000,
    macs_on=1_400_000_000,
    partitions=21,
    gaps=(Gap(where="cpu", why="not in the table", ops={"LayerNormalization": 13, "Erf": 6}, macs=0),),
)


def sample() -> BuildResult:
    """16 candidates of which 2 failed, three tiers, and every verdict."""
    failed = (
        _failed(StaticInt8(calibration="entropy"), "onnxruntime", HOSTILE),
        _failed(NncfPtq(), "onnxruntime", STOPPED),
    )  # fmt: skip
    return BuildResult(
        name="sentiment",
        task="text-classification",
        producer="edgewise 0.1.0",
        metric="accuracy",
        higher_is_better=True,
        floor="99 % of original",
        command="edgewise build edgewise.toml --out bundle",
        machine={
            "cpu": "Intel Xeon Platinum 8481C, 2 of 4 cores, AVX-512 VNNI, AMX",
            "memory": "16 GB",
            "system": "Linux 6.1 x86_64, Python 3.11.7",
            "onnxruntime": "1.24.1",
            "openvino": "2026.2.0",
            "nncf": "3.2.0",
        },
        threads=2,
        seconds=1284.4,
        splits={"calibration": 300, "search": 2000, "test": 3000},
        rounds=7,
        original=ORIGINAL,
        candidates=tuple(_tried(entry) for entry in _TRIED) + failed,
        tiers=_tiers(),
        claims=(
            _claim(FAST, 0.7987, (0.0006, 0.0083), 0.9867, "met"),
            _claim(SMALL, 0.7990, (0.0021, 0.0075), 0.9937, "met"),
            _claim(DYNAMIC, 0.7937, (-0.0058, 0.0049), 0.9781, "not shown"),
        ),
        cells=CELLS,
        support=(NNAPI,),
        headline={
            "p50": Figure(
                evidence=Evidence.MEASURED, unit="ratio", value=0.556, low=0.541, high=0.572, on=HERE
            ),
            "p95": Figure(
                evidence=Evidence.MEASURED, unit="ratio", value=0.542, low=0.51, high=0.575, on=HERE
            ),
            "size": Figure(evidence=Evidence.MEASURED, unit="ratio", value=0.258),
            "memory": Figure(evidence=Evidence.MEASURED, unit="ratio", value=0.668, on=HERE),
        },
        notes=(
            "the licence of the data is unknown: publishing will be refused until it is stated or overridden",
            "openvino: AMX was used here; a laptop without it will be slower than this machine",
        ),
        signing="development",
        bundle="bundle",
        profile={
            "macs": 1_360_000_000,
            "parameters": 22_713_986,
            "weight_bytes": 90_855_944,
            "activation_bytes": 3_145_728,
            "operators": {
                "MatMul": 38,
                "Add": 75,
                "LayerNormalization": 13,
                "Softmax": 6,
                "Gelu": 6,
                "Gather": 5,
            },
        },
        example={
            "text": "The battery lasts two days & the screen is <great>.",
            "original": "positive, 0.997",
            "chosen variant": "positive, 0.996",
        },
    )


def all_failed() -> BuildResult:
    """Everything but the original crashed, and no tier is served."""
    base = sample()
    crashed: dict[str, Any] = {
        "status": "failed",
        "figures": {},
        "difference": None,
        "operators": None,
        "pareto": False,
    }
    candidates = tuple(
        row
        if row.id == ORIGINAL
        else msgspec.structs.replace(row, reason=f"crashed in pass {number}", **crashed)
        for number, row in enumerate(base.candidates)
    )
    return msgspec.structs.replace(
        base, candidates=candidates, tiers=_unserved(base), claims=(), headline={}, example=None
    )


def none_chosen() -> BuildResult:
    """Candidates were measured, but no tier gets one."""
    base = sample()
    return msgspec.structs.replace(base, tiers=_unserved(base), claims=(), headline={})


def everything_met() -> BuildResult:
    """One tier, every goal met, nothing open."""
    base = sample()
    tier = msgspec.structs.replace(base.tiers[0], share=1.0)
    return msgspec.structs.replace(base, tiers=(tier,), claims=base.claims[:1], notes=())


def lower_is_better() -> BuildResult:
    """The same build judged by character error rate."""
    base = sample()

    def turned(figure: Figure) -> Figure:
        if figure.value is None:
            return figure
        low, high = (None if edge is None else round(1 - edge, 6) for edge in (figure.high, figure.low))
        return msgspec.structs.replace(figure, value=round(1 - figure.value, 6), low=low, high=high)

    def row(candidate: CandidateRow) -> CandidateRow:
        figures = dict(candidate.figures)
        if "quality" in figures:
            figures["quality"] = turned(figures["quality"])
        return msgspec.structs.replace(candidate, figures=figures)

    def claim(one: Claim) -> Claim:
        return msgspec.structs.replace(
            one, quality=turned(one.quality), original=turned(one.original), floor=0.2058
        )

    def tier(one: TierResult) -> TierResult:
        goals = tuple(
            msgspec.structs.replace(goal, got=turned(goal.got)) if goal.kind == "quality" else goal
            for goal in one.goals
        )
        return msgspec.structs.replace(one, goals=goals)

    return msgspec.structs.replace(
        base,
        name="handwriting-recognition-of-receipts-and-delivery-notes",
        metric="cer",
        higher_is_better=False,
        candidates=tuple(map(row, base.candidates)),
        claims=tuple(map(claim, base.claims)),
        tiers=tuple(map(tier, base.tiers)),
    )


def _unserved(base: BuildResult) -> tuple[TierResult, ...]:
    return tuple(
        msgspec.structs.replace(
            tier,
            chosen=None,
            reason="no candidate holds the quality floor on this tier's runtimes",
            reachable="the original itself: 90.4 MB, p95 6.4 ms on this machine",
            goals=tuple(
                msgspec.structs.replace(goal, got=Figure.none(goal.got.unit), verdict="not assessed")
                for goal in tier.goals
            ),
        )
        for tier in base.tiers
    )
