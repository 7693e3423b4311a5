"""The commands of stage 2: `search` the space, and show the `front` it found."""

from __future__ import annotations

import argparse
import json
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sr_core.cli_engine import add_engine_option, chosen
from sr_core.cli_latency import add_estimate_options
from sr_core.errors import LatencyError, SearchError
from sr_core.latency.estimate import CONFIDENCE
from sr_core.latency.profile import DeviceProfile
from sr_core.store import Catalogue

if TYPE_CHECKING:
    from sr_core.search.price import Costs
    from sr_core.search.records import Front
    from sr_core.search.view import FrontView

SAMPLERS = ("random", "nsga2", "presets", "uniform")


def add_search_options(parser: argparse.ArgumentParser) -> None:
    """What to search on, how, and how long."""
    parser.add_argument("--scale", type=int, required=True, help="upscaling factor: 2 or 4")
    data = parser.add_mutually_exclusive_group(required=True)
    data.add_argument("--val", type=Path, help="search: folder of HR validation images")
    data.add_argument(
        "--benchmark", type=Path,
        help="instead of searching, measure the networks on the front on Set5, Set14 and BSD100 "
        "below this folder (for reporting; these images never choose a network)",
    )  # fmt: skip
    parser.add_argument(
        "--sampler", choices=SAMPLERS, default="nsga2",
        help="who proposes networks (default nsga2); random and nsga2 start from the presets and a "
        "spread of the stored front; presets: evaluate the listed models, nothing else; uniform: "
        "every plain network (one block, scheme and ratio throughout)",
    )  # fmt: skip
    parser.add_argument(
        "--objective", default="macs", metavar="DEVICE_ID",
        help="cost to trade against PSNR: a device from `devices`, or macs (default)",
    )  # fmt: skip
    parser.add_argument(
        "--budget-ms", type=float, help="slower networks count as infeasible (device only)"
    )
    parser.add_argument("--trials", type=int, default=600, help="proposals (default 600)")
    parser.add_argument("--seed", type=int, default=0, help="of the sampler (default 0)")
    parser.add_argument("--threads", type=int, help="crops at the same time; default: all cores")
    add_engine_option(parser)


def add_front_options(parser: argparse.ArgumentParser) -> None:
    """Which front, and as which device sees it."""
    parser.add_argument("--scale", type=int, required=True, help="upscaling factor: 2 or 4")
    add_estimate_options(parser)
    parser.add_argument("--budget-ms", type=float, help="also name the best network within it")


def run_search(args: argparse.Namespace) -> int:
    """`search`: appends a run to the stored front, or benchmark results."""
    return _benchmark(args) if args.benchmark else _search(args)


def _search(args: argparse.Namespace) -> int:
    from tqdm import tqdm

    from sr_core.search.study import Progress, SearchArgs, search

    catalogue = Catalogue(args.root)
    chosen(catalogue, args.engine)  # warns if there is no engine
    settings = SearchArgs(**{item.name: getattr(args, item.name) for item in fields(SearchArgs)})
    with tqdm(unit="trial", disable=None) as bar:

        def report(progress: Progress) -> None:
            bar.total = progress.total
            shown = f"{progress.hypervolume:.4g}"
            bar.set_postfix(evaluated=progress.evaluated, hypervolume=shown, refresh=False)
            bar.update(progress.trials - bar.n)

        front = search(catalogue, settings, report)
    run = front.header.runs[-1]
    print(
        f"{run.trials} trials: {run.evaluated} networks evaluated in {run.evaluation_s:.1f} s, "
        f"proposed in {run.proposal_s:.1f} s, hypervolume {run.hypervolume.points[-1][2]:.4g} "
        f"{run.unit} dB; {len(front.rows)} networks stored."
    )
    return 0


def _benchmark(args: argparse.Namespace) -> int:
    from tqdm import tqdm

    from sr_core.quality.publish import benchmark_sets
    from sr_core.search.report import lacking, measure

    catalogue = Catalogue(args.root)
    front = _stored(catalogue, args.scale)
    sets = benchmark_sets(args.benchmark, args.scale)
    rows = lacking(front, catalogue.devices)
    library = chosen(catalogue, args.engine)
    with tqdm(unit="network", total=len(rows), disable=None) as bar:
        measure(catalogue, front, rows, sets, library=library, report=bar.update)
    print(f"{len(rows)} networks measured on {', '.join(images.name for images in sets)}.")
    return 0


