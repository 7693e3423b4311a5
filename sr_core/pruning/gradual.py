"""Stage 3 by gradual pruning: ratios per layer, found by what each group is worth to the loss.

While the network trains, its budget of milliseconds shrinks from the whole network's to the one
asked for. At each refresh the groups go that are worth least for the time they take, whatever
their layer. So the layers' ratios come about by themselves.

A group's worth is the first-order change of the loss without it, squared and averaged over steps:
(sum of weight times gradient)^2, as in Molchanov et al., "Importance Estimation for Neural Network
Pruning" (CVPR 2019). The course of the budget is that of Zhu and Gupta, "To prune, or not to
prune" (arXiv 1710.01878). What went does not come back. Channels go at the start, as many as the
candidate says. All this, beside the paper's regulariser (`ratio_search`), is UpFront's choice, by
what it gains (docs/log.md).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sr_core.catalogue.final import write_final
from sr_core.network.blocks import GROUP, Scheme
from sr_core.network.candidate import Candidate, LayerPruning
from sr_core.network.extract import ExtractedNetwork, extract
from sr_core.network.layers import describe, kept_kernels, kept_positions, kept_weights
from sr_core.network.weights import SupernetWeights
from sr_core.pruning import refreshes
from sr_core.pruning.budget import Budget, lowest, ratio_of
from sr_core.pruning.finetune import FINAL
from sr_core.pruning.module import Network
from sr_core.pruning.settings import PruneArgs
from sr_core.quality.benchmark import score_crops
from sr_core.quality.datasets import ValidationCrops
from sr_core.results.stage3 import Refresh
from sr_core.training import loop
from sr_core.training.loss import distance
from sr_core.training.precision import autocast

REFRESHES = 40
"""Times that groups go."""
MEMORY = 0.99
"""Of a group's worth: the share that a step keeps of it."""
_GONE = -1.0
"""Worth of a group that went: below that of all others."""


