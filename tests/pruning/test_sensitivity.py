"""The split of a budget by sensitivity: best where errors add up, and within the budget."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from sr_core.errors import TrainingError
from sr_core.network.candidate import DENSE, Candidate
from sr_core.network.notation import from_text
from sr_core.pruning.budget import with_ratios
from sr_core.pruning.sensitivity import GRID, curves, split

BASE = from_text("x4c16_2rb50b50_tb50_ib80")
NAMES = [name for name, pruning in BASE.layers() if pruning != DENSE]
MS = dict(zip(NAMES, (4.0, 1.0, 2.0, 1.0, 3.0, 2.0), strict=True))
HARM = dict(zip(NAMES, (1.0, 5.0, 2.0, 1.0, 0.2, 0.01), strict=True))


def price(candidate: Candidate) -> float:
    """A sum over the layers, each in proportion to what it keeps."""
    return 1 + sum(MS[n] * (1 - p.ratio) for n, p in candidate.layers() if n in MS)


def error(candidate: Candidate) -> float:
    return 1e-3 * (1 + sum(HARM[n] * p.ratio**3 for n, p in candidate.layers() if n in MS))


def score(candidate: Candidate) -> float:
    return -10 * float(np.log10(error(candidate)))


def test_curves_have_every_layer_with_a_scheme() -> None:
    found = curves(BASE, score, price)
    assert [curve.layer for curve in found] == NAMES
    for curve in found:
        ratios = [point.ratio for point in curve.points]
        assert ratios == sorted({*GRID, dict(BASE.layers())[curve.layer].ratio})
        at_base = next(p for p in curve.points if p.ratio == dict(BASE.layers())[curve.layer].ratio)
        assert at_base.ms == pytest.approx(price(BASE), rel=1e-4)
        assert at_base.psnr_y_db == pytest.approx(score(BASE), rel=1e-4)


@pytest.mark.parametrize("budget_ms", [3.0, 6.0, 9.0, 12.5])
def test_the_split_is_the_best_one(budget_ms: float) -> None:
    best = split(BASE, curves(BASE, score, price), price, budget_ms)
    assert price(best) <= budget_ms
    coarse = (0.0, 0.2, 0.5, 0.7, 0.85, 0.95)
    others = (
        with_ratios(BASE, dict(zip(NAMES, ratios, strict=True)))
        for ratios in product(coarse, repeat=len(NAMES))
    )
    rival = min(error(one) for one in others if price(one) <= budget_ms)
    assert error(best) <= rival * 1.01


def test_the_input_skip_takes_part() -> None:
    best = split(BASE, curves(BASE, score, price), price, 6.0)
    assert best.input_skip.ratio == 0.95  # it harms least


def test_a_budget_that_no_split_meets_is_refused() -> None:
    found = curves(BASE, score, price)
    with pytest.raises(TrainingError, match=r"No split of 1 ms"):
        split(BASE, found, price, 1.0)
