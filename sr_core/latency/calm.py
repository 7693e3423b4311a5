"""Whether other programs leave a computer calm enough to be measured."""

from __future__ import annotations

import time
from statistics import median

from sr_core.errors import MeasurementError
from sr_core.latency.timing import Run, timed_ms

LEAST_SHARE = 0.85
"""Of the cores' time that the timed networks must have got. A calm computer gives them 0.93 to 1:
threads do not end at the same moment."""
MOST_VARIATION = 0.3
"""Of one network's slowest frame over its fastest, less 1; median of all networks."""
MOST_DRIFT = 0.25
"""Change of one network's time from the start to the end."""
_REMEDY = "Close other programs and measure again; nothing was stored."


class Watch:
    """Times networks, and notes how much of the cores they got."""

    def __init__(self) -> None:
        self._wanted_s = self._got_s = 0.0
        self._variations: list[float] = []

    def times_ms(self, run: Run, *, threads: int, warm_ups: int, runs: int) -> list[float]:
        """Time `runs` frames after `warm_ups` that do not count. The network uses `threads`."""
        for _ in range(warm_ups):
            run()
        start_s, start_cpu_s = time.perf_counter(), time.process_time()
        times = [timed_ms(run) for _ in range(runs)]
        self._got_s += time.process_time() - start_cpu_s
        self._wanted_s += (time.perf_counter() - start_s) * threads
        self._variations.append(max(times) / min(times) - 1)
        return times

    def require_calm(self) -> None:
        """Raise `MeasurementError` if others took too much of the cores since the last call."""
        wanted_s, got_s, variations = self._wanted_s, self._got_s, self._variations
        self._wanted_s, self._got_s, self._variations = 0.0, 0.0, []
        if not variations:
            return
        if got_s < LEAST_SHARE * wanted_s:
            raise _too_busy(
                f"other programs took {1 - got_s / wanted_s:.0%} of the processor's time"
            )
        if (variation := median(variations)) > MOST_VARIATION:
            raise _too_busy(f"the same network's frames differed by {variation:.0%}")


def require_little_drift(drift: float) -> None:
    """Raise `MeasurementError` if one network's time changed too much during the measurement."""
    if abs(drift) > MOST_DRIFT:
        raise _too_busy(f"the same network's time changed by {drift:+.0%} meanwhile")


def _too_busy(why: str) -> MeasurementError:
    return MeasurementError(f"This computer is too busy to measure: {why}. {_REMEDY}")
