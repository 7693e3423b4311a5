"""Make this computer's latency profile: time small probe networks in ONNX Runtime and fit.

What is timed is the network alone: one fp32 frame through a ready session, batch 1. Reading,
rounding and saving the image, and tiling, are not in it. Weights are random: the time of a dense
convolution does not depend on them.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from statistics import median

import numpy as np
import onnxruntime as ort

from sr_core.candidate import BLOCKS, DENSE, SCALES, WIDTHS, Block, Candidate, Cell, LayerPruning
from sr_core.latency.calibrate import (
    Floats,
    Sample,
    best_channel_step,
    channel_ranges,
    fit_costs,
    held_out_errors,
    log_errors,
    mape_percent,
    spread_factor,
)
from sr_core.latency.estimate import CONFIDENCE
from sr_core.latency.own import THIS_COMPUTER, runtime
from sr_core.latency.profile import (
    Anchor,
    DeviceProfile,
    HeldOut,
    Scope,
    Setting,
    Spread,
)
from sr_core.layers import OUTPUT_SIZE, RGB, describe, lr_size
from sr_core.machine import processor
from sr_core.runtime.onnx_graph import INPUT, build
from sr_core.supernet.extract import extract
from sr_core.supernet.sampling import sample_candidate
from sr_core.supernet.weights import SupernetSpec, random_supernet

WARM_UPS, RUNS = 1, 5
"""Frames per candidate: discarded, and timed (their median counts)."""
MIN_PROBES = 20
_WIDTH, _CELLS = max(WIDTHS), 12
_PROBES: tuple[tuple[int, tuple[int, int], int], ...] = (
    (4, OUTPUT_SIZE, 26), (4, (640, 360), 4), (4, (1920, 1080), 4), (2, OUTPUT_SIZE, 6),
)  # fmt: skip
"""(scale, output size, how many)."""
_OUTSIDE_FACTOR = 1.3
"""Widens the interval for another layer, and again for another frame size: our allowance."""
_MAX_NAME = 40
"""Characters of a processor's name in an id, which has at most 64."""
_CALM = 0.1
"""Drift of one network's time that is not worth a warning."""
Report = Callable[[int, int], None]
"""Called with (candidates timed, candidates in all)."""


@dataclass(frozen=True)
class _Job:
    candidate: Candidate
    output: tuple[int, int] = OUTPUT_SIZE


def measure(
    *,
    seconds: float = 55.0,
    held_out: int = 12,
    seed: int = 0,
    report: Report = lambda done, total: None,
) -> DeviceProfile:
    """Time probes with one thread and with one per core, fit, and check on unseen candidates.

    Args:
        seconds: about this long; a slow computer gets fewer probes, but at least `MIN_PROBES`.
        held_out: random candidates per thread count that the fit does not see.
        report: progress callback.
    """
    rng = np.random.default_rng(seed)
    probes = _probes(rng)
    unseen = [
        _Job(sample_candidate(rng, scale=4, width=_WIDTH, cells=_CELLS)) for _ in range(held_out)
    ]
    counts = sorted({1, os.cpu_count() or 1})
    bench = _Bench(rng, seconds, len(counts) * (len(probes) + held_out), report)
    seen = {n: bench.samples(probes, n, at_least=MIN_PROBES) for n in counts}
    checks = {n: bench.samples(unseen, n, at_least=min(held_out, 5)) for n in counts}
    drift = bench.sample(probes[0], counts[-1]).ms / seen[counts[-1]][0].ms - 1
    return _profile(seen, checks, drift)


def measured_elsewhere(profile: DeviceProfile) -> DeviceProfile:
    """The profile as it is shipped to others: named after its processor, not "this computer"."""
    name = re.sub(r"\(r\)|\(tm\)|cpu|processor|@.*", " ", profile.processor.lower())
    slug = "-".join(re.findall("[a-z0-9]+", name))[:_MAX_NAME].strip("-") or "cpu"
    return profile.model_copy(
        update={
            "id": f"{slug}-{profile.settings[-1].threads}-threads-onnx",
            "title": f"{profile.processor}, ONNX Runtime",
            "basis": "measured elsewhere",
        }
    )


