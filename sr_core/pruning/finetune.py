"""Fine-tuning of one candidate with frozen masks: from once-for-all weights to a final model.

L1 loss, optionally plus the L1 distance to the output of the supernet's dense all-wide network.
A run folder gets `final.safetensors` + `.json`, the EMA weights with their descriptor.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sr_core.catalogue.final import Descriptor, Final, read_descriptor, write_final
from sr_core.errors import TrainingError
from sr_core.network.extract import ExtractedNetwork, extract
from sr_core.network.presets import presets
from sr_core.network.weights import SupernetWeights
from sr_core.pruning.module import Network
from sr_core.pruning.settings import TuneArgs
from sr_core.quality.benchmark import score_crops
from sr_core.quality.datasets import ValidationCrops
from sr_core.supernet.module import Supernet
from sr_core.training import loop
from sr_core.training.checkpoint import History
from sr_core.training.loss import distance
from sr_core.training.precision import autocast, device
from sr_core.training.settings import Loss, Progress

FINAL = "final.safetensors"


@dataclass(frozen=True)
class Start:
    """What a run starts from."""

    network: ExtractedNetwork
    """Weights and masks."""
    supernet_sha256: str
    """Of the supernet that its history began with."""
    history: History = field(default_factory=History)
    """The runs that led to the network, those of the supernet not among them."""
    once_for_all_db: float | None = None
    """Validation PSNR of the candidate with that supernet's weights; None: to be measured."""

    @classmethod
    def of_final(cls, final: Final) -> Start:
        """Start from a final model."""
        descriptor = final.descriptor
        return cls(
            final.network, descriptor.supernet_sha256, descriptor.training,
            descriptor.validation_psnr_y_db.get("once_for_all"),
        )  # fmt: skip


def finetune(
    args: TuneArgs,
    start: Start,
    supernet: SupernetWeights,
    report: Callable[[Progress], None],
    say: Callable[[str], None] = lambda _: None,
    *,
    by: str = "",
) -> Path:
    """Train `start.network` as `loop.run` does. Returns the path of the final model.

    Args:
        args: settings; with `resume`, weights and masks come from the checkpoint.
        start: where to begin.
        supernet: the shipped weights of the scale, the teacher of `args.distill`.
        report, say, by: as for `loop.run`.
    """
    loop.refuse_to_overwrite(args)
    path = args.out / FINAL
    if args.resume and path.with_suffix(".json").exists():
        start = _resumed_start(start, path, supernet.sha256, distill=args.distill > 0)
    loop.run(args, TuningTask(args, start, supernet, path), start.history, report, say, by=by)
    return path


def _resumed_start(start: Start, path: Path, supernet_sha256: str, *, distill: bool) -> Start:
    """Return the start that the run in a folder had.

    Raises `TrainingError` if it was another network, or if it needs another supernet than the
    shipped one.
    """
    descriptor = read_descriptor(path)
    if descriptor.candidate != start.network.candidate.to_json():
        raise TrainingError(
            f"{path.parent} holds a run of {descriptor.network}: resume it with that network, or "
            "use another --out."
        )
    if distill or _from_supernet(descriptor):
        refuse_other_supernet(descriptor, supernet_sha256, path.parent)
    before_db = descriptor.validation_psnr_y_db.get("once_for_all")
    return Start(start.network, descriptor.supernet_sha256, start.history, before_db)


def _from_supernet(descriptor: Descriptor) -> bool:
    """Tell whether all records are of one run and its resumptions, with no other before it."""
    return all(record.get("continues") == "checkpoint" for record in descriptor.training[1:])


def refuse_other_supernet(descriptor: Descriptor, supernet_sha256: str, folder: Path) -> None:
    """Raise `TrainingError` if a run to be resumed began with another supernet than the shipped."""
    if descriptor.supernet_sha256 != supernet_sha256:
        raise TrainingError(
            f"{folder} holds a run that began with another supernet than the shipped one (SHA-256 "
            f"{descriptor.supernet_sha256[:8]}, now {supernet_sha256[:8]}): restore that, or start "
            "a run in another --out."
        )


class TuningTask:
    """The task of the loop that trains one network."""

    def __init__(self, args: TuneArgs, start: Start, supernet: SupernetWeights, path: Path) -> None:
        self.module = Network(start.network)
        self.scale = start.network.candidate.scale
        self._start, self._supernet, self._path = start, supernet, path
        self._distill = args.distill
        self._loss: Loss = args.loss
        self._teacher = Teacher(supernet) if args.distill else None
        self._before_db = start.once_for_all_db

    def backward(self, batch: loop.Batch) -> dict[str, float]:
        """Take one batch through the network."""
        batch = batch.seen_in(self.module.candidate.colour)
        with autocast(batch.lr.device, batch.half):
            output = self.module.upscale(batch.lr)
        loss = distance(output, batch.hr, self._loss)
        readings = {"loss_l1": loss.item()}
        if self._teacher:
            loss = loss + self._distill * self._teacher.distance(output, batch, self._loss)
        loss.backward()
        return readings

    def validate(self, crops: ValidationCrops, half: bool) -> dict[str, float]:
        """Return PSNR-Y in fp32, the precision in which the model is used."""
        del half
        if self._before_db is None:
            before = Network(extract(self._supernet, self._start.network.candidate))
            self._before_db = score_crops(before.run, crops, scale=self.scale)
        return {"fine_tuned": score_crops(self.module.run, crops, scale=self.scale)}

    def write(self, ema: loop.Arrays, descriptor: Mapping[str, Any]) -> None:
        """Write the final model. Before it is published it has no name and no benchmark results."""
        scores = {"once_for_all": self._before_db, **descriptor["validation_psnr_y_db"]}
        more = {
            "supernet_sha256": self._start.supernet_sha256,
            "validation_psnr_y_db": scores,
        }
        write_final(self._path, self.module.extracted(ema), {**descriptor, **more})


class Teacher:
    """The supernet's anchor: dense, full width, its first block throughout."""

    def __init__(self, supernet: SupernetWeights) -> None:
        spec = supernet.spec
        self._candidate = presets(spec)[0].candidate
        self._net = Supernet(spec).to(device())
        self._net.load_state_dict({n: torch.from_numpy(t) for n, t in supernet.tensors.items()})

    def distance(self, output: Tensor, batch: loop.Batch, loss: Loss) -> Tensor:
        """Return the distance to the teacher's output, which gets no gradient."""
        with torch.no_grad(), autocast(batch.lr.device, batch.half):
            guide = self._net(batch.lr, self._candidate)
        return distance(output, guide, loss)
