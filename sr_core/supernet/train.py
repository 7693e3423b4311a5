"""Stage 1 training: once-for-all, so that every candidate works without fine-tuning.

Each step takes one batch through a dense anchor and through random pruned candidates
(`sampling`) and sums their gradients. The paper trains a dense supernet and fine-tunes each
pruned candidate; sampling the pruning too is UpFront's step beyond it.

A run folder holds `log.csv`, `curve.png`, the latest checkpoint (exact resume) and
`supernet.safetensors` + `.json`, the EMA weights with their descriptor.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sr_core.candidate import Candidate
from sr_core.errors import TrainingError
from sr_core.presets import presets
from sr_core.quality.benchmark import score_crops
from sr_core.quality.datasets import TrainingPatches, validation_crops
from sr_core.quality.metrics import Image8
from sr_core.supernet import checkpoint, curve
from sr_core.supernet.network import Supernet
from sr_core.supernet.sampling import sample_anchor, sample_candidate
from sr_core.supernet.settings import Progress, TrainArgs, differences, run_record
from sr_core.supernet.weights import (
    SupernetSpec,
    read_descriptor,
    read_supernet,
    write_supernet,
)

PROBES = (
    "wide", "residual", "mixed", "wide-block25", "wide-block50", "wide-block75",
    "wide-pattern75", "wide-channel50", "wide-unstructured75", "half-depth", "width16",
)  # fmt: skip
"""Presets whose validation PSNR is logged while training."""


def train(
    args: TrainArgs,
    report: Callable[[Progress], None],
    warn: Callable[[str], None] = lambda _: None,
) -> Path:
    """Run stage 1; returns the path of the EMA weights.

    Args:
        args: settings.
        report: called at each validation, after weights and checkpoint were saved.
        warn: gets one line if a resumed run's settings or data differ from the earlier ones.

    Raises:
        TrainingError: it cannot start, diverged (the last checkpoint stays) or cannot save.
    """
    if not args.resume and (args.out / checkpoint.NAME).exists():
        raise TrainingError(
            f"{args.out} holds a checkpoint, which a new run would overwrite: use --resume or "
            "another --out."
        )
    run = _Run(args, warn)
    try:
        args.out.mkdir(parents=True, exist_ok=True)
        run.loop(report)
    except BrokenPipeError:  # of who reads the reports; nothing to do with the disk
        raise
    except OSError as error:
        raise TrainingError(
            f"Could not write to {args.out} ({error}): free some space and use --resume."
        ) from error
    return args.out / "supernet.safetensors"


class _Run:
    """State of one training run."""

    def __init__(self, args: TrainArgs, warn: Callable[[str], None]) -> None:
        self.args = args
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.patches = TrainingPatches(args.data, args.scale, args.patch, args.source_weights)
        self.val = validation_crops(args.val, args.scale)
        self.spec = SupernetSpec(args.scale, args.width, args.cells)
        self.net = Supernet(self.spec, args.seed)
        self.history: checkpoint.History = []
        if args.init_from:
            self._load(args.init_from)
        self.net.to(self.device)
        self.ema = {name: p.detach().clone() for name, p in self.net.named_parameters()}
        # beta2 = 0.99: with 0.999, wide cells diverged at rates where this stays stable.
        self.optimizer = torch.optim.Adam(
            self.net.parameters(), args.lr, betas=(0.9, 0.99), fused=True
        )
        self.step = 0
        self.log: checkpoint.Log = []
        listed = presets(scale=args.scale, width=args.width, cells=args.cells)
        by_name = {p.name.split("-", 1)[1]: p.candidate for p in listed}
        self.probes = {name: by_name[name] for name in PROBES if name in by_name}
        if args.resume:
            self.step, self.log, self.history = checkpoint.load(
                args.out, self.net, self.ema, self.optimizer
            )
        record = run_record(args, self.step, self._facts())
        if args.resume and self.history and (changed := differences(self.history[-1], record)):
            warn(f"Resuming at step {self.step} with changes: {changed}.")
        self.history.append(record)

    def _facts(self) -> dict[str, str]:
        gpu = self.device.type == "cuda"
        return {
            "device": torch.cuda.get_device_name(self.device) if gpu else "CPU",
            "torch": torch.__version__,
            "data_sha256": self.patches.checksum,
            "validation_crops_sha256": self.val.checksum,
        }

    def loop(self, report: Callable[[Progress], None]) -> None:
        """Train from the current step to the last one."""
        losses: list[tuple[float, float]] = []
        started, first = time.perf_counter(), self.step
        while self.step < self.args.steps:
            losses.append(self._train_step())
            self.step += 1
            if self.step % self.args.validate_every and self.step < self.args.steps:
                continue
            mean_anchor, mean_candidate = np.mean(losses, axis=0).tolist()
            if not math.isfinite(mean_anchor + mean_candidate):
                raise TrainingError(
                    f"The loss is not finite at step {self.step}: resume from the last checkpoint "
                    "with a lower --lr."
                )
            rate = (self.step - first) / (time.perf_counter() - started)
            eta_s = (self.args.steps - self.step) / rate
            progress = Progress(
                self.step, self.args.steps, mean_anchor, mean_candidate,
                self._learning_rate(self.step - 1), rate, eta_s, self._validate(),
            )  # fmt: skip
            losses.clear()
            self.log.append(progress.row())
            self.history[-1]["to_step"] = self.step
            self._save_weights(progress)
            # Last: whatever an interruption leaves undone, resuming does.
            checkpoint.save(
                self.args.out, self.net, self.ema, self.optimizer, self.step, self.log, self.history
            )
            report(progress)

    def _train_step(self) -> tuple[float, float]:
        """One batch through an anchor and the candidates; returns their (mean) losses."""
        # A generator per step, so that a resumed run repeats an uninterrupted one exactly.
        rng = np.random.default_rng((self.args.seed, self.step))
        lr, hr = (self._tensor(a) for a in self.patches.batch(rng, self.args.batch))
        size = {"scale": self.spec.scale, "width": self.spec.width, "cells": self.spec.cells}
        for group in self.optimizer.param_groups:
            group["lr"] = self._learning_rate(self.step)
        self.optimizer.zero_grad()
        guide = self._forward(lr, sample_anchor(rng, **size))
        loss_anchor = (guide - hr).abs().mean()
        loss_anchor.backward()
        losses: list[float] = []
        for _ in range(self.args.candidates):
            output = self._forward(lr, sample_candidate(rng, **size))
            loss = (output - hr).abs().mean()
            losses.append(loss.item())
            if self.args.distill:
                loss = loss + self.args.distill * (output - guide.detach()).abs().mean()
            loss.backward()
        torch.nn.utils.clip_grad_norm_(self.net.parameters(), 1.0)
        self.optimizer.step()
        self._update_ema()
        return loss_anchor.item(), float(np.mean(losses))

    def _forward(self, lr: Tensor, candidate: Candidate) -> Tensor:
        with torch.autocast(self.device.type, dtype=torch.bfloat16):
            return self.net(lr, candidate, self.net.torch_masks(candidate))

    def _tensor(self, images: Image8) -> Tensor:
        """(N, 3, H, W) in 0..1 of (N, H, W, 3) bytes."""
        tensor = torch.from_numpy(images).to(self.device).permute(0, 3, 1, 2)
        return tensor.to(torch.float32, memory_format=torch.channels_last).div(255)

    def _learning_rate(self, step: int) -> float:
        warm = min(1.0, (step + 1) / max(1, self.args.warmup))
        cosine = 0.5 * (1 + math.cos(math.pi * step / self.args.steps))
        return self.args.lr * warm * (0.01 + 0.99 * cosine)

    @torch.no_grad()
    def _update_ema(self) -> None:
        # Early on the average follows fast; 1/10 of the steps so far is its horizon.
        decay = min(self.args.ema, (1 + self.step) / (10 + self.step))
        for name, parameter in self.net.named_parameters():
            self.ema[name].lerp_(parameter, 1 - decay)

    @torch.no_grad()
    def _validate(self) -> dict[str, float]:
        """PSNR-Y of every probe on the validation crops, with the EMA weights."""
        trained = {name: p.detach().clone() for name, p in self.net.named_parameters()}
        self.net.load_state_dict(self.ema)
        scores: dict[str, float] = {}
        for name, candidate in self.probes.items():

            def run(lr: NDArray[np.float32], candidate: Candidate = candidate) -> Any:
                return self._forward(torch.from_numpy(lr).to(self.device), candidate).cpu().numpy()

            scores[name] = score_crops(run, self.val, scale=self.spec.scale)
        self.net.load_state_dict(trained)
        return scores

    def _save_weights(self, progress: Progress) -> None:
        tensors = {name: value.cpu().contiguous().numpy() for name, value in self.ema.items()}
        described: dict[str, Any] = {
            "training": self.history,
            "data_sha256": self.patches.checksum,
            "validation_crops_sha256": self.val.checksum,
            "validation_psnr_y_db": progress.psnr_db,
        }
        path = self.args.out / "supernet.safetensors"
        write_supernet(path, self.spec, tensors, described)
        curve.write(self.args.out, self.log)

    def _load(self, path: Path) -> None:
        stored = read_supernet(path)
        if stored.spec != self.spec:
            raise TrainingError(f"--init-from holds {stored.spec}, this run is {self.spec}.")
        self.net.load_state_dict({n: torch.from_numpy(t) for n, t in stored.tensors.items()})
        self.history = list(read_descriptor(path).get("training", []))
