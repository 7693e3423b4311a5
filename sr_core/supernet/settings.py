"""Settings of stage 1 (no torch: the command line lists the options)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from sr_core.errors import TrainingError
from sr_core.network.blocks import FIRST_BLOCKS
from sr_core.network.candidate import FIRST_WIDTHS, TAIL_SCHEMES
from sr_core.network.colour import Colour
from sr_core.network.weights import SupernetSpec
from sr_core.options import option
from sr_core.training.settings import RunArgs


@dataclass(frozen=True)
class TrainArgs(RunArgs):
    """Settings of a supernet's training."""

    COMMAND: ClassVar[str] = "train"

    scale: int = option(4, "upscaling factor: 2 or 4")
    width: int = option(32, "channels C of the full network: 8, 12, 16, 24 or 32")
    cells: int = option(12, "cells N")
    blocks: str = option(",".join(FIRST_BLOCKS), "what cells may hold, of the registered blocks")
    widths: str = option(",".join(map(str, FIRST_WIDTHS)), "channels that candidates may have")
    colour: Colour = option("rgb", "luma: networks that see and upscale Y alone")
    candidates: int = option(
        1, "random candidates per step, beside the dense anchor; 0 trains the dense network alone"
    )
    distill: float = option(0.0, "weight of the candidate's L1 distance to the anchor's output")

    def __post_init__(self) -> None:
        super().__post_init__()
        _ = self.spec
        if self.candidates < 0:
            raise TrainingError("--candidates must be 0 or more.")

    @property
    def spec(self) -> SupernetSpec:
        """Size and blocks of the supernet. Raises `InvalidCandidate` if they are none."""
        blocks, widths = self.blocks.split(","), self.widths.split(",")
        if not all(width.isdecimal() for width in widths):
            raise TrainingError(f"--widths {self.widths}: expected numbers with commas between.")
        return SupernetSpec(
            self.scale, self.width, self.cells, tuple(blocks), tuple(map(int, widths)),
            TAIL_SCHEMES, self.colour,
        )  # fmt: skip
