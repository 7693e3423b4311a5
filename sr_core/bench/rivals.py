"""Re-trained published architectures beside our own networks of at least their quality.

Per scale and number of threads one sitting, interleaved as in `sitting`: every rival in ONNX
Runtime and in our engine, and for each rival the one of our networks (stored front, final models)
that reaches its PSNR on the validation crops and is the fastest there by estimate.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from statistics import median

import numpy as np

from sr_core.bench.sitting import DISTURBED, drift, interleaved
from sr_core.catalogue.store import Catalogue
from sr_core.engine.library import Library
from sr_core.errors import EngineError, LatencyError, MeasurementError
from sr_core.files import sha256
from sr_core.latency.prices import price
from sr_core.latency.profile import DeviceProfile
from sr_core.latency.timing import ready
from sr_core.machine import cores, processor
from sr_core.network.candidate import Candidate, Family
from sr_core.network.layers import OUTPUT_SIZE, describe, lr_size, totals
from sr_core.network.plain import Network, plain
from sr_core.results.quality import Quality
from sr_core.results.record import Runtime
from sr_core.results.rivals import RivalBench, RivalRow
from sr_core.rivals.weights import Rival
from sr_core.runtime.choice import runtime_name
from sr_core.training.settings import steps_of

RUNTIMES: tuple[Runtime, ...] = ("onnx", "sparse")
Report = Callable[[int, int], None]
"""Called with (sittings done, sittings in all)."""


@dataclass(frozen=True)
class Job:
    """How long to time."""

    sitting_s: float = 30
    """For one scale and number of threads."""
    rounds: int = 5
    """Of a sitting at least, however long they take."""
    output: tuple[int, int] = OUTPUT_SIZE


JOB = Job()


@dataclass(frozen=True)
class Ours:
    """One of our networks with its quality on the validation crops."""

    name: str
    """As `Catalogue.network_of` takes it."""
    candidate: Candidate
    psnr_db: float
    bsd100_db: float | None
    """None: not measured."""


@dataclass(frozen=True)
class _Contestant:
    """A network in a runtime: timed once, whichever rivals it is compared with."""

    name: str
    network: Network
    runtime: Runtime
    psnr_db: float
    bsd100_db: float | None
    params: int
    macs: int


@dataclass(frozen=True)
class _Contest:
    """Rivals and the networks of ours that they meet, at one scale."""

    scale: int
    rivals: tuple[Rival, ...]
    matches: dict[str, Ours]
    """Rival's id -> our network; none for a rival that we do not reach."""
    contestants: tuple[_Contestant, ...]


def bench_rivals(
    catalogue: Catalogue,
    job: Job,
    scales: Sequence[int],
    *,
    report: Report = lambda done, total: None,
) -> RivalBench:
    """Time the rivals of `scales` with one and with two threads.

    Raises:
        EngineError: there is no engine.
        MeasurementError: there are no rivals, or their crops are not those of the stored front.
    """
    library = catalogue.engine
    if library is None:
        raise EngineError(catalogue.engine_problem)
    profile, counts = _profile(catalogue), sorted({1, min(2, cores())})
    rival_scales = [scale for scale in scales if catalogue.rivals(scale)]
    contests = [_contest(catalogue, scale, profile, counts[-1]) for scale in rival_scales]
    if not contests:
        raise MeasurementError(
            "There is no rival to time: train one (`train --arch`) and `publish-rival` it."
        )
    rows: list[RivalRow] = []
    drifts: dict[str, float] = {}
    for one in contests:
        for threads in counts:
            report(len(drifts), len(contests) * len(counts))
            times_ms = _sit(one, library, threads, job)
            drifts[f"x{one.scale}, {threads} thread{'s' * (threads > 1)}"] = drift(times_ms[0])
            rows += _rows(one, threads, times_ms)
    return RivalBench(
        processor=processor(),
        cores=cores(),
        runtimes={"sparse": runtime_name(library), "onnx": runtime_name(None)},
        library_sha256=sha256(library.path),
        device=profile.id,
        crops_sha256={
            f"x{one.scale}": one.rivals[0].descriptor.validation_crops_sha256 for one in contests
        },
        output=job.output,
        date=datetime.now(UTC).strftime("%Y-%m-%d"),
        drift=drifts,
        rival_steps={r.id: steps_of(r.descriptor.training) for one in contests for r in one.rivals},
        supernet_steps={
            f"x{one.scale}": steps_of(catalogue.descriptor(Family(one.scale))["training"])
            for one in contests
        },
        fine_tuning_steps=_fine_tuning_steps(catalogue, contests),
        unmatched=tuple(r.id for one in contests for r in one.rivals if r.id not in one.matches),
        rows=tuple(rows),
    )


def _fine_tuning_steps(catalogue: Catalogue, contests: Sequence[_Contest]) -> dict[str, int]:
    matched = {ours.name for one in contests for ours in one.matches.values()}
    return {
        final.name: steps_of(final.descriptor.training)
        for final in catalogue.finals()
        if final.name in matched
    }


