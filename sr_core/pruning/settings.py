"""Settings of fine-tuning and of stage 3 (no torch: the command line lists the options)."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from sr_core.errors import TrainingError
from sr_core.options import option
from sr_core.training.settings import RunArgs

STAGE3 = "stage3.json"
"""In a run folder of `prune`: how the ratios came about."""


@dataclass(frozen=True)
class TuneArgs(RunArgs):
    """Settings of training one network."""

    steps: int = option(10_000, "training steps")
    lr: float = option(1.5e-3, "peak learning rate")
    warmup: int = option(200, "steps of linear warm-up; cosine decay to 1 % of --lr follows")
    validate_every: int = option(500, "steps between validations, logs and checkpoints")
    distill: float = option(
        0.0, "weight of the L1 distance to the output of the supernet's dense all-wide network"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.distill >= 0:
            raise TrainingError("--distill must be 0 or above.")


@dataclass(frozen=True)
class FinetuneArgs(TuneArgs):
    """Settings of `finetune`."""

    COMMAND: ClassVar[str] = "finetune"
    PLACES: ClassVar[dict[str, str]] = {**RunArgs.PLACES, "init_from": "FINAL"}

    model: str = field(
        kw_only=True,
        metadata={"help": "name or id from `models`, a network text, or a candidate's JSON file"},
    )
    init_from: Path | None = option(None, "start from this final.safetensors of the same network")


@dataclass(frozen=True)
class PruneArgs(TuneArgs):
    """Settings of `prune`, stage 3."""

    COMMAND: ClassVar[str] = "prune"

    candidate: str = field(
        kw_only=True,
        metadata={"help": "whose schemes to use, whatever its ratios: as --model of `describe`"},
    )
    device: str = field(kw_only=True, metadata={"help": "a profile of `devices`"})
    budget_ms: float = field(
        kw_only=True, metadata={"help": "most estimated milliseconds of a 1280x720 frame"}
    )
    threads: int | None = option(None, "threads of the estimate; default: the profile's")
    steps: int = option(10_000, "steps with the regulariser, or in which groups go")
    finetune_steps: int = option(10_000, "steps after pruning")
    validate_every: int = option(
        250, "steps between refreshes of the penalties, validations, logs and checkpoints"
    )
    gradual: bool = option(
        False, "no regulariser: the groups that are worth least to the loss for their time go, "
        "step by step, in one training of all the steps; channels go at the start, as many as "
        "the candidate says"
    )  # fmt: skip
    uniform: bool = option(
        False, "baseline: one ratio everywhere, no regulariser, fine-tuned for all the steps"
    )
    sensitivity: bool = option(
        False, "no regulariser: split the budget by what each layer's ratio costs by itself"
    )
    init_from: Path | None = field(default=None, init=False)  # it starts from the supernet

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.finetune_steps < 1:
            raise TrainingError("--finetune-steps must be above 0.")
        if self.gradual + self.uniform + self.sensitivity > 1:
            raise TrainingError(
                "--gradual, --uniform and --sensitivity are three ways: give one of them."
            )
        if self.gradual and self.distill:
            raise TrainingError("--gradual has no teacher: leave out --distill.")
