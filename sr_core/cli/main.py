"""`python -m sr_core ...`: every stage from the command line. Expected errors are one sentence.

Exit codes: 0 done, 1 an expected error (or damage found by `verify`), 2 wrong usage, 130
interrupted, 141 the reader of the output left (`models | head -1`).
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeAlias

from sr_core.catalogue.store import Catalogue, Model
from sr_core.catalogue.verify import verify
from sr_core.cli.bench import (
    add_ablation_options,
    add_rival_bench_options,
    add_session_options,
    run_ablation,
    run_page,
    run_rivals,
    run_session,
)
from sr_core.cli.bench_engine import (
    add_engine_bench_options,
    add_network_bench_options,
    run_engine,
    run_networks,
)
from sr_core.cli.bench_search import (
    add_sampler_bench_options,
    add_worker_bench_options,
    run_samplers,
    run_workers,
)
from sr_core.cli.bench_training import add_precision_bench_options, run_precision
from sr_core.cli.engine import (
    add_build_options,
    run_build,
    run_status,
)
from sr_core.cli.latency import (
    add_estimate_options,
    add_galaxy_options,
    add_measure_options,
    add_share_option,
    run_devices,
    run_estimate,
    run_galaxy,
    run_measure,
)
from sr_core.cli.prune import (
    add_finetune_options,
    add_prune_options,
    add_publish_final_options,
    run_finetune,
    run_prune,
    run_publish_final,
)
from sr_core.cli.search import add_front_options, add_search_options, run_front, run_search
from sr_core.cli.train import (
    add_moments_options,
    add_publish_options,
    add_publish_rival_options,
    add_train_options,
    run_moments,
    run_publish,
    run_publish_rival,
    run_train,
)
from sr_core.errors import CatalogueError, InvalidCandidate, InvalidImage, UpFrontError
from sr_core.files import PRECOMPUTED, check_target, is_same_file
from sr_core.network.candidate import Family
from sr_core.network.colour import CHANNELS, Colour
from sr_core.network.extract import ExtractedNetwork
from sr_core.network.layers import ConvLayer, describe, lr_size, totals
from sr_core.runtime.choice import add_engine_option, engine_or_none
from sr_core.streams import prepare_streams

AddParser: TypeAlias = Callable[..., argparse.ArgumentParser]
"""`add_parser` of what `add_subparsers` returns, whose type argparse keeps private."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command, and return the exit code."""
    prepare_streams()
    try:
        try:
            args = _parser().parse_args(argv)
            return args.run(args)
        finally:
            sys.stdout.flush()  # a reader that left shows here, not when the interpreter ends
    except UpFrontError as error:
        return _fail(str(error))
    except BrokenPipeError:
        _discard_output()
        return 141
    except OSError as error:
        _discard_output()
        return _fail(f"The system refused ({error}): check the path, permissions and free space.")
    except MemoryError:
        return _fail("The memory is used up: close other programs or do less at once.")
    except KeyboardInterrupt:
        print("Stopped.", file=sys.stderr)
        return 130


def _fail(message: str) -> int:
    print(f"error: {message}", file=sys.stderr)
    return 1


