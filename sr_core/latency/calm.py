"""Whether other programs leave a computer calm enough to be measured."""

from __future__ import annotations

import time
from collections.abc import Sequence

from scipy.special import bdtr

from sr_core.errors import MeasurementError
from sr_core.latency.timing import Run, timed_ms

LEAST_SHARE = 0.85
"""Of the cores' time that the timed networks must have got. On a calm computer they get 0.92 to 1:
threads do not end at the same moment."""
_DIFFERENT = 0.2
"""Two times of one network that differ by this share show a disturbance."""
MOST_DIFFERENT = 0.3
"""Share of the networks whose two times may differ. The faster one counts, so that a few do no
harm; with more, both times of some network are disturbed."""
UNLIKELY = 0.01
"""Chance of a coverage so low, with a fit that holds, below which it does not hold."""
_REMEDY = "Close other programs and measure again; nothing was stored."


class Watch:
    """Times networks, and notes how much of the cores they got."""

    def __init__(self) -> None:
        self._wanted_s = self._got_s = 0.0

    def times_ms(self, run: Run, *, threads: int, warm_ups: int, runs: int) -> list[float]:
        """Time `runs` frames after `warm_ups` that do not count. The network uses `threads`."""
        for _ in range(warm_ups):
            run()
        start_s, start_cpu_s = time.perf_counter(), time.process_time()
        times = [timed_ms(run) for _ in range(runs)]
        self._got_s += time.process_time() - start_cpu_s
        self._wanted_s += (time.perf_counter() - start_s) * threads
        return times

    def require_cores(self) -> None:
        """Raise `MeasurementError` if others took too much of the cores since the last call."""
        wanted_s, got_s = self._wanted_s, self._got_s
        self._wanted_s = self._got_s = 0.0
        if got_s < LEAST_SHARE * wanted_s:
            raise _too_busy(
                f"other programs took {1 - got_s / wanted_s:.0%} of the processor's time"
            )


def require_agreement(changes: Sequence[float]) -> None:
    """Raise `MeasurementError` if too many networks took another time when timed again.

    That is also seen where another computer takes the time, such as the host of a virtual one.
    `changes`: of each network's time from the first to the second, as a share of the faster.
    """
    different = sum(abs(change) > _DIFFERENT for change in changes) / len(changes)
    if different > MOST_DIFFERENT:
        raise _too_busy(
            f"{different:.0%} of the networks took {_DIFFERENT:.0%} more or less time when timed "
            "again"
        )


def require_prediction(inside: int, unseen: int, confidence: float) -> None:
    """Raise `MeasurementError` if far too few unseen networks lie inside the fit's interval.

    That is seen where a computer changes between the probes and the check. Were it the fit, the
    probes would have made the interval wide.
    """
    if bdtr(inside, unseen, confidence) < UNLIKELY:
        raise _too_busy(
            f"of {unseen} unseen networks only {inside} took a time inside the fit's "
            f"{confidence:.0%} interval"
        )


def _too_busy(why: str) -> MeasurementError:
    return MeasurementError(f"This computer is too busy to measure: {why}. {_REMEDY}")
