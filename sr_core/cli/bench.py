"""The commands of `bench` on sessions, the page, rivals and ablations."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path

from sr_core.catalogue.store import Catalogue
from sr_core.catalogue.writer import (
    ABLATIONS,
    RIVAL_BENCH,
    changing,
    check_writable,
    keeping,
    write_ablations,
    write_rival_bench,
)
from sr_core.errors import MeasurementError
from sr_core.network.candidate import SCALES
from sr_core.results.ablations import QUESTIONS, merge
from sr_core.results.record import to_json
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