def _discard_output() -> None:
    """Let output that cannot be written go nowhere, or the interpreter complains when it ends."""
    try:
        sys.stdout.flush()
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m sr_core",
        description="UpFront: search, prune and run real-time super-resolution networks.",
    )
    parser.add_argument(
        "--root", type=Path, default=PRECOMPUTED, help="precomputed folder to read and write"
    )
    add_parser = parser.add_subparsers(required=True, metavar="COMMAND").add_parser
    _add_use(add_parser)
    _add_reports(add_parser)
    _add_stage_1(add_parser)
    _add_latency(add_parser)
    _add_stage_2(add_parser)
    _add_stage_3(add_parser)
    _add_engine(add_parser)
    bench = add_parser("bench", help="Benchmarks of this computer.")
    add_kind = bench.add_subparsers(required=True, metavar="WHAT").add_parser
    text = "Time from a candidate to a ready ONNX session."
    add_session_options(_command(add_kind, "session", run_session, text, as_json=True))
    text = "Time the web page in headless Chromium, and the server's memory."
    _command(add_kind, "page", run_page, text, as_json=True)
    text = "Time our engine beside ONNX Runtime and MNN (9 to 40 minutes; --quick: two)."
    add_engine_bench_options(_command(add_kind, "engine", run_engine, text, as_json=True))
    text = "Time some networks in our engine, in turns, and compare them with the first."
    add_network_bench_options(_command(add_kind, "networks", run_networks, text, as_json=True))
    text = "Time re-trained published architectures beside our networks of their quality."
    add_rival_bench_options(_command(add_kind, "rivals", run_rivals, text, as_json=True))
    text = "Time training steps in fp32 and in bf16, and say which `--precision auto` takes."
    sub = _command(add_kind, "precision", run_precision, text, as_json=True)
    add_precision_bench_options(sub)
    text = "Compare families of fine-tuned networks: quality, and time in one sitting."
    add_ablation_options(_command(add_kind, "ablation", run_ablation, text, as_json=True))
    text = "Compare the samplers of `search` at equal numbers of evaluations."
    add_sampler_bench_options(_command(add_kind, "samplers", run_samplers, text, as_json=True))
    text = "Trials a second of one study with one and with two worker processes."
    add_worker_bench_options(_command(add_kind, "workers", run_workers, text, as_json=True))
    return parser


def _command(
    add_parser: AddParser, name: str, run: Callable[[Any], int], text: str, *, as_json: bool = False
) -> argparse.ArgumentParser:
    sub = add_parser(name, help=text, description=text)
    sub.set_defaults(run=run)
    if as_json:
        sub.add_argument("--json", action="store_true", help="print JSON")
    return sub


def _add_model(sub: argparse.ArgumentParser, *, required: bool = True) -> None:
    sub.add_argument(
        "--model",
        required=required,
        help="name or id from `models`, a network text (x4c32_12wb50b50b50), or a JSON file",
    )


def _add_use(add_parser: AddParser) -> None:
    """Add the commands that run a network on images."""
    sub = _command(add_parser, "upscale", _upscale, "Upscale one image.")
    sub.add_argument("input", type=Path, metavar="IN")
    sub.add_argument("output", type=Path, metavar="OUT", help="PNG (exact), WebP, TIFF, JPEG, BMP")
    sub.add_argument("--scale", type=int, help="factor; default: the model's, else 4")
    text = "what the network sees; default: the model's, else rgb"
    sub.add_argument("--colour", choices=tuple(CHANNELS), help=text)
    _add_model(sub, required=False)
    add_engine_option(sub)
    text = "Measure PSNR-Y and SSIM-Y of a model on image pairs."
    sub = _command(add_parser, "evaluate", _evaluate, text, as_json=True)
    _add_model(sub)
    sub.add_argument("--hr", type=Path, required=True, help="folder of HR images")
    sub.add_argument("--lr", type=Path, help="folder of LR images; default: bicubic from HR")
    sub.add_argument(
        "--crops",
        action="store_true",
        help="only the search-time score: PSNR-Y on fixed crops of --hr, LR made from them",
    )
    add_engine_option(sub)


def _add_reports(add_parser: AddParser) -> None:
    """Add the commands that show or check what precomputed/ holds."""
    text = "List the models of the shipped supernets, and the fine-tuned ones."
    _command(add_parser, "models", _models, text, as_json=True)
    text = "Show a model's layers: shapes, pruning, MACs, bytes."
    _add_model(_command(add_parser, "describe", _describe, text, as_json=True))
    text = "Check precomputed/: checksums, schemas, identities."
    _command(add_parser, "verify", _verify, text, as_json=True)
    sub = _command(add_parser, "table", _table, "Print the result tables of docs/results.md.")
    text = "put them into the marked blocks of these Markdown pages instead"
    sub.add_argument("--write", type=Path, nargs="+", metavar="PAGE", help=text)


