"""The commands of final models: `prune` (stage 3), `finetune` and `publish-final`."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

from sr_core.catalogue.final import Final, read_final
from sr_core.catalogue.store import Catalogue
from sr_core.cli.options import add_options
from sr_core.cli.train import reporter, run_options, say, training_code
from sr_core.errors import TrainingError
from sr_core.network.candidate import DENSE, Candidate, LayerPruning
from sr_core.network.extract import with_input_skip
from sr_core.network.notation import to_text
from sr_core.pruning.sensitivity import curves
from sr_core.pruning.settings import STAGE3, FinetuneArgs, PruneArgs
from sr_core.quality.benchmark import score_crops
from sr_core.quality.datasets import validation_crops
from sr_core.results.record import read_record
from sr_core.results.stage3 import Stage3
from sr_core.runtime.upscale import Upscaler


def add_prune_options(parser: argparse.ArgumentParser) -> None:
    """Add the settings of `PruneArgs`."""
    add_options(parser, PruneArgs)


def add_finetune_options(parser: argparse.ArgumentParser) -> None:
    """Add the settings of `FinetuneArgs`."""
    add_options(parser, FinetuneArgs)


def add_publish_final_options(parser: argparse.ArgumentParser) -> None:
    """Add the weights, their name, and the images to measure them on."""
    parser.add_argument("weights", type=Path, help="final.safetensors of a run folder")
    parser.add_argument("--name", required=True, help="small letters, digits and hyphens")
    parser.add_argument(
        "--benchmark", type=Path, required=True, help="folder with Set5/, ... each HR/ and LRx4/"
    )
    parser.add_argument("--val", type=Path, help="folder of validation images, scored as Val")
    parser.add_argument(
        "--replaces", nargs="+", default=[], metavar="NAME",
        help="final models that make way; their names and ids then lead to this one",
    )  # fmt: skip


def run_prune(args: argparse.Namespace) -> int:
    """Run `prune`: a line per validation of both phases, then the network."""
    settings = run_options(args, PruneArgs)
    with training_code():
        from sr_core.pruning.ratio_search import prune
    from sr_core.latency.estimate import estimate

    catalogue = Catalogue(args.root)
    profile = catalogue.device(settings.device)
    candidate = catalogue.find(settings.candidate)
    supernet = catalogue.supernet(candidate.family)
    settings = replace(settings, candidate=to_text(candidate))
    path = prune(
        settings,
        candidate,
        lambda c: estimate(profile, c, threads=settings.threads).total_ms,
        supernet,
        reporter(args.json),
        say,
    )
    network = read_final(path).descriptor.network
    print(f"Network: {network}\nWeights: {path}", file=sys.stderr)
    return 0


def run_finetune(args: argparse.Namespace) -> int:
    """Run `finetune`: a line per validation, precision and warnings on standard error."""
    settings = run_options(args, FinetuneArgs)
    with training_code():
        from sr_core.pruning.finetune import Start, finetune

    if settings.model.lower().endswith(".safetensors") and settings.init_from:
        raise TrainingError(
            "--model and --init-from are both files of weights: give the one to start from as "
            "--model, and no --init-from."
        )
    catalogue = Catalogue(args.root)
    candidate = catalogue.find(settings.model)
    supernet = catalogue.supernet(candidate.family)
    if settings.model.lower().endswith(".safetensors") and not settings.resume:
        settings = replace(settings, init_from=Path(settings.model))
    final = _final(catalogue, settings, candidate)
    start = Start.of_final(final) if final else Start(catalogue.network(candidate), supernet.sha256)
    if settings.model not in {f.name for f in catalogue.finals()}:  # a path, say: not to publish
        settings = replace(settings, model=to_text(candidate))
    path = finetune(settings, start, supernet, reporter(args.json), say)
    print(f"Weights: {path}", file=sys.stderr)
    return 0


def _final(catalogue: Catalogue, settings: FinetuneArgs, candidate: Candidate) -> Final | None:
    """Return the final model that a run goes on from, None if it starts from the supernet."""
    if not settings.init_from:
        return catalogue.final(settings.model)
    final = read_final(settings.init_from)
    dense = replace(candidate, input_skip=DENSE)
    if final.candidate == dense != candidate:
        return _with_skip(final, candidate.input_skip, catalogue)
    if final.candidate != candidate:
        raise TrainingError(
            f"--init-from holds {final.descriptor.network}, --model is another network: give "
            "that text as --model."
        )
    return final


def _with_skip(final: Final, pruning: LayerPruning, catalogue: Catalogue) -> Final:
    """Return a final model of dense input skip with a pruned and refitted one."""
    moments = catalogue.supernet(final.candidate.family).moments
    if moments is None:
        raise TrainingError(
            "The input skip cannot be refitted: precomputed/ lacks supernets/moments.safetensors, "
            "so run `python -m sr_core moments` first."
        )
    network = with_input_skip(final.network, pruning, moments)
    scores = {n: v for n, v in final.descriptor.validation_psnr_y_db.items() if n == "fine_tuned"}
    described = final.descriptor.model_copy(update={"validation_psnr_y_db": scores})
    return Final(network, described)


def run_publish_final(args: argparse.Namespace) -> int:
    """Run `publish-final`: a line for the model and one for its once-for-all self."""
    from sr_core.catalogue.publish import publish_final

    def stage_3() -> Stage3:
        return _stage_3(Catalogue(args.root), args.weights, args.val)

    publish_final(
        args.root, args.weights, args.name, args.benchmark, args.val,
        stage_3=stage_3 if args.val else None, replaces=args.replaces, report=print,
    )  # fmt: skip
    return 0


def _stage_3(catalogue: Catalogue, weights: Path, val: Path) -> Stage3:
    """Return what `prune` kept of its run, and the curves of the network that it found.

    The curves are with the weights of the shipped supernet: what is not kept of a final model's
    weights cannot come back. There are none if that supernet does not hold the network.
    """
    candidate = read_final(weights).candidate
    crops = validation_crops(val, candidate.scale)
    is_held = catalogue.supernet(candidate.family).spec.holds(candidate)

    def score(one: Candidate) -> float:
        upscaler = Upscaler(catalogue.network(one), catalogue.engine)
        return score_crops(upscaler.run, crops, scale=one.scale)

    path = weights.with_name(STAGE3)
    record = Stage3(method=None, validation_crops_sha256=crops.checksum)
    if path.is_file():
        record = read_record(path, Stage3, remake="prune again")
    found = tuple(curves(candidate, score)) if is_held else ()
    return record.model_copy(update={"curves": found})
