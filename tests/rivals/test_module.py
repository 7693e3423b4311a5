"""Folding: one convolution equals the branches, as the originals compute them."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sr_core.rivals.arch import ARCHITECTURES, Conv, layout
from sr_core.rivals.blocks import EDGES, Deconvolution, EdgeBlock, LinearBlock
from sr_core.rivals.module import RivalNet

SIZES = ((1, 1), (2, 5), (7, 6))
"""Heights and widths: all border, and some inside."""


def noise(channels: int, size: tuple[int, int]) -> Tensor:
    return torch.rand(2, channels, *size, generator=torch.Generator().manual_seed(0))


def shaken(block: nn.Module) -> nn.Module:
    """With every weight and bias random: many start at zero."""
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in block.parameters():
            parameter.normal_(0, 0.2)
    return block


def folded(block: nn.Module, x: Tensor) -> Tensor:
    weight, bias = block()
    return F.conv2d(x, weight, bias, padding=weight.shape[-1] // 2)


def edge_branches(block: EdgeBlock, x: Tensor) -> Tensor:
    """As ECBSR's `SeqConv3x3`: the 1x1's result is padded with the 1x1's bias."""

    expanded = block.expand(x)
    assert block.expand.bias is not None
    padded = block.expand.bias[:, None, None].expand(*expanded.shape[:2], *size_with_border(x))
    padded = padded.clone()
    padded[:, :, 1:-1, 1:-1] = expanded
    y = block.conv(x) + F.conv2d(padded, block.squeeze.weight, block.squeeze.bias)
    for name, mix in block.mix.items():
        kernel = block.scales[name][:, None, None, None] * torch.tensor(EDGES[name])
        y = y + F.conv2d(mix(x), kernel, block.biases[name], padding=1, groups=len(kernel))
    return y


def size_with_border(x: Tensor) -> tuple[int, int]:
    return x.shape[2] + 2, x.shape[3] + 2


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("inputs", [6, 8])
def test_an_edge_block_folds(inputs: int, size: tuple[int, int]) -> None:
    block = shaken(EdgeBlock(Conv("any", 3, inputs, 8, True, False, 0, 0)))
    assert isinstance(block, EdgeBlock)
    x = noise(inputs, size)
    expected = edge_branches(block, x) + (x if inputs == 8 else 0)
    torch.testing.assert_close(folded(block, x), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("kernel", "inputs"), [(3, 8), (5, 3)])
def test_a_linear_block_folds(kernel: int, inputs: int, size: tuple[int, int]) -> None:
    block = shaken(LinearBlock(Conv("any", kernel, inputs, 8, True, False, 0, 0)))
    assert isinstance(block, LinearBlock)
    x = noise(inputs, size)
    expected = block.project(block.expand(x)) + (x if inputs == 8 else 0)
    torch.testing.assert_close(folded(block, x), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("published", [False, True])
def test_a_deconvolution_folds(published: bool, scale: int, size: tuple[int, int]) -> None:
    shape = layout(ARCHITECTURES["fsrcnn"], scale, published=published)
    tail = shape.tail
    block = shaken(Deconvolution(tail, scale, shape.colours))
    assert isinstance(block, Deconvolution)
    x = noise(tail.in_channels, size)
    expected = F.conv_transpose2d(
        x, block.weight, block.bias, stride=scale, padding=4, output_padding=scale - 1
    )
    result = F.pixel_shuffle(folded(block, x), scale)
    torch.testing.assert_close(result, expected, atol=1e-5, rtol=1e-5)
    weight, _ = block()
    assert tail.kernel == {2: 5, 3: 5, 4: 3}[scale]
    assert int((weight != 0).sum()) == tail.weights  # nothing is lost, nothing is there twice


def test_two_pixel_shuffles_are_one_in_another_order() -> None:
    """SESR at x4: 16 learned channels per colour, so their order does not matter."""
    x = torch.arange(16.0).reshape(1, 16, 1, 1)
    twice = F.pixel_shuffle(F.pixel_shuffle(x, 2), 2)
    order = F.pixel_unshuffle(twice, 4).flatten().long()
    assert sorted(order.tolist()) == list(range(16))
    y = noise(16, (3, 5))
    assert torch.equal(F.pixel_shuffle(F.pixel_shuffle(y, 2), 2), F.pixel_shuffle(y[:, order], 4))


@pytest.mark.parametrize("name", ARCHITECTURES)
@pytest.mark.parametrize("published", [False, True])
def test_gradients_reach_every_branch(name: str, published: bool) -> None:
    net = RivalNet(ARCHITECTURES[name], 2, published=published)
    shaken(net)
    lr = noise(net.layout.colours, (4, 5))
    net(lr).square().mean().backward()
    without = [n for n, p in net.named_parameters() if p.grad is None or not p.grad.any()]
    assert without == []


def test_weights_depend_on_the_seed_alone() -> None:
    torch.manual_seed(5)
    first, second, other = (RivalNet(ARCHITECTURES["sesr-m5"], 4, s).fold() for s in (0, 0, 1))
    assert all(np.array_equal(first[name], second[name]) for name in first)
    assert not np.array_equal(first["head.weight"], other["head.weight"])
