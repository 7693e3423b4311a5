"""Layers of rivals while they train (torch): each holds more weights than the convolution it is.

Called, a layer gives the weight (out, in, k, k) and bias (out,) of that convolution, through which
gradients reach its branches. The network computes the convolution alone, in every step: it equals
the branches, image borders included, and takes a fraction of their time.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sr_core.rivals.arch import DECONVOLUTION, Conv, deconvolution_taps

EXPANDED = 256
"""Channels inside SESR's linear blocks."""
EDGES = {
    "sobel_x": ((1.0, 0.0, -1.0), (2.0, 0.0, -2.0), (1.0, 0.0, -1.0)),
    "sobel_y": ((1.0, 2.0, 1.0), (0.0, 0.0, 0.0), (-1.0, -2.0, -1.0)),
    "laplacian": ((0.0, 1.0, 0.0), (1.0, -4.0, 1.0), (0.0, 1.0, 0.0)),
}
"""Fixed kernels of ECBSR's edge branches; each sums to zero."""
Folded = tuple[Tensor, Tensor]


class PlainLayer(nn.Module):
    """A convolution, initialised as those of FSRCNN are."""

    def __init__(self, conv: Conv) -> None:
        super().__init__()
        self.conv = _conv2d(conv.in_channels, conv.out_channels, conv.kernel)
        nn.init.normal_(self.conv.weight, std=math.sqrt(2 / conv.out_channels) / conv.kernel)
        nn.init.zeros_(_bias(self.conv))

    def forward(self) -> Folded:
        """Return its weight and bias."""
        return self.conv.weight, _bias(self.conv)


class Deconvolution(nn.Module):
    """FSRCNN's last layer, as a convolution to s^2 phases of each colour."""

    def __init__(self, conv: Conv, scale: int, colours: int) -> None:
        super().__init__()
        size = (conv.in_channels, colours, DECONVOLUTION, DECONVOLUTION)
        self.weight = nn.Parameter(torch.randn(size) * 1e-3)
        """As `nn.ConvTranspose2d` has it."""
        self.bias = nn.Parameter(torch.zeros(colours))
        self.register_buffer("taps", torch.from_numpy(deconvolution_taps(scale)), persistent=False)

    def forward(self) -> Folded:
        """Return the weight and bias. The weight is zero where a phase has none for an offset."""
        taps = self.get_buffer("taps")
        padded = F.pad(self.weight, (0, 1, 0, 1))  # index -1 finds a zero
        # (in, colour, phase row, row, phase column, column)
        rows = padded[:, :, taps][..., taps]
        weight = rows.permute(1, 2, 4, 0, 3, 5).flatten(0, 2)
        return weight, self.bias.repeat_interleave(len(taps) ** 2)


class EdgeBlock(nn.Module):
    """ECBSR's block: the sum of a 3x3, a 1x1 then 3x3, and three edge branches.

    An edge branch is a 1x1, then a fixed and scaled edge kernel. The block's input is added where
    that is possible.

    Between the two convolutions of a branch the originals pad with the first one's bias, which is
    what it makes of the zeros around its input. So a branch equals one zero-padded convolution.
    Edge kernels swallow the bias of the 1x1 before them; ours has none.
    Adding the input is the authors' option `with_idt`, which they leave out. With ReLU instead of
    PReLU it is needed, and M10C32 takes a low rate (4e-4), for the branches' steps add up: at
    higher ones its last features fell silent, before the image was centred.
    """

    def __init__(self, conv: Conv) -> None:
        super().__init__()
        inputs, outputs = conv.in_channels, conv.out_channels
        self.conv = _conv2d(inputs, outputs, 3)
        self.expand, self.squeeze = (
            _conv2d(inputs, 2 * outputs, 1),
            _conv2d(2 * outputs, outputs, 3),
        )
        mix = {name: _conv2d(inputs, outputs, 1, bias=False) for name in EDGES}
        self.mix = nn.ModuleDict(mix)
        scales = {name: nn.Parameter(1e-3 * torch.randn(outputs)) for name in EDGES}
        biases = {name: nn.Parameter(1e-3 * torch.randn(outputs)) for name in EDGES}
        self.scales, self.biases = nn.ParameterDict(scales), nn.ParameterDict(biases)
        self.register_buffer("edges", torch.tensor(list(EDGES.values())), persistent=False)
        self.register_buffer("identity", _identity(conv), persistent=False)

    def forward(self) -> Folded:
        """Return the weight and bias of all branches together."""
        weight, bias = self.conv.weight + self.get_buffer("identity"), _bias(self.conv)
        deep = self.squeeze.weight
        weight = weight + torch.einsum("omyx,mi->oiyx", deep, self.expand.weight[:, :, 0, 0])
        bias = bias + _bias(self.squeeze) + deep.sum((2, 3)) @ _bias(self.expand)
        for (name, mix), edge in zip(self.mix.items(), self.get_buffer("edges"), strict=True):
            assert isinstance(mix, nn.Conv2d)
            scaled = self.scales[name][:, None, None] * edge
            weight = weight + mix.weight * scaled[:, None]
            bias = bias + self.biases[name]
        return weight, bias


class LinearBlock(nn.Module):
    """SESR's block: k x k to 256 channels, then 1x1. Its input is added where that is possible."""

    def __init__(self, conv: Conv) -> None:
        super().__init__()
        self.expand = _conv2d(conv.in_channels, EXPANDED, conv.kernel, bias=False)
        self.project = _conv2d(EXPANDED, conv.out_channels, 1)
        for layer in (self.expand, self.project):
            nn.init.xavier_uniform_(layer.weight)
        nn.init.zeros_(_bias(self.project))
        self.register_buffer("identity", _identity(conv), persistent=False)

    def forward(self) -> Folded:
        """Return both convolutions as one, with the input in its centre."""
        project = self.project.weight[:, :, 0, 0]
        weight = torch.einsum("om,miyx->oiyx", project, self.expand.weight)
        return weight + self.get_buffer("identity"), _bias(self.project)


def _conv2d(inputs: int, outputs: int, kernel: int, *, bias: bool = True) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=bias)


def _identity(conv: Conv) -> Tensor:
    """Return the weight that gives the input, or zeros if the output has other channels."""
    weight = torch.zeros(conv.out_channels, conv.in_channels, conv.kernel, conv.kernel)
    return nn.init.dirac_(weight) if conv.in_channels == conv.out_channels else weight


def _bias(conv: nn.Conv2d) -> Tensor:
    assert conv.bias is not None
    return conv.bias
