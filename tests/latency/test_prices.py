from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as example_settings
from hypothesis import strategies as st

from sr_core.errors import LatencyError
from sr_core.latency.estimate import estimate
from sr_core.latency.prices import count, price
from sr_core.latency.profile import DeviceProfile
from sr_core.network.candidate import Candidate, uniform
from sr_core.network.layers import describe, lr_size, totals
from sr_core.network.notation import from_text
from sr_core.network.weights import SupernetSpec
from sr_core.search.space import Space
from tests.conftest import candidates
from tests.search.profiles import device, on_engine
from tests.work import instructions

SETTINGS: list[dict[str, Any]] = [
    {},
    {"output": (640, 480), "threads": 1},
    {"output": (8, 8), "sparsity_share": 1.0},  # far outside the scope
]


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("profile", [device(), device(sparse=False), on_engine()])
@example_settings(max_examples=25)
@given(st.lists(candidates(), min_size=1, max_size=4))
def test_price_is_the_estimate(
    settings: dict[str, Any], profile: DeviceProfile, found: list[Candidate]
) -> None:
    prices = price(found, profile, **settings)
    for index, candidate in enumerate(found):
        expected = estimate(profile, candidate, **settings)
        assert prices.total_ms[index] == pytest.approx(expected.total_ms, abs=1e-6)
        assert prices.low_ms[index] == pytest.approx(expected.low_ms, abs=1e-6)
        assert prices.high_ms[index] == pytest.approx(expected.high_ms, abs=1e-6)
        assert prices.coverage[index] == pytest.approx(expected.coverage, abs=1e-4)
        assert prices.basis[index] == expected.basis


@given(st.lists(candidates(), min_size=1, max_size=4))
def test_count_is_exact(found: list[Candidate]) -> None:
    costs = count(found)
    for index, candidate in enumerate(found):
        expected = totals(describe(candidate, *lr_size(candidate.scale)))
        assert costs.macs_kept[index] == expected.macs_kept
        assert costs.params_kept[index] == expected.params_kept


def test_the_same_layers_in_another_order_tie_exactly() -> None:
    texts = ["x4c24_wb10b10b10_ru30u30_wc20dp80_r_w", "x4c24_w_r_wc20dp80_ru30u30_wb10b10b10"]
    for sparse in (True, False):
        prices = price([from_text(text) for text in texts], device(sparse=sparse))
        assert len(set(prices.total_ms)) == len(set(prices.high_ms)) == 1


def test_nothing_has_no_price() -> None:
    assert price([], device()).total_ms.shape == (0,)
    assert price([], device()).basis == ()
    assert count([]).macs_kept.shape == (0,)


def test_errors_are_those_of_estimate() -> None:
    one = [uniform(scale=4, width=16, blocks=("wide",))]
    with pytest.raises(LatencyError, match="has no x4 input"):
        price(one, device(), output=(1281, 720))
    with pytest.raises(LatencyError, match="no coefficients for 8 threads"):
        price(one, device(), threads=8)


@pytest.mark.parametrize("profile", [device(), on_engine()])
def test_the_work_grows_with_the_number_of_candidates(
    profile: DeviceProfile, rng: np.random.Generator
) -> None:
    space = Space(SupernetSpec(4, 32, 12))
    found = [
        space.decode({name: some[rng.integers(len(some))] for name, some in space.choices.items()})
        for _ in range(35)
    ]
    price(found[:5], profile)  # fills tables that all share
    few = instructions(lambda: price(found[5:15], profile))
    twice_as_many = instructions(lambda: price(found[15:], profile))
    assert twice_as_many < 2.6 * few
