"""Stage 1 training: once-for-all, so that every candidate works without fine-tuning.

Each step takes one batch through a dense anchor and through random pruned candidates
(`sampling`) and sums their gradients. The paper trains a dense supernet and fine-tunes each
pruned candidate; sampling the pruning too is UpFront's step beyond it. The loop itself is
`sr_core.training.loop`; the run folder gets `supernet.safetensors` + `.json`, the EMA weights
with their descriptor.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sr_core.errors import TrainingError
from sr_core.network.candidate import Candidate
from sr_core.network.presets import presets
from sr_core.network.sampling import sample_anchor, sample_candidate
from sr_core.network.weights import read_descriptor, read_supernet, write_supernet
from sr_core.quality.benchmark import score_crops
from sr_core.quality.datasets import ValidationCrops
from sr_core.supernet.module import Supernet
from sr_core.supernet.settings import TrainArgs
from sr_core.training import loop
from sr_core.training.checkpoint import History
from sr_core.training.colour import seen, shown
from sr_core.training.loss import distance
from sr_core.training.precision import autocast
from sr_core.training.settings import Progress

PROBES = (
    "wide", "residual", "mixed", "wide-block25", "wide-block50", "wide-block75",
    "wide-pattern75", "wide-channel50", "wide-unstructured75", "half-depth", "width16",
)  # fmt: skip
"""Presets whose validation PSNR is logged while training."""


def train(
    args: TrainArgs,
    report: Callable[[Progress], None],
    say: Callable[[str], None] = lambda _: None,
) -> Path:
    """Run stage 1 as `loop.run` does. Returns the path of the EMA weights."""
    loop.refuse_to_overwrite(args)
    task, history = SupernetTask(args), History()
    if args.init_from:
        history = task.load(args.init_from)
    loop.run(args, task, history, report, say)
    return task.path


class SupernetTask:
    """The task of the loop that trains a supernet."""

    def __init__(self, args: TrainArgs) -> None:
        self.args, self.scale = args, args.scale
        self.spec = args.spec
        self.module = Supernet(self.spec, args.seed)
        self.path = args.out / "supernet.safetensors"
        prefix = f"{self.spec.family.name}-"
        by_name = {p.name.removeprefix(prefix): p.candidate for p in presets(self.spec)}
        self.probes = {name: by_name[name] for name in PROBES if name in by_name}

    def load(self, path: Path) -> History:
        """Start from the weights in `path`. Returns the runs that led to them.

        The supernet there may have fewer blocks or other widths than this one: a menu that grows
        starts with new weights for its new blocks.
        """
        supernet = read_supernet(path)
        theirs, ours = supernet.spec, self.spec
        same = replace(theirs, blocks=ours.blocks, widths=ours.widths) == replace(
            ours, skip_schemes=theirs.skip_schemes
        )
        if not same or not set(theirs.blocks) <= set(ours.blocks):
            raise TrainingError(f"--init-from holds {theirs}, this run is {ours}.")
        tensors = {name: torch.from_numpy(value) for name, value in supernet.tensors.items()}
        self.module.load_state_dict(tensors, strict=False)
        return list(read_descriptor(path).get("training", []))

    def backward(self, batch: loop.Batch) -> dict[str, float]:
        """Take one batch through an anchor and the candidates."""
        batch = batch.seen_in(self.spec.colour)
        guide = self._forward(batch.lr, sample_anchor(batch.rng, self.spec), batch.half)
        loss_anchor = distance(guide, batch.hr, self.args.loss)
        loss_anchor.backward()
        losses: list[float] = []
        for _ in range(self.args.candidates):
            output = self._forward(batch.lr, sample_candidate(batch.rng, self.spec), batch.half)
            loss = distance(output, batch.hr, self.args.loss)
            losses.append(loss.item())
            if self.args.distill:
                loss = loss + self.args.distill * distance(output, guide.detach(), self.args.loss)
            loss.backward()
        readings = {"loss_anchor": loss_anchor.item()}
        return readings | ({"loss_candidate": float(np.mean(losses))} if losses else {})

    def _forward(self, lr: Tensor, candidate: Candidate, half: bool) -> Tensor:
        with autocast(lr.device, half):
            return self.module(lr, candidate, self.module.torch_masks(candidate))

    def validate(self, crops: ValidationCrops, half: bool) -> dict[str, float]:
        """Return the PSNR-Y of every probe."""
        device = next(self.module.parameters()).device
        scores: dict[str, float] = {}
        for name, candidate in self.probes.items():

            def run(lr: NDArray[np.float32], candidate: Candidate = candidate) -> Any:
                tensor, colour = torch.from_numpy(lr).to(device), self.spec.colour
                output = self._forward(seen(tensor, colour), candidate, half)
                return shown(output, tensor, colour, self.scale).cpu().numpy()

            scores[name] = score_crops(run, crops, scale=self.scale)
        return scores

    def write(self, ema: loop.Arrays, descriptor: Mapping[str, Any]) -> None:
        """Write the supernet file and its descriptor."""
        write_supernet(self.path, self.spec, ema, descriptor)
