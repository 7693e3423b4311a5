"""The command `bench precision`: how fast training is here in fp32 and in bf16."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator

from sr_core.cli.train import training_code
from sr_core.errors import MeasurementError
from sr_core.results.precision import PrecisionBench
from sr_core.results.record import to_json


def add_precision_bench_options(parser: argparse.ArgumentParser) -> None:
    """Add the number of repetitions."""
    parser.add_argument(
        "--runs", type=int, default=9, help="steps per network and precision (default 9)"
    )


def run_precision(args: argparse.Namespace) -> int:
    """Run `bench precision`: the table on standard output, progress on standard error."""
    if args.runs < 1:
        raise MeasurementError(f"--runs {args.runs}: expected at least 1.")
    with training_code():
        from sr_core.bench.precision import bench_precision

    bench = bench_precision(
        args.runs, lambda network: print(f"timing {network}", file=sys.stderr, flush=True)
    )
    print(to_json(bench) if args.json else "\n".join(_lines(bench)))
    return 0


def _lines(bench: PrecisionBench) -> Iterator[str]:
    yield (
        f"{bench.processor}, {bench.cores} cores, {bench.threads} threads, device {bench.device}, "
        f"torch {bench.torch}, {bench.date}"
    )
    yield f"median of {bench.runs} forward and backward passes; fp32 and bf16 in turn"
    yield f"{'training':36} {'fp32, ms':>10} {'bf16, ms':>10} {'bf16 / fp32':>12}"
    for row in bench.rows:
        ratio = row.bf16_ms / row.fp32_ms
        yield f"{row.network:36} {row.fp32_ms:>10.1f} {row.bf16_ms:>10.1f} {ratio:>12.2f}"
    yield f"--precision auto takes {bench.auto}"
