"""`python -m sr_core ...`: every stage from the command line. Expected errors are one sentence.

Exit codes: 0 done, 1 an expected error (or damage found by `verify`), 2 wrong usage, 130
interrupted.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import MISSING, asdict, fields
from pathlib import Path
from typing import Any

from sr_core.candidate import Candidate
from sr_core.errors import (
    InvalidImage,
    MeasurementError,
    RuntimeUnavailable,
    TrainingError,
    UpFrontError,
)
from sr_core.layers import ConvLayer, describe, totals
from sr_core.store import DEFAULT_ROOT, Catalogue, lr_size


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    args = _parser().parse_args(argv)
    try:
        return args.run(args)
    except UpFrontError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Stopped.", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m sr_core",
        description="UpFront: search, prune and run real-time super-resolution networks.",
    )
    parser.add_argument(
        "--root", type=Path, default=DEFAULT_ROOT, help="precomputed folder to read and write"
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, run: Callable[[Any], int], text: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=text)
        sub.set_defaults(run=run)
        return sub

    def with_json(sub: argparse.ArgumentParser) -> None:
        sub.add_argument("--json", action="store_true", help="print JSON")

    with_json(command("models", _models, "List the models of the shipped supernets."))

    sub = command("describe", _describe, "Show a model's layers: shapes, pruning, MACs, bytes.")
    _add_model(sub)
    with_json(sub)

    sub = command("upscale", _upscale, "Upscale one image.")
    sub.add_argument("input", type=Path, metavar="IN")
    sub.add_argument("output", type=Path, metavar="OUT", help="PNG (exact), WebP, TIFF, JPEG, BMP")
    sub.add_argument("--scale", type=int, help="factor; default: the model's, else 4")
    _add_model(sub, required=False)

    sub = command("evaluate", _evaluate, "Measure PSNR-Y and SSIM-Y of a model on image pairs.")
    _add_model(sub)
    sub.add_argument("--hr", type=Path, required=True, help="folder of HR images")
    sub.add_argument("--lr", type=Path, help="folder of LR images; default: bicubic from HR")
    sub.add_argument(
        "--crops",
        action="store_true",
        help="only the search-time score: PSNR-Y on fixed crops of --hr, LR made from them",
    )
    with_json(sub)

    with_json(command("verify", _verify, "Check precomputed/: checksums, schemas, identities."))

    sub = command("train", _train, "Stage 1: train the once-for-all supernet (needs torch).")
    _add_settings(sub)
    with_json(sub)

    sub = command("publish", _publish, "Put a trained supernet into precomputed/ and measure it.")
    sub.add_argument("weights", type=Path, help="supernet.safetensors of a run folder")
    sub.add_argument(
        "--benchmark", type=Path, required=True, help="folder with Set5/, ... each HR/ and LRx4/"
    )
    sub.add_argument("--val", type=Path, help="folder of validation images, scored as Val")

    bench = commands.add_parser("bench", help="Benchmarks of this computer.")
    kinds = bench.add_subparsers(required=True, metavar="WHAT")
    sub = kinds.add_parser("session", help="Time from a candidate to a ready ONNX session.")
    sub.set_defaults(run=_bench_session)
    sub.add_argument("--runs", type=int, default=20, help="repetitions per model (default 20)")
    with_json(sub)

    command("table", _table, "Print the results table of README.md.")
    return parser


def _add_model(sub: argparse.ArgumentParser, *, required: bool = True) -> None:
    sub.add_argument(
        "--model", required=required, help="name or id from `models`, or a candidate's JSON file"
    )


def _add_settings(sub: argparse.ArgumentParser) -> None:
    """One option per field of `TrainArgs`; torch need not be there to list them."""
    from sr_core.supernet.settings import TrainArgs

    for item in fields(TrainArgs):
        flag = f"--{item.name.replace('_', '-')}"
        text = item.metadata["help"].replace("%", "%%")  # argparse formats help texts
        if item.name == "source_weights":
            sub.add_argument(flag, nargs="*", default=[], metavar="NAME=FACTOR", help=text)
        elif item.type == "bool":
            sub.add_argument(flag, action="store_true", help=text)
        else:
            kind = {"int": int, "float": float}.get(str(item.type), Path)
            needed = item.default is MISSING
            default = None if needed else item.default
            shown = "" if default is None else f" (default {default})"
            sub.add_argument(flag, type=kind, required=needed, default=default, help=text + shown)


def _models(args: argparse.Namespace) -> int:
    rows = [model.summary() for model in Catalogue(args.root).models()]
    if args.json:
        print(json.dumps(rows, indent=1))
        return 0
    print(f"{'name':24} {'id':20} {'params':>9} {'GMACs':>6}  Set5 PSNR-Y (dB, measured)")
    for row in rows:
        psnr = row.get("psnr_y_set5")
        quality = "not measured" if psnr is None else f"{psnr:.2f}"
        print(
            f"{row['name']:24} {row['id']:20} {row['params_kept']:>9,} "
            f"{row['macs_kept_g']:>6.2f}  {quality}"
        )
    return 0


def _describe(args: argparse.Namespace) -> int:
    candidate = Catalogue(args.root).find(args.model)
    layers = describe(candidate, *lr_size(candidate.scale))
    if args.json:
        rows = [_layer_row(layer) for layer in layers]
        print(json.dumps({"id": candidate.id, "layers": rows, **asdict(totals(layers))}, indent=1))
        return 0
    print(f"{candidate.id}: x{candidate.scale}, {candidate.width} channels, 1280x720 output")
    print(f"{'layer':28} {'in':>4} {'out':>4} {'k':>2} {'scheme':13} {'ratio':>6} {'weights':>8} "
          f"{'MMACs':>8} {'MB moved':>8}")  # fmt: skip
    for layer in layers:
        print(
            f"{layer.name:28} {layer.in_channels:>4} {layer.out_channels:>4} {layer.kernel:>2} "
            f"{layer.pruning.scheme:13} {layer.pruning.ratio:>6.0%} {layer.weights_kept:>8,} "
            f"{layer.macs_kept / 1e6:>8.1f} {layer.bytes_moved / 1e6:>8.1f}"
        )
    cost = totals(layers)
    print(
        f"kept {cost.params_kept:,} of {cost.params_dense:,} parameters, "
        f"{cost.macs_kept / 1e9:.2f} of {cost.macs_dense / 1e9:.2f} GMACs"
    )
    return 0


def _layer_row(layer: ConvLayer) -> dict[str, Any]:
    row = asdict(layer) | layer.pruning.to_json()
    del row["pruning"]
    return row | {
        "weights_dense": layer.weights_dense,
        "macs_kept": layer.macs_kept,
        "macs_dense": layer.macs_dense,
        "bytes_moved": layer.bytes_moved,
    }


def _upscale(args: argparse.Namespace) -> int:
    from tqdm import tqdm

    from sr_core.runtime.image import MAX_PIXELS_CLI, open_image, save_format, save_image
    from sr_core.runtime.upscale import Upscaler

    catalogue = Catalogue(args.root)
    candidate = _chosen(catalogue, args.model, args.scale)
    save_format(args.output)  # refuses a wrong suffix before the work
    image = open_image(args.input, max_pixels=MAX_PIXELS_CLI)
    upscaler = Upscaler(catalogue.network(candidate))
    with tqdm(unit="tile", disable=None) as bar:

        def report(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        result = upscaler.upscale(image, report=report)
    save_image(result, args.output)
    print(f"{args.output}: {result.width}x{result.height}, model {upscaler.network.model_id}")
    return 0


def _chosen(catalogue: Catalogue, reference: str | None, scale: int | None) -> Candidate:
    """The named model, else the dense all-wide anchor of the scale."""
    if reference is None:
        return catalogue.models(4 if scale is None else scale)[0].candidate
    candidate = catalogue.find(reference)
    if scale not in (None, candidate.scale):
        raise InvalidImage(
            f"Model {reference} upscales by {candidate.scale}, not {scale}: leave out --scale."
        )
    return candidate


def _evaluate(args: argparse.Namespace) -> int:
    from sr_core.quality.benchmark import network_upscale, score, score_crops
    from sr_core.quality.datasets import benchmark_pairs, validation_crops
    from sr_core.quality.metrics import PROTOCOL
    from sr_core.runtime.upscale import Upscaler

    catalogue = Catalogue(args.root)
    network = catalogue.network(catalogue.find(args.model))
    scale, upscaler = network.candidate.scale, Upscaler(network)
    if args.crops:
        crops = validation_crops(args.hr, scale)
        psnr_db, n = score_crops(upscaler.run, crops, scale=scale), len(crops.hr)
        row = {"model": network.model_id, "crops_sha256": crops.checksum, "psnr_y": psnr_db, "n": n}
        print(json.dumps(row) if args.json else f"PSNR-Y {psnr_db:.3f} dB, mean of {n} crops")
        return 0
    upscale = network_upscale(upscaler.upscale)
    result = score(benchmark_pairs(args.hr, args.lr, scale), upscale, scale=scale)
    row = {"model": network.model_id, "protocol": PROTOCOL, **asdict(result)}
    print(
        json.dumps(row)
        if args.json
        else f"PSNR-Y {result.psnr_y:.3f} dB, SSIM-Y {result.ssim_y:.4f}, mean of {result.n} images"
    )
    return 0


def _verify(args: argparse.Namespace) -> int:
    problems = Catalogue(args.root).verify()
    if args.json:
        print(json.dumps({"ok": not problems, "problems": problems}, indent=1))
    else:
        print("\n".join(problems) if problems else "precomputed/ is intact.")
    return 1 if problems else 0


def _train(args: argparse.Namespace) -> int:
    try:
        from sr_core.supernet.train import Progress, train
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise RuntimeUnavailable(
            "Training needs torch, which is not installed: run `pip install torch==2.13.0`."
        ) from None
    from sr_core.supernet.settings import TrainArgs

    values = {item.name: getattr(args, item.name) for item in fields(TrainArgs)}
    values["source_weights"] = dict(_factor(text) for text in args.source_weights)

    def report(progress: Progress) -> None:
        if args.json:
            print(json.dumps(asdict(progress)), flush=True)
            return
        quality = " ".join(f"{name} {db:.2f}" for name, db in progress.psnr_db.items())
        print(
            f"step {progress.step}/{progress.steps}  loss {progress.loss_anchor:.4f} "
            f"{progress.loss_candidate:.4f}  {progress.steps_per_s:.1f} steps/s  "
            f"ETA {progress.eta_s / 60:.0f} min  PSNR-Y dB: {quality}",
            flush=True,
        )

    path = train(TrainArgs(**values), report)
    print(f"Weights: {path}", file=sys.stderr)
    return 0


def _factor(text: str) -> tuple[str, float]:
    name, _, factor = text.partition("=")
    try:
        return name, float(factor)
    except ValueError:
        raise TrainingError(f"--source-weights {text!r}: expected NAME=FACTOR.") from None


def _publish(args: argparse.Namespace) -> int:
    from sr_core.quality.publish import publish

    publish(args.root, args.weights, args.benchmark, args.val, report=print)
    return 0


def _bench_session(args: argparse.Namespace) -> int:
    from sr_core.bench import bench_sessions

    if args.runs < 1:
        raise MeasurementError(f"--runs {args.runs}: expected at least 1.")
    rows = bench_sessions(Catalogue(args.root), runs=args.runs)
    if args.json:
        print(json.dumps([asdict(row) for row in rows], indent=1))
        return 0
    print(f"{'model':24} {'extract':>9} {'build':>9} {'session':>9} {'total':>9}  median ms")
    for row in rows:
        parts = (row.extract_ms, row.build_ms, row.session_ms, row.total_ms)
        print(f"{row.model:24} " + " ".join(f"{ms:>9.1f}" for ms in parts))
    return 0


def _table(args: argparse.Namespace) -> int:
    from sr_core.quality.table import results_table

    print(results_table(Catalogue(args.root)))
    return 0