class GradualTask:
    """The task of the loop that prunes while it trains: `args.steps` of them, and then no more.

    Its state is in buffers, so that a resumed run goes on exactly: of each layer its `mask`, its
    `ratio` and the `worth` of its groups.
    """

    def __init__(
        self, args: PruneArgs, budget: Budget, whole: ExtractedNetwork, supernet: SupernetWeights
    ) -> None:
        self.args, self.budget, self.scale = args, budget, budget.candidate.scale
        self.module = Network(whole)
        self.schemes = budget.schemes
        self._whole_ms = budget.price(whole.candidate)
        self._supernet = supernet
        self._before_db: float | None = None
        self._left_ms: float | None = None
        for name, scheme in self.schemes.items():
            self.module.hold_in_units(name, 1.0)  # so that every layer has a mask
            layer = self.module.get_submodule(name)
            groups = group_sums(self.module.get_parameter(f"{name}.weight"), scheme)
            layer.register_buffer("worth", torch.zeros_like(groups).detach())
            start = torch.tensor(lowest(scheme), dtype=torch.float64)
            layer.register_buffer("ratio", start)

    @property
    def candidate(self) -> Candidate:
        """The network that is left now."""
        return self.budget.pruned(self._ratios())

    def _ratios(self) -> dict[str, float]:
        return {n: self.module.get_buffer(f"{n}.ratio").item() for n in self.schemes}

    def backward(self, batch: loop.Batch) -> dict[str, float]:
        """Take one batch through what is left of the network, after a refresh if it is time."""
        every = max(1, self.args.steps // REFRESHES)
        if 0 < batch.step <= self.args.steps and (
            batch.step % every == 0 or batch.step == self.args.steps
        ):
            self.refresh(batch.step)
        batch = batch.seen_in(self.budget.candidate.colour)
        with autocast(batch.lr.device, batch.half):
            output = self.module.upscale(batch.lr)
        loss = distance(output, batch.hr, self.args.loss)
        loss.backward()
        if batch.step < self.args.steps:
            self._learn_worth()
        if self._left_ms is None:
            self._left_ms = self.budget.price(self.candidate)
        return {"loss_l1": loss.item(), "left_ms": self._left_ms}

    @torch.no_grad()
    def _learn_worth(self) -> None:
        for name, scheme in self.schemes.items():
            weight = self.module.get_parameter(f"{name}.weight")
            assert weight.grad is not None
            change = group_sums(weight * weight.grad, scheme).square()
            self.module.get_buffer(f"{name}.worth").lerp_(change, 1 - MEMORY)

    @torch.no_grad()
    def refresh(self, step: int) -> None:
        """Let groups go until the estimate meets the budget of this step."""
        left = (1 - step / self.args.steps) ** 3
        goal_ms = self.budget.budget_ms + (self._whole_ms - self.budget.budget_ms) * left
        worth = {name: self._worth_of_ms(name) for name in self.schemes}
        for name, ratio in self._met(worth, goal_ms).items():
            layer = self.module.get_submodule(name)
            layer.get_buffer("ratio").fill_(ratio)
            keep = torch.zeros_like(worth[name], dtype=torch.bool)
            count = _kept_groups(self.candidate, name)
            keep[worth[name].argsort(descending=True, stable=True)[:count]] = True
            mask = layer.get_buffer("mask")
            mask.mul_(spread(keep, self.schemes[name], mask.shape))
        self._left_ms = self.budget.price(self.candidate)
        self._keep_refresh(step, self._left_ms)

    def _worth_of_ms(self, name: str) -> Tensor:
        """Return what each group of a layer is worth for a millisecond, `_GONE` if it went."""
        mask = self.module.get_buffer(f"{name}.mask")
        is_left = group_sums(mask, self.schemes[name]) > 0
        worth = self.module.get_buffer(f"{name}.worth") / self.budget.prices[name]
        return torch.where(is_left, worth, torch.full_like(worth, _GONE))

    def _met(self, worth: Mapping[str, Tensor], goal_ms: float) -> dict[str, float]:
        """Return the ratios of the lowest threshold that meets the goal, or those of now."""
        now = self._ratios()
        if self.budget.ms(now) <= goal_ms:
            return now
        thresholds = [*torch.cat(list(worth.values())).unique().tolist(), np.inf]

        def ratios(threshold: float) -> dict[str, float]:
            return {
                name: max(now[name], ratio_of(
                    self.schemes[name], (groups < threshold).double().mean().item(), len(groups)
                ))
                for name, groups in worth.items()
            }  # fmt: skip

        low, high = 0, len(thresholds) - 1  # at `high` the goal is met, at `low` it is not
        while high - low > 1:
            middle = (low + high) // 2
            if self.budget.ms(ratios(thresholds[middle])) <= goal_ms:
                high = middle
            else:
                low = middle
        return ratios(thresholds[high])

    def _keep_refresh(self, step: int, ms: float) -> None:
        """Add a row to the file of refreshes."""
        ratios = {name: round(ratio, 4) for name, ratio in self._ratios().items()}
        refreshes.add(self.args.out, Refresh(step=step, ms=ms, ratios=ratios))

    def validate(self, crops: ValidationCrops, half: bool) -> dict[str, float]:
        """Return PSNR-Y in fp32 of what is left. Once nothing goes any more, keep that of the
        supernet's weights for it too: by that a file is known to be a final model.
        """
        del half
        if self._before_db is None and self.budget.price(self.candidate) <= self.budget.budget_ms:
            before = Network(extract(self._supernet, self.candidate))
            self._before_db = score_crops(before.run, crops, scale=self.scale)
        return {"fine_tuned": score_crops(self.module.run, crops, scale=self.scale)}

    def write(self, ema: loop.Arrays, descriptor: Mapping[str, Any]) -> None:
        """Write what is left, in the format of a final model."""
        scores = dict(descriptor["validation_psnr_y_db"])
        if self._before_db is not None:
            scores = {"once_for_all": self._before_db, **scores}
        more = {"supernet_sha256": self._supernet.sha256, "validation_psnr_y_db": scores}
        self.module.candidate = self.candidate
        write_final(self.args.out / FINAL, self.module.extracted(ema), {**descriptor, **more})


def group_sums(values: Tensor, scheme: Scheme) -> Tensor:
    """Return (groups,) sums over the groups of a layer (out, in, k, k). Gradients flow."""
    outputs, inputs = values.shape[:2]
    match scheme:
        case "block":
            return values.reshape(outputs // GROUP, GROUP, -1).sum(1).flatten()
        case "pattern":
            return values.reshape(outputs // GROUP, GROUP, inputs, 9).sum((1, 3)).flatten()
        case "channel":
            return values.sum((1, 2, 3))
        case "unstructured" | "dense":
            return values.flatten()


def spread(groups: Tensor, scheme: Scheme, shape: torch.Size) -> Tensor:
    """Return (out, in, k, k) of one value per group: the other way of `group_sums`."""
    outputs, inputs = shape[:2]
    match scheme:
        case "block":
            one = groups.reshape(outputs // GROUP, 1, -1).expand(-1, GROUP, -1)
        case "pattern":
            one = groups.reshape(outputs // GROUP, 1, inputs, 1).expand(-1, GROUP, -1, 9)
        case "channel":
            one = groups.reshape(outputs, 1).expand(-1, shape[1:].numel())
        case "unstructured" | "dense":
            one = groups
    return one.reshape(shape)


def _kept_groups(candidate: Candidate, name: str) -> int:
    """Count the groups that a layer keeps."""
    layer = next(one for one in describe(candidate, 1, 1) if one.name == name)
    pruning: LayerPruning = layer.pruning
    inputs, outputs = layer.in_channels, layer.out_channels
    match pruning.scheme:
        case "block":
            return kept_positions(inputs, outputs, layer.kernel, pruning.ratio)
        case "pattern":
            return kept_kernels(inputs, outputs, pruning.ratio)
        case _:
            return kept_weights(inputs, outputs, layer.kernel, pruning)