def run_front(args: argparse.Namespace) -> int:
    """`front`: the networks that no other one beats on a device."""
    from sr_core.search.price import count
    from sr_core.search.view import view

    catalogue = Catalogue(args.root)
    if not catalogue.devices:
        raise LatencyError("There is no device profile: run `python -m sr_core measure` first.")
    profile = catalogue.device(args.device)
    presets = [model.candidate for model in catalogue.models(args.scale)]
    front = _stored(catalogue, args.scale)
    seen = view(
        front, presets, profile,
        output=args.size, threads=args.threads, budget_ms=args.budget_ms,
    )  # fmt: skip
    costs = count(front.candidates)
    points = [_point(front, seen, costs, int(row)) for row in seen.on_front]
    if args.budget_ms is not None:
        points = [point for point in points if point["total_ms"] <= args.budget_ms]
    summary = {
        "scale": args.scale, "device": profile.id,
        "threads": profile.setting(args.threads).threads,
        "output": list(args.size), "stored": len(front.rows), "on_front": len(seen.on_front),
        "knee": front.rows["id"][seen.knee],
        "budget_ms": args.budget_ms,
        "best_within_budget": None if seen.best is None else front.rows["id"][seen.best],
        "hypervolume_ms_db": seen.hypervolume,
        "reference": {"ms": seen.reference[0], "psnr_y_db": seen.reference[1]},
        "points": points,
    }  # fmt: skip
    print(json.dumps(summary, indent=1) if args.json else _text(profile, summary))
    return 0


def _stored(catalogue: Catalogue, scale: int) -> Front:
    front = catalogue.front(scale)
    if front is None or not len(front.rows):
        raise SearchError(
            f"There is no x{scale} front in {catalogue.root}: run `python -m sr_core search "
            f"--scale {scale} --val PHOTOS` first."
        )
    return front


def _point(front: Front, seen: FrontView, costs: Costs, row: int) -> dict[str, Any]:
    stored = front.rows.iloc[row]
    return {
        "id": stored["id"],
        "network": stored["network"],
        "psnr_y_db": stored["psnr_y_db"],
        "ssim_y": stored["ssim_y"],
        "total_ms": seen.prices.total_ms[row],
        "low_ms": seen.prices.low_ms[row],
        "high_ms": seen.prices.high_ms[row],
        "coverage": seen.prices.coverage[row],
        "basis": seen.prices.basis[row],
        "macs_kept_g": costs.macs_kept[row] / 1e9,
        "params_kept": int(costs.params_kept[row]),
    }


def _text(profile: DeviceProfile, summary: dict[str, Any]) -> str:
    width, height = summary["output"]
    threads = f", {summary['threads']} thread(s)" if summary["threads"] else ""
    named = {summary["knee"]: "knee", summary["best_within_budget"]: "best within the budget"}
    rows = [
        f"{point['id']} {point['psnr_y_db']:>7.3f} {point['ssim_y']:>7.4f} "
        f"{point['total_ms']:>9.3f} {point['low_ms']:>9.3f}-{point['high_ms']:<9.3f} "
        f"{point['coverage']:>5.0%} {point['basis']:18} {point['macs_kept_g']:>6.2f} "
        f"{point['params_kept']:>8,}  {point['network']} {named.get(point['id'], '')}".rstrip()
        for point in summary["points"]
    ]
    reference = summary["reference"]
    return "\n".join(
        [
            f"{profile.title}, {profile.runtime}, {profile.precision}{threads}, output "
            f"{width}x{height}. PSNR-Y and SSIM-Y: measured on validation crops; ms: estimated, "
            f"{CONFIDENCE:.0%} interval; GMACs at 1280x720.",
            f"{'id':10} {'dB':>7} {'SSIM-Y':>7} {'ms':>9} {'interval':^19} {'known':>5} "
            f"{'basis':18} {'GMACs':>6} {'params':>8}  network",
            *rows,
            f"{summary['on_front']} of {summary['stored']} networks are on the front; hypervolume "
            f"{summary['hypervolume_ms_db']:.4g} ms dB, up to {reference['ms']:.4g} ms and down "
            f"to {reference['psnr_y_db']:.2f} dB (bicubic).",
        ]
    )
