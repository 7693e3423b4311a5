"""Settings and progress of a training run (no torch: the command line lists the options)."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sr_core.errors import TrainingError
from sr_core.machine import commit, processor
from sr_core.supernet.weights import SupernetSpec


def _option(default: Any, text: str) -> Any:
    """A field with a default and its help text."""
    return field(default=default, metadata={"help": text})


@dataclass(frozen=True)
class TrainArgs:
    """Settings of a run; the command line is generated from these fields."""

    data: Path = field(metadata={"help": "folder of HR training images (subfolders = sources)"})
    val: Path = field(metadata={"help": "folder of HR validation images"})
    out: Path = field(metadata={"help": "run folder"})
    scale: int = _option(4, "upscaling factor: 2 or 4")
    width: int = _option(32, "channels C of the full network: 16, 24 or 32")
    cells: int = _option(12, "cells N")
    steps: int = _option(30_000, "training steps")
    patch: int = _option(24, "side of a training patch in LR pixels")
    batch: int = _option(16, "patches per step")
    lr: float = _option(8e-4, "peak learning rate of Adam")
    warmup: int = _option(1000, "steps of linear warm-up; cosine decay to 1 % of --lr follows")
    candidates: int = _option(1, "random candidates per step, beside the dense anchor")
    distill: float = _option(0.0, "weight of the candidate's L1 distance to the anchor's output")
    ema: float = _option(0.999, "decay of the weights' moving average")
    seed: int = _option(0, "seed of initialisation, patches and candidates")
    validate_every: int = _option(1000, "steps between validations, logs and checkpoints")
    init_from: Path | None = _option(None, "start from the weights of this .safetensors file")
    resume: bool = _option(False, "continue the checkpoint in --out (exactly, with equal settings)")
    source_weights: dict[str, float] = field(
        default_factory=dict[str, float],
        metadata={"help": "NAME=FACTOR: draw a source less or more often than its pixels say"},
    )

    def __post_init__(self) -> None:
        SupernetSpec(self.scale, self.width, self.cells)
        positive = ("steps", "patch", "batch", "candidates", "lr", "validate_every")
        for name in positive:
            if not getattr(self, name) > 0:
                raise TrainingError(f"--{name.replace('_', '-')} must be above 0.")
        if any(not factor > 0 for factor in self.source_weights.values()):
            raise TrainingError("--source-weights: every FACTOR must be above 0.")
        if not 0 <= self.ema < 1:
            raise TrainingError("--ema must be in 0 to below 1.")
        if self.resume and self.init_from:
            raise TrainingError(
                "--resume continues a run, --init-from starts one: give one of them."
            )


@dataclass(frozen=True)
class Progress:
    """What a run reports at each validation."""

    step: int
    steps: int
    loss_anchor: float
    loss_candidate: float
    lr: float
    steps_per_s: float
    eta_s: float
    psnr_db: dict[str, float]
    """Probe name -> mean PSNR-Y on the validation crops, EMA weights, training precision."""

    def row(self) -> dict[str, float]:
        """Flat form for log.csv."""
        flat = {
            "step": self.step, "loss_anchor": self.loss_anchor,
            "loss_candidate": self.loss_candidate, "lr": self.lr, "steps_per_s": self.steps_per_s,
        }  # fmt: skip
        return flat | {f"psnr_{name}": value for name, value in self.psnr_db.items()}


_LOCAL = ("data", "val", "out", "init_from", "resume")
"""Settings that name places on this computer; they do not belong in a published descriptor."""


_DATA = {"data_sha256": "training images", "validation_crops_sha256": "validation crops"}
"""Checksums in a run's record, and what they are of."""


def run_record(args: TrainArgs, from_step: int, facts: Mapping[str, str]) -> dict[str, Any]:
    """How a run was started, for the descriptor: settings, code version, processor, date.

    `facts` is what only the trainer knows: device, version of torch, checksums of the data.
    """
    settings = {name: value for name, value in vars(args).items() if name not in _LOCAL}
    return {
        "started": datetime.now(UTC).strftime("%Y-%m-%d"),
        "command": _command(args),
        "continues": "checkpoint" if args.resume else "weights" if args.init_from else "nothing",
        "from_step": from_step,
        "commit": commit(),
        "settings": settings,
        "python": platform.python_version(),
        "processor": processor(),
        **facts,
    }


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """What differs between two runs' records, settings and data, in one line; "" if nothing.

    What an older record does not hold is not compared.
    """
    old, new = before.get("settings", {}), now["settings"]
    found = [
        f"--{name.replace('_', '-')} {old[name]} -> {value}"
        for name, value in new.items()
        if name in old and old[name] != value
    ]
    found += [
        f"other {what}" for key, what in _DATA.items() if before.get(key, now[key]) != now[key]
    ]
    return ", ".join(found)


def _command(args: TrainArgs) -> str:
    """The command that repeats this run, with placeholders for local folders."""
    words = ["python -m sr_core train --data DATA/train --val DATA/val --out RUN"]
    for name, value in vars(args).items():
        flag = f"--{name.replace('_', '-')}"
        if name == "source_weights" and value:
            words.append(" ".join([flag, *(f"{k}={v:g}" for k, v in value.items())]))
        elif name == "init_from" and value:
            words.append(f"{flag} WEIGHTS")
        elif value is True:
            words.append(flag)
        elif name not in _LOCAL and name != "source_weights":
            words.append(f"{flag} {value:g}" if isinstance(value, float) else f"{flag} {value}")
    return " ".join(words)