def _add_stage_1(add_parser: AddParser) -> None:
    text = "Stage 1: train the once-for-all supernet (needs torch)."
    add_train_options(_command(add_parser, "train", run_train, text, as_json=True))
    text = "Put a trained supernet into precomputed/ and measure it."
    add_publish_options(_command(add_parser, "publish", run_publish, text))
    text = "Collect what pruned input skips are refitted from: moments of LR patches."
    add_moments_options(_command(add_parser, "moments", run_moments, text))
    text = "Put an architecture trained with `train --arch` into precomputed/ and measure it."
    add_publish_rival_options(_command(add_parser, "publish-rival", run_publish_rival, text))


def _add_latency(add_parser: AddParser) -> None:
    text = "Time this computer and make its latency profiles (about a minute)."
    add_measure_options(_command(add_parser, "measure", run_measure, text, as_json=True))
    text = "List the devices that have a latency profile."
    _command(add_parser, "devices", run_devices, text, as_json=True)
    text = "Estimate a model's latency on a device, layer by layer."
    sub = _command(add_parser, "estimate", run_estimate, text, as_json=True)
    _add_model(sub)
    add_estimate_options(sub)
    add_share_option(sub)
    text = "Fit the Galaxy profiles to a table of published block latencies."
    add_galaxy_options(_command(add_parser, "galaxy", run_galaxy, text))


def _add_stage_2(add_parser: AddParser) -> None:
    text = "Stage 2: search networks that trade cost against quality."
    add_search_options(_command(add_parser, "search", run_search, text))
    text = "Show the networks found by `search` that no other one beats on a device."
    add_front_options(_command(add_parser, "front", run_front, text, as_json=True))


def _add_stage_3(add_parser: AddParser) -> None:
    text = "Stage 3: find pruning ratios per layer for a latency budget (needs torch)."
    add_prune_options(_command(add_parser, "prune", run_prune, text, as_json=True))
    text = "Fine-tune one network with its masks frozen (needs torch)."
    add_finetune_options(_command(add_parser, "finetune", run_finetune, text, as_json=True))
    text = "Put a fine-tuned network into precomputed/ and measure it."
    sub = _command(add_parser, "publish-final", run_publish_final, text)
    add_publish_final_options(sub)


def _add_engine(add_parser: AddParser) -> None:
    engine = add_parser("engine", help="The sparse engine: build it, or see which one is used.")
    add_kind = engine.add_subparsers(required=True, metavar="WHAT").add_parser
    text = "Compile the engine for this computer, with a C compiler or zig."
    add_build_options(_command(add_kind, "build", run_build, text))
    text = "Show which library is used here and test it, or say why there is none."
    _command(add_kind, "status", run_status, text, as_json=True)


def _models(args: argparse.Namespace) -> int:
    catalogue = Catalogue(args.root)
    models = [*catalogue.models(), *map(Model.of_final, catalogue.finals())]
    rows = [model.summary() for model in models]
    if args.json:
        print(json.dumps(rows, indent=1))
        return 0
    print(
        f"{'name':24} {'id':20} {'kind':8} {'params, kept of dense':>21} {'GMACs':>14}  "
        "Set5 PSNR-Y (dB, measured)"
    )
    for row in rows:
        psnr = row.get("psnr_y_set5")
        quality = "not measured" if psnr is None else f"{psnr:.2f}"
        print(
            f"{row['name']:24} {row['id']:20} {row['kind']:8} "
            f"{row['params_kept']:>8,} of {row['params_dense']:>9,} "
            f"{row['macs_kept_g']:>5.2f} of {row['macs_dense_g']:>5.2f}  {quality}"
        )
    return 0


