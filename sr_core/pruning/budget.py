"""Per-layer pruning ratios that meet a latency budget: groups, their cost, and one threshold.

A *group* is what a scheme removes at once: a position shared by 4 output channels (`block`), a
kernel of 4 output channels and one input (`pattern`, which has 4 of its 9 taps), an output channel
(`channel`), one weight (`unstructured`). Its *importance* is the magnitude that the masks are
chosen by, over the mean of its layer before stage 3. Magnitudes of different layers have no common
scale (a ReLU lets one layer grow while the next one shrinks); how far a group has shrunk does.

No torch: weights are a network's tensors, `{layer}.weight`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from sr_core.errors import TrainingError
from sr_core.network.blocks import GROUP, Scheme
from sr_core.network.candidate import (
    DENSE,
    MAX_RATIO,
    PATTERN_MIN_RATIO,
    Candidate,
    Cell,
    LayerPruning,
)
from sr_core.network.layers import PATTERN_TAPS, ConvLayer, describe
from sr_core.network.masks import kept_channel_mask, layer_mask

Price = Callable[[Candidate], float]
"""Estimated milliseconds of a frame."""
Arrays = Mapping[str, NDArray[np.float32]]
Ratios = Mapping[str, float]
"""Layer name -> ratio, for the layers that have a scheme."""

_NONE: Ratios = MappingProxyType({})
_KERNEL_SHARE = PATTERN_TAPS / 9
_STEP = 0.5
"""Share of a layer's groups that is taken out to see what one costs."""


def lowest(scheme: Scheme) -> float:
    """Return the ratio at which all groups are there."""
    return PATTERN_MIN_RATIO if scheme == "pattern" else 0.0


def ratio_of(scheme: Scheme, removed: float, groups: int) -> float:
    """Return the ratio of a layer that loses the share `removed` of its groups.

    It is within the limits of a layer. For `channel` it is in whole steps, rounded down.
    """
    if scheme == "pattern":
        return min(MAX_RATIO, max(PATTERN_MIN_RATIO, 1 - (1 - removed) * _KERNEL_SHARE))
    ratio = min(MAX_RATIO, removed)
    if scheme == "channel":
        return GROUP * np.floor(ratio * groups / GROUP + 1e-9).item() / groups
    return ratio


def with_ratios(candidate: Candidate, ratios: Ratios) -> Candidate:
    """Return `candidate` with other ratios. Layers that `ratios` does not name lose nothing.

    But for the input skip: its taps must go on summing to one, so no regulariser shrinks it, and
    the candidate's ratio stays where `ratios` has none.
    """
    prunings = {
        name: LayerPruning(pruning.scheme, ratios.get(name, lowest(pruning.scheme)))
        for name, pruning in candidate.layers()
    }
    cells = tuple(
        Cell(cell.block, tuple(prunings[name] for name, *_ in candidate.cell_layers(index)))
        for index, cell in enumerate(candidate.cells)
    )
    skip = prunings["input_skip"] if "input_skip" in ratios else candidate.input_skip
    return replace(candidate, cells=cells, tail=prunings["tail"], input_skip=skip)


def given_channels(candidate: Candidate) -> dict[str, float]:
    """Return the ratios of the layers that lose channels."""
    return {name: p.ratio for name, p in candidate.layers() if p.scheme == "channel"}


def pruned_layers(candidate: Candidate, given: Iterable[str] = ()) -> dict[str, Scheme]:
    """Return the layers whose ratios are to be found: those with a scheme.

    Without those `given` and without the input skip (`with_ratios`). Raises `TrainingError` if
    there are none.
    """
    apart = {"input_skip", *given}
    schemes: dict[str, Scheme] = {
        n: p.scheme for n, p in candidate.layers() if p != DENSE and n not in apart
    }
    if not schemes:
        what = "no layer but by channels, whose ratios stay" if given else "no layer"
        raise TrainingError(
            f"The candidate prunes {what}, so there are no ratios to find: expected one with "
            "schemes, for example x4c32_12wb50b50b50."
        )
    return schemes


