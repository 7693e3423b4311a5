"""Training of a rival: the loop, data and schedule that our own networks have, and L1.

The run folder gets `NAME-xS.safetensors` + `.json`: the EMA weights, folded, with their descriptor.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sr_core.quality.benchmark import score_crops
from sr_core.quality.datasets import ValidationCrops
from sr_core.rivals.arch import architecture
from sr_core.rivals.module import RivalNet
from sr_core.rivals.settings import RivalArgs
from sr_core.rivals.weights import file_name, write_rival
from sr_core.training import loop
from sr_core.training.colour import seen, shown
from sr_core.training.loss import distance
from sr_core.training.precision import autocast
from sr_core.training.settings import Loss, Progress


def train(
    args: RivalArgs,
    report: Callable[[Progress], None],
    say: Callable[[str], None] = lambda _: None,
) -> Path:
    """Train as `loop.run` does. Returns the path of the folded EMA weights."""
    loop.refuse_to_overwrite(args)
    task = RivalTask(args)
    loop.run(args, task, [], report, say)
    return task.path


class RivalTask:
    """The task of the loop that trains a rival."""

    def __init__(self, args: RivalArgs) -> None:
        self.arch, self.scale = architecture(args.arch), args.scale
        self._loss: Loss = args.loss
        self.module = RivalNet(self.arch, args.scale, args.seed, published=args.published)
        self._published = args.published
        self.path = args.out / file_name(self.arch, args.scale, published=args.published)

    def backward(self, batch: loop.Batch) -> dict[str, float]:
        """Take one batch through the network."""
        batch = batch.seen_in(self.module.layout.colour)
        with autocast(batch.lr.device, batch.half):
            output = self.module(batch.lr)
        loss = distance(output, batch.hr, self._loss)
        loss.backward()
        return {"loss_l1": loss.item()}

    def validate(self, crops: ValidationCrops, half: bool) -> dict[str, float]:
        """Return its PSNR-Y in fp32, the precision in which it is used."""
        del half
        device = next(self.module.parameters()).device

        def run(lr: NDArray[np.float32]) -> NDArray[np.float32]:
            image, colour = torch.from_numpy(lr).to(device), self.module.layout.colour
            output = self.module(seen(image, colour))
            return shown(output, image, colour, self.scale).cpu().numpy()

        return {self.arch.name: score_crops(run, crops, scale=self.scale)}

    def write(self, ema: loop.Arrays, descriptor: Mapping[str, Any]) -> None:
        """Write the folded weights and their descriptor."""
        averaged = RivalNet(self.arch, self.scale, published=self._published)
        averaged.load_state_dict({name: torch.from_numpy(value) for name, value in ema.items()})
        tensors = averaged.fold()
        write_rival(
            self.path, self.arch, self.scale, tensors, descriptor, published=self._published
        )
