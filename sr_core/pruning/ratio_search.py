"""Stage 3: pruning ratios per layer, found while training under a latency budget.

As the paper's ratio determination is remembered (its text was not at hand): reweighted group
lasso. Here, with W_g a group's weights relative to its layer before stage 3,

    loss = L1 + strength * sum over layers and groups of penalty_g * ms_g * ||W_g||^2
    penalty_g = 1 / (||W_g||^2 + EPSILON), refreshed every `validate_every` steps

so that every group pays about the milliseconds it costs on the device while it is large, and
nothing once it has shrunk. UpFront's choices: the weight ms_g (the compiler-aware part), the
relative norms and parameters of one size in all layers, the course of `strength`, and the single
threshold that sets all ratios at the end.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sr_core.catalogue.final import Arrays, read_descriptor, read_final, tensors_of, write_final
from sr_core.files import write_atomic
from sr_core.network.blocks import Scheme, cell_of
from sr_core.network.candidate import Candidate
from sr_core.network.extract import ExtractedNetwork, extract
from sr_core.network.weights import SupernetSpec, SupernetWeights
from sr_core.pruning import gradual, refreshes
from sr_core.pruning.budget import (
    Budget,
    Price,
    Ratios,
    given_channels,
    uniform_ratios,
    with_ratios,
)
from sr_core.pruning.finetune import FINAL, Start, Teacher, finetune, refuse_other_supernet
from sr_core.pruning.module import Network
from sr_core.pruning.sensitivity import Score, curves, split
from sr_core.pruning.settings import STAGE3, PruneArgs
from sr_core.quality.benchmark import score_crops
from sr_core.quality.datasets import ValidationCrops, validation_crops
from sr_core.results.record import short, to_json
from sr_core.results.stage3 import Refresh, Stage3
from sr_core.training import checkpoint, loop
from sr_core.training.loss import distance
from sr_core.training.precision import autocast
from sr_core.training.settings import Progress, command

EPSILON = 0.01
"""In units of a layer's mean ||W_g||^2 before stage 3."""
SHRUNK_BELOW = 0.1
"""Importance under which a group counts as pruned while `strength` is set."""
FIRST_SHARE, LAST_SHARE = 0.01, 0.2
"""The regulariser as a share of the first batch's loss: at the start, and at most."""
GROWING = 0.5
"""Share of the steps in which it grows; later the rate is too low for groups to shrink."""
TYPICAL = 0.05
"""Root mean square of a layer's parameters while it is regularised, whatever its weights': else the
layers of small weights, which need fewer of Adam's steps to vanish, would vanish first."""
REGULARISED = "regularised"
"""Folder of the first phase, below the run's."""


def prune(
    args: PruneArgs,
    candidate: Candidate,
    price: Price,
    supernet: SupernetWeights,
    report: Callable[[Progress], None],
    say: Callable[[str], None] = lambda _: None,
) -> Path:
    """Find ratios that meet `args.budget_ms`, prune, fine-tune.

    Returns the path of the final model.

    `candidate.json` of the run folder is the network that was found.

    Args:
        args: settings.
        candidate: its schemes are kept, its ratios are replaced.
        price: the estimate on the device.
        supernet: where the weights come from.
        report, say: as for `loop.run`, in both phases.
    """
    loop.refuse_to_overwrite(args)
    by = command(replace(args, resume=False))
    given = given_channels(candidate) if args.gradual else {}
    whole = extract(supernet, with_ratios(candidate, given))
    budget = Budget.of(candidate, tensors_of(whole), price, args.budget_ms, given)
    crops = validation_crops(args.val, candidate.scale)
    record = Stage3(
        method="regulariser", device=args.device, threads=args.threads, budget_ms=args.budget_ms,
        validation_crops_sha256=crops.checksum,
    )  # fmt: skip
    if args.gradual:
        return _while_training(args, budget, whole, supernet, record, report, say, by)
    if args.uniform or args.sensitivity:
        found, record = _at_once(args, candidate, price, scorer(supernet, crops), record)
        start = Start(extract(supernet, found), supernet.sha256)
        steps = args.steps + args.finetune_steps
    else:
        start = _first_phase(args, budget, whole, supernet, report, say, by)
        record = record.model_copy(update={"refreshes": refreshes.read(args.out / REGULARISED)})
        steps = args.finetune_steps
    _keep(args.out, start.network.candidate, record)
    has_checkpoint = (args.out / checkpoint.NAME).exists()
    tuning = replace(args, steps=steps, resume=args.resume and has_checkpoint)
    return finetune(tuning, start, supernet, report, say, by=by)