def match(rivals: Sequence[Rival], ours: Sequence[Ours], total_ms: Sequence[float]) -> list[int]:
    """Return for each rival the fastest of ours with at least its PSNR, -1 if there is none.

    `total_ms`: estimates, aligned with `ours`.
    """
    indices: list[int] = []
    for rival in rivals:
        good = [i for i, one in enumerate(ours) if one.psnr_db >= rival.validation_psnr_db]
        indices.append(min(good, key=lambda i: total_ms[i], default=-1))
    return indices


def candidates(catalogue: Catalogue, scale: int, crops_sha256: str) -> list[Ours]:
    """List networks of the stored front and final models that were scored on these crops."""
    ours: list[Ours] = []
    front = catalogue.front(Family(scale))
    if front and front.header.crops.sha256 == crops_sha256:
        columns = (front.rows[name] for name in ("network", "psnr_y_db", "psnr_y_bsd100"))
        ours += [
            Ours(text, candidate, float(db), None if np.isnan(bsd100) else float(bsd100))
            for candidate, text, db, bsd100 in zip(front.candidates, *columns, strict=True)
        ]
    for final in catalogue.finals(Family(scale)):
        if final.descriptor.validation_crops_sha256 == crops_sha256:
            psnr = final.descriptor.validation_psnr_y_db["fine_tuned"]
            ours.append(Ours(final.name, final.candidate, psnr, _bsd100(final.quality)))
    return ours


def _bsd100(quality: Sequence[Quality]) -> float | None:
    return next((q.psnr_y for q in quality if q.image_set == "BSD100"), None)


def _profile(catalogue: Catalogue) -> DeviceProfile:
    """Return the best founded profile of the engine."""
    for profile in catalogue.devices:
        if profile.runtime_id == "sparse":
            return profile
    raise LatencyError("The engine has no profile: run `python -m sr_core measure` first.")


def _contest(catalogue: Catalogue, scale: int, profile: DeviceProfile, threads: int) -> _Contest:
    rivals = tuple(catalogue.rivals(scale))
    crops = {rival.descriptor.validation_crops_sha256 for rival in rivals}
    ours = candidates(catalogue, scale, min(crops))
    if len(crops) > 1 or not ours:
        raise MeasurementError(
            f"The x{scale} rivals and our networks were not scored on the same validation crops: "
            "publish the rivals again with the --val of the stored front."
        )
    total_ms = price([one.candidate for one in ours], profile, threads=threads).total_ms
    indices = match(rivals, ours, total_ms.tolist())
    matches = {r.id: ours[i] for r, i in zip(rivals, indices, strict=True) if i >= 0}
    contestants = (*_theirs(rivals), *_ours(catalogue, matches))
    return _Contest(scale, rivals, matches, contestants)


def _theirs(rivals: Sequence[Rival]) -> Iterator[_Contestant]:
    for rival in rivals:
        shape, psnr_db = rival.layout, rival.validation_psnr_db
        for runtime in RUNTIMES:
            yield _Contestant(
                rival.id, rival.network, runtime, psnr_db, _bsd100(rival.quality), shape.params,
                shape.macs,
            )  # fmt: skip


def _ours(catalogue: Catalogue, matches: dict[str, Ours]) -> Iterator[_Contestant]:
    for one in {ours.name: ours for ours in matches.values()}.values():
        cost = totals(describe(one.candidate, *lr_size(one.candidate.scale)))
        network = catalogue.network_of(one.name)
        yield _Contestant(
            one.name, network, "sparse", one.psnr_db, one.bsd100_db, cost.params_kept,
            cost.macs_kept,
        )  # fmt: skip


def _sit(one: _Contest, library: Library, threads: int, job: Job) -> list[list[float]]:
    """Time all contestants, in ms. If something else disturbed them, it is repeated once."""
    size = lr_size(one.scale, job.output)
    runs = [
        ready(c.network, library if c.runtime == "sparse" else None, threads=threads, size=size)
        for c in one.contestants
    ]
    times_ms = interleaved(runs, job.sitting_s, job.rounds)
    if abs(drift(times_ms[0])) > DISTURBED:
        again = interleaved(runs, job.sitting_s, job.rounds)
        times_ms = min(times_ms, again, key=lambda times: abs(drift(times[0])))
    return times_ms


def _rows(one: _Contest, threads: int, times_ms: Sequence[Sequence[float]]) -> Iterator[RivalRow]:
    results = {
        (c.name, c.runtime): (c, times) for c, times in zip(one.contestants, times_ms, strict=True)
    }
    for rival in one.rivals:
        keys: list[tuple[str, Runtime]] = [(rival.id, runtime) for runtime in RUNTIMES]
        if ours := one.matches.get(rival.id):
            keys.append((ours.name, "sparse"))
        reference_ms = median(results[keys[0]][1])
        for key in keys:
            contestant, times = results[key]
            p10_ms, p90_ms = np.percentile(times, [10, 90]).tolist()
            yield RivalRow(
                rival=rival.id, network=contestant.name,
                model_id=plain(contestant.network).id, scale=one.scale, threads=threads,
                runtime=contestant.runtime, psnr_y_db=contestant.psnr_db,
                bsd100_psnr_y_db=contestant.bsd100_db,
                params=contestant.params, macs_g=contestant.macs / 1e9,
                median_ms=median(times), p10_ms=p10_ms, p90_ms=p90_ms, n=len(times),
                speed_up=reference_ms / median(times),
            )  # fmt: skip
