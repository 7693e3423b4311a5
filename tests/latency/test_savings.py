"""What a scheme saves: in theory, by the model, and timed in turns."""

from __future__ import annotations

from typing import Any

import pytest

from sr_core.engine.library import Library
from sr_core.latency import savings as module
from sr_core.latency.savings import SchemeTiming, scheme_rows, time_schemes, with_scheme
from sr_core.latency.timing import Run
from sr_core.network.blocks import Scheme
from sr_core.network.notation import from_text, to_text
from tests import tiny
from tests.search.profiles import device, on_engine

RATIOS: dict[Scheme, float] = {"channel": 0.5, "block": 0.5, "unstructured": 0.5}


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


def test_both_runtimes_are_timed_in_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """What runs in which order; each timed frame follows an untimed one."""
    ran: list[tuple[str, str]] = []

    def ready(network: Any, library: Any, **_: object) -> Run:
        return lambda: ran.append((library or "onnx", to_text(network.candidate)))

    monkeypatch.setattr(module, "ready", ready)
    monkeypatch.setattr("sr_core.latency.timing.PAUSE_S", 0)
    engine: Any = "engine"
    ratios: dict[Scheme, float] = {"block": 0.5}
    candidate = from_text("x4c16_2w")
    timings = time_schemes(tiny.supernet(4), candidate, ratios, library=engine, threads=1, runs=2)
    dense, block = "x4c16_2w", "x4c16_2wb50b50b50"
    turn = [("engine", dense), ("onnx", dense), ("engine", block), ("onnx", block)]
    assert ran == [one for one in turn for _ in range(2)] * 2
    assert [(t.runtime_id, t.scheme) for t in timings] == [("sparse", "block"), ("onnx", "block")]


def test_real_timings_of_both_runtimes(library: Library) -> None:
    ratios: dict[Scheme, float] = {"block": 0.5}
    timings = time_schemes(
        tiny.supernet(4), from_text("x4c16_2w"), ratios, library=library, threads=1,
        output=(64, 64), runs=1,
    )  # fmt: skip
    assert {timing.runtime_id for timing in timings} == {"sparse", "onnx"}
    assert all(timing.median_ms > 0 for timing in timings)


def test_a_row_holds_theory_model_and_measurement() -> None:
    candidate = from_text("x4c16_6w")
    timings = [
        SchemeTiming("block", 0.5, 6.0, 10.0, 5, "sparse"),
        SchemeTiming("block", 0.5, 20.0, 20.0, 5, "onnx"),
        SchemeTiming("channel", 0.5, 7.0, 10.0, 5, "sparse"),
    ]
    profiles = [on_engine("engine"), device("onnx", sparse=False), device("phone")]
    rows = {row.scheme: row for row in scheme_rows(candidate, RATIOS, profiles, timings, threads=2)}
    assert list(rows) == list(RATIOS)
    block, unstructured = rows["block"], rows["unstructured"]
    assert 0.3 < block.macs_share < 0.5
    assert unstructured.macs_share == pytest.approx(block.macs_share, abs=0.01)
    assert {name: t.saved_share for name, t in block.measured.items()} == pytest.approx(
        {"sparse": 0.4, "onnx": 0.0}
    )
    assert unstructured.measured == {}
    saving = block.modelled["engine"]
    assert 0.1 < saving.low < saving.share < saving.high < 0.6
    assert unstructured.modelled["engine"].share < saving.share
    for scheme in ("block", "unstructured"):
        nothing = rows[scheme].modelled["onnx"]
        assert (nothing.share, nothing.low, nothing.high) == (0, 0, 0)
    assert rows["channel"].modelled["onnx"].share > 0
    phone = block.modelled["phone"]
    assert phone.low < phone.share < phone.high


def test_a_thread_count_that_a_profile_has_not_is_its_default() -> None:
    candidate = from_text("x4c16_2w")
    found = [
        scheme_rows(candidate, RATIOS, [on_engine()], threads=threads)[1].modelled
        for threads in (2, 7, None)
    ]
    assert found[0] == found[1] == found[2]
