"""Fit the coefficients of a device profile to timed networks (or blocks).

Non-negative least squares on relative errors, so that a fast and a slow network count alike and
no layer can come out with a negative time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from sr_core.errors import MeasurementError
from sr_core.latency.profile import Costs, Kind, Range
from sr_core.latency.work import TERMS, Workload, dense, engine, kind
from sr_core.network.layers import ConvLayer

FOLDS = 5
CHANNEL_STEPS = (1, 4, 8, 16, 32)
NEAR_MIB = (0.25, 0.35, 0.5, 0.7, 1.0, 1.4, 1.7, 2.0, 2.8)
_KINDS: tuple[Kind, ...] = ("conv1x1", "conv3x3", "conv5x5")
Floats = NDArray[np.float64]
Option = TypeVar("Option", int, tuple[int, float])
Ties = Literal["none", "constants", "large kernels"]
"""Coefficients that are one unknown of the fit:

- constants: every kind has the same `launch_ms` and `ms_per_mpx`, for samples that all have as
  many layers of each kind and so cannot tell whose constant it is;
- large kernels: 5x5 costs what 3x3 costs, but for its `ms_per_mpx_out` (the pixel shuffle), for a
  runtime that has one kernel for both. Every network has one 5x5, so samples cannot tell it apart.
"""


@dataclass(frozen=True)
class Sample:
    """Convolutions that ran together, and how long they took."""

    layers: Sequence[ConvLayer]
    ms: float


def fit_costs(samples: Sequence[Sample], work: Workload, ties: Ties = "none") -> dict[Kind, Costs]:
    """Fit coefficients per kind of convolution. A kind without samples costs nothing."""
    times = np.array([sample.ms for sample in samples])
    relative = _work_matrix(samples, work) / times[:, None]
    unknowns = _unknowns(ties)
    expansion = np.eye(unknowns.size)[unknowns.ravel()]  # (coefficients, unknowns)
    solution, _ = nnls(relative @ expansion, np.ones(len(times)))
    rows = solution[unknowns].tolist()
    return {
        name: Costs(**{term: float(f"{value:.5g}") for term, value in zip(TERMS, row, strict=True)})
        for name, row in zip(_KINDS, rows, strict=True)
    }


def _unknowns(ties: Ties) -> NDArray[np.intp]:
    """Return (kinds, terms): which unknown of the fit each coefficient is."""
    unknowns = np.arange(len(_KINDS) * len(TERMS)).reshape(len(_KINDS), len(TERMS))
    if ties == "constants":
        for term in ("launch_ms", "ms_per_mpx"):
            unknowns[:, TERMS.index(term)] = unknowns[0, TERMS.index(term)]
    elif ties == "large kernels":
        own = TERMS.index("ms_per_mpx_out")
        small, large = _KINDS.index("conv3x3"), _KINDS.index("conv5x5")
        unknowns[large, :own], unknowns[large, own + 1 :] = (
            unknowns[small, :own], unknowns[small, own + 1 :],
        )  # fmt: skip
    return unknowns


def held_out_errors(samples: Sequence[Sample], work: Workload, ties: Ties = "none") -> Floats:
    """Return log(predicted / true) of every sample.

    Each is predicted by a fit that did not see its fold of `FOLDS`.
    """
    if len(samples) < 2 * FOLDS:
        raise MeasurementError(
            f"Only {len(samples)} timings: a latency model needs at least {2 * FOLDS}."
        )
    errors = np.empty(len(samples))
    for fold in range(FOLDS):
        rest = [sample for i, sample in enumerate(samples) if i % FOLDS != fold]
        fold_samples = samples[fold::FOLDS]
        errors[fold::FOLDS] = log_errors(fold_samples, fit_costs(rest, work, ties), work)
    return errors


def log_errors(samples: Sequence[Sample], costs: dict[Kind, Costs], work: Workload) -> Floats:
    """Return log(predicted / true) of every sample."""
    table = np.array([getattr(costs[name], term) for name in _KINDS for term in TERMS])
    predicted_ms = _work_matrix(samples, work) @ table
    return np.log(predicted_ms / np.array([sample.ms for sample in samples]))


def best_channel_step(samples: Sequence[Sample]) -> int:
    """Return the step of `CHANNEL_STEPS` that predicts unseen samples best.

    Of equal ones it is the smallest.
    """
    return _best(samples, {step: dense(step) for step in CHANNEL_STEPS})


def best_engine(
    samples: Sequence[Sample], threads: int, column_steps: Sequence[int]
) -> tuple[int, float]:
    """Return the column step and the size of `NEAR_MIB` that predict unseen samples best.

    `column_steps`: a vector and a chunk of the engine's library. Which one fits tells what a part
    of a chunk costs: its share, or up to all of it.
    """
    works = {(step, mib): engine(threads, step, mib) for step in column_steps for mib in NEAR_MIB}
    return _best(samples, works, "large kernels")


def _best(
    samples: Sequence[Sample], works: Mapping[Option, Workload], ties: Ties = "none"
) -> Option:
    errors = {
        option: np.abs(held_out_errors(samples, work, ties)).mean()
        for option, work in works.items()
    }
    return min(errors, key=lambda option: errors[option])


def mape_percent(errors: Floats) -> float:
    """Return the mean absolute percentage error of log errors."""
    return float(np.abs(np.expm1(errors)).mean() * 100)


def spread_factor(errors: Floats, confidence: float) -> float:
    """Return the factor f for which ms / f .. ms * f holds a new sample with `confidence`.

    It is the conformal quantile: of n errors the ceil((n + 1) confidence)-th smallest.
    """
    ordered = np.sort(np.abs(errors))
    rank = min(len(ordered), int(np.ceil((len(ordered) + 1) * confidence)))
    return float(np.exp(ordered[rank - 1]))


def channel_ranges(samples: Sequence[Sample]) -> dict[Kind, tuple[Range, Range]]:
    """Return the lowest and highest input and output channels per kind of convolution."""
    channels: dict[Kind, list[tuple[int, int]]] = {}
    for sample in samples:
        for layer in sample.layers:
            channels.setdefault(kind(layer), []).append((layer.in_channels, layer.out_channels))
    return {
        name: (
            (min(i for i, _ in pairs), max(i for i, _ in pairs)),
            (min(o for _, o in pairs), max(o for _, o in pairs)),
        )
        for name, pairs in sorted(channels.items())
    }


def _work_matrix(samples: Sequence[Sample], work: Workload) -> Floats:
    """Return (samples, kinds x terms): how often each coefficient counts."""
    matrix = np.zeros((len(samples), len(_KINDS), len(TERMS)))
    for row, sample in enumerate(samples):
        for layer, times in zip(sample.layers, work(sample.layers), strict=True):
            matrix[row, _KINDS.index(kind(layer))] += times
    return matrix.reshape(len(samples), -1)
