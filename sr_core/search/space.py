"""The space of stage 2: width, block per cell, scheme per layer, and one global ratio.

It can be restricted to some schemes, or widened to one ratio per kind of layer.

It is flat: every layer of every block a cell may become has a choice of its own, read only if the
cell becomes that block. So each parameter always exists, which crossover needs, and different
parameters may mean the same network (the search skips those).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast, get_args

from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.distributions import CategoricalChoiceType as Choice
from optuna.trial import Trial

from sr_core.network.blocks import SKIP, Scheme, cell_name, layer_names, name_in_cell
from sr_core.network.candidate import (
    DENSE,
    PATTERN_MIN_RATIO,
    TAIL_SCHEMES,
    Candidate,
    Cell,
    LayerPruning,
)
from sr_core.network.weights import SupernetSpec

RATIOS = tuple(step / 100 for step in range(10, 91, 5))
"""The grid of ratios. Those of single layers belong to stage 3."""
Params = dict[str, Choice]


@dataclass(frozen=True)
class Space:
    """All candidates on the grid of ratios that are part of a supernet of this size."""

    spec: SupernetSpec
    schemes: tuple[Scheme, ...] = get_args(Scheme)
    """Those that layers may take, as far as they fit; any layer may be dense."""
    ratio_per_kind: bool = False
    """A ratio for each of `kinds` instead of the global one."""

    @cached_property
    def kinds(self) -> tuple[str, ...]:
        """Kinds of layers: `wide.expand`, `wide.linear`, ..., `tail`, and perhaps `input_skip`."""
        names = (name for block in self.spec.blocks for name, _ in layer_names(0, block))
        return (*map(name_in_cell, names), *self.ends)

    @cached_property
    def ends(self) -> dict[str, tuple[Scheme, ...]]:
        """Layers that are in no cell -> their schemes. A skip that is always dense is no choice."""
        ends = {"tail": self._restrict(TAIL_SCHEMES)}
        if set(self.spec.skip_schemes) != {"dense"}:
            ends["input_skip"] = self._restrict(self.spec.skip_schemes)
        return ends

    @cached_property
    def ratio_names(self) -> dict[str, str]:
        """Kind of layer -> the parameter that holds its ratio."""
        return {kind: f"ratio.{kind}" if self.ratio_per_kind else "ratio" for kind in self.kinds}

    @cached_property
    def choices(self) -> dict[str, tuple[Choice, ...]]:
        """Parameter name -> what it may be."""
        choices: dict[str, tuple[Choice, ...]] = {
            "width": self.spec.widths,
            **dict.fromkeys(self.ratio_names.values(), RATIOS),
            **self.ends,
        }
        for index in range(self.spec.cells):
            choices[cell_name(index)] = (SKIP, *self.spec.blocks)
            for block in self.spec.blocks:
                for name, conv in layer_names(index, block):
                    choices[name] = self._restrict(conv.schemes)
        return choices

    def _restrict(self, schemes: tuple[Scheme, ...]) -> tuple[Scheme, ...]:
        return tuple(scheme for scheme in schemes if scheme in ("dense", *self.schemes))

    @cached_property
    def distributions(self) -> dict[str, BaseDistribution]:
        """The choices, as Optuna wants them."""
        return {name: CategoricalDistribution(some) for name, some in self.choices.items()}

    def suggest(self, trial: Trial) -> Candidate:
        """Return what an Optuna trial proposes."""
        options = self.choices.items()
        return self.decode({name: trial.suggest_categorical(name, some) for name, some in options})

    def decode(self, params: Mapping[str, Choice]) -> Candidate:
        """Return the candidate of these parameters, which must be all of `choices`."""

        def layer(name: str) -> LayerPruning:
            ratio = params[self.ratio_names[name_in_cell(name)]]
            return _pruning(cast(Scheme, params[name]), cast(float, ratio))

        cells: list[Cell] = []
        for index in range(self.spec.cells):
            block = cast(str, params[cell_name(index)])
            cells.append(Cell(block, tuple(layer(name) for name, _ in layer_names(index, block))))
        width, ends = cast(int, params["width"]), {name: layer(name) for name in self.ends}
        return Candidate(self.spec.scale, width, tuple(cells), colour=self.spec.colour, **ends)

    def encode(self, candidate: Candidate) -> Params | None:
        """Return parameters that `decode` turns into `candidate`, None outside of the space.

        Layers that the candidate does not have are dense.
        """
        if not self.spec.holds(candidate):
            return None
        blocks = {cell_name(index): cell.block for index, cell in enumerate(candidate.cells)}
        schemes: dict[str, Any] = {name: pruning.scheme for name, pruning in candidate.layers()}
        values = {"width": candidate.width} | blocks | schemes | self._ratios(candidate)
        params = {name: values.get(name, "dense") for name in self.choices}
        return params if all(params[name] in self.choices[name] for name in params) else None

    def _ratios(self, candidate: Candidate) -> dict[str, float | None]:
        """Map each ratio parameter to the ratio that its layers share.

        It is the lowest if none is pruned, and None where they share none of the grid.
        """
        prunings_of: dict[str, list[LayerPruning]] = {
            name: [] for name in self.ratio_names.values()
        }
        for name, pruning in candidate.layers():
            if pruning != DENSE:
                prunings_of[self.ratio_names[name_in_cell(name)]].append(pruning)
        return {name: _shared_ratio(prunings) for name, prunings in prunings_of.items()}


def _pruning(scheme: Scheme, ratio: float) -> LayerPruning:
    """Put the global ratio on one layer. A pattern removes at least 5/9, so it takes no less."""
    if scheme == "dense":
        return DENSE
    return LayerPruning(scheme, max(ratio, PATTERN_MIN_RATIO) if scheme == "pattern" else ratio)


def _shared_ratio(prunings: list[LayerPruning]) -> float | None:
    """Return the ratio of the grid that all of them have, None if there is none."""
    for ratio in RATIOS:
        if all(pruning == _pruning(pruning.scheme, ratio) for pruning in prunings):
            return ratio
    return None
