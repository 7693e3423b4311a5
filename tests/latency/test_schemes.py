"""What a scheme really saves: networks timed in turns."""

from __future__ import annotations

import pytest

from sr_core.candidate import Scheme
from sr_core.latency.schemes import SchemeTiming, time_schemes, with_scheme
from sr_core.notation import from_text, to_text
from tests import tiny


@pytest.mark.parametrize(
    ("scheme", "ratio", "expected"),
    [
        ("dense", 0.0, "x4c16_w_s"),
        ("block", 0.5, "x4c16_wb50b50b50_s"),
        ("channel", 0.5, "x4c16_wc50c50d_s"),
        ("pattern", 0.6, "x4c16_wb60b60p60_s"),
    ],
)
def test_a_scheme_replaces_all_pruning_and_keeps_the_blocks(
    scheme: Scheme, ratio: float, expected: str
) -> None:
    assert to_text(with_scheme(from_text("x4c16_wu20u30p70_s_tb50"), scheme, ratio)) == expected


def test_every_scheme_is_timed_against_the_same_dense_network() -> None:
    candidate = from_text("x4c16_2w")
    ratios: dict[Scheme, float] = {"channel": 0.5, "block": 0.5}
    timings = time_schemes(tiny.supernet(4), candidate, ratios, threads=1, output=(64, 64), runs=3)
    assert [timing.scheme for timing in timings] == ["channel", "block"]
    assert {timing.runs for timing in timings} == {3}
    assert len({timing.dense_median_ms for timing in timings}) == 1
    assert all(timing.median_ms > 0 for timing in timings)


@pytest.mark.parametrize(("median_ms", "saved"), [(5.0, 0.5), (10.0, 0.0), (12.0, -0.2)])
def test_the_saved_share_may_be_negative(median_ms: float, saved: float) -> None:
    timing = SchemeTiming("block", 0.5, median_ms, 10.0, 3)
    assert timing.saved_share == pytest.approx(saved)
