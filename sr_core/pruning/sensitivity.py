"""What each layer's ratio costs in quality, and the best split of a budget by that (no torch).

A *curve* says for some ratios of one layer, all others being at one ratio that meets the budget,
how many milliseconds the frame takes and how much the squared error grows. If layers did not
depend on each other, the split of the budget that dynamic programming finds over these curves
would be the best of all; so it bounds what ratios per layer can gain.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from sr_core.errors import TrainingError
from sr_core.network.candidate import DENSE, MAX_RATIO, Candidate, LayerPruning
from sr_core.pruning.budget import Price, lowest, with_ratios
from sr_core.results.stage3 import Curve, Point

Score = Callable[[Candidate], float]
"""PSNR-Y in dB of a candidate with the weights at hand."""
GRID = (0.0, 0.2, 0.35, 0.5, 0.6, 0.7, 0.78, 0.85, 0.9, MAX_RATIO)
"""Ratios that are tried, as far as a scheme takes them."""
_STEPS = 2000
"""Parts of the budget that dynamic programming tells apart."""
_TURNS = 20
"""Splits that are tried until one meets the budget: milliseconds are not quite a sum of layers."""


def curves(base: Candidate, score: Score, price: Price | None = None) -> list[Curve]:
    """Measure every layer that has a scheme in `base`, the input skip too."""
    return [_curve(base, name, pruning, score, price) for name, pruning in base.layers()
            if pruning != DENSE]  # fmt: skip


def _curve(
    base: Candidate, name: str, pruning: LayerPruning, score: Score, price: Price | None
) -> Curve:
    least = lowest(pruning.scheme)
    ratios = sorted({least, *(ratio for ratio in GRID if ratio > least), pruning.ratio})
    points: list[Point] = []
    for ratio in ratios:
        changed = _changed(base, {name: ratio})
        ms = price(changed) if price else None
        points.append(Point(ratio=ratio, ms=ms, psnr_y_db=score(changed)))
    return Curve(layer=name, points=tuple(points))


def _changed(base: Candidate, ratios: Mapping[str, float]) -> Candidate:
    """Return `base` with some other ratios."""
    now = {name: pruning.ratio for name, pruning in base.layers() if pruning != DENSE}
    return with_ratios(base, now | dict(ratios))


def split(base: Candidate, found: Sequence[Curve], price: Price, budget_ms: float) -> Candidate:
    """Return the ratios of the curves, which have milliseconds, that lose least in the budget.

    Errors add up by assumption: each layer's squared error beyond that of `base`.
    """
    base_ms = price(base)
    target_ms = budget_ms
    for _ in range(_TURNS):
        candidate = _changed(base, _best(found, base_ms, target_ms))
        excess_ms = price(candidate) - budget_ms
        if excess_ms <= 0:
            return candidate
        target_ms -= max(excess_ms, budget_ms / _STEPS)
    raise TrainingError(
        f"No split of {budget_ms:g} ms over the layers was found: give a larger budget."
    )


def _best(found: Sequence[Curve], base_ms: float, target_ms: float) -> dict[str, float]:
    """Return the ratios of lowest summed error, by dynamic programming over milliseconds."""
    options = [_options(curve, base_ms) for curve in found]
    floor_ms = base_ms + sum(min(ms for _, ms, _ in one) for one in options)
    unit_ms = max(target_ms - floor_ms, 0.0) / _STEPS
    best = np.zeros(_STEPS + 1)
    chosen: list[np.ndarray[tuple[int], np.dtype[np.intp]]] = []
    for one in options:
        least = min(ms for _, ms, _ in one)
        rows = np.full((len(one), _STEPS + 1), np.inf)
        for row, (_, ms, error) in zip(rows, one, strict=True):
            used = int(np.ceil((ms - least) / unit_ms - 1e-9)) if unit_ms else 0
            if used <= _STEPS and (unit_ms or ms == least):
                row[used:] = best[: _STEPS + 1 - used] + error
        chosen.append(rows.argmin(axis=0))
        best = rows.min(axis=0)
    ratios: dict[str, float] = {}
    left = _STEPS
    for curve, one, choice in reversed(list(zip(found, options, chosen, strict=True))):
        ratio, ms, _ = one[int(choice[left])]
        ratios[curve.layer] = ratio
        least = min(other for _, other, _ in one)
        left -= int(np.ceil((ms - least) / unit_ms - 1e-9)) if unit_ms else 0
    return ratios


def _options(curve: Curve, base_ms: float) -> list[tuple[float, float, float]]:
    """Return (ratio, ms beyond the base, squared error) on a fine grid between the points."""
    rows = [(point.ratio, point.ms or 0.0, point.psnr_y_db) for point in curve.points]
    ratios, ms, psnr_db = np.array(rows).T
    errors = np.maximum.accumulate(10 ** (-psnr_db / 10))  # more is never better: noise aside
    fine = np.unique(np.concatenate([ratios, np.arange(ratios[0], ratios[-1], 0.01)]))
    columns = (
        fine, np.interp(fine, ratios, ms - base_ms), np.interp(fine, ratios, errors - errors[0]),
    )  # fmt: skip
    return [tuple(row) for row in np.stack(columns, axis=1).tolist()]
