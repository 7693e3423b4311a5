"""Ratios from one threshold: never above the budget, and only where pruning saves time."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest

from sr_core.catalogue.final import tensors_of
from sr_core.errors import TrainingError
from sr_core.latency.estimate import estimate
from sr_core.network.blocks import Scheme
from sr_core.network.candidate import MAX_RATIO, PATTERN_MIN_RATIO, Candidate, uniform
from sr_core.network.extract import extract
from sr_core.network.layers import describe
from sr_core.network.masks import layer_mask
from sr_core.network.notation import from_text
from sr_core.pruning.budget import (
    Budget,
    group_prices,
    importance,
    pruned_layers,
    ratio_of,
    uniform_ratios,
    with_ratios,
)
from tests import tiny
from tests.search.profiles import device, on_engine

SUPERNET = tiny.supernet(4, cells=2)
SCHEMES: tuple[Scheme, ...] = ("channel", "block", "pattern", "unstructured")
ENGINE = on_engine()
MIXED = from_text("x4c16_wc50b30p70_rc25u60_tb40")


def price(candidate: Candidate) -> float:
    return estimate(ENGINE, candidate, threads=2).total_ms


def of(
    scheme: Scheme, share: float, price: Callable[[Candidate], float] = price
) -> tuple[Budget, dict[str, np.ndarray[tuple[int, ...], np.dtype[np.float32]]]]:
    """A budget between the cheapest network (0) and the whole one (1) of a scheme."""
    candidate = uniform(
        scale=4, width=16, blocks=("wide", "residual"), scheme=scheme, ratio=0.6,
        prune_tail=scheme != "channel",
    )  # fmt: skip
    weights = tensors_of(extract(SUPERNET, with_ratios(candidate, {})))
    whole = price(with_ratios(candidate, {}))
    top = {n: ratio_of(s, 1.0, 16) for n, s in pruned_layers(candidate).items()}
    cheapest = price(with_ratios(candidate, top))
    return Budget.of(candidate, weights, price, cheapest + share * (whole - cheapest)), weights


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("share", [0.15, 0.5, 0.9])
def test_the_budget_is_kept_and_used(scheme: Scheme, share: float) -> None:
    budget, weights = of(scheme, share)
    found = budget.met(weights)
    assert budget.ms(found) <= budget.budget_ms
    # What one more step of the threshold leaves would not fit; channels go in fours.
    steps = {"channel": 0.25}.get(scheme, 0.03)
    assert budget.ms(found) > budget.budget_ms * (1 - steps)
    for name, ratio in found.items():
        low = PATTERN_MIN_RATIO if pruned_layers(budget.candidate)[name] == "pattern" else 0
        assert low <= ratio <= MAX_RATIO
    network = with_ratios(budget.candidate, found)
    assert all(layer.weights_kept > 0 for layer in describe(network, 1, 1))


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_lower_budget_never_keeps_more(scheme: Scheme) -> None:
    thresholds = (0.0, 0.3, 0.8, 1.2, np.inf)
    budget, weights = of(scheme, 0.5)
    for low, high in pairwise(budget.ratios(weights, t) for t in thresholds):
        assert all(low[name] <= high[name] for name in low)


def test_the_layer_with_small_groups_loses_more() -> None:
    """Most groups of one layer are tiny beside its largest ones; those of the others are alike."""
    budget, weights = of("block", 0.5)
    shrunk = "cells.1.residual.conv1"
    weights[f"{shrunk}.weight"][:, 2:] *= 0.01
    found = Budget.of(budget.candidate, weights, price, budget.budget_ms).met(weights)
    assert found[shrunk] >= 0.85
    assert found[shrunk] > max(ratio for name, ratio in found.items() if name != shrunk)


def test_layers_that_save_nothing_keep_everything() -> None:
    """On a runtime without gain from masks only channels count."""
    phone = device(sparse=False)

    def dense_price(candidate: Candidate) -> float:
        return estimate(phone, candidate).total_ms

    prices = group_prices(MIXED, dense_price)
    assert {name for name, ms in prices.items() if ms} == {
        "cells.0.wide.expand", "cells.1.residual.conv1",
    }  # fmt: skip
    weights = tensors_of(extract(SUPERNET, with_ratios(MIXED, {})))
    whole = dense_price(with_ratios(MIXED, {}))
    found = Budget.of(MIXED, weights, dense_price, 0.9 * whole).met(weights)
    assert found.keys() == {name for name, ms in prices.items() if ms}


def test_prices_are_differences_of_the_estimate() -> None:
    prices = group_prices(MIXED, price)
    assert all(ms > 0 for ms in prices.values())
    whole = price(with_ratios(MIXED, {}))
    half = price(with_ratios(MIXED, {"cells.1.residual.conv2": 0.5}))
    weights = 16 * 16 * 9
    assert prices["cells.1.residual.conv2"] == pytest.approx(2 * (whole - half) / weights)
    # A channel of `expand` is 16 weights of its own and the 12 that it feeds.
    assert prices["cells.0.wide.expand"] > 5 * prices["cells.0.wide.linear"]


def test_channels_are_removed_by_fours() -> None:
    """Half of 12 are 4, and their price is a quarter of what is saved."""
    candidate, name = from_text("x4c16_wdc50d"), "cells.0.wide.linear"
    saved_ms = price(with_ratios(candidate, {})) - price(with_ratios(candidate, {name: 4 / 12}))
    assert group_prices(candidate, price)[name] == pytest.approx(saved_ms / 4)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_importance_is_what_masks_are_chosen_by(scheme: Scheme, rng: np.random.Generator) -> None:
    """The groups above a threshold are those that the mask of that share keeps."""
    weight = rng.standard_normal((8, 6, 3, 3), dtype=np.float32)
    groups = importance(weight, scheme)
    threshold = np.quantile(groups, 0.5)
    ratio = ratio_of(scheme, float((groups < threshold).mean()), groups.size)
    pruned = uniform(scale=4, width=16, blocks=("residual",), scheme=scheme, ratio=ratio)
    mask = layer_mask(weight, pruned.cells[0].layers[0])
    kept = importance(weight * mask, scheme) > 0
    assert (kept == (groups >= threshold)).all()


def test_ratios_stay_within_what_a_layer_takes() -> None:
    assert ratio_of("pattern", 0.0, 9) == PATTERN_MIN_RATIO
    assert ratio_of("pattern", 0.5, 9) == pytest.approx(1 - 0.5 * 4 / 9)
    assert ratio_of("channel", 0.4, 16) == 0.25  # 6 of 16 channels are one whole four
    assert ratio_of("channel", 1.0, 16) == 0.75
    assert {ratio_of(s, 1.0, 100) for s in ("block", "pattern", "unstructured")} == {MAX_RATIO}


@pytest.mark.parametrize("scheme", SCHEMES)
def test_one_ratio_everywhere_keeps_the_budget(scheme: Scheme) -> None:
    budget, _ = of(scheme, 0.5)
    ratios = uniform_ratios(budget.candidate, price, budget.budget_ms)
    assert len(set(ratios.values())) <= 2  # pattern means block on 1x1 layers, which start at 0
    assert 0.8 * budget.budget_ms < budget.ms(ratios) <= budget.budget_ms


def test_impossible_budgets_are_refused() -> None:
    weights = tensors_of(extract(SUPERNET, with_ratios(MIXED, {})))
    whole = price(with_ratios(MIXED, {}))
    for budget_ms in (0.01, -1.0, float("nan")):
        with pytest.raises(TrainingError, match=r"is below the \d+\.\d\d ms of the cheapest"):
            Budget.of(MIXED, weights, price, budget_ms)
    with pytest.raises(TrainingError, match=rf"is not below the {whole:.2f} ms .* give less"):
        Budget.of(MIXED, weights, price, whole)
    with pytest.raises(TrainingError, match="prunes no layer"):
        Budget.of(from_text("x4c16_2w"), weights, price, whole / 2)
