"""The stored benchmark as the page shows it."""

from __future__ import annotations

import re

import pytest

from sr_core.latency.savings import with_scheme
from sr_core.network.blocks import Scheme
from sr_core.network.notation import from_text
from sr_core.ui.findings.engine import bench_tables, elsewhere, engine_section, stored_savings
from tests import app_root

BENCH = app_root.engine_bench()


def savings(text: str, scheme: Scheme, ratio: float, threads: int | None = 2) -> dict[str, float]:
    """By runtime."""
    pruned = with_scheme(from_text(text), scheme, ratio)
    found = stored_savings(BENCH, {scheme: pruned}, threads)
    return {runtime: share for (_, runtime), share in found.items()}


def test_rivals_stand_beside_ours_and_each_names_its_runtime() -> None:
    shown = bench_tables(BENCH)
    assert shown.count("<table") == 2 + 1, "two networks, and the frames"
    assert shown.count("<details open>") == 1
    names = re.findall(r"scope=row>([^<]*)<", shown)[: len(BENCH.rows) // 4]
    assert names == [
        "aligned, ONNX Runtime", "int8, ONNX Runtime", "dense, ours", "dense, ONNX Runtime",
        "block, ours", "pattern, ours", "aligned, ONNX Runtime", "unstructured, ours",
        "pattern, ours", "channel, ours", "channel, ONNX Runtime", "block, ours",
    ]  # fmt: skip
    block = shown[shown.index("block, ours") :].partition("</tr>")[0]
    assert re.findall(r">([\d.]+×?)<", block) == ["3.00", "14.0", "4.29×", "7.0", "4.29×"]
    assert "p10 to p90: 12.6 to 16.8 ms, n = 8" in block
    assert "Made-up &lt;processor&gt;" in shown
    for condition in ("AVX9", "ONNX Runtime 9", "2026-01-01", "at least 8 frames", "drifted by 3%"):
        assert condition in shown


def test_a_file_without_surroundings_is_shown_too() -> None:
    bare = BENCH.model_copy(update={"sittings": (), "frames": ()})
    shown = bench_tables(bare)
    assert "drifted" not in shown
    assert "through this app" not in shown


@pytest.mark.parametrize(
    ("scheme", "ratio", "expected"),
    [
        ("block", 0.5, {"sparse": 1 - 14 / 28}),
        ("pattern", 0.75, {"sparse": 1 - 10 / 28}),
        ("unstructured", 0.75, {"sparse": 1 - 18 / 28}),
        ("unstructured", 0.5, {}),
        ("block", 0.4, {}),
    ],
)
def test_savings_are_of_the_same_scheme_and_density(
    scheme: Scheme, ratio: float, expected: dict[str, float]
) -> None:
    assert savings("x4c16_2w", scheme, ratio) == pytest.approx(expected)


@pytest.mark.parametrize("text", ["x4c16_3w", "x4c16_w_r", "x2c16_2w", "x4c32_2w", "x4c16_2s"])
def test_another_network_was_not_measured(text: str) -> None:
    assert savings(text, "block", 0.5) == {}


def test_threads_are_those_of_the_view() -> None:
    assert savings("x4c16_2w", "block", 0.5, threads=7) == {}
    assert savings("x4c16_2w", "block", 0.5, threads=None) == savings("x4c16_2w", "block", 0.5)
    assert "2 threads" in elsewhere(BENCH, None)
    assert "1 thread," in elsewhere(BENCH, 1)


def test_every_instruction_set_and_mnn_stand_side_by_side() -> None:
    """With what was measured of each, and "not measured" for the rest."""
    wide = [row for row in BENCH.rows if row.channels == 24]
    mnn = [
        row.model_copy(update={"runtime": "mnn", "median_ms": 3 * row.median_ms})
        for row in wide
        if row.runtime == "sparse" and (row.scheme, row.density) in {("dense", 1), ("block", 0.25)}
    ]  # fmt: skip
    with_mnn = BENCH.model_copy(
        update={
            "instructions": "AVX-512", "rows": (*BENCH.rows, *mnn),
            "runtimes": {**BENCH.runtimes, "mnn": "MNN 9"},
        }
    )  # fmt: skip
    shown = engine_section([with_mnn, BENCH])
    for title in ("ours, AVX-512", "ours, AVX2", "MNN, measured beside AVX-512"):
        assert f"<th scope=col>{title}" in shown
    first = shown[shown.index("24 channels, 8 wide cells</th><td>block") :].partition("</tr>")[0]
    cells = re.findall(r"<td>([^<]*)</td>", first)
    assert cells == ["block, 25%", "6.67× (9.0 ms)", "6.67× (27.0 ms)", "6.67× (9.0 ms)",
                     "not measured"]  # fmt: skip
    assert "MNN 9 with the same masks on 1 thread: 3.00 (dense, 100% kept), 3.00 (block" in shown
    assert shown.count("<details><summary>All that was timed with AVX") == 2