def _describe(args: argparse.Namespace) -> int:
    candidate = Catalogue(args.root).find(args.model)
    layers = describe(candidate, *lr_size(candidate.scale))
    if args.json:
        rows = [_layer_row(layer) for layer in layers]
        print(json.dumps({"id": candidate.id, "layers": rows, **asdict(totals(layers))}, indent=1))
        return 0
    luma = "" if candidate.colour == "rgb" else f" {candidate.colour}"
    print(f"{candidate.id}: x{candidate.scale}{luma}, {candidate.width} channels, 1280x720 output")
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

    from sr_core.runtime.read import MAX_PIXELS_CLI, open_image
    from sr_core.runtime.upscale import Upscaler
    from sr_core.runtime.write import check_output, save_image

    if is_same_file(args.input, args.output):
        raise InvalidImage(
            f"{args.output} is the image itself, which would be replaced: give another name."
        )
    catalogue = Catalogue(args.root)
    network = _network(catalogue, args.model, args.scale, args.colour)
    image = open_image(args.input, max_pixels=MAX_PIXELS_CLI)
    check_output(image, network.candidate.scale, args.output)
    upscaler = Upscaler(
        network, engine_or_none(args.engine, catalogue.engine, catalogue.engine_problem)
    )
    with tqdm(unit="tile", disable=None) as bar:

        def report(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        result = upscaler.upscale(image, report=report)
    save_image(result, args.output)
    print(
        f"{args.output}: {result.width}x{result.height}, model {network.model_id}, "
        f"{upscaler.runtime}"
    )
    return 0


def _network(
    catalogue: Catalogue, reference: str | None, scale: int | None, colour: Colour | None
) -> ExtractedNetwork:
    """Return the named model, else the dense all-wide anchor of the family."""
    if reference is None:
        family = Family(4 if scale is None else scale, colour or "rgb")
        return catalogue.network(catalogue.models(family)[0].candidate)
    network = catalogue.network_of(reference)
    if scale not in (None, network.candidate.scale):
        raise InvalidCandidate(
            f"Model {reference} upscales by {network.candidate.scale}, not {scale}: leave out "
            "--scale."
        )
    if colour not in (None, network.candidate.colour):
        raise InvalidCandidate(
            f"Model {reference} sees {network.candidate.colour}, not {colour}: leave out --colour."
        )
    return network


def _finite(psnr_db: float) -> float | None:
    """Return None for the PSNR of equal images: JSON has no infinity."""
    return psnr_db if math.isfinite(psnr_db) else None


def _evaluate(args: argparse.Namespace) -> int:
    from sr_core.quality.benchmark import network_upscale, score, score_upscaled
    from sr_core.quality.datasets import benchmark_pairs, validation_crops
    from sr_core.quality.metrics import PROTOCOL
    from sr_core.runtime.upscale import Upscaler

    catalogue = Catalogue(args.root)
    network = catalogue.network_of(args.model)
    scale = network.candidate.scale
    upscaler = Upscaler(
        network, engine_or_none(args.engine, catalogue.engine, catalogue.engine_problem)
    )
    upscale = network_upscale(upscaler.upscale)
    if args.crops:
        crops = validation_crops(args.hr, scale)
        psnr_db, n = score_upscaled(upscale, crops, scale=scale), len(crops.hr)
        row: dict[str, Any] = {"model": network.model_id, "crops_sha256": crops.checksum, "n": n}
        row["psnr_y"] = _finite(psnr_db)
        print(json.dumps(row) if args.json else f"PSNR-Y {psnr_db:.3f} dB, mean of {n} crops")
        return 0
    result = score(benchmark_pairs(args.hr, args.lr, scale), upscale, scale=scale)
    row = {"model": network.model_id, "protocol": PROTOCOL, **asdict(result)}
    row |= {"psnr_y": _finite(result.psnr_y), "psnr_rgb": _finite(result.psnr_rgb)}
    print(
        json.dumps(row)
        if args.json
        else f"PSNR-Y {result.psnr_y:.3f} dB, SSIM-Y {result.ssim_y:.4f}, PSNR-RGB "
        f"{result.psnr_rgb:.3f} dB, mean of {result.n} images"
    )
    return 0


def _verify(args: argparse.Namespace) -> int:
    problems = verify(Catalogue(args.root))
    if args.json:
        print(json.dumps({"ok": not problems, "problems": problems}, indent=1))
    else:
        print("\n".join(problems) if problems else "precomputed/ is intact.")
    return 1 if problems else 0


def _table(args: argparse.Namespace) -> int:
    from sr_core.report.pages import blocks, write_pages

    for page in args.write or ():
        check_target(page, CatalogueError)
    texts = blocks(Catalogue(args.root))
    if args.write:
        write_pages(args.write, texts)
    else:
        print("\n\n".join(texts.values()))
    return 0
