"""HTML of the stored benchmarks: our engine beside ONNX Runtime and MNN, each instruction set.

Pure functions, no Gradio.
"""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from statistics import median

from sr_core.network.blocks import Scheme
from sr_core.network.candidate import Candidate
from sr_core.network.layers import describe
from sr_core.report.engine import NAMES, bench_facts, comparison_table, threads_text
from sr_core.results.engine import EngineBench, EngineRow
from sr_core.results.record import Runtime
from sr_core.ui.findings import sections

_HEADING = "How fast is our engine beside ONNX Runtime and MNN?"
_SAME_DENSITY = 0.02
_OPEN = (4, 24, 8, "wide")
"""Scale, channels, cells and block of the network whose table is open."""
_READING = (
    "Time of one frame. All cells alike, with random weights; head, tail and input skip dense. "
    "“Kept” is the share of the cells' weights. “Aligned” is another dense network whose widths "
    "are multiples of 16, which is what ONNX Runtime computes in; “int8” the dense network in 8 "
    "bits. “Faster” compares with ONNX Runtime on the dense network. Speed is not quality: which "
    "of two equally fast networks is the better one, Explore shows."
)


def engine_section(benches: Sequence[EngineBench]) -> str:
    """Show what every instruction set came to, side by side, and all that was timed."""
    comparison = sections.markdown_table(_HEADING, comparison_table(benches))
    facts = "".join(
        f"<li>{html.escape(fact).replace('`', '')}</li>"
        for bench in benches
        for fact in bench_facts(bench)
    )
    more = "".join(
        f"<details><summary>All that was timed with {html.escape(bench.instructions)}</summary>"
        f"{bench_tables(bench)}</details>"
        for bench in benches
    )
    about = (
        "Times as fast as dense ONNX Runtime in the same sitting, on one thread; in brackets the "
        "median of one 1280×720 frame. MNN runs the same networks with the same masks. The "
        "instruction sets were measured on different computers: compare their ratios, not their "
        "milliseconds. Measured by: python -m sr_core bench engine --peers."
    )
    names = " and ".join(bench.instructions for bench in benches)
    result = f"Measured with {names}; what it came to:"
    return sections.section(_HEADING, result, f"<ul>{facts}</ul>{comparison}", about, more=more)


def bench_tables(bench: EngineBench) -> str:
    """Return a table for each network, and the conditions of the measurement."""

    def network(row: EngineRow) -> tuple[int, int, int, str]:
        return -row.scale, row.channels, row.cells, row.block

    rows = sorted(bench.rows, key=network)
    tables = "".join(
        f"<details{' open' if (-scale, channels, cells, block) == _OPEN else ''}><summary>"
        f"×{-scale}, {channels} channels, {cells} {html.escape(block)} cells</summary>"
        f"{_table(list(group))}</details>"
        for (scale, channels, cells, block), group in groupby(rows, network)
    )
    return (
        f"<p class='origin'><em class='mark measured'>measured</em> {_READING}</p>"
        f"{tables}{_frames(bench)}<p class='origin'>{html.escape(_conditions(bench))}</p>"
    )


def _conditions(bench: EngineBench) -> str:
    fewest = min(row.n for row in bench.rows)
    calm = ""
    if bench.sittings:
        peak = median(sitting.peak_gflops_per_core for sitting in bench.sittings)
        drift = max(abs(sitting.drift) for sitting in bench.sittings)
        calm = (
            f" One core multiplies and adds {peak:.0f} GFLOP/s at most; during one network's runs "
            f"the machine drifted by {drift:.0%} at most."
        )
    return (
        f"{bench.processor}, {bench.cores} cores; {', '.join(bench.runtimes.values())}; library "
        f"{bench.library_sha256[:8]}; {bench.precision}; "
        f"{bench.output[0]}×{bench.output[1]} output, batch 1; {bench.date}. Medians of at "
        f"least {fewest} frames, networks in turns.{calm} Measured by: python -m sr_core "
        f"bench engine. {bench.handicap}"
    )


def _table(rows: Sequence[EngineRow]) -> str:
    threads = sorted({row.threads for row in rows})
    heads = "".join(
        f"<th scope=col>{threads_text(n)}, ms</th><th scope=col>faster</th>" for n in threads
    )
    return (
        "<table class='scores'><thead><tr><th scope=col>Network</th><th scope=col>Kept</th>"
        f"<th scope=col>GMACs</th>{heads}</tr></thead>"
        f"<tbody>{''.join(_lines(rows))}</tbody></table>"
    )


