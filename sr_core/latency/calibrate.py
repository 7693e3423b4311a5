"""Fit the coefficients of a device profile to timed networks (or blocks).

Non-negative least squares on relative errors, so that a fast and a slow network count alike and
no layer can come out with a negative time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from sr_core.errors import MeasurementError
from sr_core.latency.estimate import TERMS, kind, work
from sr_core.latency.profile import Costs, Kind, Range
from sr_core.layers import ConvLayer

FOLDS = 5
CHANNEL_STEPS = (1, 4, 8, 16, 32)
_KINDS: tuple[Kind, ...] = ("conv1x1", "conv3x3", "conv5x5")
_CONSTANTS = ("launch_ms", "ms_per_mpx")
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Sample:
    """Convolutions that ran together, and how long they took."""

    layers: Sequence[ConvLayer]
    ms: float


def fit_costs(
    samples: Sequence[Sample], channel_step: int, *, one_constant: bool = False
) -> dict[Kind, Costs]:
    """Coefficients per kind of convolution; a kind without samples costs nothing.

    `one_constant`: every kind gets the same `launch_ms` and `ms_per_mpx`, for samples that all
    have as many layers of each kind and so cannot tell whose constant it is.
    """
    times = np.array([sample.ms for sample in samples])
    matrix = _work_matrix(samples, channel_step) / times[:, None, None]
    tied = [TERMS.index(term) for term in _CONSTANTS] if one_constant else []
    for term in tied:
        matrix[:, 0, term] = matrix[:, :, term].sum(axis=1)
        matrix[:, 1:, term] = 0
    solution, _ = nnls(matrix.reshape(len(times), -1), np.ones(len(times)))
    table = solution.reshape(len(_KINDS), len(TERMS))
    for term in tied:
        table[:, term] = table[0, term]
    rows = table.tolist()
    return {
        name: Costs(**{term: float(f"{value:.5g}") for term, value in zip(TERMS, row, strict=True)})
        for name, row in zip(_KINDS, rows, strict=True)
    }


def held_out_errors(
    samples: Sequence[Sample], channel_step: int, *, one_constant: bool = False
) -> Floats:
    """log(predicted / true) of every sample, by a fit that did not see its fold of `FOLDS`."""
    if len(samples) < 2 * FOLDS:
        raise MeasurementError(
            f"Only {len(samples)} timings: a latency model needs at least {2 * FOLDS}."
        )
    errors = np.empty(len(samples))
    for fold in range(FOLDS):
        rest = [sample for i, sample in enumerate(samples) if i % FOLDS != fold]
        held = samples[fold::FOLDS]
        costs = fit_costs(rest, channel_step, one_constant=one_constant)
        errors[fold::FOLDS] = log_errors(held, costs, channel_step)
    return errors


def log_errors(samples: Sequence[Sample], costs: dict[Kind, Costs], channel_step: int) -> Floats:
    """log(predicted / true) of every sample."""
    table = np.array([[getattr(costs[name], term) for term in TERMS] for name in _KINDS])
    predicted = (_work_matrix(samples, channel_step) * table).sum(axis=(1, 2))
    return np.log(predicted / np.array([sample.ms for sample in samples]))


def best_channel_step(samples: Sequence[Sample]) -> int:
    """The step of `CHANNEL_STEPS` that predicts unseen samples best; the smaller if equal."""
    errors = [np.abs(held_out_errors(samples, step)).mean() for step in CHANNEL_STEPS]
    return CHANNEL_STEPS[int(np.argmin(errors))]


def mape_percent(errors: Floats) -> float:
    """Mean absolute percentage error of log errors."""
    return float(np.abs(np.expm1(errors)).mean() * 100)


def spread_factor(errors: Floats, confidence: float) -> float:
    """The factor f for which ms / f .. ms * f holds a new sample with `confidence`.

    The conformal quantile: of n errors the ceil((n + 1) confidence)-th smallest.
    """
    ordered = np.sort(np.abs(errors))
    rank = min(len(ordered), int(np.ceil((len(ordered) + 1) * confidence)))
    return float(np.exp(ordered[rank - 1]))


def channel_ranges(samples: Sequence[Sample]) -> dict[Kind, tuple[Range, Range]]:
    """Lowest and highest input and output channels per kind of convolution."""
    seen: dict[Kind, list[tuple[int, int]]] = {}
    for sample in samples:
        for layer in sample.layers:
            seen.setdefault(kind(layer), []).append((layer.in_channels, layer.out_channels))
    return {
        name: (
            (min(i for i, _ in pairs), max(i for i, _ in pairs)),
            (min(o for _, o in pairs), max(o for _, o in pairs)),
        )
        for name, pairs in sorted(seen.items())
    }


def _work_matrix(samples: Sequence[Sample], channel_step: int) -> Floats:
    """(samples, kinds, terms): how often each coefficient counts."""
    matrix = np.zeros((len(samples), len(_KINDS), len(TERMS)))
    for row, sample in enumerate(samples):
        for layer in sample.layers:
            matrix[row, _KINDS.index(kind(layer))] += work(layer, channel_step)
    return matrix
