"""The commands of stage 1: `train` a supernet and `publish` it. Torch is loaded only to train."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import TypeVar

from sr_core.cli.options import add_option, add_options, settings_of
from sr_core.errors import RuntimeUnavailable, TrainingError
from sr_core.machine import cores, keep_freed_memory
from sr_core.options import flag
from sr_core.rivals.arch import ARCHITECTURES
from sr_core.rivals.settings import RivalArgs
from sr_core.supernet.settings import TrainArgs
from sr_core.training.settings import Progress, RunArgs

Kind = TypeVar("Kind", bound=RunArgs)


def add_train_options(parser: argparse.ArgumentParser) -> None:
    """Add the settings of `TrainArgs`, and of a rival instead of the supernet."""
    add_options(parser, TrainArgs)
    parser.add_argument(
        "--arch",
        help="train another architecture instead (precomputed/rivals/ tells the rates of the "
        "shipped ones): one of " + ", ".join(ARCHITECTURES),
    )
    add_option(parser.add_argument, RivalArgs, "published")


def add_publish_options(parser: argparse.ArgumentParser) -> None:
    """Add the weights, and the images to measure them on."""
    parser.add_argument("weights", type=Path, help="supernet.safetensors of a run folder")
    parser.add_argument("--benchmark", type=Path, help="folder with Set5/, ... each HR/ and LRx4/")
    parser.add_argument("--val", type=Path, help="folder of validation images, scored as Val")
    parser.add_argument(
        "--next", action="store_true",
        help="keep them as weights still in training: sealed, not measured, listed nowhere",
    )  # fmt: skip


def run_options(args: argparse.Namespace, kind: type[Kind]) -> Kind:
    """Return the settings of a run, from the command line."""
    return settings_of(args, kind, source_weights=dict(map(_factor, args.source_weights)))


@contextmanager
def training_code() -> Generator[None]:
    """Guard imports of what trains: say how to install torch, and prepare the process."""
    try:
        yield
        import torch

        # Its default is a thread per physical core, whatever a container's quota.
        torch.set_num_threads(min(torch.get_num_threads(), cores()))
        keep_freed_memory()
    except ModuleNotFoundError as error:
        if error.name not in ("torch", "matplotlib"):
            raise
        raise RuntimeUnavailable(
            f"Training needs {error.name}, which is not installed: run `make train-tools`, or "
            "`pip install -r requirements.txt`."
        ) from None


def reporter(as_json: bool) -> Callable[[Progress], None]:
    """Return a function that prints a line per validation."""

    def report(progress: Progress) -> None:
        print(json.dumps(progress.to_json()) if as_json else _line(progress), flush=True)

    return report


def say(text: str) -> None:
    """Print a line on standard error."""
    print(text, file=sys.stderr, flush=True)


def run_train(args: argparse.Namespace) -> int:
    """Run `train`: a line per validation, precision and warnings on standard error."""
    if args.arch is not None:
        return _train_rival(args)
    if args.published:
        raise TrainingError("--published is of another architecture: give it with --arch.")
    with training_code():
        from sr_core.supernet.train import train
    path = train(run_options(args, TrainArgs), reporter(args.json), say)
    print(f"Weights: {path}", file=sys.stderr)
    return 0


def _train_rival(args: argparse.Namespace) -> int:
    own = {item.name for item in fields(RivalArgs)}
    for item in fields(TrainArgs):
        if item.name not in own and getattr(args, item.name) != item.default:
            raise TrainingError(
                f"{flag(item.name)} is a setting of the supernet: leave it out with --arch."
            )
    settings = run_options(args, RivalArgs)
    with training_code():
        from sr_core.rivals.train import train
    path = train(settings, reporter(args.json), say)
    print(f"Weights: {path}", file=sys.stderr)
    return 0


def _line(progress: Progress) -> str:
    quality = " ".join(f"{name} {db:.2f}" for name, db in progress.psnr_db.items())
    losses = " ".join(f"{v:.4f}" for k, v in progress.readings.items() if k.startswith("loss_"))
    return (
        f"step {progress.step}/{progress.steps}  loss {losses}  "
        f"{progress.steps_per_s:.1f} steps/s  ETA {progress.eta_s / 60:.0f} min  "
        f"PSNR-Y dB: {quality}"
    )


def _factor(text: str) -> tuple[str, float]:
    name, _, factor = text.partition("=")
    try:
        return name, float(factor)
    except ValueError:
        raise TrainingError(f"--source-weights {text!r}: expected NAME=FACTOR.") from None


def add_moments_options(parser: argparse.ArgumentParser) -> None:
    """Add the images."""
    add_option(parser.add_argument, TrainArgs, "data")
    add_option(parser.add_argument, TrainArgs, "source_weights")


def run_moments(args: argparse.Namespace) -> int:
    """Run `moments`: write the file, and refresh the manifest."""
    from sr_core.catalogue.moments import MOMENTS
    from sr_core.catalogue.writer import changing, write_file
    from sr_core.quality.moments import moments_file

    content = moments_file(args.data, dict(map(_factor, args.source_weights)))
    with changing(args.root):
        write_file(args.root / MOMENTS, content)
    return 0


def run_publish(args: argparse.Namespace) -> int:
    """Run `publish`: a line per measured model."""
    from sr_core.catalogue.publish import publish
    from sr_core.catalogue.writer import NEXT, changing, check_writable, install_supernet

    if args.next:
        check_writable(args.root)
        with changing(args.root):
            family = install_supernet(args.root, args.weights, NEXT)
        print(f"{args.root / NEXT}/{family.name}.safetensors: still in training, not listed")
        return 0
    if args.benchmark is None:
        raise TrainingError("publish measures the models: give --benchmark, or --next.")
    publish(args.root, args.weights, args.benchmark, args.val, report=print)
    return 0


def add_publish_rival_options(parser: argparse.ArgumentParser) -> None:
    """Add the run, and the images to measure it on."""
    parser.add_argument("run_folder", type=Path, help="run folder of `train --arch`")
    parser.add_argument(
        "--benchmark", type=Path, required=True, help="folder with Set5/, ... each HR/ and LRx4/"
    )
    parser.add_argument(
        "--val", type=Path, required=True, help="validation images of the stored front"
    )


def run_publish_rival(args: argparse.Namespace) -> int:
    """Run `publish-rival`: a line of results."""
    from sr_core.catalogue.publish_rival import publish_rival

    publish_rival(args.root, args.run_folder, args.benchmark, args.val, report=print)
    return 0
