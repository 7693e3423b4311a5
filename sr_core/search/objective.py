"""What the search makes cheap: estimated milliseconds on a device, or MACs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sr_core.candidate import Candidate
from sr_core.errors import SearchError
from sr_core.search.price import Vector, count, price
from sr_core.store import Catalogue

MACS = "macs"
MARGIN = 1.1
"""The reference cost of a hypervolume over that of the costliest preset, a dense anchor."""


@dataclass(frozen=True)
class Objective:
    """A cost to minimise, for one 1280x720 frame."""

    name: str
    """Device id, or `macs`."""
    unit: str
    """ms or GMACs."""
    cost: Callable[[Sequence[Candidate]], Vector]
    budget_ms: float | None = None
    """Costlier candidates are infeasible."""

    def reference(self, presets: Sequence[Candidate]) -> float:
        """The cost from which on nothing counts in a hypervolume: the budget, else beyond all."""
        if self.budget_ms is not None:
            return self.budget_ms
        return MARGIN * float(self.cost(presets).max())


def objective(catalogue: Catalogue, name: str, budget_ms: float | None = None) -> Objective:
    """The objective called `name`: a device's id (its default thread count), or `macs`.

    Raises:
        LatencyError: there is no such device.
        SearchError: a budget that is not above 0, or one in ms for MACs.
    """
    if budget_ms is not None and not budget_ms > 0:
        raise SearchError(f"The budget must be above 0 ms, got {budget_ms:g}.")
    if name == MACS:
        if budget_ms is not None:
            raise SearchError("A budget in ms needs a device as objective, not macs.")
        return Objective(name, "GMACs", lambda candidates: count(candidates).macs_kept / 1e9)
    profile = catalogue.device(name)
    return Objective(
        profile.id, "ms", lambda candidates: price(candidates, profile).total_ms, budget_ms
    )
