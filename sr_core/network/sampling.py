"""Which sub-networks a training step sees: dense anchors and random pruned candidates.

The sandwich of once-for-all training: the anchor keeps the full network strong, the random
candidate makes every width, depth, scheme and ratio usable without fine-tuning.
"""

from __future__ import annotations

import numpy as np

from sr_core.network.blocks import BLOCKS, SKIP, Block, Scheme
from sr_core.network.candidate import (
    DENSE,
    PATTERN_MIN_RATIO,
    TAIL_SCHEMES,
    Candidate,
    Cell,
    LayerPruning,
)
from sr_core.network.weights import SupernetSpec

Rng = np.random.Generator

_WIDTH_SHARES = {32: 0.6, 24: 0.2, 16: 0.2, 12: 0.1, 8: 0.1}
_SKIP_CELLS_SHARE = 0.3
"""Share of candidates with some cells left out (up to half of them)."""
_ONE_SCHEME_SHARE = 0.7
"""Share of candidates with one scheme and one ratio for the whole network."""
_DENSE_SHARE = 0.1
_PRUNED_TAIL_SHARE = 0.2
_MIN_RATIO, _MAX_RATIO = 0.1, 0.9


def sample_anchor(rng: Rng, spec: SupernetSpec) -> Candidate:
    """Draw a dense candidate of full width without skips.

    Its cells are all of one block, or mixed. Each block and the mix come equally often.
    """
    cells = tuple(Cell(block) for block in _blocks(rng, spec))
    return Candidate(spec.scale, spec.width, cells, colour=spec.colour)


def sample_candidate(rng: Rng, spec: SupernetSpec) -> Candidate:
    """Draw a sub-network: blocks, width, depth, and a scheme and ratio per layer."""
    shares = np.array([_WIDTH_SHARES[w] for w in spec.widths])
    width = int(rng.choice(spec.widths, p=shares / shares.sum()))
    blocks, count = _blocks(rng, spec), spec.cells
    if rng.random() < _SKIP_CELLS_SHARE:
        for index in rng.choice(count, size=int(rng.integers(0, count // 2 + 1)), replace=False):
            blocks[index] = SKIP
    network_wide = _network_wide(rng) if rng.random() < _ONE_SCHEME_SHARE else None
    cells = tuple(
        Cell(b, tuple(_layer(rng, c.schemes, network_wide) for c in BLOCKS[b].convs))
        for b in blocks
    )
    tail = _layer(rng, TAIL_SCHEMES, network_wide) if rng.random() < _PRUNED_TAIL_SHARE else DENSE
    return Candidate(spec.scale, width, cells, tail, colour=spec.colour)


def _blocks(rng: Rng, spec: SupernetSpec) -> list[Block]:
    kinds = len(spec.blocks)
    one = int(rng.integers(kinds + 1))
    if one < kinds:
        return [spec.blocks[one]] * spec.cells
    return [spec.blocks[int(rng.integers(kinds))] for _ in range(spec.cells)]


def _network_wide(rng: Rng) -> LayerPruning:
    if rng.random() < _DENSE_SHARE:
        return DENSE
    schemes: list[Scheme] = ["block", "pattern", "channel", "unstructured"]
    return _pruning(rng, schemes[int(rng.choice(4, p=[0.4, 0.2, 0.2, 0.2]))])


def _pruning(rng: Rng, scheme: Scheme) -> LayerPruning:
    lowest = PATTERN_MIN_RATIO if scheme == "pattern" else _MIN_RATIO
    return LayerPruning(scheme, float(rng.uniform(lowest, _MAX_RATIO)))


def _layer(
    rng: Rng, schemes: tuple[Scheme, ...], network_wide: LayerPruning | None
) -> LayerPruning:
    if network_wide is None:
        return _pruning(rng, schemes[int(rng.integers(len(schemes)))])
    return network_wide.fitted_to(schemes)
