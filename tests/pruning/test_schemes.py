from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sr_core.candidate import (
    DENSE,
    GROUP,
    MAX_RATIO,
    PATTERN_MIN_RATIO,
    Candidate,
    Cell,
    LayerPruning,
    Scheme,
)
from sr_core.layers import PATTERN_TAPS
from sr_core.pruning.schemes import (
    PATTERNS,
    Mask,
    Weights,
    candidate_masks,
    kept_channel_mask,
    layer_mask,
)

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
    kept = taps.any(axis=2)
    assert (taps[kept].sum(axis=1) == PATTERN_TAPS).all()
    assert {tuple(row) for row in taps[kept]} <= {tuple(row) for row in PATTERNS}
    of_pattern = np.stack([score[:, :, pattern].sum(axis=2) for pattern in PATTERNS])
    np.testing.assert_allclose((score * taps).sum(axis=2)[kept], of_pattern.max(axis=0)[kept])
    assert_largest(of_pattern.max(axis=0), kept)


@given(weights(), RATIOS)
def test_channel_keeps_whole_channels_with_the_largest_norms(
    weight: Weights, ratio: float
) -> None:
    mask = layer_mask(weight, LayerPruning("channel", ratio))
    kept = mask.any(axis=(1, 2, 3))
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


@pytest.mark.parametrize(
    ("scheme", "kept"),
    [
        ("channel", [True] * 36 + [False] * 36),
        ("block", ([True] * 9 + [False] * 9) * 4),
    ],
)
def test_ties_go_to_the_lower_index(scheme: Scheme, kept: list[bool]) -> None:
    pass


def test_pattern_set_is_eight_connected_shapes_with_the_centre() -> None:
    assert PATTERNS.shape == (8, 9)
    assert len({tuple(row) for row in PATTERNS}) == 8
    assert PATTERNS[:, 4].all()
    assert (PATTERNS.sum(axis=1) == PATTERN_TAPS).all()
    turned = np.rot90(PATTERNS.reshape(8, 3, 3), axes=(1, 2)).reshape(8, 9)
    assert {tuple(row) for row in turned} == {tuple(row) for row in PATTERNS}


@pytest.mark.parametrize("ratio", [0.3, 0.62])
def test_masks_do_not_depend_on_the_memory_layout(ratio: float, rng: np.random.Generator) -> None:
    """Training prunes views into the supernet, extraction prunes copies."""
