from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from sr_core.errors import InvalidCandidate
from sr_core.network.blocks import BLOCKS, Block, Scheme
from sr_core.network.candidate import (
    DENSE,
    SCALES,
    Candidate,
    Cell,
    LayerPruning,
    uniform,
)
from sr_core.network.weights import INPUT_MEAN, SupernetSpec
from tests.conftest import random_weights

pytest.importorskip("torch")
import torch
from torch import Tensor
from torch.nn import functional as F

from sr_core.supernet.module import Supernet

PRUNED: list[tuple[Scheme, float]] = [
    ("channel", 0.5),
    ("block", 0.5),
    ("pattern", 0.75),
    ("unstructured", 0.5),
]


def supernet(spec: SupernetSpec, rng: np.random.Generator) -> Supernet:
    """With random weights and biases everywhere, small enough for the output to stay small."""
    net = Supernet(spec)
    for name, tensor in random_weights(spec, rng).items():
        net.get_parameter(name).data = torch.from_numpy(tensor) / 8
    return net


@pytest.fixture
def lr(rng: np.random.Generator) -> Tensor:
    return torch.from_numpy(rng.random((1, 3, 9, 8), dtype=np.float32))


@pytest.mark.parametrize("scale", SCALES)
def test_starts_as_pillows_bicubic_upscaling(scale: int, rng: np.random.Generator) -> None:
    """Away from the border, where Pillow leaves out the missing pixels and we repeat the edge."""
    image = rng.random((3, 14, 11), dtype=np.float32)
    net = Supernet(SupernetSpec(scale, 16, cells=1))
    torch.nn.init.zeros_(net.tail.weight)
    with torch.no_grad():
        got = net(torch.from_numpy(image)[None], Candidate(scale, 16, (Cell("skip"),)))[0].numpy()
    size = (11 * scale, 14 * scale)
    bicubic = Image.Resampling.BICUBIC
    planes = [np.asarray(Image.fromarray(plane).resize(size, bicubic)) for plane in image]
    inner = np.s_[:, 2 * scale : -2 * scale, 2 * scale : -2 * scale]
    np.testing.assert_allclose(got[inner], np.stack(planes)[inner], atol=1e-5)


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("block", list(BLOCKS))
def test_output_is_scale_times_the_input(scale: int, block: Block, lr: Tensor) -> None:
    net = Supernet(SupernetSpec(scale, 16, cells=2))
    out = net(lr.expand(2, -1, -1, -1), uniform(scale=scale, width=16, blocks=(block, block)))
    assert out.shape == (2, 3, 9 * scale, 8 * scale)
    assert out.isfinite().all()


@pytest.mark.parametrize("scale", SCALES)
def test_state_dict_is_what_the_spec_says(scale: int) -> None:
    spec = SupernetSpec(scale, 24, cells=2)
    expected = {f"{name}.weight": shape for name, shape in spec.weight_shapes().items()}
    expected |= {f"{name}.bias": shape[:1] for name, shape in spec.weight_shapes().items()}
    got = {key: tuple(tensor.shape) for key, tensor in Supernet(spec).state_dict().items()}
    assert got == expected


def test_seed_determines_the_initial_weights() -> None:
    spec = SupernetSpec(2, 16, cells=1)
    one, same, other = (Supernet(spec, seed).head.weight for seed in (1, 1, 2))
    assert one.equal(same)
    assert not one.equal(other)


@pytest.mark.parametrize("width", [16, 24])
@pytest.mark.parametrize(("scheme", "ratio"), [("dense", 0.0), *PRUNED])
def test_narrow_candidate_reads_nothing_beyond_its_width(
    width: int, scheme: Scheme, ratio: float, lr: Tensor, rng: np.random.Generator
) -> None:
    """All weights that a narrow supernet has not are NaN in the wide one."""
    narrow = supernet(SupernetSpec(2, width, cells=2), rng)
    wide = Supernet(SupernetSpec(2, 32, cells=2))
    for name, parameter in wide.named_parameters():
        small = narrow.get_parameter(name)
        parameter.data.fill_(torch.nan)
        parameter.data[tuple(slice(n) for n in small.shape)] = small.data
    candidate = uniform(
        scale=2, width=width, blocks=("wide", "residual"), scheme=scheme, ratio=ratio
    )
    expected = narrow(lr, candidate, narrow.torch_masks(candidate))
    got = wide(lr, candidate, wide.torch_masks(candidate))
    torch.testing.assert_close(got, expected)


