"""Rivals while they train (torch)."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from sr_core.network.weights import INPUT_MEAN
from sr_core.rivals.arch import Architecture, Conv, layout
from sr_core.rivals.blocks import Deconvolution, EdgeBlock, Folded, LinearBlock, PlainLayer

_TAIL_GAIN = 0.1
"""Of the initial weights; our supernet's tail starts so, too."""
_SLOPE = 0.25
"""Of a PReLU at the start, torch's usual one."""


class RivalNet(nn.Module):
    """One architecture at one scale."""

    def __init__(
        self, arch: Architecture, scale: int, seed: int = 0, *, published: bool = False
    ) -> None:
        super().__init__()
        self.arch, self.layout = arch, layout(arch, scale, published=published)
        sloped = [conv for conv in self.layout.convs if conv.prelu]
        self.slopes = nn.ParameterDict(
            {conv.name: nn.Parameter(torch.full((conv.out_channels,), _SLOPE)) for conv in sloped}
        )
        with torch.random.fork_rng(devices=[]):  # torch's own initialisations draw from it
            torch.manual_seed(seed)
            self.blocks = nn.ModuleDict({c.name: self._block(c) for c in self.layout.convs})
        if self.layout.nearest:
            # Start near the repeated image: else the quickest way to a smaller loss is to silence
            # the last features, and a ReLU that is silent everywhere stays so (seen in ECBSR).
            with torch.no_grad():
                for parameter in self.blocks[self.layout.tail.name].parameters():
                    parameter.mul_(_TAIL_GAIN)

    def forward(self, lr: Tensor) -> Tensor:
        """Upscale (N, 3, H, W) RGB in 0..1, or (N, 1, H, W) luma, not clipped."""
        shape = self.layout
        stream = lr - INPUT_MEAN
        for conv in shape.head:
            stream = self._conv(conv, stream)
        branch = stream
        for conv in shape.cell:
            branch = self._conv(conv, branch)
        if shape.cell:
            stream = stream + branch
        y = self._conv(shape.tail, stream).float()
        if shape.nearest:
            y = y + lr.repeat_interleave(shape.scale**2, dim=1)
        return F.pixel_shuffle(y, shape.scale)

    @torch.no_grad()
    def fold(self) -> dict[str, NDArray[np.float32]]:
        """Return plain weights and biases, as `rivals.weights` stores them."""
        tensors: dict[str, NDArray[np.float32]] = {}
        for conv in self.layout.convs:
            weight, bias = self._folded(conv)
            tensors[f"{conv.name}.weight"] = weight.cpu().numpy()
            tensors[f"{conv.name}.bias"] = bias.cpu().numpy()
            if conv.prelu:
                tensors[f"{conv.name}.slope"] = self.slopes[conv.name].cpu().numpy()
        return tensors

    def _conv(self, conv: Conv, x: Tensor) -> Tensor:
        weight, bias = self._folded(conv)
        y = F.conv2d(x, weight, bias, padding=conv.kernel // 2)
        if conv.prelu:
            return F.prelu(y, self.slopes[conv.name].to(y.dtype))
        # ReLU: in bf16 on a CPU, its backward takes half the time in this form.
        return F.leaky_relu(y, 0.0) if conv.relu else y

    def _folded(self, conv: Conv) -> Folded:
        block = self.blocks[conv.name]
        # Sums of many weights: in fp32 even under bf16 autocast.
        with torch.autocast(next(block.parameters()).device.type, enabled=False):
            return block()

    def _block(self, conv: Conv) -> nn.Module:
        if self.arch.family == "sesr":
            return LinearBlock(conv)
        if self.arch.family == "ecbsr":
            return EdgeBlock(conv)
        if conv == self.layout.tail:
            return Deconvolution(conv, self.layout.scale, self.layout.colours)
        return PlainLayer(conv)
