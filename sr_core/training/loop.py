"""The training loop: patches, schedule, moving average, validation, logs and exact resume.

What is trained is a `Task`: the supernet of stage 1, one network that is fine-tuned, or another
architecture. Each step one batch goes to the task, which leaves gradients. A run folder holds
`log.csv`, `curve.png`, the latest checkpoint and the weights that the task writes.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sr_core.errors import TrainingError
from sr_core.files import check_target, is_same_file, kept, write_atomic
from sr_core.machine import processor
from sr_core.network.colour import Colour
from sr_core.quality.datasets import TrainingPatches, ValidationCrops, validation_crops
from sr_core.quality.metrics import Image8
from sr_core.training import checkpoint, curve, optimizers
from sr_core.training.colour import seen
from sr_core.training.precision import (
    Choice,
    choose,
    device,
    device_name,
    image_layout,
    wait_for_gradients,
)
from sr_core.training.settings import (
    Continues,
    Progress,
    RunArgs,
    differences,
    run_record,
    settings_of,
)

Arrays = Mapping[str, NDArray[np.float32]]
"""Name of a parameter -> its values."""


@dataclass(frozen=True)
class Batch:
    """What one step of the training sees."""

    step: int
    """From 0."""
    lr: Tensor
    """(N, 3, p, p) RGB in 0..1."""
    hr: Tensor
    """(N, 3, s p, s p) RGB in 0..1."""
    rng: np.random.Generator
    """For the task's own choices; a resumed run draws the same."""
    half: bool
    """Whether forward passes run in bf16 (`precision.autocast`)."""

    def seen_in(self, colour: Colour) -> Batch:
        """Return the batch as a network of this colour sees it."""
        return replace(self, lr=seen(self.lr, colour), hr=seen(self.hr, colour))


class Task(Protocol):
    """What the loop trains."""

    @property
    def module(self) -> nn.Module:
        """The module whose parameters are all trained. The checkpoint has its buffers too."""
        ...

    @property
    def scale(self) -> int:
        """Upscaling factor."""
        ...

    def backward(self, batch: Batch) -> dict[str, float]:
        """Add gradients of one batch to the module. Returns readings for the log.

        Those called `loss_...` are drawn in the curve too.
        """
        ...

    def validate(self, crops: ValidationCrops, half: bool) -> dict[str, float]:
        """Return PSNR-Y in dB by network. The module holds the EMA weights meanwhile."""
        ...

    def write(self, ema: Arrays, descriptor: Mapping[str, Any]) -> None:
        """Save the EMA weights. `descriptor` says how they came about."""
        ...


def refuse_to_overwrite(args: RunArgs) -> None:
    """Raise `TrainingError`, before any work, if the run folder cannot be written to.

    A new run must not overwrite a checkpoint, or the weights that it starts from, either.
    """
    if not args.resume and (args.out / checkpoint.NAME).exists():
        raise TrainingError(
            f"{args.out} holds a checkpoint, which a new run would overwrite: use --resume or "
            "another --out."
        )
    if args.init_from and is_same_file(args.init_from.parent, args.out):
        raise TrainingError(
            f"{args.out} holds the weights to start from, which the run would overwrite: give "
            "another --out."
        )
    check_target(args.out / checkpoint.NAME, TrainingError)


def run(
    args: RunArgs,
    task: Task,
    history: checkpoint.History,
    report: Callable[[Progress], None],
    say: Callable[[str], None] = lambda _: None,
    *,
    by: str = "",
) -> None:
    """Train `task` from the start, or from the checkpoint in `args.out`.

    Args:
        args: settings.
        task: what is trained; `args.init_from` was already loaded into it.
        history: the runs that led to its weights.
        report: called at each validation, after weights and checkpoint were saved.
        say: gets a line on the precision, and a warning if a resumed run's settings or data
            differ from the earlier ones.
        by: the command that this run is a part of, for the record; by default it is its own.

    Raises:
        TrainingError: it cannot start, diverged (the last checkpoint stays) or cannot save.
    """
    refuse_to_overwrite(args)
    state = _Run(args, task, history, say, by)
    try:
        args.out.mkdir(parents=True, exist_ok=True)
        state.loop(report)
    except BrokenPipeError:  # of who reads the reports; nothing to do with the disk
        raise
    except OSError as error:
        raise TrainingError(
            f"Could not write to {args.out} ({error}): free some space and use --resume. "
            f"{state.kept()}".rstrip()
        ) from error