@pytest.mark.parametrize(("scheme", "ratio"), PRUNED)
def test_masked_weights_are_exactly_without_effect(
    scheme: Scheme, ratio: float, lr: Tensor, rng: np.random.Generator
) -> None:
    net = supernet(SupernetSpec(2, 16, cells=2), rng)
    blocks: tuple[Block, ...] = ("wide", "residual")
    candidate = uniform(
        scale=2, width=16, blocks=blocks, scheme=scheme, ratio=ratio, prune_tail=True
    )
    masks = net.torch_masks(candidate)
    assert any((mask == 0).any() for mask in masks.values())

    before = net(lr, candidate, masks)
    before.sum().backward()
    for name, mask in masks.items():
        weight = net.get_parameter(f"{name}.weight")
        assert weight.grad is not None
        assert (weight.grad[mask == 0] == 0).all()
        weight.data[mask == 0] = 1e6
    assert net(lr, candidate, masks).equal(before)
    assert not net(lr, candidate).equal(before)


def test_channel_pruning_equals_the_physically_smaller_block(
    lr: Tensor, rng: np.random.Generator
) -> None:
    """One wide cell, by hand: removed channels leave with their biases."""
    net = supernet(SupernetSpec(2, 16, cells=1), rng)
    pruned = Cell("wide", (LayerPruning("channel", 0.5), LayerPruning("channel", 0.3), DENSE))
    candidate = Candidate(2, 16, (pruned,))
    masks = net.torch_masks(candidate)

    def conv(name: str, x: Tensor, channels: Tensor) -> tuple[Tensor, Tensor]:
        name = f"cells.0.wide.{name}"
        weight, bias = net.get_parameter(f"{name}.weight"), net.get_parameter(f"{name}.bias")
        kept = masks[name].amax(dim=(1, 2, 3)) > 0
        padding = weight.shape[-1] // 2
        return F.conv2d(x, weight[kept][:, channels], bias[kept], padding=padding), kept

    x = net.head(lr - INPUT_MEAN)
    y, expanded = conv("expand", x, torch.ones(16, dtype=torch.bool))
    y, linear = conv("linear", y.relu(), expanded)
    y, _ = conv("conv", y, linear)
    edge = F.pad(lr, (2, 2, 2, 2), mode="replicate")
    expected = F.pixel_shuffle(net.tail(x + y) + net.input_skip(edge), 2)

    assert (int(expanded.sum()), int(linear.sum())) == (48, 8)
    torch.testing.assert_close(net(lr, candidate, masks), expected)


@pytest.mark.parametrize(
    ("candidate", "got"),
    [
        (uniform(scale=2, width=16, blocks=("wide",) * 3), "x2 with 3 cells"),
        (uniform(scale=4, width=16, blocks=("wide",) * 2), "x4 with 2 cells"),
        (uniform(scale=4, width=32, blocks=("wide",) * 3), "width 32"),
        (uniform(scale=4, width=16, blocks=("wide",) * 3, colour="luma"), "x4-luma with"),
    ],
)
def test_supernet_refuses_a_candidate_that_is_no_part_of_it(candidate: Candidate, got: str) -> None:
    with pytest.raises(
        InvalidCandidate, match=f"{got}.*supernet is x4 with 3 cells, widths 16, 24"
    ):
        SupernetSpec(4, 24, cells=3).check(candidate)


@pytest.mark.parametrize(("scale", "width", "cells"), [(3, 32, 12), (4, 20, 12), (4, 32, 0)])
def test_supernet_of_an_unknown_size_is_refused(scale: int, width: int, cells: int) -> None:
    with pytest.raises(InvalidCandidate, match=r"Supernet .*expected"):
        SupernetSpec(scale, width, cells)
