"""The accuracy-latency front: dominance, hypervolume, knee.

Cost (ms, GMACs) is to be low and value (dB) high. All functions take two equally long vectors of
finite numbers; `SearchError` otherwise.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr

from sr_core.errors import SearchError

Vector = NDArray[np.float64]


def non_dominated(cost: ArrayLike, value: ArrayLike) -> NDArray[np.bool_]:
    """Return the mask of the points on the front, in O(n log n).

    A point is dominated if another one is at least as good in both and better in one. Equal
    points do not dominate each other: all of them are kept.
    """
    costs, values = _vectors(cost, value)
    order = np.lexsort((-values, costs))  # by cost, the best value first
    sorted_costs, sorted_values = costs[order], values[order]
    first = np.searchsorted(sorted_costs, sorted_costs)  # of those with the same cost
    best_so_far = np.maximum.accumulate(sorted_values)
    cheaper = np.concatenate(([-np.inf], best_so_far))[first]
    mask = np.zeros(costs.size, dtype=np.bool_)
    mask[order] = (sorted_values > cheaper) & (sorted_values == sorted_values[first])
    return mask


def hypervolume(cost: ArrayLike, value: ArrayLike, reference: tuple[float, float]) -> float:
    """Return the area (cost unit times value unit) that the points dominate.

    Args:
        reference: (cost, value) that is worse than what counts: points that cost as much or
            more, or whose value is not above it, add nothing.
    """
    costs, values = _vectors(cost, value)
    worst_cost, worst_value = reference
    counts = (costs < worst_cost) & (values > worst_value)
    if not counts.any():
        return 0.0
    order = np.argsort(costs[counts])
    heights = np.maximum.accumulate(values[counts][order]) - worst_value
    widths = np.diff(costs[counts][order], append=worst_cost)
    return float(widths @ heights)


def expected_gain(
    cost: ArrayLike,
    guess: tuple[Vector, Vector],
    known_points: tuple[ArrayLike, ArrayLike],
    reference: tuple[float, float],
) -> Vector:
    """Return the expected growth of the hypervolume by each of some points.

    A point's cost c is exact and its value normal, so between c and the reference cost it adds
    what it rises above the staircase of the known points. With h(x) as that staircase's height,

        gain(c) = integral of EI(mean, std, h(x)) dx from c to the reference cost
                = sum over its steps of (width right of c) EI(mean, std, height),
        EI(m, s, h) = (m - h) Phi((m - h) / s) + s phi((m - h) / s).

    Args:
        cost: costs of the points, exact.
        guess: means and standard deviations (above 0) of their values.
        known_points: costs and values.
        reference: as for `hypervolume`. A point that costs as much or more gains nothing.
    """
    worst_cost, worst_value = reference
    costs, (mean, std) = np.asarray(cost, dtype=np.float64), guess
    known_costs, known_values = _vectors(*known_points)
    counts = (known_costs < worst_cost) & (known_values > worst_value)
    known_costs, known_values = known_costs[counts], known_values[counts]
    steps = non_dominated(known_costs, known_values)
    order = np.argsort(known_costs[steps], kind="stable")
    starts = np.concatenate(([-np.inf], known_costs[steps][order]))
    heights = np.concatenate(([worst_value], known_values[steps][order]))
    ends = np.append(starts[1:], worst_cost)
    widths = np.clip(ends - np.maximum(starts, costs[:, None]), 0, None)
    rise = mean[:, None] - heights
    z = rise / std[:, None]
    normal = np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi)
    return (widths * (rise * ndtr(z) + std[:, None] * normal)).sum(axis=1)


def knee(cost: ArrayLike, value: ArrayLike) -> int:
    """Return the index of the front point where a further gain starts to cost more than before.

    The front is scaled to 0..1 in both directions. The knee is the point farthest above the
    chord from its cheapest to its best point. Ties, and fronts without a bulge, give the
    cheapest.
    """
    costs, values = _vectors(cost, value)
    if costs.size == 0:
        raise SearchError("A knee needs at least one point, got none.")
    front = np.flatnonzero(non_dominated(costs, values))
    front = front[np.argsort(costs[front], kind="stable")]
    bulge = _unit(values[front]) - _unit(costs[front])
    return int(front[bulge.argmax()])


def best_under(cost: ArrayLike, value: ArrayLike, budget: float) -> int | None:
    """Return the index of the highest value that costs at most `budget`, or None.

    Of equal values the cheapest wins.
    """
    costs, values = _vectors(cost, value)
    affordable = np.flatnonzero(costs <= budget)
    if not affordable.size:
        return None
    order = np.lexsort((costs[affordable], -values[affordable]))
    return int(affordable[order[0]])


def _unit(values: Vector) -> Vector:
    """Scale to 0..1, or to all 0 if they are equal."""
    span = np.ptp(values)
    return (values - values.min()) / span if span > 0 else np.zeros_like(values)


def _vectors(cost: ArrayLike, value: ArrayLike) -> tuple[Vector, Vector]:
    costs, values = np.asarray(cost, dtype=np.float64), np.asarray(value, dtype=np.float64)
    if costs.ndim != 1 or costs.shape != values.shape:
        raise SearchError(
            f"Cost and value must be vectors of one length, got {costs.shape} and {values.shape}."
        )
    if not (np.isfinite(costs).all() and np.isfinite(values).all()):
        raise SearchError("Cost and value must be finite: leave out what was not measured.")
    return costs, values
