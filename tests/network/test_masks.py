from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sr_core.network.blocks import BLOCKS, GROUP, Scheme
from sr_core.network.candidate import (
    DENSE,
    MAX_RATIO,
    PATTERN_MIN_RATIO,
    Candidate,
    LayerPruning,
)
from sr_core.network.layers import PATTERN_TAPS
from sr_core.network.masks import (
    PATTERNS,
    Mask,
    Weights,
    candidate_masks,
    kept_channel_mask,
    layer_mask,
)
from sr_core.network.weights import SupernetSpec
from tests.conftest import candidates, random_weights

RATIOS = st.floats(0.0, MAX_RATIO)
PATTERN_RATIOS = st.floats(PATTERN_MIN_RATIO, MAX_RATIO)


@st.composite
def weights(draw: st.DrawFn, kernels: tuple[int, ...] = (1, 3)) -> Weights:
    """A layer's weights, with many equal magnitudes half of the time."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    groups, in_channels = draw(st.integers(1, 6)), draw(st.integers(1, 9))
    kernel = draw(st.sampled_from(kernels))
    shape = (GROUP * groups, in_channels, kernel, kernel)
    if draw(st.booleans()):
        return rng.integers(-2, 3, size=shape).astype(np.float32)
    return rng.standard_normal(shape, dtype=np.float32)


def by_group(mask: Mask) -> Mask:
    """(groups, 4, in, k * k)."""
    out_channels, in_channels, kernel, _ = mask.shape
    return mask.reshape(out_channels // GROUP, GROUP, in_channels, kernel**2)


@pytest.mark.parametrize("scheme", ["channel", "block", "unstructured", "pattern"])
@given(data=st.data())
def test_removes_the_asked_share_to_the_nearest_unit(scheme: Scheme, data: st.DataObject) -> None:
    """A scheme's unit is what it keeps or removes as a whole; one unit always stays."""
    weight = data.draw(weights((3,) if scheme == "pattern" else (1, 3)))
    pruning = LayerPruning(scheme, data.draw(PATTERN_RATIOS if scheme == "pattern" else RATIOS))
    unit = {
        "channel": GROUP * weight[0].size,
        "block": GROUP,
        "unstructured": 1,
        "pattern": GROUP * PATTERN_TAPS,
    }[scheme]

    mask = layer_mask(weight, pruning)

    assert mask.shape == weight.shape
    kept = int(mask.sum())
    assert kept % unit == 0
    wished = (1 - pruning.ratio) * weight.size
    assert abs(kept - wished) <= unit / 2 + 1e-6 or (kept == unit and wished < unit)


def test_dense_keeps_everything(rng: np.random.Generator) -> None:
    assert layer_mask(rng.standard_normal((8, 3, 3, 3), dtype=np.float32), DENSE).all()


@given(weights(), RATIOS)
def test_block_shares_the_best_positions_in_each_group_of_four(
    weight: Weights, ratio: float
) -> None:
    mask = by_group(layer_mask(weight, LayerPruning("block", ratio)))
    kept = mask[:, 0]
    assert (mask == kept[:, None]).all()
    assert_largest(np.abs(weight).reshape(mask.shape).sum(axis=1), kept)


@given(weights((3,)), PATTERN_RATIOS)
def test_pattern_keeps_the_best_pattern_of_the_best_kernels(weight: Weights, ratio: float) -> None:
    mask = by_group(layer_mask(weight, LayerPruning("pattern", ratio)))
    taps, score = mask[:, 0], np.abs(weight).reshape(mask.shape).sum(axis=1)
    assert (mask == taps[:, None]).all()
    kept = np.any(taps, axis=2)
    assert (taps[kept].sum(axis=1) == PATTERN_TAPS).all()
    assert {tuple(row) for row in taps[kept]} <= {tuple(row) for row in PATTERNS}
    of_pattern = np.stack([score[:, :, pattern].sum(axis=2) for pattern in PATTERNS])
    of_kept = (score * taps).sum(axis=2)[kept]
    np.testing.assert_allclose(of_kept, of_pattern.max(axis=0)[kept], rtol=1e-5)
    assert_largest(of_pattern.max(axis=0), kept)


@given(weights(), RATIOS)
def test_channel_keeps_whole_channels_with_the_largest_norms(weight: Weights, ratio: float) -> None:
    mask = layer_mask(weight, LayerPruning("channel", ratio))
    kept = np.any(mask, axis=(1, 2, 3))
    assert (kept == mask.all(axis=(1, 2, 3))).all()
    assert kept.sum() % GROUP == 0
    assert_largest(np.abs(weight).sum(axis=(1, 2, 3)), kept)
    assert (kept_channel_mask(weight, LayerPruning("channel", ratio).ratio) == kept).all()


