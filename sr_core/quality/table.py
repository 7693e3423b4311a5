"""The result tables of README.md, generated from precomputed/ (a test compares the two)."""

from __future__ import annotations

from itertools import groupby

from sr_core.engine_results import EngineBench, EngineRow, Runtime
from sr_core.quality.datasets import BENCHMARKS
from sr_core.store import Catalogue, Quality

ENGINE_NETWORK = (4, 24, 8)
"""Scale, channels and cells of the network in the table of the engine."""
_RUNTIMES: dict[Runtime, str] = {"sparse": "ours", "onnx": "ONNX Runtime"}


def results_table(catalogue: Catalogue) -> str:
    """Markdown: one row per listed model and one for bicubic, per scale."""
    cost = ["parameters, kept of dense", "GMACs, kept of dense"]
    header = ["model", *cost, *(f"{name} (dB / SSIM)" for name in BENCHMARKS)]
    lines = [_row(header), _row(["---", "--:", "--:", *("--:" for _ in BENCHMARKS)])]
    for scale in catalogue.scales:
        lines.append(_row([f"bicubic x{scale}", "-", "-", *_cells(catalogue.bicubic(scale))]))
        for model in catalogue.models(scale):
            summary = model.summary()
            cost = [
                f"{summary['params_kept'] / 1e3:.0f} K of {summary['params_dense'] / 1e3:.0f} K",
                f"{summary['macs_kept_g']:.1f} of {summary['macs_dense_g']:.1f}",
            ]
            lines.append(_row([f"`{model.name}`", *cost, *_cells(model.quality)]))
    return "\n".join(lines)


def engine_table(bench: EngineBench) -> str:
    """Markdown: one row per network and runtime of `ENGINE_NETWORK`, dense and pruned."""
    rows = [r for r in bench.rows if (r.scale, r.channels, r.cells) == ENGINE_NETWORK]
    threads = sorted({row.threads for row in rows})
    times = [f"ms, {n} thread{'s' * (n > 1)} (× as fast as dense ONNX Runtime)" for n in threads]
    header = ["runtime", "network", "cells' weights kept", "GMACs", *times]
    lines = [_row(header), _row(["---", "---", *("--:" for _ in header[2:])])]

    def network(row: EngineRow) -> tuple[float, str, str]:
        return row.density, row.scheme, row.runtime

    for _, same in groupby(sorted(rows, key=network, reverse=True), key=network):
        timed = sorted(same, key=lambda row: row.threads)
        first = timed[0]
        cells = [f"{row.median_ms:.1f} ({row.ratio_vs_ort_dense:.2f})" for row in timed]
        name = [_RUNTIMES[first.runtime], first.scheme]
        lines.append(_row([*name, f"{first.density:.0%}", f"{first.macs_g:.2f}", *cells]))
    return "\n".join(lines)


def _cells(quality: tuple[Quality, ...]) -> list[str]:
    by_set = {q.image_set: f"{q.psnr_y:.2f} / {q.ssim_y:.4f}" for q in quality}
    return [by_set.get(name, "not measured") for name in BENCHMARKS]


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"
