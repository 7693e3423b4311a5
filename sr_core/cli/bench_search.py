"""`bench samplers` and `bench workers`: the search itself, measured."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from sr_core.catalogue.store import Catalogue
from sr_core.catalogue.writer import (
    SAMPLER_BENCH,
    WORKER_BENCH,
    changing,
    check_writable,
    keeping,
    write_search_bench,
)
from sr_core.cli.options import add_family_options, add_option
from sr_core.network.candidate import Family
from sr_core.results.record import to_json
from sr_core.search.settings import SearchArgs

if TYPE_CHECKING:
    from sr_core.results.samplers import SamplerBench, SamplerRun, WorkerBench, WorkerRow


def add_sampler_bench_options(parser: argparse.ArgumentParser) -> None:
    """Add what to search, for how long, and where the results go."""
    _add_common(parser)
    parser.add_argument("--budget-ms", type=float, help="slower networks count as infeasible")
    parser.add_argument(
        "--evaluations", type=int, default=200, help="different networks per run (default 200)"
    )
    parser.add_argument("--seeds", type=int, default=3, help="runs per sampler (default 3)")


def add_worker_bench_options(parser: argparse.ArgumentParser) -> None:
    """Add what to search, for how long, and where the results go."""
    _add_common(parser)
    parser.add_argument("--trials", type=int, default=120, help="of each study (default 120)")


def _add_common(parser: argparse.ArgumentParser) -> None:
    add_family_options(parser)
    add_option(parser.add_argument, SearchArgs, "objective")
    parser.add_argument(
        "--val", type=Path, help="folder of HR images; default: scikit-image's photographs"
    )
    parser.add_argument(
        "--store", action="store_true", help="keep the results in the precomputed folder"
    )


def run_samplers(args: argparse.Namespace) -> int:
    """Run `bench samplers`: hypervolume at equal evaluations."""
    from tqdm import tqdm

    from sr_core.bench.samplers import SAMPLERS, bench_samplers

    settings = SearchArgs(
        scale=args.scale,
        colour=args.colour,
        val=args.val,
        objective=args.objective,
        budget_ms=args.budget_ms,
    )
    if args.store:
        check_writable(args.root, SAMPLER_BENCH)
    with tqdm(unit="run", total=args.seeds * len(SAMPLERS), disable=None) as bar:

        def report(run: SamplerRun) -> None:
            bar.set_postfix(last=run.sampler)
            bar.update()

        catalogue = Catalogue(args.root)
        bench = bench_samplers(catalogue, settings, args.evaluations, args.seeds, report)
    print(to_json(bench) if args.json else "\n".join(_sampler_lines(bench)))
    if args.store:
        _store(args.root, bench)
    return 0


def run_workers(args: argparse.Namespace) -> int:
    """Run `bench workers`: trials a second with one and two processes."""
    from tqdm import tqdm

    from sr_core.bench.workers import WORKERS, bench_workers

    settings = SearchArgs(
        scale=args.scale, colour=args.colour, val=args.val, objective=args.objective,
        sampler="random", trials=args.trials,
    )  # fmt: skip
    if args.store:
        check_writable(args.root, WORKER_BENCH)
    with tqdm(unit="study", total=len(WORKERS), disable=None) as bar:

        def report(_: WorkerRow) -> None:
            bar.update()

        bench = bench_workers(Catalogue(args.root), settings, report)
    print(to_json(bench) if args.json else "\n".join(_worker_lines(bench)))
    if args.store:
        _store(args.root, bench)
    return 0


def _store(root: Path, bench: SamplerBench | WorkerBench) -> None:
    with keeping(lambda: to_json(bench)), changing(root):
        write_search_bench(root, bench)


def _about(bench: SamplerBench | WorkerBench) -> str:
    return (
        f"Measured on {bench.processor} ({bench.cores} cores), {bench.date}; "
        f"{Family(bench.scale, bench.colour).name}, cost: "
        f"{bench.objective}, PSNR-Y on {bench.crops}."
    )


def _sampler_lines(bench: SamplerBench) -> Iterator[str]:
    seeds = len({run.seed for run in bench.runs})
    yield _about(bench)
    yield (
        f"Hypervolume in {bench.unit} dB (up to {bench.reference_cost:.4g} {bench.unit}, down to "
        f"{bench.reference_psnr_y_db:.2f} dB) after {bench.evaluations} evaluations, of which the "
        f"first {bench.start} are the same; {seeds} seed(s)."
    )
    heads = (f"{head:>8}" for head in ("median", "lowest", "highest", "ms/prop", "ms/eval"))
    yield f"{'sampler':8} {' '.join(heads)}"
    for name in dict.fromkeys(run.sampler for run in bench.runs):
        runs = [run for run in bench.runs if run.sampler == name]
        low, middle, high = bench.final(name)
        proposal = sum(run.proposal_s for run in runs) / sum(run.trials for run in runs)
        evaluation = sum(run.evaluation_s for run in runs) / sum(run.evaluated for run in runs)
        yield (
            f"{name:8} {middle:>8.4g} {low:>8.4g} {high:>8.4g} {1e3 * proposal:>8.1f} "
            f"{1e3 * evaluation:>8.1f}"
        )


def _worker_lines(bench: WorkerBench) -> Iterator[str]:
    yield _about(bench)
    yield f"{bench.trials} trials of {bench.sampler} on {bench.storage}, one thread per worker:"
    for row in bench.rows:
        yield f"{row.workers} worker(s): {row.trials_per_s:.2f} trials a second"
    yield f"{bench.rows[-1].workers} workers are {bench.speed_up:.2f} times as fast as one."
