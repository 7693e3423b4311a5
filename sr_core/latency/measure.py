"""Make this computer's latency profiles: time small probe networks in each runtime and fit.

What is timed is the network alone: one fp32 frame through a ready session, batch 1. Reading,
rounding and saving the image, and tiling, are not in it. Weights are random: the time of a dense
convolution does not depend on them, that of a sparse one only through the masks.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from statistics import median

import numpy as np

from sr_core.engine.library import Library
from sr_core.files import sha256
from sr_core.latency.calibrate import (
    Floats,
    Sample,
    Ties,
    best_channel_step,
    best_engine,
    channel_ranges,
    fit_costs,
    held_out_errors,
    log_errors,
    mape_percent,
    spread_factor,
)
from sr_core.latency.calm import Watch, require_agreement, require_prediction
from sr_core.latency.estimate import CONFIDENCE
from sr_core.latency.own import OWN
from sr_core.latency.profile import (
    Anchor,
    DeviceProfile,
    EngineLibrary,
    HeldOut,
    Scope,
    Setting,
    Spread,
    parts,
)
from sr_core.latency.timing import ready
from sr_core.latency.work import Workload, dense, engine
from sr_core.machine import cores, processor
from sr_core.network.blocks import BLOCKS, SKIP, Block, Scheme, trainable
from sr_core.network.candidate import (
    DENSE,
    SCALES,
    TAIL_SCHEMES,
    WIDTHS,
    Candidate,
    Cell,
    LayerPruning,
)
from sr_core.network.colour import CHANNELS, Colour
from sr_core.network.extract import extract
from sr_core.network.layers import OUTPUT_SIZE, lr_size, timed
from sr_core.network.sampling import sample_candidate
from sr_core.network.weights import SupernetSpec, random_supernet
from sr_core.results.record import Runtime
from sr_core.runtime.choice import instructions, runtime_version

PASSES = 2
"""Times that each candidate is timed, far apart: whatever disturbs the one may spare the other, so
the faster counts."""
WARM_UPS, RUNS = 1, 3
"""Frames of a pass: discarded, and timed (their median counts)."""
MIN_PROBES = 20
_WIDTH, _CELLS = max(WIDTHS), 12
_PROBES: tuple[tuple[int, tuple[int, int], int], ...] = (
    (4, OUTPUT_SIZE, 26), (4, (640, 360), 4), (4, (1920, 1080), 4), (2, OUTPUT_SIZE, 6),
)  # fmt: skip
"""(scale, output size, how many)."""
_SET_S = 60
"""Seconds for which that many probes are enough; twice the time gives twice as many."""
_DENSE_SKIPS = 0.3
"""Share of networks whose input skip is dense."""
_OUTSIDE_FACTOR = 1.3
"""Widens the interval for another layer, and again for another frame size: our allowance."""
_MAX_NAME = 40
"""Characters of a processor's name in an id, which has at most 64."""
_ENGINE, _ONNX = "UpFront engine", "ONNX Runtime"
_CALM = 0.1
"""Drift of the networks' times that is not worth a warning."""
Report = Callable[[int, int], None]
"""Called with (timings done, timings in all)."""


@dataclass(frozen=True)
class _Job:
    candidate: Candidate
    output: tuple[int, int] = OUTPUT_SIZE


def measure_all(
    libraries: Sequence[Library | None],
    *,
    seconds: float = 50.0,
    held_out: int = 12,
    seed: int = 0,
    report: Report = lambda done, total: None,
) -> list[DeviceProfile]:
    """Measure a profile for each runtime, one after the other. Arguments are as for `measure`.

    `libraries`: the engine's library, and None for ONNX Runtime. Give the engine first: ONNX
    Runtime's threads go on spinning for a while.
    """
    profiles: list[DeviceProfile] = []
    for index, library in enumerate(libraries):

        def part(done: int, total: int, index: int = index) -> None:
            report(index * total + done, len(libraries) * total)

        share = seconds / len(libraries)
        profiles.append(measure(library, seconds=share, held_out=held_out, seed=seed, report=part))
    return profiles


