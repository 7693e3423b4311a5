"""The space of stage 2: width, block per cell, scheme per layer, and one global ratio.

It is flat: every layer of every block a cell may become has a choice of its own, read only if the
cell becomes that block. So each parameter always exists, which crossover needs, and different
parameters may mean the same network (the search skips those).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

from optuna.distributions import CategoricalChoiceType as Choice
from optuna.trial import Trial

from sr_core.candidate import (
    BLOCKS,
    DENSE,
    PATTERN_MIN_RATIO,
    TAIL_SCHEMES,
    WIDTHS,
    Candidate,
    Cell,
    LayerPruning,
    Scheme,
)

RATIOS = tuple(step / 100 for step in range(10, 91, 5))
"""The global ratio's grid. Ratios of single layers belong to stage 3."""
Params = dict[str, Choice]


@dataclass(frozen=True)
class Space:
    """All candidates with one global ratio that are part of a supernet of this size."""

    scale: int
    width: int
    cells: int

    @cached_property
    def choices(self) -> dict[str, tuple[Choice, ...]]:
        """Parameter name -> what it may be."""
        found: dict[str, tuple[Choice, ...]] = {
            "width": tuple(width for width in WIDTHS if width <= self.width),
            "ratio": RATIOS,
            "tail": TAIL_SCHEMES,
        }
        for index in range(self.cells):
            found[f"cells.{index}"] = tuple(BLOCKS)
            for block in BLOCKS.values():
                for conv in block.convs:
                    found[f"cells.{index}.{block.name}.{conv.name}"] = conv.schemes
        return found

    def suggest(self, trial: Trial) -> Candidate:
        """What an Optuna trial proposes."""
        options = self.choices.items()
        return self.decode({name: trial.suggest_categorical(name, some) for name, some in options})

    def decode(self, params: Mapping[str, Choice]) -> Candidate:
        """The candidate of these parameters, which must be all of `choices`."""
        ratio = cast(float, params["ratio"])

        def layer(name: str) -> LayerPruning:
            return _pruning(cast(Scheme, params[name]), ratio)

        cells: list[Cell] = []
        for index in range(self.cells):
            block = BLOCKS[cast(str, params[f"cells.{index}"])]
            names = (f"cells.{index}.{block.name}.{conv.name}" for conv in block.convs)
            cells.append(Cell(block.name, tuple(map(layer, names))))
        return Candidate(self.scale, cast(int, params["width"]), tuple(cells), layer("tail"))

    def encode(self, candidate: Candidate) -> Params | None:
        """Parameters that `decode` turns into `candidate`; None if it is not in the space.

        Layers that the candidate does not have are dense.
        """
        ratio = _global_ratio(candidate)
        size = (candidate.scale, len(candidate.cells))
        if ratio is None or size != (self.scale, self.cells) or candidate.width > self.width:
            return None
        schemes: dict[str, Any] = {name: pruning.scheme for name, pruning in candidate.layers()}
        blocks = {f"cells.{index}": cell.block for index, cell in enumerate(candidate.cells)}
        chosen = {"width": candidate.width, "ratio": ratio} | blocks | schemes
        return {name: chosen.get(name, "dense") for name in self.choices}


def _pruning(scheme: Scheme, ratio: float) -> LayerPruning:
    """The global ratio on one layer: a pattern removes at least 5/9, so it takes no less."""
    if scheme == "dense":
        return DENSE
    return LayerPruning(scheme, max(ratio, PATTERN_MIN_RATIO) if scheme == "pattern" else ratio)


def _global_ratio(candidate: Candidate) -> float | None:
    """The ratio of the grid that all pruned layers share; None if there is none."""
    pruned = [pruning for _, pruning in candidate.layers() if pruning != DENSE]
    for ratio in RATIOS:
        if all(pruning == _pruning(pruning.scheme, ratio) for pruning in pruned):
            return ratio
    return None