def _lines(rows: Sequence[EngineRow]) -> Iterator[str]:
    """Yield a row per network and runtime, its thread counts side by side.

    Rivals of like size meet.
    """

    def network(row: EngineRow) -> tuple[float, str, str]:
        return row.density, row.scheme, row.runtime

    for _, same in groupby(sorted(rows, key=network, reverse=True), network):
        by_threads = sorted(same, key=lambda row: row.threads)
        first = by_threads[0]
        times = "".join(
            f"<td title='p10 to p90: {row.p10_ms:.1f} to {row.p90_ms:.1f} ms, n = {row.n}'>"
            f"{row.median_ms:.1f}</td><td>{row.ratio_vs_ort_dense:.2f}×</td>"
            for row in by_threads
        )
        yield (
            f"<tr><th scope=row>{first.scheme}, {NAMES[first.runtime]}</th>"
            f"<td>{first.density:.0%}</td><td>{first.macs_g:.2f}</td>{times}</tr>"
        )


def _frames(bench: EngineBench) -> str:
    """Return the times of one image through the whole upscaler, in each runtime."""
    body = "".join(
        f"<tr><th scope=row>{html.escape(frame.model)}, {NAMES[frame.runtime]}</th>"
        f"<td>{threads_text(frame.threads)}</td><td>{frame.median_ms:.1f} ms</td>"
        f"<td>{frame.p10_ms:.1f} to {frame.p90_ms:.1f} ms</td></tr>"
        for frame in bench.frames
    )
    if not body:
        return ""
    return (
        "<details><summary>One image through this app: pixels, tiles and rounding included"
        "</summary><table class='scores'><thead><tr><th scope=col>Network</th>"
        "<th scope=col>Threads</th><th scope=col>Median</th><th scope=col>p10 to p90</th></tr>"
        f"</thead><tbody>{body}</tbody></table></details>"
    )


def stored_savings(
    bench: EngineBench, networks: Mapping[Scheme, Candidate], threads: int | None
) -> dict[tuple[Scheme, Runtime], float]:
    """Return the shares of dense time that networks like these saved in the benchmark.

    Each of `networks` is pruned all over by one scheme. Those that are not like any of the
    benchmark are left out.
    """
    savings: dict[tuple[Scheme, Runtime], float] = {}
    for scheme, candidate in networks.items():
        rows = _similar_rows(bench, candidate, _count(bench, threads))
        if not rows:
            continue
        dense_ms = {row.runtime: row.median_ms for row in rows if row.scheme == "dense"}
        density = _density(candidate)
        for row in rows:
            like = row.scheme == scheme and abs(row.density - density) < _SAME_DENSITY
            if like and row.runtime != "mnn" and row.runtime in dense_ms:
                savings[scheme, row.runtime] = 1 - row.median_ms / dense_ms[row.runtime]
    return savings


def elsewhere(bench: EngineBench, threads: int | None) -> str:
    """Say where `stored_savings` were measured."""
    return (
        f"“Elsewhere” is the stored benchmark on {bench.processor} ({bench.runtimes['sparse']} and "
        f"{bench.runtimes['onnx']}, {threads_text(_count(bench, threads))}, "
        f"{bench.output[0]}×{bench.output[1]} output, random weights, {bench.date})."
    )


def _similar_rows(bench: EngineBench, candidate: Candidate, threads: int) -> list[EngineRow]:
    """Return rows of networks with these blocks and channels. In each all cells are alike."""
    key = candidate.scale, candidate.width, len(candidate.cells), threads
    return [
        row
        for row in bench.rows
        if (row.scale, row.channels, row.cells, row.threads) == key
        and {cell.block for cell in candidate.cells} == {row.block}
    ]


def _density(candidate: Candidate) -> float:
    """Return the kept weights of the cells, as a share of the dense network's."""
    cells = [layer for layer in describe(candidate, 1, 1) if layer.role == "cell"]
    return sum(layer.weights_kept for layer in cells) / sum(layer.weights_dense for layer in cells)


def _count(bench: EngineBench, threads: int | None) -> int:
    """Return the view's threads, or on a device without that choice the benchmark's most."""
    return threads or max(row.threads for row in bench.rows)
