"""The commands of stage 1: `train` a supernet and `publish` it. Torch is loaded only to train."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import MISSING, asdict, fields
from pathlib import Path

from sr_core.errors import RuntimeUnavailable, TrainingError
from sr_core.supernet.settings import Progress, TrainArgs


def add_train_options(parser: argparse.ArgumentParser) -> None:
    """One option per field of `TrainArgs`; torch need not be there to list them."""
    for item in fields(TrainArgs):
        flag = f"--{item.name.replace('_', '-')}"
        text = item.metadata["help"].replace("%", "%%")  # argparse formats help texts
        if item.name == "source_weights":
            parser.add_argument(flag, nargs="*", default=[], metavar="NAME=FACTOR", help=text)
        elif item.type == "bool":
            parser.add_argument(flag, action="store_true", help=text)
        else:
            kind = {"int": int, "float": float}.get(str(item.type), Path)
            needed = item.default is MISSING
            default = None if needed else item.default
            text += "" if default is None else f" (default {default})"
            parser.add_argument(flag, type=kind, required=needed, default=default, help=text)


def add_publish_options(parser: argparse.ArgumentParser) -> None:
    """The weights, and the images to measure them on."""
    parser.add_argument("weights", type=Path, help="supernet.safetensors of a run folder")
    parser.add_argument(
        "--benchmark", type=Path, required=True, help="folder with Set5/, ... each HR/ and LRx4/"
    )
    parser.add_argument("--val", type=Path, help="folder of validation images, scored as Val")


def run_train(args: argparse.Namespace) -> int:
    """`train`: prints a line per validation, warnings on standard error."""
    try:
        from sr_core.supernet.train import train
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise RuntimeUnavailable(
            "Training needs torch, which is not installed: run `pip install torch==2.13.0`."
        ) from None
    values = {item.name: getattr(args, item.name) for item in fields(TrainArgs)}
    values["source_weights"] = dict(_factor(text) for text in args.source_weights)

    def report(progress: Progress) -> None:
        print(json.dumps(asdict(progress)) if args.json else _line(progress), flush=True)

    def warn(text: str) -> None:
        print(f"warning: {text}", file=sys.stderr)

    path = train(TrainArgs(**values), report, warn)
    print(f"Weights: {path}", file=sys.stderr)
    return 0


def _line(progress: Progress) -> str:
    quality = " ".join(f"{name} {db:.2f}" for name, db in progress.psnr_db.items())
    return (
        f"step {progress.step}/{progress.steps}  loss {progress.loss_anchor:.4f} "
        f"{progress.loss_candidate:.4f}  {progress.steps_per_s:.1f} steps/s  "
        f"ETA {progress.eta_s / 60:.0f} min  PSNR-Y dB: {quality}"
    )


def _factor(text: str) -> tuple[str, float]:
    name, _, factor = text.partition("=")
    try:
        return name, float(factor)
    except ValueError:
        raise TrainingError(f"--source-weights {text!r}: expected NAME=FACTOR.") from None


def run_publish(args: argparse.Namespace) -> int:
    """`publish`: prints a line per measured model."""
    from sr_core.quality.publish import publish

    publish(args.root, args.weights, args.benchmark, args.val, report=print)
    return 0
