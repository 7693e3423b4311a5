"""What the search makes cheap: estimated milliseconds on a device, or MACs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from math import isfinite
from typing import Literal

from sr_core.catalogue.store import Catalogue
from sr_core.errors import SearchError
from sr_core.latency.prices import Vector, count, price
from sr_core.latency.profile import DeviceProfile
from sr_core.network.blocks import SKIP
from sr_core.network.candidate import Candidate, Cell, LayerPruning
from sr_core.network.notation import to_text
from sr_core.search.settings import MACS
from sr_core.search.space import RATIOS, Space

MARGIN = 1.1
"""The reference cost of a hypervolume over that of the costliest preset, a dense anchor."""


@dataclass(frozen=True)
class Objective:
    """A cost to minimise, for one 1280x720 frame."""

    name: str
    """Device id, or `macs`."""
    unit: Literal["ms", "GMACs"]
    """ms or GMACs."""
    cost: Callable[[Sequence[Candidate]], Vector]
    budget_ms: float | None = None
    """Costlier candidates are infeasible."""
    profile: DeviceProfile | None = None
    """The device that `cost` is estimated on; None for MACs."""

    def reference(self, presets: Sequence[Candidate]) -> float:
        """Return the cost from which on nothing counts: the budget, else beyond all."""
        if self.budget_ms is not None:
            return self.budget_ms
        return MARGIN * float(self.cost(presets).max())


def objective(catalogue: Catalogue, name: str, budget_ms: float | None = None) -> Objective:
    """Return the objective called `name`: a device's id (its default threads), or `macs`.

    Raises:
        LatencyError: there is no such device.
        SearchError: a budget that is not a finite number above 0, or one in ms for MACs.
    """
    if budget_ms is not None and not (budget_ms > 0 and isfinite(budget_ms)):
        raise SearchError(f"The budget must be above 0 ms and finite, got {budget_ms:g}.")
    if name == MACS:
        if budget_ms is not None:
            raise SearchError("A budget in ms needs a device as objective, not macs.")
        return Objective(name, "GMACs", lambda candidates: count(candidates).macs_kept / 1e9)
    return latency(catalogue.device(name), budget_ms)


def latency(profile: DeviceProfile, budget_ms: float | None = None) -> Objective:
    """Make an objective of estimated milliseconds on a device, with its default thread count."""

    def cost(candidates: Sequence[Candidate]) -> Vector:
        return price(candidates, profile).total_ms

    return Objective(profile.id, "ms", cost, budget_ms, profile)


def check_budget(aim: Objective, space: Space) -> None:
    """Raise `SearchError`, with the cheapest candidate, if none is within the budget.

    Blocks only add to a cost, so the cheapest has none.
    """
    if aim.budget_ms is None:
        return
    skips = (Cell(SKIP),) * space.spec.cells
    ends = [
        {name: LayerPruning(scheme, ratio) for name, scheme in zip(space.ends, some, strict=True)}
        for some in product(*space.ends.values())
        for ratio in RATIOS
    ]
    spec = space.spec
    bare = list(
        dict.fromkeys(
            Candidate(spec.scale, width, skips, colour=spec.colour, **pruning)
            for width in spec.widths
            for pruning in ends
        )
    )
    costs = aim.cost(bare)
    cheapest, lowest_ms = bare[int(costs.argmin())], float(costs.min())
    if lowest_ms > aim.budget_ms:
        raise SearchError(
            f"No network fits a budget of {aim.budget_ms:g} ms: the cheapest of the space, "
            f"{to_text(cheapest)}, takes {lowest_ms:.4g} ms on {aim.name}."
        )