def _while_training(
    args: PruneArgs,
    budget: Budget,
    whole: ExtractedNetwork,
    supernet: SupernetWeights,
    record: Stage3,
    report: Callable[[Progress], None],
    say: Callable[[str], None],
    by: str,
) -> Path:
    """Prune step by step in one training. Returns the path of the final model."""
    path = args.out / FINAL
    if args.resume and path.with_suffix(".json").exists():
        refuse_other_supernet(read_descriptor(path), supernet.sha256, args.out)
    task = gradual.GradualTask(args, budget, whole, supernet)
    whole_run = replace(args, steps=args.steps + args.finetune_steps)
    loop.run(whole_run, task, [], report, say, by=by)
    rows = refreshes.read(args.out)
    record = record.model_copy(update={"method": "gradual", "refreshes": rows})
    _keep(args.out, read_final(path).candidate, record)
    return path


def _keep(folder: Path, candidate: Candidate, record: Stage3) -> None:
    """Write which network was found, and how."""
    write_atomic(folder / STAGE3, to_json(record))
    text = json.dumps(candidate.to_json(), indent=1) + "\n"
    write_atomic(folder / "candidate.json", text)


def scorer(supernet: SupernetWeights, crops: ValidationCrops) -> Score:
    """Return what scores candidates on the crops with the supernet's weights."""
    return lambda candidate: score_crops(
        Network(extract(supernet, candidate)).run, crops, scale=candidate.scale
    )


def _at_once(
    args: PruneArgs, candidate: Candidate, price: Price, score: Score, record: Stage3
) -> tuple[Candidate, Stage3]:
    """Return the candidate with ratios that no training finds: one, or a split by curves."""
    base = with_ratios(candidate, uniform_ratios(candidate, price, args.budget_ms))
    if args.uniform:
        return base, record.model_copy(update={"method": "one ratio"})
    found = curves(base, score, price)
    best = split(base, found, price, args.budget_ms)
    return best, record.model_copy(update={"method": "sensitivity", "curves": tuple(found)})


def _first_phase(
    args: PruneArgs,
    budget: Budget,
    whole: ExtractedNetwork,
    supernet: SupernetWeights,
    report: Callable[[Progress], None],
    say: Callable[[str], None],
    by: str,
) -> Start:
    """Run the first phase, and return the pruned network that it leads to."""
    first = replace(args, out=args.out / REGULARISED)
    descriptor_path = (first.out / FINAL).with_suffix(".json")
    if args.resume and descriptor_path.exists():
        refuse_other_supernet(read_descriptor(descriptor_path), supernet.sha256, args.out)
    task = _RegularisedTask(first, budget, whole, supernet)
    loop.run(first, task, [], report, say, by=by)
    result = read_final(first.out / FINAL)
    history = result.descriptor.training
    return Start(budget_network(budget, tensors_of(result.network)), supernet.sha256, history)


def budget_network(budget: Budget, tensors: Arrays) -> ExtractedNetwork:
    """Prune the whole network by the lowest threshold within the budget."""
    candidate = budget.pruned(budget.met(tensors))
    spec = SupernetSpec.around(candidate)
    return extract(SupernetWeights(spec, tensors, "0" * 64), candidate)


def squared_norms(weight: Tensor, scheme: Scheme, fed: Tensor) -> Tensor:
    """Return (groups,) of ||W_g||^2 of a layer (out, in, k, k). Gradients flow.

    Args:
        weight: the layer; under `pattern` with its taps chosen.
        scheme: what a group is, as in `budget`.
        fed: (out,) squared norms of what each output channel feeds; it counts for `channel`.
    """
    norms = gradual.group_sums(weight**2, scheme)
    return norms + fed if scheme == "channel" else norms