class _Bench:
    """Times candidates, as many as fit into the time."""

    def __init__(self, rng: np.random.Generator, seconds: float, jobs: int, report: Report) -> None:
        self._supernets = {
            scale: random_supernet(SupernetSpec(scale, _WIDTH, _CELLS), rng) for scale in SCALES
        }
        self._seconds_per_job = seconds / jobs
        self._jobs = jobs
        self._report = report
        self._done = 0

    def samples(self, jobs: Sequence[_Job], threads: int, *, at_least: int) -> list[Sample]:
        """Time `jobs` in order until their share of the time is used up."""
        end = time.monotonic() + self._seconds_per_job * len(jobs)
        samples: list[Sample] = []
        for job in jobs:
            if len(samples) >= at_least and time.monotonic() > end:
                break
            samples.append(self.sample(job, threads))
            self._report(self._done + len(samples), self._jobs)
        self._done += len(jobs)
        return samples

    def sample(self, job: _Job, threads: int) -> Sample:
        """Time one candidate."""
        network = extract(self._supernets[job.candidate.scale], job.candidate)
        height, width = lr_size(job.candidate.scale, job.output)
        frame = np.random.default_rng(0).random((1, RGB, height, width), dtype=np.float32)
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        session = ort.InferenceSession(
            build(network).SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        times_ms: list[float] = []
        for _ in range(WARM_UPS + RUNS):
            start = time.perf_counter()
            session.run(None, {INPUT: frame})
            times_ms.append((time.perf_counter() - start) * 1e3)
        return Sample(describe(job.candidate, height, width), median(times_ms[WARM_UPS:]))


def _probes(rng: np.random.Generator) -> list[_Job]:
    """Networks that differ in what costs time (width, depth, blocks, channels), in random order.

    Masks cost nothing in ONNX Runtime and gain nothing, so the probes have none.
    """
    jobs = [
        _Job(_probe(rng, scale), output) for scale, output, count in _PROBES for _ in range(count)
    ]
    return [jobs[i] for i in rng.permutation(len(jobs))]


def _probe(rng: np.random.Generator, scale: int) -> Candidate:
    skipped, wide, pruned = rng.uniform(0, 0.6), rng.random(), rng.random()

    def cell() -> Cell:
        if rng.random() < skipped:
            return Cell("skip")
        block: Block = "wide" if rng.random() < wide else "residual"
        return Cell(
            block,
            tuple(
                LayerPruning("channel", rng.uniform(0.05, 0.95))
                if conv.inner and rng.random() < pruned
                else DENSE
                for conv in BLOCKS[block].convs
            ),
        )

    return Candidate(scale, int(rng.choice(WIDTHS)), tuple(cell() for _ in range(_CELLS)))


def _profile(
    seen: dict[int, list[Sample]], checks: dict[int, list[Sample]], drift: float
) -> DeviceProfile:
    """Fit every thread count; the channel step and the interval are common to all.

    `drift` is the change of one network's time from the start to the end.
    """
    everything = [sample for samples in seen.values() for sample in samples]
    step = best_channel_step(max(seen.items())[1])
    errors = np.concatenate([held_out_errors(samples, step) for samples in seen.values()])
    factor = spread_factor(errors, CONFIDENCE)
    mpx = [sample.layers[0].height * sample.layers[0].width / 1e6 for sample in everything]
    return DeviceProfile(
        id=THIS_COMPUTER,
        title="This computer, ONNX Runtime",
        device="computer",
        processor=processor(),
        runtime=runtime(),
        precision="fp32",
        date=datetime.now(UTC).strftime("%Y-%m-%d"),
        basis="measured here",
        channel_step=step,
        settings=tuple(
            _setting(n, samples, checks[n], step, factor) for n, samples in seen.items()
        ),
        scope=Scope(
            parts=("head", "wide", "residual", "tail", "input_skip"),
            channels=channel_ranges(everything),
            lr_mpx=(min(mpx), max(mpx)),
        ),
        spread=Spread(
            inside=factor,
            outside=factor * _OUTSIDE_FACTOR,
            other_size=_OUTSIDE_FACTOR,
            source=(
                f"inside: the factor that holds {CONFIDENCE:.0%} of the probes when predicted by "
                f"fits that did not see them; beyond: {_OUTSIDE_FACTOR}, our allowance"
            ),
        ),
        sparsity=None,
        anchors=(_anchor(everything, errors),),
        caveats=_caveats(drift),
    )


def _caveats(drift: float) -> tuple[str, ...]:
    caveats = (
        "The network alone: one frame in a ready session, without reading, tiling or saving.",
        "Whole networks were timed: how their time splits over the layers is the model's.",
        "ONNX Runtime has no sparse convolution: only fewer channels, `channel` pruning and "
        "skipped cells save time.",
    )
    if abs(drift) <= _CALM:
        return caveats
    busy = (
        f"The computer was not calm: the same network's time changed by {drift:+.0%} during the "
        "measurement. Close other programs and measure again."
    )
    return (busy, *caveats)


def _anchor(samples: Sequence[Sample], errors: Floats) -> Anchor:
    return Anchor(
        what=(
            f"networks of {_CELLS} cells and {min(WIDTHS)} to {max(WIDTHS)} channels, x2 and x4, "
            f"360p to 1080p output: median of {RUNS} frames after {WARM_UPS} discarded, batch 1"
        ),
        n=len(samples),
        source="timed by `python -m sr_core measure`",
        error=f"cross-validated: mean {mape_percent(errors):.1f} %",
    )


def _setting(
    threads: int, seen: Sequence[Sample], unseen: Sequence[Sample], step: int, factor: float
) -> Setting:
    costs = fit_costs(seen, step)
    if not unseen:
        return Setting(threads=threads, costs=costs)
    errors = log_errors(unseen, costs, step)
    inside = float((np.abs(errors) <= np.log(factor)).mean())
    held_out = HeldOut(n=len(unseen), mape_percent=mape_percent(errors), coverage=inside)
    return Setting(threads=threads, costs=costs, held_out=held_out)