def importance(weight: NDArray[np.float32], scheme: Scheme) -> NDArray[np.float32]:
    """Return the magnitude of every group of a layer (out, in, k, k), flat, as masks compare it."""
    size = np.abs(weight)
    outputs, inputs = weight.shape[:2]
    match scheme:
        case "block":
            return size.reshape(outputs // GROUP, GROUP, -1).sum(axis=1).ravel()
        case "pattern":
            taps = layer_mask(weight, LayerPruning("pattern", PATTERN_MIN_RATIO))
            return (size * taps).reshape(outputs // GROUP, GROUP, inputs, 9).sum((1, 3)).ravel()
        case "channel":
            return size.sum(axis=(1, 2, 3))
        case "unstructured" | "dense":
            return size.ravel()


def group_prices(candidate: Candidate, price: Price, given: Ratios = _NONE) -> dict[str, float]:
    """Return the milliseconds that one group of each layer costs, those `given` apart.

    They are 0 where pruning saves no time. They are finite differences: half of one layer's groups
    is gone, all else is there. For `channel` that includes what the next layer saves.
    """
    whole = with_ratios(candidate, given)
    whole_ms = price(whole)
    layers = {layer.name: layer for layer in describe(whole, 1, 1)}
    prices: dict[str, float] = {}
    for name, scheme in pruned_layers(candidate, given).items():
        groups = _groups(layers[name], scheme)
        ratio = ratio_of(scheme, _STEP, groups)
        saved_ms = whole_ms - price(with_ratios(candidate, {**given, name: ratio}))
        # Of channels, only multiples of four are removed.
        removed = (ratio if scheme == "channel" else _STEP) * groups
        prices[name] = max(0.0, saved_ms / removed)
    return prices


def _groups(layer: ConvLayer, scheme: Scheme) -> int:
    weights = layer.in_channels * layer.out_channels * layer.kernel**2
    sizes = {"block": GROUP, "pattern": GROUP * 9, "channel": weights // layer.out_channels}
    return weights // sizes.get(scheme, 1)


@dataclass(frozen=True)
class Budget:
    """A candidate's schemes, the groups of its layers, and the time that they may take."""

    candidate: Candidate
    price: Price
    budget_ms: float
    scales: Mapping[str, float]
    """Layer -> mean magnitude of its groups before stage 3."""
    prices: Mapping[str, float]
    """Layer -> ms of one of its groups."""
    given: Ratios = field(default_factory=dict)
    """Ratios that stay as they are."""

    @property
    def schemes(self) -> dict[str, Scheme]:
        """The layers whose pruning saves time on the device."""
        layers = pruned_layers(self.candidate, self.given).items()
        return {name: scheme for name, scheme in layers if self.prices[name]}

    @classmethod
    def of(
        cls,
        candidate: Candidate,
        weights: Arrays,
        price: Price,
        budget_ms: float,
        given: Ratios = _NONE,
    ) -> Budget:
        """Check the budget against the cheapest and the whole network.

        Args:
            candidate: its schemes count, its ratios do not.
            weights: of the whole network (`with_ratios(candidate, given)`) before stage 3.
            price: the estimate on the device.
            budget_ms: at most so many ms.
            given: ratios that are not to be found.
        """
        schemes = pruned_layers(candidate, given)
        scales = {
            name: float(importance(weights[f"{name}.weight"], scheme).mean()) or 1.0
            for name, scheme in schemes.items()
        }
        prices = group_prices(candidate, price, given)
        budget = cls(candidate, price, budget_ms, scales, prices, given)
        cheapest_ms, whole_ms = budget.ms(budget.ratios(weights, np.inf)), budget.ms({})
        stays = ", channels as given" if given else ""
        if not budget_ms >= cheapest_ms:
            raise TrainingError(
                f"A budget of {budget_ms:g} ms is below the {cheapest_ms:.2f} ms of the cheapest "
                f"network with these schemes (every layer at {MAX_RATIO:.0%}{stays}): give more, "
                "or a candidate with fewer cells or channels."
            )
        if budget_ms >= whole_ms:
            raise TrainingError(
                f"A budget of {budget_ms:g} ms is not below the {whole_ms:.2f} ms of the "
                f"candidate with nothing removed{stays}: give less."
            )
        return budget

    def ratios(self, weights: Arrays, threshold: float) -> dict[str, float]:
        """Return the ratios if all groups of importance below `threshold` go.

        Layers whose pruning saves no time on the device keep everything.
        """
        ratios: dict[str, float] = {}
        for index in range(len(self.candidate.cells)):
            alive: NDArray[np.bool_] | None = None
            for name, _, pruning in self.candidate.cell_layers(index):
                weight = weights[f"{name}.weight"]
                weight = weight if alive is None else weight[:, alive]
                alive = None
                if self.prices.get(name):
                    ratios[name] = self._ratio(name, weight, pruning.scheme, threshold)
                    if pruning.scheme == "channel":
                        alive = kept_channel_mask(weight, ratios[name])
        if self.prices.get("tail"):
            tail = weights["tail.weight"]
            ratios["tail"] = self._ratio("tail", tail, self.candidate.tail.scheme, threshold)
        return ratios

    def _ratio(
        self, name: str, weight: NDArray[np.float32], scheme: Scheme, threshold: float
    ) -> float:
        groups = importance(weight, scheme)
        removed = float((groups < threshold * self.scales[name]).mean())
        return ratio_of(scheme, removed, groups.size)

    def met(self, weights: Arrays) -> dict[str, float]:
        """Return the ratios of the lowest threshold that meets the budget, never more than that."""
        every = np.concatenate(
            [
                importance(weights[f"{name}.weight"], scheme) / self.scales[name]
                for name, scheme in self.schemes.items()
            ]
        )
        thresholds = np.append(np.unique(every), np.inf)
        low, high = 0, len(thresholds) - 1  # at `high` the budget is met, at `low` it is not
        while high - low > 1:
            middle = (low + high) // 2
            if self.ms(self.ratios(weights, thresholds[middle])) <= self.budget_ms:
                high = middle
            else:
                low = middle
        return self.ratios(weights, thresholds[high])

    def pruned(self, ratios: Ratios) -> Candidate:
        """Return the candidate with these ratios and the given ones."""
        return with_ratios(self.candidate, {**self.given, **ratios})

    def ms(self, ratios: Ratios) -> float:
        """Estimate the candidate with these ratios, in ms."""
        return self.price(self.pruned(ratios))


def uniform_ratios(candidate: Candidate, price: Price, budget_ms: float) -> dict[str, float]:
    """Return the lowest single ratio that meets the budget, in hundredths of a percent.

    `pattern` layers lose 5/9 at least. The budget must be one that `Budget.of` takes.
    """
    schemes = pruned_layers(candidate)

    def ratios(steps: int) -> dict[str, float]:
        return {name: max(lowest(scheme), steps / 1e4) for name, scheme in schemes.items()}

    low, high = 0, round(MAX_RATIO * 1e4)
    while high - low > 1:
        middle = (low + high) // 2
        if price(with_ratios(candidate, ratios(middle))) <= budget_ms:
            high = middle
        else:
            low = middle
    if price(with_ratios(candidate, ratios(high))) > budget_ms:
        raise TrainingError(
            f"No single ratio meets a budget of {budget_ms:g} ms: give more, or leave out "
            "--uniform."
        )
    return ratios(high)
