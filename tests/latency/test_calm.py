"""A busy computer is told from a calm one, on a made-up clock."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace

import pytest

from sr_core.errors import MeasurementError
from sr_core.latency import calm, timing
from sr_core.latency.calm import LEAST_SHARE, MOST_DRIFT, Watch, require_little_drift


class Computer:
    """A clock, and frames on it that get a share of the cores."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.now_s = self.cpu_s = 0.0
        clock = SimpleNamespace(perf_counter=lambda: self.now_s, process_time=lambda: self.cpu_s)
        patch.setattr(calm, "time", clock)
        patch.setattr(timing, "time", clock)

    def measure(
        self, watch: Watch, frames_ms: Sequence[float], *, share: float = 1.0, threads: int = 2
    ) -> list[float]:
        times = iter(frames_ms)

        def run() -> None:
            took_s = next(times) / 1e3
            self.now_s += took_s
            self.cpu_s += took_s * threads * share

        return watch.times_ms(run, threads=threads, warm_ups=1, runs=len(frames_ms) - 1)


@pytest.fixture
def computer(monkeypatch: pytest.MonkeyPatch) -> Computer:
    return Computer(monkeypatch)


def test_frames_after_the_warm_up_are_timed(computer: Computer) -> None:
    assert computer.measure(Watch(), [900, 7, 3, 5]) == pytest.approx([7, 3, 5])


@pytest.mark.parametrize("threads", [1, 2])
def test_a_computer_whose_cores_others_take_is_too_busy(computer: Computer, threads: int) -> None:
    watch = Watch()
    computer.measure(watch, [90, 10, 10], share=LEAST_SHARE + 0.01, threads=threads)
    watch.require_calm()
    computer.measure(watch, [90, 10, 10], share=1, threads=threads)
    computer.measure(watch, [90, 30, 30], share=0.6, threads=threads)
    with pytest.raises(MeasurementError, match=r"busy to measure: other programs took 30% of the"):
        watch.require_calm()
    watch.require_calm()  # what was found counts once


def test_frames_that_differ_are_a_sign_too(computer: Computer) -> None:
    """Where another computer takes the time, as from a virtual one, this one cannot tell."""
    watch = Watch()
    for frames in ([9, 10, 11, 12], [9, 10, 10, 10], [9, 10, 100, 10]):
        computer.measure(watch, frames)
    watch.require_calm()  # the median network
    for frames in ([9, 10, 15, 11], [9, 10, 14, 10], [9, 10, 10, 10]):
        computer.measure(watch, frames)
    with pytest.raises(MeasurementError) as error:
        watch.require_calm()
    assert str(error.value) == (
        "This computer is too busy to measure: the same network's frames differed by 40%. Close "
        "other programs and measure again; nothing was stored."
    )


@pytest.mark.parametrize("sign", [-1, 1])
def test_drift(sign: int) -> None:
    require_little_drift(sign * (MOST_DRIFT - 0.01))
    with pytest.raises(MeasurementError, match=r"changed by .26% meanwhile\. Close other"):
        require_little_drift(sign * (MOST_DRIFT + 0.01))
