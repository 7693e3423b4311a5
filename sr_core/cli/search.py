"""The commands of stage 2: `search` the space, and show the `front` it found."""

from __future__ import annotations

import argparse
import io
import json
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sr_core.catalogue.store import Catalogue
from sr_core.catalogue.writer import check_writable
from sr_core.cli.latency import add_estimate_options
from sr_core.cli.options import add_family_options, add_option, add_options, settings_of
from sr_core.errors import LatencyError, SearchError, UpFrontError
from sr_core.latency.estimate import CONFIDENCE
from sr_core.latency.profile import DeviceProfile
from sr_core.network.candidate import Family
from sr_core.runtime.choice import add_engine_option, engine_or_none
from sr_core.search.settings import SearchArgs, family_words

if TYPE_CHECKING:
    from sr_core.catalogue.fronts import Front
    from sr_core.latency.prices import Costs
    from sr_core.search.view import FrontView


def add_search_options(parser: argparse.ArgumentParser) -> None:
    """Add the settings of `SearchArgs`, and what to do besides or instead."""
    add_option(parser.add_argument, SearchArgs, "scale")
    data = parser.add_mutually_exclusive_group()
    add_option(data.add_argument, SearchArgs, "val")
    data.add_argument(
        "--benchmark", type=Path,
        help="instead of searching, measure the networks on the front on Set5, Set14 and BSD100 "
        "below this folder (for reporting; these images never choose a network)",
    )  # fmt: skip
    add_options(parser, SearchArgs, but=("scale", "val", "engine"))
    parser.add_argument(
        "--events", action="store_true",
        help="print a line of JSON for whatever happens, and stop when standard input ends or "
        "says `stop`",
    )  # fmt: skip
    add_engine_option(parser)


def add_front_options(parser: argparse.ArgumentParser) -> None:
    """Add which front to show, and as which device sees it."""
    add_family_options(parser)
    add_estimate_options(parser)
    parser.add_argument("--budget-ms", type=float, help="also name the best network within it")


def run_search(args: argparse.Namespace) -> int:
    """Run `search`: append a run to the stored front, or benchmark results."""
    if args.benchmark:
        return _benchmark(args)
    return _with_events(args) if args.events else _search(args)


def _search(args: argparse.Namespace) -> int:
    from tqdm import tqdm

    from sr_core.search.events import Event, Start, Trial
    from sr_core.search.study import search

    catalogue = Catalogue(args.root)
    # For its warning; the search takes its engine from the settings.
    engine_or_none(args.engine, catalogue.engine, catalogue.engine_problem)
    with tqdm(unit="trial", disable=None) as bar:

        def report(event: Event) -> None:
            if isinstance(event, Start):
                bar.total = event.trials
            elif isinstance(event, Trial):
                hypervolume = f"{event.hypervolume:.4g}"
                bar.set_postfix(evaluated=event.evaluated, hypervolume=hypervolume, refresh=False)
                bar.update(event.trials - bar.n)

        result = search(catalogue, settings_of(args, SearchArgs), report)
    run = result.run
    rate = f", {run.evaluated / run.evaluation_s:.1f} a second" if run.evaluation_s else ""
    front = Catalogue(args.root).front(result.start.family) if args.val else None
    note = f" {len(front.rows)} networks stored." if front else ""
    print(
        f"{run.trials} trials: {run.evaluated} networks evaluated in {run.evaluation_s:.1f} s"
        f"{rate}, proposed in {run.proposal_s:.1f} s, hypervolume "
        f"{run.hypervolume.points[-1][2]:.4g} {run.unit} dB.{note}"
    )
    return 0


def _with_events(args: argparse.Namespace) -> int:
    """Print events on standard output, errors too.

    The search ends with whoever holds our standard input.
    """
    from sr_core.search.events import Event, Failure, line
    from sr_core.search.study import search

    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8")  # who reads events knows no other

    def report(event: Event) -> None:
        print(line(event), flush=True)

    stop = threading.Event()
    threading.Thread(target=_wait_for_stop, args=(stop,), daemon=True).start()
    try:
        search(Catalogue(args.root), settings_of(args, SearchArgs), report, stop.is_set)
    except BrokenPipeError:
        raise
    except (UpFrontError, OSError) as error:
        # A path in it may not be valid Unicode, which JSON has to be.
        report(Failure(message=str(error).encode(errors="backslashreplace").decode()))
        return 1
    return 0


def _wait_for_stop(stop: threading.Event) -> None:
    """Set `stop` when standard input says `stop`, ends, or cannot be read."""
    try:
        with suppress(UnicodeDecodeError, OSError):
            for text in sys.stdin:
                if text.strip() == "stop":
                    break
    finally:
        stop.set()


