"""The stored front as one device sees it: for the command line and the page alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sr_core.catalogue.fronts import Front
from sr_core.latency.prices import Prices, price
from sr_core.latency.profile import DeviceProfile
from sr_core.network.candidate import Candidate
from sr_core.network.layers import OUTPUT_SIZE
from sr_core.search.front import best_under, hypervolume, knee, non_dominated
from sr_core.search.objective import MARGIN


@dataclass(frozen=True)
class FrontView:
    """Latencies of all rows, and which of them are on the front."""

    prices: Prices
    """Aligned with the rows."""
    on_front: NDArray[np.intp]
    """Rows that no other row dominates, the fastest first."""
    knee: int
    """The row of the knee."""
    best: int | None
    """The row of the highest PSNR within the budget; None without one or if nothing fits."""
    hypervolume: float
    """ms times dB, of all rows."""
    reference: tuple[float, float]
    """(ms, dB): 1.1 times the slowest preset, and bicubic on the same crops."""


def view(
    front: Front,
    presets: Sequence[Candidate],
    profile: DeviceProfile,
    *,
    output: tuple[int, int] = OUTPUT_SIZE,
    threads: int | None = None,
    budget_ms: float | None = None,
) -> FrontView:
    """Price all rows of a front that has some.

    Args:
        presets: the listed models of the front's scale. They set the hypervolume's reference.
        output, threads: as for `latency.estimate.estimate`, whose errors are raised.
    """
    prices = price(front.candidates, profile, output=output, threads=threads)
    preset_ms = price(presets, profile, output=output, threads=threads).total_ms
    total_ms, psnr_db = prices.total_ms, front.rows["psnr_y_db"].to_numpy()
    reference = (MARGIN * float(preset_ms.max()), front.header.crops.bicubic_psnr_y_db)
    on_front = np.flatnonzero(non_dominated(total_ms, psnr_db))
    return FrontView(
        prices,
        on_front[np.argsort(total_ms[on_front], kind="stable")],
        knee(total_ms, psnr_db),
        None if budget_ms is None else best_under(total_ms, psnr_db, budget_ms),
        hypervolume(total_ms, psnr_db, reference),
        reference,
    )
