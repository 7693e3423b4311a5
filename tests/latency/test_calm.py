"""A busy computer is told from a calm one, on a made-up clock."""

from __future__ import annotations

import re
from collections.abc import Sequence
from types import SimpleNamespace

import pytest

from sr_core.errors import MeasurementError
from sr_core.latency import calm, timing
from sr_core.latency.calm import LEAST_SHARE, Watch, require_agreement, require_prediction


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
    watch.require_cores()
    computer.measure(watch, [90, 10, 10], share=1, threads=threads)
    computer.measure(watch, [90, 30, 30], share=0.6, threads=threads)
    with pytest.raises(MeasurementError, match=r"busy to measure: other programs took 30% of the"):
        watch.require_cores()
    watch.require_cores()  # what was found counts once


def test_networks_whose_two_times_differ_are_a_sign_too() -> None:
    """Where another computer takes the time, as from a virtual one, this one cannot tell."""
    require_agreement([0.0])
    require_agreement([0.19, -0.19, 0.19])
    require_agreement([0.0] * 7 + [0.5, -0.5, 2.0])
    with pytest.raises(MeasurementError) as error:
        require_agreement([0.0] * 6 + [0.3, 0.5, -0.5, 2.0])
    assert str(error.value) == (
        "This computer is too busy to measure: 40% of the networks took 20% more or less time when "
        "timed again. Close other programs and measure again; nothing was stored."
    )


@pytest.mark.parametrize(("inside", "unseen"), [(8, 12), (6, 9), (31, 40), (0, 1)])
def test_a_coverage_that_may_be_chance_is_no_sign(inside: int, unseen: int) -> None:
    require_prediction(inside, unseen, 0.9)


@pytest.mark.parametrize(("inside", "unseen"), [(7, 12), (5, 9), (30, 40), (0, 3)])
def test_a_fit_that_does_not_predict_is_one(inside: int, unseen: int) -> None:
    expected = (
        f"This computer is too busy to measure: of {unseen} unseen networks only {inside} took a "
        "time inside the fit's 90% interval. Close other programs and measure again; nothing was "
        "stored."
    )
    with pytest.raises(MeasurementError, match=f"^{re.escape(expected)}$"):
        require_prediction(inside, unseen, 0.9)
