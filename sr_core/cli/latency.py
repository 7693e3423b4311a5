"""The commands of latency: `measure` this computer, `estimate` a model, list and fit `devices`."""

from __future__ import annotations

import argparse
import json
import math
import re
import sys
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from sr_core.catalogue.store import Catalogue
from sr_core.catalogue.writer import changing, check_writable, keeping, write_file
from sr_core.engine.library import Library
from sr_core.errors import MeasurementError
from sr_core.files import check_target
from sr_core.latency.estimate import CONFIDENCE, LatencyEstimate, estimate
from sr_core.latency.own import own_device_path
from sr_core.latency.profile import DeviceProfile, profile_json
from sr_core.network.layers import OUTPUT_SIZE
from sr_core.results.record import to_json


def add_measure_options(parser: argparse.ArgumentParser) -> None:
    """Add how long to measure, and where the profile goes."""
    parser.add_argument(
        "--engine", choices=("sparse", "onnx", "both"),
        help="what to time (default: both, if the sparse engine works here)",
    )  # fmt: skip
    parser.add_argument(
        "--seconds", type=float, default=50, help="about this long in all (default 50)"
    )
    parser.add_argument(
        "--held-out", type=int, default=12,
        help="random candidates per thread count that check the fit (default 12)",
    )  # fmt: skip
    parser.add_argument("--seed", type=int, default=0, help="of probes and candidates")
    parser.add_argument(
        "--ship", action="store_true",
        help="write it into the precomputed folder instead, named after the processor",
    )  # fmt: skip


def add_estimate_options(parser: argparse.ArgumentParser) -> None:
    """Add device, frame size and threads."""
    parser.add_argument("--device", help="id from `devices`; default: the first")
    parser.add_argument(
        "--size", type=output_size, default=OUTPUT_SIZE, metavar="WxH",
        help="output size (default 1280x720)",
    )  # fmt: skip
    parser.add_argument("--threads", type=int, help="default: the most the profile has")


def add_share_option(parser: argparse.ArgumentParser) -> None:
    """Add the assumption on phones."""
    parser.add_argument(
        "--share", type=float,
        help="assumed share of skipped MACs that saves time, 0 to 1 (default: the profile's)",
    )  # fmt: skip


def add_galaxy_options(parser: argparse.ArgumentParser) -> None:
    """Add the table to fit."""
    parser.add_argument("table", type=Path, help="CSV of predicted block latencies")


