from __future__ import annotations

from typing import get_args

import numpy as np
import pytest

from sr_core.network.blocks import BLOCKS, Scheme
from sr_core.network.candidate import SCALES, WIDTHS, Candidate
from sr_core.network.sampling import sample_anchor, sample_candidate
from sr_core.network.weights import SupernetSpec


def sampled(seed: int, n: int, spec: SupernetSpec) -> list[Candidate]:
    rng = np.random.default_rng(seed)
    return [sample_candidate(rng, spec) for _ in range(n)]


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("cells", [1, 5])
def test_samples_fit_the_supernet_and_survive_json(scale: int, width: int, cells: int) -> None:
    spec = SupernetSpec(scale, width, cells)
    for candidate in sampled(0, 50, spec):
        spec.check(candidate)
        assert Candidate.from_json(candidate.to_json()) == candidate


def test_samples_cover_the_vocabulary() -> None:
    candidates = sampled(0, 200, SupernetSpec(4, 32, 4, widths=WIDTHS, colour="luma"))
    assert {candidate.colour for candidate in candidates} == {"luma"}
    assert {candidate.width for candidate in candidates} == set(WIDTHS)
    assert {cell.block for c in candidates for cell in c.cells} == set(BLOCKS)
    assert {p.scheme for c in candidates for _, p in c.layers()} == set(get_args(Scheme))
    assert max(sum(cell.block == "skip" for cell in c.cells) for c in candidates) == 2


def test_samples_are_determined_by_the_seed() -> None:
    spec = SupernetSpec(2, 32, 6)
    assert sampled(1, 20, spec) == sampled(1, 20, spec)
    assert sampled(1, 20, spec) != sampled(2, 20, spec)


def test_anchors_are_dense_full_networks() -> None:
    rng = np.random.default_rng(0)
    anchors = [sample_anchor(rng, SupernetSpec(4, 32, 3)) for _ in range(60)]
    for anchor in anchors:
        SupernetSpec(4, 32, 3).check(anchor)
        assert anchor.width == 32
        assert {pruning.scheme for _, pruning in anchor.layers()} == {"dense"}
    mixes = {frozenset(cell.block for cell in anchor.cells) for anchor in anchors}
    assert mixes == {frozenset({"wide"}), frozenset({"residual"}), frozenset({"wide", "residual"})}
