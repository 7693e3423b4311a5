"""What `bench rivals` found, as HTML: speed beside rivals of no more PSNR. No Gradio."""

from __future__ import annotations

from collections.abc import Mapping

from sr_core.report.tables import rivals_table
from sr_core.results.record import engine_title
from sr_core.results.rivals import RivalBench, RivalRow
from sr_core.ui.findings import charts, sections


def rival_section(bench: RivalBench) -> str:
    """Show every rival in both runtimes, and our network that reaches its PSNR."""
    heading = "How fast are ours beside re-trained FSRCNN, ECBSR and SESR, at no less PSNR?"
    table = sections.markdown_table(heading, rivals_table(bench))
    return sections.section(heading, result(bench), _chart(bench) + table, _conditions(bench))


def result(bench: RivalBench) -> str:
    """Say per scale, with the most threads, who is faster."""
    texts = [_of_scale(bench, scale) for scale in sorted({r.scale for r in bench.rows})[::-1]]
    if bench.unmatched:
        texts.append(f"None of ours reaches the PSNR of {', '.join(bench.unmatched)}.")
    return " ".join(texts)


def _of_scale(bench: RivalBench, scale: int) -> str:
    rows = [row for row in _most_threads(bench) if row.scale == scale]
    ours = [row.speed_up for row in rows if _is_ours(row)]
    engine = [row.speed_up for row in rows if not _is_ours(row) and row.runtime == "sparse"]
    alone = (
        f"the rivals themselves run {sections.span(engine, 1)} times as fast in "
        f"{engine_title(bench.runtimes)}"
    )
    if not ours:
        return f"×{scale}: {alone}."
    faster = sum(speed_up > 1 for speed_up in ours)
    return (
        f"×{scale}, {rows[0].threads} thread(s): ours in {engine_title(bench.runtimes)} are "
        f"{sections.span(ours, 1)} times as fast as the rivals in ONNX Runtime at no less "
        f"PSNR on the validation crops, on which ours were chosen, and {faster} of "
        f"{len(ours)} are faster; {alone}."
    )


def _is_ours(row: RivalRow) -> bool:
    return row.network != row.rival


def _most_threads(bench: RivalBench) -> list[RivalRow]:
    most = max(row.threads for row in bench.rows)
    return [row for row in bench.rows if row.threads == most]


def _chart(bench: RivalBench) -> str:
    by_rival: dict[str, list[charts.Mark]] = {}
    for row in _most_threads(bench):
        look: charts.Look = "after" if _is_ours(row) else "other"
        if row.runtime == "onnx":
            look = "before"
        mark = charts.Mark(row.speed_up, look, f"{row.network}: {row.speed_up:.2f}×")
        by_rival.setdefault(row.rival, []).append(mark)
    legend: dict[charts.Look, str] = {
        "before": "the rival in ONNX Runtime", "other": "the rival in our engine",
        "after": "ours of no less PSNR, in our engine",
    }  # fmt: skip
    about = "; ".join(
        f"{rival}: {', '.join(f'{mark.value:.1f}' for mark in marks)}"
        for rival, marks in by_rival.items()
    )
    return charts.dots(list(by_rival.items()), legend, "Times as fast:", about)


def _conditions(bench: RivalBench) -> str:
    fewest = min(row.n for row in bench.rows)
    drift = max((abs(value) for value in bench.drift.values()), default=0.0)
    return (
        f"{bench.processor}, {bench.cores} cores; {bench.runtimes['sparse']} and "
        f"{bench.runtimes['onnx']}, fp32; {bench.output[0]}×{bench.output[1]} output, batch 1; "
        f"medians of at least {fewest} frames, networks in turns, drift {drift:.0%} at most; "
        f"{bench.date}. {_training(bench)} Ours were chosen by PSNR-Y on the validation crops, out "
        f"of all that were evaluated on them, and by estimates for {bench.device}; they may have "
        "been trained after the rivals' scores were known. BSD100 chose nothing. "
        "Measured by: python -m sr_core bench rivals."
    )


def _training(bench: RivalBench) -> str:
    """Say how long each side was trained, which is not the same."""
    ours = " and ".join(f"{n:,} ({scale})" for scale, n in bench.supernet_steps.items())
    own = bench.fine_tuning_steps
    more = f", {', '.join(own)} with {_steps(own)} more" if own else ""
    form = "All work in RGB, with ReLU."
    if any("-published-" in row.rival for row in bench.rows):
        form = "Those called published work in luma, with PReLU, all others in RGB, with ReLU."
    return (
        f"Rivals were trained for {_steps(bench.rival_steps)} steps from scratch, ours come from "
        f"supernets of {ours} steps{more}, on the same images. {form}"
    )


def _steps(of: Mapping[str, int]) -> str:
    low, high = min(of.values()), max(of.values())
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"
