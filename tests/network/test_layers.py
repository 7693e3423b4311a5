from __future__ import annotations

import itertools

import numpy as np
import pytest

from sr_core.network.blocks import BLOCKS, Block, Scheme
from sr_core.network.candidate import (
    DENSE,
    SCALES,
    Candidate,
    Cell,
    LayerPruning,
    uniform,
)
from sr_core.network.layers import describe, halo, totals
from sr_core.network.masks import candidate_masks
from sr_core.network.weights import SupernetSpec
from tests import tiny
from tests.conftest import random_weights

H, W = 7, 5
PRUNED: list[tuple[Scheme, float]] = [
    ("dense", 0.0),
    ("channel", 0.3),
    ("channel", 0.95),
    ("block", 0.25),
    ("block", 0.95),
    ("pattern", 0.5556),
    ("pattern", 0.75),
    ("pattern", 0.95),
    ("unstructured", 0.1),
    ("unstructured", 0.95),
]


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("width", tiny.SOME_WIDTHS)
@pytest.mark.parametrize(("scheme", "ratio"), PRUNED)
@pytest.mark.parametrize("block", list(BLOCKS))
def test_costs_equal_counted_weights(
    scale: int,
    width: int,
    scheme: Scheme,
    ratio: float,
    block: Block,
    rng: np.random.Generator,
) -> None:
    candidate = uniform(
        scale=scale, width=width, blocks=(block,), scheme=scheme, ratio=ratio, prune_tail=True
    )
    spec = SupernetSpec(scale, width, cells=1)
    tensors = random_weights(spec, rng)
    weights = {name: tensors[f"{name}.weight"] for name in spec.weight_shapes()}
    masks = candidate_masks(candidate, weights)
    names = ["head", *(name for name, _ in candidate.layers())]

    layers = describe(candidate, H, W)

    assert [layer.name for layer in layers] == names
    for layer in layers:
        weight = weights[layer.name]
        mask = masks.get(layer.name, np.ones(weight.shape, dtype=np.bool_))
        assert layer.weights_kept == mask.sum()
        assert layer.macs_kept == mask.sum() * H * W
        assert layer.weights_dense == weight.size
        assert layer.macs_dense == weight.size * H * W
        assert layer.params_dense == weight.size + len(weight)
        if layer.pruning.scheme == "channel":
            assert layer.out_channels == mask.any(axis=(1, 2, 3)).sum()
        else:
            assert layer.out_channels == len(weight)
        assert layer.params_kept == layer.weights_kept + layer.out_channels
    reached = {b.name: a.out_channels for a, b in itertools.pairwise(layers) if b.role == "cell"}
    assert {layer.name: layer.in_channels for layer in layers if layer.role == "cell"} == reached


def test_totals_of_the_dense_anchor_by_hand() -> None:
    """12 wide cells of 32 channels, x4, at the standard 1280x720 output."""
    head = 3 * 32 * 9
    cell = 32 * 192 + 192 * 28 + 28 * 32 * 9
    tail = 32 * 48 * 9
    input_skip = 3 * 48 * 25
    weights = head + 12 * cell + tail + input_skip
    biases = 32 + 12 * (192 + 28 + 32) + 48 + 48
    assert (weights, biases) == (253_296, 3_152)

    total = totals(describe(uniform(scale=4, width=32, blocks=("wide",) * 12), 180, 320))

    assert total.params_dense == total.params_kept == 256_448
    assert total.macs_dense == total.macs_kept == 14_589_849_600


def test_half_pruned_halves_the_cells_only() -> None:
    dense = totals(describe(uniform(scale=4, width=32, blocks=("wide",) * 12), 180, 320))
    half = totals(
        describe(
            uniform(scale=4, width=32, blocks=("wide",) * 12, scheme="block", ratio=0.5), 180, 320
        )
    )
    cells = 12 * (32 * 192 + 192 * 28 + 28 * 32 * 9)
    assert dense.params_kept - half.params_kept == cells // 2
    assert half.params_dense == dense.params_dense
    assert half.macs_dense == dense.macs_dense


def test_bytes_moved_by_hand() -> None:
    """48 of wide's 96 expanded channels stay, so the linear layer reads 48 and writes 12."""
    halved = Cell("wide", (LayerPruning("channel", 0.5), DENSE, DENSE))
    _, expand, linear, *_ = describe(Candidate(2, 16, (halved,)), 10, 20)
    assert expand.bytes_moved == 4 * (16 * 200 + 48 * 200 + 16 * 48 + 48)
    assert linear.bytes_moved == 4 * (48 * 200 + 12 * 200 + 48 * 12 + 12)


@pytest.mark.parametrize(
    "blocks",
    [("skip",), ("wide",), ("residual",), ("wide", "skip", "residual", "wide")],
    ids=" ".join,
)
def test_halo_is_the_receptive_radius(blocks: tuple[Block, ...]) -> None:
    """Gradient of one LR pixel's outputs with respect to the input."""
    torch = pytest.importorskip("torch")
    from sr_core.supernet.module import Supernet

    scale, radius = 2, 10
    candidate = uniform(scale=scale, width=16, blocks=blocks)
    net = Supernet(SupernetSpec(scale, 16, cells=len(blocks)))
    lr = torch.rand((1, 3, 2 * radius + 1, 2 * radius + 1), requires_grad=True)
    centre = slice(scale * radius, scale * (radius + 1))
    net(lr, candidate)[..., centre, centre].sum().backward()

    rows, columns = lr.grad.abs().sum(dim=(0, 1)).numpy().nonzero()

    expected = halo(candidate)
    for seen in (rows, columns):
        assert (seen.min(), seen.max()) == (radius - expected, radius + expected)