class _RegularisedTask:
    """The task of the loop that trains the whole network under the regulariser.

    Its state is in buffers, so that a resumed run goes on exactly: `penalty` of each layer,
    `strength`, and `shrunk_ms`, the estimate without the groups that had shrunk at the last
    refresh.
    """

    def __init__(
        self, args: PruneArgs, budget: Budget, whole: ExtractedNetwork, supernet: SupernetWeights
    ) -> None:
        self.args, self.budget, self.scale = args, budget, budget.candidate.scale
        self.module = Network(whole)
        self.schemes = budget.schemes
        self._sha256 = supernet.sha256
        self._teacher = Teacher(supernet) if args.distill else None
        for name in self.schemes:
            size = (
                self.module.get_parameter(f"{name}.weight").detach().square().mean().sqrt().item()
            )
            self.module.hold_in_units(name, size / TYPICAL if size else 1.0)
        self._units = {name: n.detach().mean().item() or 1.0 for name, n in self._norms().items()}
        for name, norms in self._norms().items():
            penalty = torch.zeros_like(norms.detach())
            self.module.get_submodule(name).register_buffer("penalty", penalty)
        self.module.register_buffer("strength", torch.zeros(()))
        self.module.register_buffer("shrunk_ms", torch.zeros(()))

    def _norms(self) -> dict[str, Tensor]:
        """Return ||W_g||^2 of every layer that is pruned."""
        norms: dict[str, Tensor] = {}
        for name, scheme in self.schemes.items():
            norms[name] = squared_norms(self.module.masked(name), scheme, self._fed(name))
        return norms

    def _fed(self, name: str) -> Tensor:
        """Return the squared norms of the weights that each output channel feeds.

        They belong to the next layer of the cell.
        """
        names = [layer for layer, _ in self.budget.candidate.layers()]
        following = names[names.index(name) + 1] if name != "tail" else "tail"
        if cell_of(following) != cell_of(name) or name == "tail":
            return torch.zeros(())
        return (self.module.masked(following) ** 2).sum((0, 2, 3))

    def regulariser(self) -> Tensor:
        """Return the sum of penalty_g * ms_g * ||W_g||^2: about the ms of the groups left."""
        terms = [
            self.budget.prices[name]
            * (self.module.get_buffer(f"{name}.penalty") * norms / self._units[name]).sum()
            for name, norms in self._norms().items()
        ]
        return torch.stack(terms).sum()

    @torch.no_grad()
    def refresh(self) -> None:
        """Set the penalties from the current norms."""
        for name, norms in self._norms().items():
            penalty = self.module.get_buffer(f"{name}.penalty")
            penalty.copy_(1 / (norms / self._units[name] + EPSILON))

    def backward(self, batch: loop.Batch) -> dict[str, float]:
        """Take one batch through the network, its loss and the regulariser."""
        batch = batch.seen_in(self.budget.candidate.colour)
        with autocast(batch.lr.device, batch.half):
            output = self.module.upscale(batch.lr)
        loss = l1 = distance(output, batch.hr, self.args.loss)
        if self._teacher:
            loss = loss + self.args.distill * self._teacher.distance(output, batch, self.args.loss)
        strength = self.module.get_buffer("strength")
        if batch.step % self.args.validate_every == 0:
            self.refresh()
            self._set_strength(batch.step, loss.item())
        regulariser = self.regulariser()
        (loss + strength * regulariser).backward()
        return {
            "loss_l1": l1.item(), "regulariser_ms": regulariser.item(),
            "strength": strength.item(), "shrunk_ms": self.module.get_buffer("shrunk_ms").item(),
        }  # fmt: skip

    def _set_strength(self, step: int, loss: float) -> None:
        """Set how strong the regulariser is.

        It grows until the groups that have shrunk meet the budget, then it eases.
        """
        weights = tensors_of(self.module.extracted())
        shrunk_ms = self.budget.ms(self.budget.ratios(weights, SHRUNK_BELOW))
        self.module.get_buffer("shrunk_ms").fill_(shrunk_ms)
        strength = self.module.get_buffer("strength")
        if step == 0:
            strength.fill_(FIRST_SHARE * loss / self.regulariser().item())
        else:
            self._change_strength(step, shrunk_ms)
        self._keep_refresh(step, shrunk_ms, self.budget.ratios(weights, SHRUNK_BELOW))

    def _keep_refresh(self, step: int, ms: float, ratios: Ratios) -> None:
        """Add a row to the file of refreshes."""
        penalties = {
            name: short(self.module.get_buffer(f"{name}.penalty").mean().item())
            for name in self.schemes
        }
        row = Refresh(
            step=step, ms=ms, strength=short(self.module.get_buffer("strength").item()),
            ratios={name: round(ratio, 4) for name, ratio in ratios.items()}, penalties=penalties,
        )  # fmt: skip
        refreshes.add(self.args.out, row)

    def _change_strength(self, step: int, shrunk_ms: float) -> None:
        strength = self.module.get_buffer("strength")
        share = self.args.validate_every / (GROWING * self.args.steps)
        growth = (LAST_SHARE / FIRST_SHARE) ** share
        if shrunk_ms <= self.budget.budget_ms:
            strength.div_(growth)  # what is left has no more to pay
        elif step <= GROWING * self.args.steps:
            strength.mul_(growth)

    def validate(self, crops: ValidationCrops, half: bool) -> dict[str, float]:
        """Return PSNR-Y in fp32 of the whole network, and of what the budget leaves of it now."""
        del half
        pruned = Network(budget_network(self.budget, tensors_of(self.module.extracted())))
        return {
            "whole": score_crops(self.module.run, crops, scale=self.scale),
            "pruned": score_crops(pruned.run, crops, scale=self.scale),
        }

    def write(self, ema: loop.Arrays, descriptor: Mapping[str, Any]) -> None:
        """Write the whole network, in the format of a final model."""
        more = {"supernet_sha256": self._sha256}
        write_final(self.args.out / FINAL, self.module.extracted(ema), {**descriptor, **more})
