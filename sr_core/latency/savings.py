"""What each pruning scheme saves on the same network: in theory, by the model, and measured."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import median

from sr_core.engine.library import Library
from sr_core.latency.estimate import LatencyEstimate, estimate
from sr_core.latency.profile import DeviceProfile
from sr_core.latency.timing import Run, ready, timed_alone_ms
from sr_core.network.blocks import Scheme
from sr_core.network.candidate import DENSE, Candidate, Cell, LayerPruning
from sr_core.network.extract import extract
from sr_core.network.layers import OUTPUT_SIZE, describe, lr_size, totals
from sr_core.network.weights import SupernetWeights
from sr_core.results.record import Runtime

SCHEMES: tuple[Scheme, ...] = ("channel", "block", "pattern", "unstructured")


@dataclass(frozen=True)
class SchemeTiming:
    """One scheme against the dense network in the same runtime, interleaved in one run."""

    scheme: Scheme
    ratio: float
    median_ms: float
    dense_median_ms: float
    runs: int
    runtime_id: Runtime = "onnx"

    @property
    def saved_share(self) -> float:
        """1 - time / dense time, negative if it was slower."""
        return 1 - self.median_ms / self.dense_median_ms


@dataclass(frozen=True)
class Saving:
    """Estimated share of the dense network's time that a scheme saves; negative if it costs."""

    share: float
    low: float
    high: float
    """The interval takes the errors of the two estimates as independent."""


@dataclass(frozen=True)
class SchemeRow:
    """One scheme at one ratio: what it promises, and what became of it."""

    scheme: Scheme
    ratio: float
    macs_share: float
    """Theory: share of the dense network's multiply-accumulates that is removed."""
    modelled: dict[str, Saving]
    """By profile id."""
    measured: dict[Runtime, SchemeTiming]
    """Empty until it was timed."""


def with_scheme(candidate: Candidate, scheme: Scheme, ratio: float) -> Candidate:
    """Return `candidate` with one scheme and ratio wherever they fit. Its ends are dense."""
    wish = LayerPruning(scheme, ratio)
    cells = tuple(wish.applied_to(Cell(cell.block)) for cell in candidate.cells)
    return replace(candidate, cells=cells, tail=DENSE, input_skip=DENSE)


def scheme_rows(
    candidate: Candidate,
    ratios: dict[Scheme, float],
    profiles: Sequence[DeviceProfile],
    timings: Sequence[SchemeTiming] = (),
    *,
    output: tuple[int, int] = OUTPUT_SIZE,
    threads: int | None = None,
    sparsity_share: float | None = None,
) -> list[SchemeRow]:
    """Compare theory, model and, as far as there are `timings`, measurement of every scheme.

    `threads`: where a profile has no coefficients for it, its default counts.
    """

    def price(profile: DeviceProfile, network: Candidate) -> LatencyEstimate:
        setting_threads = threads if threads in profile.threads else None
        return estimate(
            profile, network, output=output, threads=setting_threads, sparsity_share=sparsity_share
        )

    def macs(network: Candidate) -> int:
        return totals(describe(network, *lr_size(network.scale, output))).macs_kept

    dense = with_scheme(candidate, "dense", 0)
    dense_prices = {profile.id: price(profile, dense) for profile in profiles}
    rows: list[SchemeRow] = []
    for scheme, ratio in ratios.items():
        pruned = with_scheme(candidate, scheme, ratio)
        modelled = {
            profile.id: _saving(dense_prices[profile.id], price(profile, pruned))
            for profile in profiles
        }
        measured: dict[Runtime, SchemeTiming] = {
            timing.runtime_id: timing for timing in timings if timing.scheme == scheme
        }
        rows.append(SchemeRow(scheme, ratio, 1 - macs(pruned) / macs(dense), modelled, measured))
    return rows


def _saving(dense: LatencyEstimate, pruned: LatencyEstimate) -> Saving:
    if pruned.per_layer == dense.per_layer:  # the same layers, the same errors
        return Saving(0.0, 0.0, 0.0)
    ratio = pruned.total_ms / dense.total_ms
    faster = math.hypot(
        math.log(pruned.low_ms / pruned.total_ms), math.log(dense.high_ms / dense.total_ms)
    )
    slower = math.hypot(
        math.log(pruned.high_ms / pruned.total_ms), math.log(dense.low_ms / dense.total_ms)
    )
    return Saving(1 - ratio, 1 - ratio * math.exp(slower), 1 - ratio * math.exp(-faster))


def time_schemes(
    supernet: SupernetWeights,
    candidate: Candidate,
    ratios: dict[Scheme, float],
    *,
    library: Library | None = None,
    threads: int,
    output: tuple[int, int] = OUTPUT_SIZE,
    runs: int = 5,
) -> list[SchemeTiming]:
    """Time one frame of the dense network and of every scheme in turn (A B C, A B C, ...).

    They run in ONNX Runtime and, with a `library`, in the sparse engine. The engine comes first in
    every turn.
    """
    wanted: dict[Scheme, float] = {"dense": 0.0, **ratios}
    networks = [with_scheme(candidate, scheme, ratio) for scheme, ratio in wanted.items()]
    size = lr_size(candidate.scale, output)
    runtimes: dict[Runtime, Library | None] = {"sparse": library} if library else {}
    runtimes["onnx"] = None
    ready_runs: dict[Runtime, list[Run]] = {
        name: [
            ready(extract(supernet, network), engine, threads=threads, size=size)
            for network in networks
        ]
        for name, engine in runtimes.items()
    }
    times_ms: dict[Runtime, list[list[float]]] = {name: [[] for _ in networks] for name in runtimes}
    for _ in range(runs):
        for index in range(len(networks)):
            for name, frames in ready_runs.items():
                times_ms[name][index].append(timed_alone_ms(frames[index]))
    return [
        SchemeTiming(scheme, ratio, median(times), median(times_ms[name][0]), runs, name)
        for name in runtimes
        for (scheme, ratio), times in zip(ratios.items(), times_ms[name][1:], strict=True)
    ]
