"""The commands of `bench`: what this computer needs for a session, a frame, and the page."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from itertools import groupby
from pathlib import Path

from sr_core.catalogue.store import Catalogue
from sr_core.catalogue.writer import (
    ABLATIONS,
    ENGINE_BENCH,
    RIVAL_BENCH,
    changing,
    check_writable,
    keeping,
    write_ablations,
    write_engine_bench,
    write_rival_bench,
)
from sr_core.errors import MeasurementError
from sr_core.network.candidate import SCALES
from sr_core.results.ablations import QUESTIONS, merge
from sr_core.results.engine import (
    TARGETS,
    EngineBench,
    EngineRow,
    Measure,
    Sitting,
    Target,
)
from sr_core.results.record import Runtime, to_json
from sr_core.results.rivals import RivalBench


def add_session_options(parser: argparse.ArgumentParser) -> None:
    """Add the number of repetitions."""
    parser.add_argument("--runs", type=int, default=20, help="repetitions per model (default 20)")


def run_session(args: argparse.Namespace) -> int:
    """Run `bench session`: how long a candidate takes to become a session."""
    from sr_core.bench.session import bench_sessions

    if args.runs < 1:
        raise MeasurementError(f"--runs {args.runs}: expected at least 1.")
    bench = bench_sessions(Catalogue(args.root), runs=args.runs)
    if args.json:
        print(json.dumps(asdict(bench), indent=1))
        return 0
    print(bench.conditions)
    print(f"{'median ms of':24} {'extract':>9} {'build':>9} {'session':>9} {'total':>9}  p10-p90")
    for row in bench.models:
        parts = (row.extract_ms, row.build_ms, row.session_ms, row.total_ms)
        spread = f"{row.total_p10_ms:.1f}-{row.total_p90_ms:.1f}"
        print(f"{row.model:24} {' '.join(f'{ms:>9.1f}' for ms in parts)}  {spread}")
    return 0


def run_page(args: argparse.Namespace) -> int:
    """Run `bench page`: how fast the page answers."""
    from sr_core.bench.page import bench_page

    bench = bench_page()
    if args.json:
        print(json.dumps(asdict(bench), indent=1))
        return 0
    print(
        f"{bench.processor}, {bench.date}\n"
        f"app ready      {bench.ready_s:>7.2f} s   (to the first answer of /healthz)\n"
        f"page usable    {bench.usable_s:>7.2f} s   (card and table; median of {bench.loads})\n"
        f"slider to ms   {bench.slider_ms:>7.0f} ms  (total on screen; median of {bench.moves})\n"
        f"apply          {bench.apply_s:>7.2f} s   (masks, PSNR, picture; median of "
        f"{bench.applies})\n"
        f"server memory  {bench.start_mb:>7.0f} MB, peak {bench.peak_mb:.0f} MB after comparing "
        "four networks"
    )
    return 0


def add_engine_bench_options(parser: argparse.ArgumentParser) -> None:
    """Add how much to measure, and where the results go."""
    parser.add_argument("--quick", action="store_true", help="one network (24 channels, 8 cells)")
    parser.add_argument(
        "--store", action="store_true", help="keep the results in the precomputed folder"
    )


def run_engine(args: argparse.Namespace) -> int:
    """Run `bench engine`: our engine and ONNX Runtime on dense and pruned networks."""
    from tqdm import tqdm

    from sr_core.bench import engine as bench_engine

    if args.quick and args.store:
        raise MeasurementError("Only full results are stored: leave out --quick or --store.")
    if args.store:
        check_writable(args.root, ENGINE_BENCH)
    with tqdm(unit="sitting", disable=None) as bar:

        def report(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        job = bench_engine.QUICK if args.quick else bench_engine.FULL
        bench = bench_engine.bench_engine(Catalogue(args.root), job, report=report)
    print(to_json(bench) if args.json else "\n".join(_engine_lines(bench)))
    if args.store:
        with keeping(lambda: to_json(bench)), changing(args.root):
            write_engine_bench(args.root, bench)
    return 0


def add_rival_bench_options(parser: argparse.ArgumentParser) -> None:
    """Add which rivals to measure, and where the results go."""
    parser.add_argument("--scale", type=int, choices=SCALES, help="only this one; default: all")
    parser.add_argument(
        "--store", action="store_true", help="keep the results in the precomputed folder"
    )


def run_rivals(args: argparse.Namespace) -> int:
    """Run `bench rivals`: published architectures beside ours, in both runtimes."""
    from tqdm import tqdm

    from sr_core.bench.rivals import JOB, bench_rivals
    from sr_core.report.tables import rivals_table

    if args.scale and args.store:
        raise MeasurementError("Only full results are stored: leave out --scale or --store.")
    if args.store:
        check_writable(args.root, RIVAL_BENCH)
    with tqdm(unit="sitting", disable=None) as bar:

        def report(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        scales = [args.scale] if args.scale else SCALES
        bench = bench_rivals(Catalogue(args.root), JOB, scales, report=report)
    print(to_json(bench) if args.json else _rival_text(bench, rivals_table(bench)))
    if args.store:
        with keeping(lambda: to_json(bench)), changing(args.root):
            write_rival_bench(args.root, bench)
    return 0


def add_ablation_options(parser: argparse.ArgumentParser) -> None:
    """Add the question, and the runs that answer it."""
    parser.add_argument("question", choices=QUESTIONS, help="schemes: fine-grained against channel "
                        "pruning; ratios: stage 3 against one ratio everywhere")  # fmt: skip
    parser.add_argument(
        "runs",
        nargs="+",
        metavar="LABEL=RUN",
        help="family and run folder of `finetune` or `prune`",
    )
    parser.add_argument(
        "--benchmark", type=Path, required=True, help="folder with Set5/, ... each HR/ and LRx4/"
    )
    parser.add_argument(
        "--store", action="store_true", help="keep the results in the precomputed folder"
    )


def run_ablation(args: argparse.Namespace) -> int:
    """Run `bench ablation`: fine-tuned networks of several families side by side."""
    from sr_core.bench.ablation import Job, bench_ablation
    from sr_core.report.tables import ablation_table

    runs = [_label_and_folder(text) for text in args.runs]
    catalogue, job = Catalogue(args.root), Job(args.question, runs, args.benchmark)
    if args.store:
        check_writable(args.root, ABLATIONS)
        _ = catalogue.ablations  # if they are damaged, say so before measuring
    ablation = bench_ablation(
        catalogue, job, report=lambda line: print(line, file=sys.stderr, flush=True)
    )
    print(ablation.model_dump_json(indent=1) if args.json else ablation_table(ablation))
    if args.store:
        with keeping(lambda: to_json(ablation)), changing(args.root):
            write_ablations(args.root, merge(Catalogue(args.root).ablations, ablation))
    return 0


def _label_and_folder(text: str) -> tuple[str, Path]:
    label, _, folder = text.partition("=")
    if not label or not folder:
        raise MeasurementError(f"Run {text!r}: expected LABEL=RUN, a family and a run folder.")
    return label, Path(folder)


def _rival_text(bench: RivalBench, table: str) -> str:
    drifts = ", ".join(f"{sitting} {drift:+.1%}" for sitting, drift in bench.drift.items())
    unmatched = ", ".join(bench.unmatched) or "none"
    return (
        f"{bench.processor} ({bench.cores} cores), {bench.date}; {bench.runtimes['sparse']}, "
        f"{bench.runtimes['onnx']}; fp32, batch 1, output {bench.output[0]}x{bench.output[1]}\n"
        "Measured: medians of interleaved runs; x: times as fast as the rival in ONNX Runtime. "
        f"Ours: at least the rival's PSNR, the fastest by the estimates of {bench.device}; chosen "
        "on the validation crops, which flatters it there. BSD100 chose nothing.\n"
        f"{table}\nRivals that none of ours reaches: {unmatched}. Drift: {drifts}."
    )


_NAMES: dict[Runtime, str] = {"sparse": "ours", "onnx": "ONNX Runtime"}


def _engine_lines(bench: EngineBench) -> Iterator[str]:
    yield (
        f"{bench.processor} ({bench.cores} cores), {bench.date}; {bench.runtimes['sparse']} "
        f"({bench.library}, {bench.library_sha256[:12]}), {bench.runtimes['onnx']}; "
        f"{bench.precision}; batch 1, output {bench.output[0]}x{bench.output[1]}"
    )
    yield (
        f"Measured: median (p10-p90) of interleaved runs, {bench.runs_per_visit} at each visit "
        f"after a pause of {bench.pause_ms:.0f} ms and {bench.warm_ups} run that does not count."
    )
    yield (
        "x: times as fast as ONNX Runtime dense; peak: share of the fp32 multiply-adds that the "
        "cores reached between the runs; cost: time per kept MAC over dense in the same runtime."
    )

    def network(row: EngineRow | Sitting) -> tuple[int, int, int]:
        return row.scale, row.channels, row.cells

    for key, group in groupby(bench.rows, network):
        yield ""
        yield f"x{key[0]}, {key[1]} channels, {key[2]} cells"
        yield from map(_sitting_line, (s for s in bench.sittings if network(s) == key))
        yield from _rows_lines(list(group))
    yield ""
    yield "One image through the whole upscaler (pixels, tiles, rounding)"
    for frame in bench.frames:
        yield (
            f"{frame.model:18} {_NAMES[frame.runtime]:13} {frame.threads} threads "
            f"{frame.median_ms:>7.1f} ms ({frame.p10_ms:.1f}-{frame.p90_ms:.1f}, n = {frame.n})"
        )
    yield ""
    yield "Targets: x4, 8 cells, 2 threads"
    yield from (_target_line(target, bench.rows) for target in TARGETS)


def _sitting_line(sitting: Sitting) -> str:
    return (
        f"{sitting.threads} thread(s): {sitting.rounds} rounds, peak "
        f"{sitting.peak_gflops_per_core:.0f} GFLOP/s per core, ONNX Runtime dense drifted by "
        f"{sitting.drift:+.1%}"
    )


def _rows_lines(rows: Sequence[EngineRow]) -> Iterator[str]:
    """Yield a line per network and runtime, with the times of each number of threads."""
    counts = sorted({row.threads for row in rows})
    by_threads = [[row for row in rows if row.threads == n] for n in counts]
    heads = (f" | {f'{n} thread(s), ms':23} {'x':>6} {'peak':>5} {'cost':>5}" for n in counts)
    yield f"{'runtime':13} {'network':13} {'kept':>5} {'GMACs':>6}{''.join(heads)}"
    for same in zip(*by_threads, strict=True):
        row = same[0]
        cells = "".join(f" | {_time_cell(one)}" for one in same)
        yield (
            f"{_NAMES[row.runtime]:13} {row.scheme:13} {row.density:>5.0%} {row.macs_g:>6.2f}"
            f"{cells}"
        )


def _time_cell(row: EngineRow) -> str:
    spread = f"({row.p10_ms:.1f}-{row.p90_ms:.1f})"
    peak = "-" if row.share_of_peak is None else f"{row.share_of_peak:.0%}"
    return (
        f"{row.median_ms:>7.1f} {spread:15} {row.ratio_vs_ort_dense:>5.2f}x {peak:>5} "
        f"{row.cost_per_mac_vs_dense:>5.2f}"
    )


def _target_line(target: Target, rows: Sequence[EngineRow]) -> str:
    share = "" if target.density in (None, 1) else f" {target.density:.0%} kept"
    sign = "<=" if target.at_most else ">="
    value, is_reached = target.value(rows), target.is_reached(rows)
    what = f"{target.channels} channels, {target.scheme}{share}"
    limit = f"{_MEASURES[target.measure]} {sign} {target.limit:.2f}"
    verdict = "reached" if is_reached else "NOT reached"
    result = "not measured" if value is None else f"{value:.2f}, {verdict}"
    return f"{what:38} {limit:42} {result}"


_MEASURES: dict[Measure, str] = {
    "ratio_vs_ort_dense": "times as fast as ONNX Runtime",
    "share_of_peak": "share of peak",
    "cost_per_mac_vs_dense": "cost per kept MAC over dense",
}
