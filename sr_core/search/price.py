"""Cost of many candidates at once: latency on a profile, MACs and parameters.

Both are sums over layers, and the cells of a search's candidates repeat: so each distinct cell is
priced once, and a candidate is the price of its frame (everything but the cells) plus that of its
cells. 2,000 candidates take a fraction of a second; keeping the result is up to the caller.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from sr_core.candidate import BLOCKS, DENSE, Candidate, Cell, LayerPruning
from sr_core.latency.estimate import estimate
from sr_core.latency.profile import BASES, Basis, DeviceProfile
from sr_core.layers import OUTPUT_SIZE, describe, lr_size, totals

Vector = NDArray[np.float64]
_DECIMALS_MS = 6
"""Sums are rounded to a nanosecond: networks of the same layers in another order must tie."""


@dataclass(frozen=True)
class Prices:
    """Latencies of candidates on one device, aligned with them; see `LatencyEstimate`."""

    total_ms: Vector
    low_ms: Vector
    high_ms: Vector
    coverage: Vector
    basis: tuple[Basis, ...]


@dataclass(frozen=True)
class Costs:
    """Counts for one 1280x720 frame, aligned with the candidates."""

    macs_kept: NDArray[np.int64]
    params_kept: NDArray[np.int64]


def price(
    candidates: Sequence[Candidate],
    profile: DeviceProfile,
    *,
    output: tuple[int, int] = OUTPUT_SIZE,
    threads: int | None = None,
    sparsity_share: float | None = None,
) -> Prices:
    """What `estimate` says of every candidate; its arguments and errors."""

    def parts(candidate: Candidate) -> Vector:
        found = estimate(
            profile, candidate, output=output, threads=threads, sparsity_share=sparsity_share
        )
        covered_ms = found.coverage * found.total_ms
        bases = [sum(layer.basis == basis for layer in found.per_layer) for basis in BASES]
        return np.array([found.total_ms, found.low_ms, found.high_ms, covered_ms, *bases])

    summed = _sum_over_cells(candidates, parts)
    total_ms, low_ms, high_ms, covered_ms = summed[:, :4].round(_DECIMALS_MS).T
    share = np.divide(covered_ms, total_ms, out=np.zeros_like(total_ms), where=total_ms > 0)
    layers_per_basis = summed[:, 4:].round()
    weakest = len(BASES) - 1 - (layers_per_basis[:, ::-1] > 0).argmax(axis=1)
    return Prices(
        total_ms, low_ms, high_ms, share.clip(0, 1), tuple(BASES[index] for index in weakest)
    )


def count(candidates: Sequence[Candidate]) -> Costs:
    """Kept MACs and parameters of every candidate."""

    def parts(candidate: Candidate) -> Vector:
        cost = totals(describe(candidate, *lr_size(candidate.scale)))
        return np.array([cost.macs_kept, cost.params_kept], dtype=np.float64)

    summed = _sum_over_cells(candidates, parts).round().astype(np.int64)  # exact below 2^53
    return Costs(summed[:, 0], summed[:, 1])


def _sum_over_cells(
    candidates: Sequence[Candidate], parts: Callable[[Candidate], Vector]
) -> Vector:
    """(n, k): `parts` of every candidate, where `parts` is a sum over layers."""
    empty = (Cell("skip"),)

    @cache
    def frame(scale: int, width: int, tail: LayerPruning) -> Vector:
        return parts(Candidate(scale, width, empty, tail))

    @cache
    def inside(scale: int, width: int, cell: Cell) -> Vector:
        return parts(Candidate(scale, width, (cell,))) - frame(scale, width, DENSE)

    def one(candidate: Candidate) -> Vector:
        size = (candidate.scale, candidate.width)
        running = [inside(*size, cell) for cell in candidate.cells if BLOCKS[cell.block].convs]
        return np.sum([frame(*size, candidate.tail), *running], axis=0)

    if not candidates:
        return np.empty((0, parts(Candidate(4, 16, empty)).size))
    return np.array([one(candidate) for candidate in candidates])
