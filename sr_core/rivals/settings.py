"""Settings of a rival's training (no torch: the command line lists the options)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from sr_core.errors import TrainingError
from sr_core.network.candidate import SCALES
from sr_core.options import option
from sr_core.rivals.arch import architecture
from sr_core.training.settings import RunArgs


@dataclass(frozen=True)
class RivalArgs(RunArgs):
    """Settings of the training of another architecture, from scratch."""

    COMMAND: ClassVar[str] = "train"

    arch: str = option("ecbsr-m4c16", "architecture of `sr_core.rivals.arch`")
    scale: int = option(4, "upscaling factor: 2 or 4")
    published: bool = option(False, "as published: luma alone, with PReLU; else RGB with ReLU")

    def __post_init__(self) -> None:
        super().__post_init__()
        architecture(self.arch)
        if self.scale not in SCALES:
            raise TrainingError(f"--scale {self.scale}: expected one of {SCALES}.")
        if self.init_from:
            raise TrainingError(
                "--init-from does not go with --arch, whose stored weights are folded: use "
                "--resume to continue a run."
            )