@given(weights(), RATIOS)
def test_unstructured_keeps_the_largest_magnitudes(weight: Weights, ratio: float) -> None:
    assert_largest(np.abs(weight), layer_mask(weight, LayerPruning("unstructured", ratio)))


def assert_largest(score: Weights, kept: Mask) -> None:
    if not kept.all():
        assert score[kept].min() >= score[~kept].max() * (1 - 1e-6)


@pytest.mark.parametrize("scheme", ["channel", "block", "unstructured"])
@given(weight=weights(), ratios=st.tuples(RATIOS, RATIOS).map(sorted))
def test_a_higher_ratio_keeps_a_subset(
    scheme: Scheme, weight: Weights, ratios: list[float]
) -> None:
    more, less = (layer_mask(weight, LayerPruning(scheme, ratio)) for ratio in ratios)
    assert not (less & ~more).any()


@given(weights((3,)), st.tuples(PATTERN_RATIOS, PATTERN_RATIOS).map(sorted))
def test_pattern_is_nested_in_its_removed_kernels(weight: Weights, ratios: list[float]) -> None:
    more, less = (layer_mask(weight, LayerPruning("pattern", ratio)) for ratio in ratios)
    stays = less.any(axis=(2, 3))
    assert (less[stays] == more[stays]).all()


@given(weight=weights(), ratio=RATIOS)
def test_ties_go_to_the_lower_index(weight: Weights, ratio: float) -> None:
    magnitude = np.abs(weight).ravel()
    kept = layer_mask(weight, LayerPruning("unstructured", ratio)).ravel()
    at_the_cut = kept[magnitude == magnitude[kept].min()]
    assert not (at_the_cut[1:] & ~at_the_cut[:-1]).any()


def test_equal_weights_are_removed_from_the_end() -> None:
    equal = np.ones((8, 2, 3, 3), dtype=np.float32)
    first_half = np.arange(equal.size).reshape(equal.shape) < equal.size // 2
    for scheme in ("channel", "block", "unstructured"):
        assert (layer_mask(equal, LayerPruning(scheme, 0.5)) == first_half).all()
    first_pattern = first_half & PATTERNS[0].reshape(3, 3)
    assert (layer_mask(equal, LayerPruning("pattern", 0.75)) == first_pattern).all()


def test_pattern_set_is_eight_connected_shapes_with_the_centre() -> None:
    assert PATTERNS.shape == (8, 9)
    assert len({tuple(row) for row in PATTERNS}) == 8
    assert PATTERNS[:, 4].all()
    assert (PATTERNS.sum(axis=1) == PATTERN_TAPS).all()
    turned = np.rot90(PATTERNS.reshape(8, 3, 3), axes=(1, 2)).reshape(8, 9)
    assert {tuple(row) for row in turned} == {tuple(row) for row in PATTERNS}


def test_channel_choice_does_not_depend_on_the_memory_layout(rng: np.random.Generator) -> None:
    """Training prunes views into the supernet, extraction copies of them.

    The norms here are equal but for rounding, so another order of summation shows.
    """
    magnitudes = rng.random(24 * 9, dtype=np.float32)
    supernet = np.ones((32, 32, 3, 3), dtype=np.float32)
    supernet[:24, :24] = [rng.permutation(magnitudes).reshape(24, 3, 3) for _ in range(24)]
    view = supernet[:24, :24]
    for copy in (view.copy(), view[:, np.arange(24)], np.asfortranarray(view)):
        assert (kept_channel_mask(copy, 0.5) == kept_channel_mask(view, 0.5)).all()


@given(candidates(), st.integers(0, 2**32 - 1))
def test_masks_behind_removed_channels_are_those_of_the_smaller_layer(
    candidate: Candidate, seed: int
) -> None:
    spec = SupernetSpec(candidate.scale, candidate.width, len(candidate.cells))
    tensors = random_weights(spec, np.random.default_rng(seed))
    weights = {name: tensors[f"{name}.weight"] for name in spec.weight_shapes()}

    masks = candidate_masks(candidate, weights)

    for index, cell in enumerate(candidate.cells):
        alive = np.ones(candidate.width, dtype=np.bool_)
        for conv, pruning in zip(BLOCKS[cell.block].convs, cell.layers, strict=True):
            name = f"cells.{index}.{cell.block}.{conv.name}"
            mask = masks.get(name, np.ones(weights[name].shape, dtype=np.bool_))
            smaller = layer_mask(weights[name][:, alive].copy(), pruning)
            assert (mask[:, alive] == smaller).all()
            assert not mask[:, ~alive].any()
            alive = smaller.any(axis=(1, 2, 3)) | (pruning.scheme != "channel")
    assert ("tail" in masks) == (candidate.tail.scheme != "dense")
    assert set(masks) <= {name for name, _ in candidate.layers()}