def output_size(text: str) -> tuple[int, int]:
    """Read a size for argparse: 1280x720 -> (1280, 720)."""
    match = re.fullmatch(r"(\d{1,5})[x×](\d{1,5})", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no size: expected WIDTHxHEIGHT")
    return int(match[1]), int(match[2])


def run_measure(args: argparse.Namespace) -> int:
    """Run `measure`: this computer's profiles, into the user's data folder or the catalogue."""
    from tqdm import tqdm

    from sr_core.latency.measure import measure_all, measured_elsewhere

    for option, value in (("--held-out", args.held_out), ("--seed", args.seed)):
        if value < 0:
            raise MeasurementError(f"{option} {value}: expected 0 or more.")
    if not 0 < args.seconds < math.inf:
        raise MeasurementError(f"--seconds {args.seconds:g}: expected a time above 0.")
    catalogue = Catalogue(args.root)
    libraries = _libraries(catalogue, args.engine)
    if args.ship:
        _refuse_own(libraries, args.root)
        check_writable(args.root, "devices/profile.json")
    else:
        check_target(own_device_path(), MeasurementError)
    with tqdm(unit="network", disable=None) as bar:

        def report(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        profiles = measure_all(
            libraries, seconds=args.seconds, held_out=args.held_out, seed=args.seed, report=report
        )
    if args.ship:
        profiles = [measured_elsewhere(profile) for profile in profiles]
    with keeping(lambda: to_json(profiles)):
        if args.ship:
            paths = _ship(args.root, profiles)
        else:
            paths = [catalogue.keep_device(profile) for profile in profiles]
    if args.json:
        print(json.dumps([profile.model_dump(mode="json") for profile in profiles], indent=1))
        return 0
    for path, profile in zip(paths, profiles, strict=True):
        print(f"{path}\n{_accuracy(profile)}")
    return 0


def _refuse_own(libraries: Sequence[Library | None], root: Path) -> None:
    """Raise `MeasurementError` if a library was built here: nobody else has it."""
    for library in libraries:
        if library and library.path.parent != root / "engine":
            raise MeasurementError(
                f"Only times of shipped libraries are for others, and {library.path} was built "
                "here: move it away first."
            )


def _ship(root: Path, profiles: Sequence[DeviceProfile]) -> list[Path]:
    """Put profiles into the precomputed folder, and return their paths."""
    paths = [root / "devices" / f"{profile.id}.json" for profile in profiles]
    with changing(root):
        for path, profile in zip(paths, profiles, strict=True):
            write_file(path, profile_json(profile))
    return paths


def _libraries(catalogue: Catalogue, engine: str | None) -> list[Library | None]:
    """Return the runtimes to measure, in this order. None is ONNX Runtime."""
    if engine == "onnx":
        return [None]
    if catalogue.engine is None:
        if engine is not None:
            raise MeasurementError(f"The engine cannot be measured. {catalogue.engine_problem}")
        print(
            f"warning: only ONNX Runtime is measured. {catalogue.engine_problem}", file=sys.stderr
        )
        return [None]
    return [catalogue.engine] if engine == "sparse" else [catalogue.engine, None]


def _accuracy(profile: DeviceProfile) -> str:
    lines = [f"{profile.title}: 90 % interval x/÷ {profile.spread.inside:.2f}"]
    for setting in profile.settings:
        check = setting.held_out
        lines.append(
            f"{setting.threads} thread(s): not checked"
            if check is None
            else f"{setting.threads} thread(s): {check.n} unseen candidates, mean error "
            f"{check.mape_percent:.1f} %, {check.coverage:.0%} inside the interval"
        )
    return "\n".join(lines)


def run_devices(args: argparse.Namespace) -> int:
    """Run `devices`: what there are profiles for."""
    catalogue = Catalogue(args.root)
    devices = catalogue.devices
    if catalogue.device_problem:
        print(f"warning: {catalogue.device_problem}", file=sys.stderr)
    if args.json:
        print(json.dumps([device.model_dump(mode="json") for device in devices], indent=1))
        return 0
    for device in devices:
        threads = ", ".join(map(str, device.threads)) or "-"
        print(f"{device.id:40} {device.basis:31} threads {threads:6} {device.title}")
    return 0


def run_estimate(args: argparse.Namespace) -> int:
    """Run `estimate`: the latency of a model on a device, per layer."""
    catalogue = Catalogue(args.root)
    profile = catalogue.device(args.device)
    candidate = catalogue.find(args.model)
    result = estimate(
        profile, candidate, output=args.size, threads=args.threads, sparsity_share=args.share
    )
    print(json.dumps(asdict(result), indent=1) if args.json else _text(profile, result))
    return 0


def _text(profile: DeviceProfile, result: LatencyEstimate) -> str:
    lines = [
        f"{layer.name:28} {layer.ms:>9.3f} ms  {layer.ms / result.total_ms:>4.0%}  {layer.basis}"
        for layer in result.per_layer
    ]
    threads = f", {result.threads} thread(s)" if result.threads else ""
    lines += [
        f"{'total, estimated':28} {result.total_ms:>9.3f} ms  "
        f"({CONFIDENCE:.0%} interval {result.low_ms:.1f} to {result.high_ms:.1f})",
        f"{profile.title} ({profile.runtime}, {profile.precision}{threads}), output "
        f"{result.output[0]}x{result.output[1]}; basis: {result.basis}, "
        f"{result.coverage:.0%} of the time inside the profile's scope",
        f"The interval: {profile.spread.source}.",
        *result.notes,
    ]
    return "\n".join(lines)


def run_galaxy(args: argparse.Namespace) -> int:
    """Run `galaxy`: fit the Galaxy profiles and put them into the catalogue."""
    from sr_core.latency.galaxy import galaxy_profiles

    profiles = galaxy_profiles(args.table, datetime.now(UTC).strftime("%Y-%m-%d"))
    _ship(args.root, profiles)
    for profile in profiles:
        print(f"{profile.title}: {profile.anchors[0].error}")
    return 0
