"""The commands of `bench`: what this computer needs for a session, and for the page."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict

from sr_core.errors import MeasurementError
from sr_core.store import Catalogue


def add_session_options(parser: argparse.ArgumentParser) -> None:
    """How often."""
    parser.add_argument("--runs", type=int, default=20, help="repetitions per model (default 20)")


def run_session(args: argparse.Namespace) -> int:
    """`bench session`: how long a candidate takes to become a session."""
    from sr_core.bench import bench_sessions

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
    """`bench page`: how fast the page answers."""
    from sr_core.bench_page import bench_page

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