def _benchmark(args: argparse.Namespace) -> int:
    from tqdm import tqdm

    from sr_core.catalogue.publish import benchmark_sets
    from sr_core.search.report import measure, rows_to_measure

    if args.scale is None:
        raise SearchError("--scale is missing: give 2 or 4.")
    catalogue = Catalogue(args.root)
    family = Family(args.scale, args.colour)
    front = _front(catalogue, family)
    check_writable(args.root, f"fronts/{family.name}.parquet")
    sets = benchmark_sets(args.benchmark, args.scale)
    rows = rows_to_measure(front, catalogue.devices)
    library = engine_or_none(args.engine, catalogue.engine, catalogue.engine_problem)
    with tqdm(unit="network", total=len(rows), disable=None) as bar:
        measure(catalogue, front, rows, sets, library=library, report=bar.update)
    print(f"{len(rows)} networks measured on {', '.join(images.name for images in sets)}.")
    return 0


def run_front(args: argparse.Namespace) -> int:
    """Run `front`: the networks that no other one beats on a device."""
    from sr_core.latency.prices import count
    from sr_core.search.view import view

    catalogue = Catalogue(args.root)
    if not catalogue.devices:
        raise LatencyError("There is no device profile: run `python -m sr_core measure` first.")
    profile = catalogue.device(args.device)
    family = Family(args.scale, args.colour)
    presets = [model.candidate for model in catalogue.models(family)]
    front = _front(catalogue, family)
    front_view = view(
        front, presets, profile,
        output=args.size, threads=args.threads, budget_ms=args.budget_ms,
    )  # fmt: skip
    costs, best = count(front.candidates), front_view.best
    points = [_point(front, front_view, costs, int(row)) for row in front_view.on_front]
    if args.budget_ms is not None:
        points = [point for point in points if point["total_ms"] <= args.budget_ms]
    summary = {
        "scale": args.scale, "colour": args.colour, "device": profile.id,
        "threads": profile.setting(args.threads).threads,
        "output": list(args.size), "stored": len(front.rows), "on_front": len(front_view.on_front),
        "knee": front.rows["id"][front_view.knee],
        "budget_ms": args.budget_ms,
        "best_within_budget": None if best is None else front.rows["id"][best],
        "hypervolume_ms_db": front_view.hypervolume,
        "reference": {"ms": front_view.reference[0], "psnr_y_db": front_view.reference[1]},
        "points": points,
    }  # fmt: skip
    print(json.dumps(summary, indent=1) if args.json else _text(profile, summary))
    return 0


def _front(catalogue: Catalogue, family: Family) -> Front:
    front = catalogue.front(catalogue.require(family))
    if front is None or not len(front.rows):
        raise SearchError(
            f"There is no {family.name} front in {catalogue.root}: run `python -m sr_core search "
            f"{family_words(family)} --val PHOTOS` first."
        )
    return front


def _point(front: Front, front_view: FrontView, costs: Costs, row: int) -> dict[str, Any]:
    record = front.rows.iloc[row]
    return {
        "id": record["id"],
        "network": record["network"],
        "psnr_y_db": record["psnr_y_db"],
        "ssim_y": record["ssim_y"],
        "total_ms": front_view.prices.total_ms[row],
        "low_ms": front_view.prices.low_ms[row],
        "high_ms": front_view.prices.high_ms[row],
        "coverage": front_view.prices.coverage[row],
        "basis": front_view.prices.basis[row],
        "macs_kept_g": costs.macs_kept[row] / 1e9,
        "params_kept": int(costs.params_kept[row]),
    }


def _text(profile: DeviceProfile, summary: dict[str, Any]) -> str:
    width, height = summary["output"]
    threads = f", {summary['threads']} thread(s)" if summary["threads"] else ""
    marks = {summary["knee"]: "knee", summary["best_within_budget"]: "best within the budget"}
    rows = [
        f"{point['id']} {point['psnr_y_db']:>7.3f} {point['ssim_y']:>7.4f} "
        f"{point['total_ms']:>9.3f} {point['low_ms']:>9.3f}-{point['high_ms']:<9.3f} "
        f"{point['coverage']:>5.0%} {point['basis']:31} {point['macs_kept_g']:>6.2f} "
        f"{point['params_kept']:>8,}  {point['network']} {marks.get(point['id'], '')}".rstrip()
        for point in summary["points"]
    ]
    reference = summary["reference"]
    return "\n".join(
        [
            f"{profile.title}, {profile.runtime}, {profile.precision}{threads}, output "
            f"{width}x{height}. PSNR-Y and SSIM-Y: measured on validation crops; ms: estimated, "
            f"{CONFIDENCE:.0%} interval; GMACs at 1280x720.",
            f"{'id':10} {'dB':>7} {'SSIM-Y':>7} {'ms':>9} {'interval':^19} {'known':>5} "
            f"{'basis':31} {'GMACs':>6} {'params':>8}  network",
            *rows,
            f"{summary['on_front']} of {summary['stored']} networks are on the front; hypervolume "
            f"{summary['hypervolume_ms_db']:.4g} ms dB, up to {reference['ms']:.4g} ms and down "
            f"to {reference['psnr_y_db']:.2f} dB (bicubic).",
        ]
    )
