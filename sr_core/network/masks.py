"""Pruning masks: which weights of a candidate stay. One implementation for all uses.

Training, extraction and the UI call the same functions on NumPy arrays (on a CPU a torch
parameter *is* a NumPy array without a copy). How many weights stay comes from
`sr_core.network.layers`; which ones is a layer-wide top-k of magnitudes, ties won by the lower
index.

The paper names pattern-based and block-based pruning chosen per layer; group size 4, the
pattern set and the magnitude criterion are UpFront's choices.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from sr_core.network.blocks import GROUP
from sr_core.network.candidate import Candidate, LayerPruning
from sr_core.network.layers import (
    PATTERN_TAPS,
    kept_channels,
    kept_kernels,
    kept_positions,
    kept_weights,
)

Weights = NDArray[np.float32]
Mask = NDArray[np.bool_]

_CENTRE = 4
_CORNERS = ((0, 1, 3), (1, 2, 5), (3, 6, 7), (5, 7, 8))
_TEES = ((1, 3, 5), (1, 5, 7), (3, 5, 7), (1, 3, 7))
PATTERNS: Mask = np.zeros((8, 9), dtype=np.bool_)
"""(8, 9): the four 2x2 corners and the four T shapes, each with the centre tap."""
for _row, _taps in enumerate(_CORNERS + _TEES):
    PATTERNS[_row, [_CENTRE, *_taps]] = True


def layer_mask(weight: Weights, pruning: LayerPruning) -> Mask:
    """Return the mask of one layer's weights.

    Args:
        weight: (out, in, k, k), with channels removed upstream already left out.
        pruning: scheme and ratio; the scheme must fit the layer (`Candidate` checks that).

    Returns:
        (out, in, k, k) booleans, True = kept. For `channel` whole output channels are kept.
    """
    match pruning.scheme:
        case "dense":
            return np.ones(weight.shape, dtype=np.bool_)
        case "channel":
            keep = kept_channel_mask(weight, pruning.ratio)
            return np.broadcast_to(keep[:, None, None, None], weight.shape)
        case "block":
            return _block_mask(weight, pruning.ratio)
        case "pattern":
            return _pattern_mask(weight, pruning.ratio)
        case "unstructured":
            out_channels, in_channels, kernel, _ = weight.shape
            count = kept_weights(in_channels, out_channels, kernel, pruning)
            return _top(np.abs(weight), count)


def kept_channel_mask(weight: Weights, ratio: float) -> Mask:
    """Return (out,) booleans: True for a multiple of 4 output channels of the largest L1 norms."""
    # Contiguous, because NumPy's order of summation, and so the last bit, follows the layout.
    norms = np.abs(np.ascontiguousarray(weight)).sum(axis=(1, 2, 3))
    return _top(norms, kept_channels(weight.shape[0], ratio))


def candidate_masks(candidate: Candidate, weights: Mapping[str, Weights]) -> dict[str, Mask]:
    """Return the masks of all pruned layers, at the layer shapes of the unpruned candidate.

    Args:
        candidate: the network.
        weights: layer name -> (out, in, k, k) weights sliced to the candidate's width.

    Returns:
        layer name -> mask; layers that nothing prunes, here or upstream, have no entry. Input
        channels removed upstream are False, so weight * mask equals the smaller network.
    """
    masks: dict[str, Mask] = {}
    for index in range(len(candidate.cells)):
        alive: Mask | None = None
        for name, _, pruning in candidate.cell_layers(index):
            if pruning.scheme == "dense" and alive is None:
                continue
            masks[name] = _mask_behind(weights[name], pruning, alive)
            alive = _kept_outputs(masks[name]) if pruning.scheme == "channel" else None
    for name in ("tail", "input_skip"):
        pruning: LayerPruning = getattr(candidate, name)
        if pruning.scheme != "dense":
            masks[name] = layer_mask(weights[name], pruning)
    return masks


def _kept_outputs(mask: Mask) -> Mask:
    """Return (out,) booleans: True for output channels with any weight left."""
    return np.asarray(mask.any(axis=(1, 2, 3)))


def _mask_behind(weight: Weights, pruning: LayerPruning, alive: Mask | None) -> Mask:
    """Return `layer_mask` where only the input channels in `alive` still exist."""
    if alive is None:
        return layer_mask(weight, pruning)
    mask = np.zeros(weight.shape, dtype=np.bool_)
    mask[:, alive] = layer_mask(weight[:, alive], pruning)
    return mask


def _block_mask(weight: Weights, ratio: float) -> Mask:
    """Block-punched: groups of 4 output channels share the kept (in, row, column) positions."""
    out_channels, in_channels, kernel, _ = weight.shape
    groups = weight.reshape(out_channels // GROUP, GROUP, in_channels, kernel, kernel)
    score = np.abs(groups).sum(axis=1)  # (groups, in, k, k)
    keep = _top(score, kept_positions(in_channels, out_channels, kernel, ratio))
    return np.repeat(keep, GROUP, axis=0)


def _pattern_mask(weight: Weights, ratio: float) -> Mask:
    """Give each (group, input) kernel its best pattern, and remove the weakest kernels.

    The pattern of a kernel does not depend on the ratio, so only kernel removal grows with it.
    """
    out_channels, in_channels, _, _ = weight.shape
    groups = weight.reshape(out_channels // GROUP, GROUP, in_channels, 9)
    score = np.abs(groups).sum(axis=1)  # (groups, in, 9)
    by_pattern = score @ PATTERNS.T.astype(score.dtype)  # (groups, in, 8)
    taps = PATTERNS[by_pattern.argmax(axis=2)]  # (groups, in, 9)
    keep = _top(by_pattern.max(axis=2), kept_kernels(in_channels, out_channels, ratio))
    mask = (taps & keep[:, :, None]).reshape(-1, in_channels, 3, 3)
    return np.repeat(mask, GROUP, axis=0)


def _top(score: NDArray[np.float32], count: int) -> Mask:
    """Return True at the `count` largest entries: exactly so many, and nested in `count`."""
    order = np.argsort(-score, axis=None, kind="stable")
    mask = np.zeros(score.size, dtype=np.bool_)
    mask[order[:count]] = True
    return mask.reshape(score.shape)


assert (PATTERNS.sum(axis=1) == PATTERN_TAPS).all()
