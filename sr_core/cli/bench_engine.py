"""The commands `bench engine`, beside ONNX Runtime and MNN, and `bench networks`, side by side."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from itertools import groupby

from sr_core.catalogue.store import Catalogue
from sr_core.catalogue.writer import (
    ENGINE_BENCH,
    changing,
    check_writable,
    keeping,
    write_engine_bench,
)
from sr_core.engine.library import Library
from sr_core.engine.shipped import INSTRUCTIONS, OWN
from sr_core.errors import EngineError, MeasurementError
from sr_core.results.engine import (
    TARGETS,
    Contender,
    EngineBench,
    EngineRow,
    LayerTime,
    Measure,
    OutputTime,
    Seen,
    Sitting,
    Target,
    Variant,
)
from sr_core.results.record import to_json


def add_engine_bench_options(parser: argparse.ArgumentParser) -> None:
    """Add how much to measure, and where the results go."""
    parser.add_argument(
        "--quick", action="store_true",
        help="two networks (24 channels and 8 wide cells, 16 channels and 10 residual cells)",
    )  # fmt: skip
    _add_library(parser)
    parser.add_argument(
        "--peers", action="store_true",
        help="MNN too, with the same masks (`pip install -r requirements-peers.txt`)",
    )  # fmt: skip
    parser.add_argument(
        "--store", action="store_true", help="keep the results in the precomputed folder"
    )


def add_network_bench_options(parser: argparse.ArgumentParser) -> None:
    """Add the networks, and how to time them."""
    parser.add_argument(
        "networks", nargs="+", metavar="MODEL",
        help="names, ids, network texts or files; the first is what the others are compared with",
    )  # fmt: skip
    parser.add_argument("--seconds", type=float, default=20, help="of the whole run (default 20)")
    parser.add_argument("--threads", type=int, default=2, help="of the engine (default 2)")
    _add_library(parser)


def _add_library(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--library", choices=(*INSTRUCTIONS, OWN),
        help="the shipped library with these instructions, or the one built here (default: the "
        "one that computes images here)",
    )  # fmt: skip


def run_networks(args: argparse.Namespace) -> int:
    """Run `bench networks`: a line per network."""
    from sr_core.bench.networks import bench_networks

    if args.threads < 1 or not 0 <= args.seconds < math.inf:
        raise MeasurementError(
            f"--threads {args.threads} --seconds {args.seconds:g}: expected at least 1 thread, and "
            "0 seconds or a number above."
        )
    catalogue = Catalogue(args.root)
    bench = bench_networks(
        catalogue, _library(catalogue, args.library), args.networks,
        seconds=args.seconds, threads=args.threads,
    )  # fmt: skip
    if args.json:
        print(json.dumps(asdict(bench), indent=1))
        return 0
    width, height = bench.output
    print(
        f"{bench.processor}, {bench.date}; {bench.runtime}, {bench.threads} thread(s), fp32, batch "
        f"1, output {width}x{height}; medians of frames in turns, drift {bench.drift:+.1%}"
    )
    for one in bench.networks:
        spread = f"({one.p10_ms:.2f}-{one.p90_ms:.2f}, n = {one.n})"
        print(f"{one.median_ms:>8.2f} ms {spread:30} {one.ratio:>6.2f}x  {one.reference}")
    return 0


def run_engine(args: argparse.Namespace) -> int:
    """Run `bench engine`: our engine, ONNX Runtime and MNN on dense and pruned networks."""
    from tqdm import tqdm

    from sr_core.bench import engine as bench_engine

    if args.quick and args.store:
        raise MeasurementError("Only full results are stored: leave out --quick or --store.")
    catalogue = Catalogue(args.root)
    library = _library(catalogue, args.library)
    if args.store and library.path.parent != args.root / "engine":
        raise MeasurementError(
            "Only results of shipped libraries are stored: add --library avx2, say."
        )
    if args.store:
        check_writable(args.root, *(ENGINE_BENCH.format(option) for option in INSTRUCTIONS))
    with tqdm(unit="sitting", disable=None) as bar:

        def report(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        job = bench_engine.QUICK if args.quick else bench_engine.FULL
        job = replace(job, peers=args.peers)
        bench = bench_engine.bench_engine(catalogue, library, job, report=report)
    print(to_json(bench) if args.json else "\n".join(_engine_lines(bench)))
    if args.store:
        with keeping(lambda: to_json(bench)), changing(args.root):
            write_engine_bench(args.root, bench)
    return 0


def _library(catalogue: Catalogue, option: str | None) -> Library:
    """Return the library to time: by its instruction set, or the one that is used here."""
    if option is not None:
        return catalogue.library(option)
    if catalogue.engine is None:
        raise EngineError(catalogue.engine_problem)
    return catalogue.engine


_NAMES: dict[Contender, str] = {"sparse": "ours", "onnx": "ONNX Runtime", "mnn": "MNN"}


def _engine_lines(bench: EngineBench) -> Iterator[str]:
    yield (
        f"{bench.processor} ({bench.cores} cores), {bench.date}; {bench.runtimes['sparse']} "
        f"({bench.library}, {bench.library_sha256[:12]}), "
        f"{', '.join(name for runtime, name in bench.runtimes.items() if runtime != 'sparse')}; "
        f"{bench.precision}; batch 1, output {bench.output[0]}x{bench.output[1]}"
    )
    if bench.handicap:
        yield bench.handicap
    yield (
        f"Measured: median (p10-p90) of interleaved runs, {bench.runs_per_visit} at each visit "
        f"after a pause of {bench.pause_ms:.0f} ms and {bench.warm_ups} run that does not count."
    )
    yield (
        "x: times as fast as ONNX Runtime dense; peak: share of the fp32 multiply-adds that the "
        "cores reached between the runs; cost: time per kept MAC over dense in the same runtime."
    )

    def network(row: EngineRow | Sitting | OutputTime | LayerTime) -> tuple[int, int, int, str]:
        return row.scale, row.channels, row.cells, row.block

    for key, group in groupby(bench.rows, network):
        yield ""
        yield f"x{key[0]}, {key[1]} channels, {key[2]} {key[3]} cells"
        yield from map(_sitting_line, (s for s in bench.sittings if network(s) == key))
        yield from _rows_lines(list(group))
        yield from _output_lines([one for one in bench.outputs if network(one) == key])
        yield from _layer_lines([one for one in bench.layers if network(one) == key])
    yield ""
    yield "One image through the whole upscaler (pixels, tiles, rounding)"
    for frame in bench.frames:
        yield (
            f"{frame.model:18} {_NAMES[frame.runtime]:13} {frame.threads} threads "
            f"{frame.median_ms:>7.1f} ms ({frame.p10_ms:.1f}-{frame.p90_ms:.1f}, n = {frame.n})"
        )
    if targets := TARGETS.get(bench.instructions):
        yield ""
        yield f"Targets with {bench.instructions}: x4"
        yield from (_target_line(target, bench.rows) for target in targets)


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


def _output_lines(outputs: Sequence[OutputTime]) -> Iterator[str]:
    """Yield a line per network of what a result in fp32 and in 8 bits takes, memory alone first."""

    def network(one: OutputTime) -> tuple[str, ...]:
        if one.scheme is None or one.density is None:
            return ("reading and writing the frames alone",)
        return _watched(one.scheme, one.density, one.colour)

    for what, group in groupby(outputs, network):
        cells = [f"{one.depth} {one.median_ms:.2f} ms" for one in group]
        yield f"1 thread, {' '.join(what)}: {', '.join(cells)}"


def _layer_lines(layers: Sequence[LayerTime]) -> Iterator[str]:
    """Yield a line per network: where its time goes, and how near the peak that is."""

    def network(one: LayerTime) -> tuple[str, ...]:
        return _watched(one.scheme, one.density, one.colour)

    for what, group in groupby(layers, network):
        cells = [
            f"{one.kind} {one.share_of_time:.0%}"
            + (f" (peak {one.share_of_peak:.0%})" if one.share_of_peak else "")
            for one in group
        ]
        yield f"1 thread, {' '.join(what)}: {', '.join(cells)}"


def _watched(scheme: Variant, density: float, colour: Seen) -> tuple[str, ...]:
    return (scheme, f"{density:.0%} kept,", colour)


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
    channels, cells, block = target.network
    what = (
        f"{channels} channels, {cells} {block} cells, {target.threads} thread(s), "
        f"{target.scheme}{share}"
    )
    limit = f"{_MEASURES[target.measure]} {sign} {target.limit:.2f}"
    verdict = "reached" if is_reached else "NOT reached"
    result = "not measured" if value is None else f"{value:.2f}, {verdict}"
    return f"{what:68} {limit:46} {result}"


_MEASURES: dict[Measure, str] = {
    "ratio_vs_ort_dense": "times as fast as ONNX Runtime dense",
    "ratio_vs_mnn": "times as fast as MNN, same masks",
    "share_of_peak": "share of peak",
    "cost_per_mac_vs_dense": "cost per kept MAC over dense",
}
