"""Settings of stage 1 (no torch: the command line lists the options)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from sr_core.errors import TrainingError
from sr_core.network.blocks import FIRST_BLOCKS
from sr_core.network.weights import SupernetSpec
from sr_core.options import option
from sr_core.training.settings import RunArgs


@dataclass(frozen=True)
class TrainArgs(RunArgs):
    """Settings of a supernet's training."""

    COMMAND: ClassVar[str] = "train"

    scale: int = option(4, "upscaling factor: 2 or 4")
    width: int = option(32, "channels C of the full network: 16, 24 or 32")
    cells: int = option(12, "cells N")
    blocks: str = option(",".join(FIRST_BLOCKS), "what cells may hold, of the registered blocks")
    candidates: int = option(1, "random candidates per step, beside the dense anchor")
    distill: float = option(0.0, "weight of the candidate's L1 distance to the anchor's output")

    def __post_init__(self) -> None:
        super().__post_init__()
        _ = self.spec
        if self.candidates < 1:
            raise TrainingError("--candidates must be above 0.")

    @property
    def spec(self) -> SupernetSpec:
        """Size and blocks of the supernet. Raises `InvalidCandidate` if they are none."""
        return SupernetSpec(self.scale, self.width, self.cells, tuple(self.blocks.split(",")))
