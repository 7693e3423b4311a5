"""Settings and progress of a training run (no torch: the command line lists the options)."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar, Literal

from sr_core.errors import TrainingError
from sr_core.machine import commit, processor
from sr_core.options import command_line, flag, option, words

TakenPrecision = Literal["fp32", "bf16"]
Precision = Literal["auto", TakenPrecision]
Loss = Literal["rgb", "y"]
Optimizer = Literal["adam", "muon"]


@dataclass(frozen=True)
class RunArgs:
    """Settings that every kind of training has. Command lines are generated from the fields.

    A kind adds its own in a subclass (keyword only where they have no default).
    """

    COMMAND: ClassVar[str]
    """The word after `python -m sr_core`."""
    PLACES: ClassVar[Mapping[str, str]] = {
        "data": "DATA/train", "val": "DATA/val", "out": "RUN", "init_from": "WEIGHTS",
    }  # fmt: skip
    """Settings that name places on this computer, and what a published command has for them."""

    data: Path = field(metadata={"help": "folder of HR training images (subfolders = sources)"})
    val: Path = field(metadata={"help": "folder of HR validation images"})
    out: Path = field(metadata={"help": "run folder"})
    steps: int = option(30_000, "training steps")
    patch: int = option(24, "side of a training patch in LR pixels")
    batch: int = option(16, "patches per step")
    loss: Loss = option(
        "rgb", "L1 of the colours; y: L1 of luma, which PSNR-Y counts, plus 0.1 of the colours'"
    )
    optimizer: Optimizer = option(
        "adam", "muon: for convolutions, with Adam for biases, input skip and the cells' ends"
    )
    lr: float = option(8e-4, "peak learning rate")
    adam_lr: float = option(4e-3, "with --optimizer muon, the peak rate of what Adam trains")
    warmup: int = option(1000, "steps of linear warm-up; cosine decay to 1 % of --lr follows")
    precision: Precision = option(
        "auto",
        "of forward and backward passes; auto: bf16 where the hardware multiplies it, else fp32, "
        "and a short trial where that is not certain",
    )
    fp32_last: int = option(0, "so many steps at the end in fp32, whatever --precision")
    ema: float = option(0.999, "decay of the weights' moving average")
    seed: int = option(0, "seed of initialisation, patches and candidates")
    validate_every: int = option(1000, "steps between validations, logs and checkpoints")
    init_from: Path | None = option(None, "start from the weights of this .safetensors file")
    resume: bool = option(False, "continue the checkpoint in --out (exactly, with equal settings)")
    source_weights: dict[str, float] = field(
        default_factory=dict[str, float],
        metadata={
            "help": "NAME=FACTOR: draw a source less or more often than its pixels say; 0: never",
            "metavar": "NAME=FACTOR",
        },
    )

    def __post_init__(self) -> None:
        for name in ("steps", "patch", "batch", "lr", "adam_lr", "validate_every"):
            if not getattr(self, name) > 0:
                raise TrainingError(f"{flag(name)} must be above 0.")
        if any(not factor >= 0 for factor in self.source_weights.values()):
            raise TrainingError("--source-weights: every FACTOR must be 0 or more.")
        if not 0 <= self.seed < 2**32:
            raise TrainingError(f"--seed {self.seed}: expected 0 to {2**32 - 1}.")
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
    readings: dict[str, float]
    """What the task returned for its batches, means since the last report: `loss_...`, others."""
    lr: float
    steps_per_s: float
    eta_s: float
    psnr_db: dict[str, float]
    """Network -> mean PSNR-Y on the validation crops, EMA weights."""

    def row(self) -> dict[str, float]:
        """Return the flat form for log.csv."""
        scores = {f"psnr_{name}": value for name, value in self.psnr_db.items()}
        return {
            "step": self.step, **self.readings, "lr": self.lr, "steps_per_s": self.steps_per_s,
            **scores,
        }  # fmt: skip

    def to_json(self) -> dict[str, Any]:
        """Return the line that `--json` prints."""
        return {
            "step": self.step, "steps": self.steps, **self.readings, "lr": self.lr,
            "steps_per_s": self.steps_per_s, "eta_s": self.eta_s, "psnr_db": self.psnr_db,
        }  # fmt: skip


_DATA = {"data_sha256": "training images", "validation_crops_sha256": "validation crops"}
"""Checksums in a run's record, and what they are of."""


Continues = Literal["nothing", "weights", "first phase", "checkpoint"]
"""What a run goes on from; the first phase is of the same command."""


def run_record(
    args: RunArgs, from_step: int, continues: Continues, facts: Mapping[str, str], by: str = ""
) -> dict[str, Any]:
    """Record how a run was started: settings, code version, processor, date.

    `args.precision` is the one that was taken, so that the command repeats the run elsewhere.
    `facts` is what only the trainer knows: device, version of torch, checksums of the data.
    `by` is the command that the run is a part of. By default it is its own.
    """
    left_out = {*args.PLACES, "resume"}  # places do not belong in a published descriptor
    settings = {name: value for name, value in vars(args).items() if name not in left_out}
    return {
        "started": datetime.now(UTC).strftime("%Y-%m-%d"),
        "command": by or command(args),
        "continues": continues,
        "from_step": from_step,
        "commit": commit(),
        "settings": settings,
        "python": platform.python_version(),
        "processor": processor(),
        **facts,
    }


def settings_of(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a run's record. Before there was a choice, all runs had these."""
    before = {"precision": "bf16", "loss": "rgb", "optimizer": "adam"}
    return {**before, **record.get("settings", {})}


def steps_of(records: Iterable[Mapping[str, Any]]) -> int:
    """Count the steps of all runs, or parts of runs, that these records are of."""
    return sum(int(record["to_step"]) - int(record["from_step"]) for record in records)


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Say what differs between two runs' records, settings and data. "" if nothing does.

    What an older record does not hold is not compared.
    """
    old, new = settings_of(before), now["settings"]
    texts = [
        f"{flag(name)} {old[name]} -> {value}"
        for name, value in new.items()
        if name in old and old[name] != value
    ]
    texts += [
        f"other {what}" for key, what in _DATA.items() if before.get(key, now[key]) != now[key]
    ]
    return ", ".join(texts)


def command(args: RunArgs) -> str:
    """Return the command that repeats this run, with placeholders for local folders."""
    return command_line(args.COMMAND, words(args, places=args.PLACES))