def measure(
    library: Library | None = None,
    *,
    seconds: float = 50.0,
    held_out: int = 12,
    seed: int = 0,
    report: Report = lambda done, total: None,
) -> DeviceProfile:
    """Time probes with one thread and with one per core, fit, and check on unseen candidates.

    Args:
        library: of the sparse engine; None measures ONNX Runtime.
        seconds: about this long. A slow computer gets fewer probes, but at least `MIN_PROBES`;
            some minutes give more, and so a surer interval.
        held_out: random candidates per thread count that the fit does not see.
        report: progress callback.

    Raises:
        MeasurementError: the computer is too busy, or too slow for enough probes.
    """
    rng = np.random.default_rng(seed)
    sets = max(1, int(seconds // _SET_S))
    probes = _probes(rng, sets, masks=library is not None)
    unseen = [_Job(_random(rng, 4)) for _ in range(held_out)]
    counts = sorted({1, cores()})
    bench = _Bench(library, rng, seconds, len(counts) * (len(probes) + held_out), report)
    samples = {n: bench.samples(probes, n, at_least=MIN_PROBES) for n in counts}
    checks = {n: bench.samples(unseen, n, at_least=min(held_out, 5)) for n in counts}
    return _profile(library, samples, checks, bench.drift)


def measured_elsewhere(profile: DeviceProfile) -> DeviceProfile:
    """Return the profile to ship to others: named after its processor, not "this computer"."""
    name = re.sub(r"\(r\)|\(tm\)|cpu|processor|@.*", " ", profile.processor.lower())
    slug = "-".join(re.findall("[a-z0-9]+", name))[:_MAX_NAME].strip("-") or "cpu"
    suffix, runtime = ("engine", _ENGINE) if profile.runtime_id == "sparse" else ("onnx", _ONNX)
    return profile.model_copy(
        update={
            "id": f"{slug}-{profile.settings[-1].threads}-threads-{suffix}",
            "title": f"{profile.processor}, {runtime}",
            "basis": "measured elsewhere",
        }
    )


class _Bench:
    """Times candidates, as many as fit into the time."""

    def __init__(
        self,
        library: Library | None,
        rng: np.random.Generator,
        seconds: float,
        jobs: int,
        report: Report,
    ) -> None:
        self._library = library
        self._supernets = {
            (scale, colour): random_supernet(_spec(scale, colour), rng)
            for scale in SCALES
            for colour in CHANNELS
        }
        self._seconds_per_job = seconds / jobs
        self._timings = PASSES * jobs
        self._report = report
        self._watch = Watch()
        self._changes: list[float] = []
        self._done = 0

    @property
    def drift(self) -> float:
        """Change of a network's time from the first to the last pass, median of all."""
        return median(self._changes)

    def samples(self, jobs: Sequence[_Job], threads: int, *, at_least: int) -> list[Sample]:
        """Time `jobs` in order until their share of the time is used up.

        Raises `MeasurementError` if the computer is too busy.
        """
        if not jobs:
            return []
        end = time.monotonic() + self._seconds_per_job * len(jobs) / PASSES
        first: list[Sample] = []
        for job in jobs:
            if len(first) >= at_least and time.monotonic() > end:
                break
            first.append(self._timed(job, threads, len(first)))
        count = len(first)
        self._done += len(jobs)
        again = [self._timed(jobs[i], threads, i) for i in range(count)]
        self._done += len(jobs)
        pairs = list(zip(first, again, strict=True))
        self._changes += [
            (later.ms - before.ms) / min(before.ms, later.ms) for before, later in pairs
        ]
        self._watch.require_cores()
        require_agreement(self._changes)
        return [min(pair, key=lambda sample: sample.ms) for pair in pairs]

    def _timed(self, job: _Job, threads: int, index: int) -> Sample:
        """Time the candidate number `index` of a pass, and report it."""
        sample = self.sample(job, threads)
        self._report(self._done + index + 1, self._timings)
        return sample

    def sample(self, job: _Job, threads: int) -> Sample:
        """Time one candidate once."""
        family = job.candidate.family
        network = extract(self._supernets[family.scale, family.colour], job.candidate)
        size = lr_size(job.candidate.scale, job.output)
        run = ready(network, self._library, threads=threads, size=size)
        times_ms = self._watch.times_ms(run, threads=threads, warm_ups=WARM_UPS, runs=RUNS)
        return Sample(timed(job.candidate, *size), median(times_ms))


def _probes(rng: np.random.Generator, sets: int, *, masks: bool) -> list[_Job]:
    """Draw networks that differ in what costs time, in random order.

    Masks cost nothing in ONNX Runtime and gain nothing. There the probes have none, and differ
    in width, depth, blocks and channels.
    """
    draw = _random if masks else _unmasked
    jobs = [
        _Job(draw(rng, scale), output)
        for scale, output, count in _PROBES * sets
        for _ in range(count)
    ]
    return [jobs[i] for i in rng.permutation(len(jobs))]


def _random(rng: np.random.Generator, scale: int) -> Candidate:
    candidate = sample_candidate(rng, _spec(scale, _colour(rng)))
    if rng.random() < _DENSE_SKIPS:
        return candidate
    scheme: Scheme = "block" if rng.random() < 0.5 else "unstructured"
    return replace(candidate, input_skip=LayerPruning(scheme, rng.uniform(0.2, 0.9)))


def _colour(rng: np.random.Generator) -> Colour:
    return "rgb" if rng.random() < 0.5 else "luma"


def _spec(scale: int, colour: Colour) -> SupernetSpec:
    """Return the supernet that has everything a network may have."""
    return SupernetSpec(scale, _WIDTH, _CELLS, trainable(), WIDTHS, TAIL_SCHEMES, colour)


def _unmasked(rng: np.random.Generator, scale: int) -> Candidate:
    skipped, shares = rng.uniform(0, 0.6), rng.dirichlet(np.ones(len(trainable())))
    pruned = rng.random()

    def cell() -> Cell:
        if rng.random() < skipped:
            return Cell(SKIP)
        block: Block = str(rng.choice(trainable(), p=shares))
        return Cell(
            block,
            tuple(
                LayerPruning("channel", rng.uniform(0.05, 0.95))
                if conv.inner and rng.random() < pruned
                else DENSE
                for conv in BLOCKS[block].convs
            ),
        )

    cells = tuple(cell() for _ in range(_CELLS))
    return Candidate(scale, int(rng.choice(WIDTHS)), cells, colour=_colour(rng))


def _profile(
    library: Library | None,
    probes: dict[int, list[Sample]],
    checks: dict[int, list[Sample]],
    drift: float,
) -> DeviceProfile:
    """Fit every thread count. The steps and the interval are common to all.

    `drift` is the change of the networks' times between the passes.
    """
    everything = [sample for samples in probes.values() for sample in samples]
    runtime_id: Runtime = "sparse" if library else "onnx"
    most, samples = max(probes.items())
    step = 1 if library else best_channel_step(samples)
    columns, near_mib = (
        best_engine(samples, most, (library.lanes, library.chunk_columns)) if library else (1, 0.0)
    )
    work = {n: engine(n, columns, near_mib) if library else dense(step) for n in probes}
    ties: Ties = "large kernels" if library else "none"
    errors = [held_out_errors(timings, work[n], ties) for n, timings in probes.items()]
    factor = max(spread_factor(one, CONFIDENCE) for one in errors)
    mpx = [sample.layers[0].height * sample.layers[0].width / 1e6 for sample in everything]
    return DeviceProfile(
        id=OWN[runtime_id],
        title=f"This computer, {_ENGINE if library else _ONNX}",
        device="computer",
        processor=processor(),
        runtime=runtime_version(library),
        runtime_id=runtime_id,
        library=EngineLibrary(instructions=instructions(library), sha256=sha256(library.path))
        if library
        else None,
        precision="fp32",
        date=datetime.now(UTC).strftime("%Y-%m-%d"),
        basis="measured here",
        channel_step=step,
        column_step=columns,
        near_mib=near_mib,
        settings=tuple(
            _setting(n, timings, checks[n], work[n], ties, factor) for n, timings in probes.items()
        ),
        scope=Scope(
            parts=parts(),
            channels=channel_ranges(everything),
            lr_mpx=(min(mpx), max(mpx)),
        ),
        spread=Spread(
            inside=factor,
            outside=factor * _OUTSIDE_FACTOR,
            other_size=_OUTSIDE_FACTOR,
            source=(
                f"inside: the factor that holds {CONFIDENCE:.0%} of the probes, whatever the "
                "threads, when predicted by fits that did not see them; beyond: "
                f"{_OUTSIDE_FACTOR}, our allowance"
            ),
        ),
        sparsity=None,
        anchors=(_anchor(everything, np.concatenate(errors)),),
        caveats=_caveats(runtime_id, drift),
    )


_CAVEATS: dict[Runtime, str] = {
    "sparse": "Random weights: trained ones spread their masks a little differently, which moved "
    "a network's time by 2 % (mean of 110).",
    "onnx": "ONNX Runtime has no sparse convolution: only fewer channels, `channel` pruning and "
    "skipped cells save time.",
}


def _caveats(runtime_id: Runtime, drift: float) -> tuple[str, ...]:
    caveats = (
        "The network alone: one frame in a ready session, without reading, tiling or saving.",
        "Whole networks were timed: how their time splits over the layers is the model's.",
        _CAVEATS[runtime_id],
    )
    if abs(drift) <= _CALM:
        return caveats
    busy = (
        f"The computer was not calm: when timed again, the networks took {drift:+.0%} more time "
        "(median). Close other programs and measure again."
    )
    return (busy, *caveats)


def _anchor(samples: Sequence[Sample], errors: Floats) -> Anchor:
    return Anchor(
        what=(
            f"networks of {_CELLS} cells and {min(WIDTHS)} to {max(WIDTHS)} channels, x2 and x4, "
            f"360p to 1080p output: the faster of {PASSES} medians of {RUNS} frames after "
            f"{WARM_UPS} discarded, batch 1"
        ),
        n=len(samples),
        source="timed by `python -m sr_core measure`",
        error=f"cross-validated: mean {mape_percent(errors):.1f} %",
    )


def _setting(
    threads: int,
    probes: Sequence[Sample],
    checks: Sequence[Sample],
    work: Workload,
    ties: Ties,
    factor: float,
) -> Setting:
    costs = fit_costs(probes, work, ties)
    if not checks:
        return Setting(threads=threads, costs=costs)
    errors = log_errors(checks, costs, work)
    is_inside = np.abs(errors) <= np.log(factor)
    require_prediction(int(is_inside.sum()), len(checks), CONFIDENCE)
    inside = float(is_inside.mean())
    held_out = HeldOut(n=len(checks), mape_percent=mape_percent(errors), coverage=inside)
    return Setting(threads=threads, costs=costs, held_out=held_out)
