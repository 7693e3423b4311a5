"""The result tables of README.md, generated from precomputed/ (a test compares the two)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

from sr_core.catalogue.store import Catalogue, Quality
from sr_core.latency.estimate import estimate
from sr_core.network.layers import describe, lr_size, totals
from sr_core.quality.datasets import BENCHMARKS
from sr_core.results.ablations import Ablation
from sr_core.results.engine import EngineBench, EngineRow
from sr_core.results.record import Runtime
from sr_core.results.rivals import RivalBench, RivalRow

ENGINE_NETWORK = (4, 24, 8)
"""Scale, channels and cells of the network in the table of the engine."""
FINALS_THREADS = 2
_RUNTIMES: dict[Runtime, str] = {"sparse": "ours", "onnx": "ONNX Runtime"}


def readme_tables(catalogue: Catalogue) -> Iterator[str]:
    """Markdown: all tables of stored results that README.md shows; their headers differ."""
    yield results_table(catalogue)
    if catalogue.finals():
        yield finals_table(catalogue)
    if catalogue.engine_bench:
        yield engine_table(catalogue.engine_bench)
    if catalogue.rival_bench:
        yield rivals_table(catalogue.rival_bench)
    yield from map(ablation_table, catalogue.ablations)


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


def finals_table(catalogue: Catalogue) -> str:
    """Markdown: one row per final model, with its time as the shipped profile of the engine has it.

    `LatencyError` if there is no such profile.
    """
    shipped = [d for d in catalogue.devices if d.runtime_id == "sparse"]
    device = catalogue.device(next((d.id for d in shipped if d.basis != "measured here"), ""))
    header = [
        "fine-tuned model", "kept parameters", "GMACs",
        *(f"{name} (dB / SSIM)" for name in BENCHMARKS), "Set5, once for all (dB)",
        f"ms, {FINALS_THREADS} threads, estimated (90 % interval)",
    ]  # fmt: skip
    lines = [_row(header), _row(["---", *("--:" for _ in header[1:])])]
    for final in catalogue.finals():
        cost = totals(describe(final.candidate, *lr_size(final.candidate.scale)))
        before = next((f"{q.psnr_y:.2f}" for q in final.once_for_all if q.image_set == "Set5"), "-")
        time = estimate(device, final.candidate, threads=FINALS_THREADS)
        cells = [f"{cost.params_kept / 1e3:.1f} K", f"{cost.macs_kept / 1e9:.2f}"]
        cells += [*_cells(final.quality), before]
        cells.append(f"{time.total_ms:.1f} ({time.low_ms:.1f} to {time.high_ms:.1f})")
        lines.append(_row([f"`{final.name}`", *cells]))
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


def rivals_table(bench: RivalBench) -> str:
    """Markdown: each rival in both runtimes, and the one of ours that matches its quality.

    Ours were chosen on the validation crops; what BSD100 says had no part in it.
    """
    threads = sorted({row.threads for row in bench.rows})
    times = [f"ms, {n} thread{'s' * (n > 1)} (× as fast)" for n in threads]
    header = [
        "network", "runtime", "PSNR-Y on the validation crops, on which ours were chosen (dB)",
        "PSNR-Y on BSD100 (dB)", "parameters", "GMACs", *times,
    ]  # fmt: skip
    lines = [_row(header), _row(["---", "---", *("--:" for _ in header[2:])])]

    def network(row: RivalRow) -> tuple[int, str, bool, Runtime]:
        return row.scale, row.rival, row.network != row.rival, row.runtime

    for key, same in groupby(sorted(bench.rows, key=network), key=network):
        timed = sorted(same, key=lambda row: row.threads)
        first = timed[0]
        name = f"ours: `{first.network}`" if key[2] else f"**{first.rival}**"
        cells = [f"{row.median_ms:.1f} ({row.speed_up:.2f})" for row in timed]
        bsd100_db = first.bsd100_psnr_y_db
        quality = [
            f"{first.psnr_y_db:.2f}", "not measured" if bsd100_db is None else f"{bsd100_db:.2f}"
        ]  # fmt: skip
        cost = [f"{first.params / 1e3:.1f} K", f"{first.macs_g:.2f}"]
        lines.append(_row([name, _RUNTIMES[first.runtime], *quality, *cost, *cells]))
    return "\n".join(lines)


def ablation_table(ablation: Ablation) -> str:
    """Markdown: one row per family, means over its runs and, in brackets, their range."""
    header = [
        f"{ablation.question}, ×{ablation.scale}", "validation dB, once for all",
        "validation dB, fine-tuned", "Set5 dB", "BSD100 dB", "ms, ours", "ms, ONNX Runtime",
        "ms, the same, widths filled to 16", "parameters, kept", "runs", "network",
    ]  # fmt: skip
    lines = [_row(header), _row(["---", *("--:" for _ in header[2:]), "---"])]
    for label in ablation.labels:
        runs = ablation.of(label)
        networks = list(dict.fromkeys(run.network for run in runs))
        kept = [timed.params_kept for timed in ablation.timed if timed.network in networks]
        times = [
            _spread([ablation.median_ms(network, runtime) or 0.0 for network in networks], 1)
            for runtime in ("sparse", "onnx", "onnx, aligned")
        ]
        quality = [
            _spread(values, 2)
            for values in (
                [run.once_for_all_db for run in runs],
                [run.fine_tuned_db for run in runs],
                [run.psnr_y_db["Set5"] for run in runs],
                [run.psnr_y_db["BSD100"] for run in runs],
            )
        ]
        named = f"`{networks[0]}`" if len(networks) == 1 else f"{len(networks)} networks"
        kept_k = f"{sum(kept) / len(kept) / 1e3:.1f} K"
        lines.append(_row([label, *quality, *times, kept_k, str(len(runs)), named]))
    return "\n".join(lines)


def _spread(values: Sequence[float], decimals: int) -> str:
    mean = f"{sum(values) / len(values):.{decimals}f}"
    low, high = (f"{value:.{decimals}f}" for value in (min(values), max(values)))
    return mean if low == high else f"{mean} ({low} to {high})"


def _cells(quality: tuple[Quality, ...]) -> list[str]:
    by_set = {q.image_set: f"{q.psnr_y:.2f} / {q.ssim_y:.4f}" for q in quality}
    return [by_set.get(name, "not measured") for name in BENCHMARKS]


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"
