"""A sitting: several calls timed in turns, A B C, A B C, ..., so that drift hits all alike.

ONNX Runtime's threads go on spinning for a while after a run and slow down whoever is next (1.6
times, seen with two threads), so each visit to a call starts with a pause and a run that does not
count.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TypedDict

import numpy as np

PAUSE_S = 0.025
WARM_UPS, RUNS_PER_VISIT = 1, 2
DISTURBED = 0.1
"""Drift of a sitting that something else must have caused: it is repeated once."""
Call = Callable[[], object]


@dataclass(frozen=True)
class Elapsed:
    """What a call returns that was timed where it ran: in another process."""

    ms: float


class Times(TypedDict):
    """What results say of the times of one call."""

    median_ms: float
    p10_ms: float
    p90_ms: float
    n: int


def interleaved(
    calls: Sequence[Call], seconds: float, rounds: int, between: Call = lambda: None
) -> list[list[float]]:
    """Time every call, in ms: at least so many rounds, more until the time is up.

    `between` is called once a round, before all others.
    """
    for call in calls:
        call()  # memory, caches and tables of the first run
    times_ms: list[list[float]] = [[] for _ in calls]
    end, done = time.monotonic() + seconds, 0
    while done < rounds or time.monotonic() < end:
        time.sleep(PAUSE_S)
        between()
        for call, times in zip(calls, times_ms, strict=True):
            times += _visit(call)
        done += 1
    return times_ms


def _visit(call: Call) -> list[float]:
    time.sleep(PAUSE_S)
    times_ms: list[float] = []
    for _ in range(WARM_UPS + RUNS_PER_VISIT):
        start = time.perf_counter()
        result = call()
        took_ms = (time.perf_counter() - start) * 1e3
        times_ms.append(result.ms if isinstance(result, Elapsed) else took_ms)
    return times_ms[WARM_UPS:]


def drift(times_ms: Sequence[float]) -> float:
    """Return the change of the median from the first half to the second."""
    half = len(times_ms) // 2
    return median(times_ms[half:]) / median(times_ms[:half]) - 1


def summary(times_ms: Sequence[float]) -> Times:
    """Return the median, the 10th and the 90th percentile, and the number of times."""
    p10_ms, p90_ms = np.percentile(times_ms, [10, 90]).tolist()
    return {"median_ms": median(times_ms), "p10_ms": p10_ms, "p90_ms": p90_ms, "n": len(times_ms)}