def _continues(args: RunArgs, history: checkpoint.History, by: str) -> Continues:
    if args.resume:
        return "checkpoint"
    if history:
        return "first phase" if by else "weights"
    return "weights" if args.init_from else "nothing"


class _Run:
    """The state of one training run."""

    def __init__(
        self,
        args: RunArgs,
        task: Task,
        history: checkpoint.History,
        say: Callable[[str], None],
        by: str,
    ) -> None:
        self.args, self.task, self.net, self.history = args, task, task.module, list(history)
        self.device = device()
        self.patches = TrainingPatches(args.data, task.scale, args.patch, args.source_weights)
        self.val = validation_crops(args.val, task.scale)
        self.net.to(self.device)
        self.ema = {name: p.detach().clone() for name, p in self.net.named_parameters()}
        self.optimizers = optimizers.make(self.net, args)
        self.step = 0
        self.log: checkpoint.Log = []
        if args.resume:
            self.step, self.log, self.history = checkpoint.load(
                args.out, self.net, self.ema, self.optimizers
            )
        facts = self._facts()
        choice = self._precision(facts)
        say(f"Precision: {choice.taken} ({choice.reason}).")
        self._is_bf16 = choice.taken == "bf16"
        record = run_record(
            replace(args, precision=choice.taken), self.step, _continues(args, history, by),
            {**facts, "precision_reason": choice.reason}, by,
        )  # fmt: skip
        if args.resume and self.history and (changed := differences(self.history[-1], record)):
            say(f"warning: Resuming at step {self.step} with changes: {changed}.")
        self.history.append(record)

    def _facts(self) -> dict[str, str]:
        return {
            "device": device_name(self.device),
            "torch": torch.__version__,
            "data_sha256": self.patches.checksum,
            "validation_crops_sha256": self.val.checksum,
        }

    def _precision(self, facts: Mapping[str, str]) -> Choice:
        """Decide the precision. Where a run was made it also goes on, exactly."""
        if self.args.precision == "auto" and self.args.resume and self.history:
            here = {"processor": processor(), "device": facts["device"]}
            if here.items() <= self.history[-1].items():
                return Choice(settings_of(self.history[-1])["precision"], "as the run began")
        kept = {name: buffer.clone() for name, buffer in self.net.named_buffers()}
        choice = choose(self.args.precision, self.device, self._trial_step)
        for name, buffer in self.net.named_buffers():
            buffer.copy_(kept[name])
        return choice

    def _trial_step(self, half: bool) -> None:
        """Compute the gradients of one batch, to time it. The weights stay as they are."""
        rng = np.random.default_rng(self.args.seed)
        lr, hr = (self._tensor(a) for a in self.patches.batch(rng, self.args.batch))
        self.net.zero_grad()
        self.task.backward(Batch(1, lr, hr, rng, half))
        wait_for_gradients(self.net)

    def loop(self, report: Callable[[Progress], None]) -> None:
        """Train from the current step to the last one."""
        if self.step >= self.args.steps:  # the weights of a state that was kept may be missing
            self.history.pop()
            self._write(self._validate())
        readings: list[dict[str, float]] = []
        start_s, first_step = time.perf_counter(), self.step
        while self.step < self.args.steps:
            readings.append(self._train_step())
            self.step += 1
            if self.step % self.args.validate_every and self.step < self.args.steps:
                continue
            mean = {name: float(np.mean([one[name] for one in readings])) for name in readings[0]}
            if not all(map(math.isfinite, mean.values())):
                raise TrainingError(
                    f"The loss is not finite at step {self.step}: resume from the last checkpoint "
                    "with a lower --lr."
                )
            rate = (self.step - first_step) / (time.perf_counter() - start_s)
            eta_s = (self.args.steps - self.step) / rate
            lr = self.args.lr * self._schedule(self.step - 1)
            progress = Progress(self.step, self.args.steps, mean, lr, rate, eta_s, self._validate())
            readings.clear()
            self._save(progress)
            report(progress)

    def _train_step(self) -> dict[str, float]:
        """Train on one batch. Returns its readings."""
        # A generator per step, so that a resumed run repeats an uninterrupted one exactly.
        rng = np.random.default_rng((self.args.seed, self.step))
        lr, hr = (self._tensor(a) for a in self.patches.batch(rng, self.args.batch))
        self.net.zero_grad()
        readings = self.task.backward(Batch(self.step, lr, hr, rng, self._half(self.step)))
        torch.nn.utils.clip_grad_norm_(self.net.parameters(), 1.0)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group["peak_lr"] * self._schedule(self.step)
            optimizer.step()
        self._update_ema()
        return readings

    def _half(self, step: int) -> bool:
        return self._is_bf16 and step < self.args.steps - self.args.fp32_last

    def _tensor(self, images: Image8) -> Tensor:
        """Turn (N, H, W, 3) bytes into (N, 3, H, W) in 0..1."""
        tensor = torch.from_numpy(images).to(self.device).permute(0, 3, 1, 2)
        return tensor.to(torch.float32, memory_format=image_layout(self.device)).div(255)

    def _schedule(self, step: int) -> float:
        """Return the share of the peak rate."""
        warm = min(1.0, (step + 1) / max(1, self.args.warmup))
        cosine = 0.5 * (1 + math.cos(math.pi * step / self.args.steps))
        return warm * (0.01 + 0.99 * cosine)

    @torch.no_grad()
    def _update_ema(self) -> None:
        # Early on the average follows fast; 1/10 of the steps so far is its horizon.
        decay = min(self.args.ema, (1 + self.step) / (10 + self.step))
        for name, parameter in self.net.named_parameters():
            self.ema[name].lerp_(parameter, 1 - decay)

    @torch.no_grad()
    def _validate(self) -> dict[str, float]:
        """Return the task's scores with the EMA weights."""
        weights = {name: p.detach().clone() for name, p in self.net.named_parameters()}
        self.net.load_state_dict(self.ema, strict=False)  # buffers stay as they are
        scores = self.task.validate(self.val, self._half(self.step - 1))
        self.net.load_state_dict(weights, strict=False)
        return scores

    def _save(self, progress: Progress) -> None:
        self.log.append(progress.row())
        self.history[-1]["to_step"] = self.step
        self._write(progress.psnr_db)

    def _write(self, psnr_db: Mapping[str, float]) -> None:
        """Write weights, curve and checkpoint of the current step."""
        descriptor: dict[str, Any] = {
            "training": self.history,
            "data_sha256": self.patches.checksum,
            "validation_crops_sha256": self.val.checksum,
            "validation_psnr_y_db": psnr_db,
        }
        ema = {name: value.cpu().contiguous().numpy() for name, value in self.ema.items()}
        self.task.write(ema, descriptor)
        curve.write(self.args.out, self.log)
        # Last: whatever an interruption leaves undone, resuming does.
        write_atomic(self.args.out / checkpoint.NAME, self._state())

    def _state(self) -> bytes:
        return checkpoint.dump(
            self.net, self.ema, self.optimizers, self.step, self.log, self.history
        )

    def kept(self) -> str:
        """Keep the state elsewhere, if any was reached, and say where in a sentence."""
        place = self.args.out / checkpoint.NAME
        return kept(".safetensors", self._state(), then=f"move it to {place}") if self.log else ""
