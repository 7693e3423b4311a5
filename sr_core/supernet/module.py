"""Stage 1: the weight-sharing supernet (torch).

Every cell holds full-width weights of every block. A candidate runs on slices of them (the
first C channels) times its masks, so all candidates share one set of weights. Head 3x3, cells,
tail 3x3 to c s^2 channels (c = 3, luma: 1), plus a 5x5 convolution straight from the input that
starts as bicubic interpolation, then pixel shuffle.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from sr_core.network.bicubic import bicubic_kernel
from sr_core.network.blocks import BLOCKS, SKIP, ConvSpec, Relu, layer_name, layer_names
from sr_core.network.candidate import Candidate
from sr_core.network.layers import INPUT_SKIP_KERNEL
from sr_core.network.masks import candidate_masks
from sr_core.network.weights import INPUT_MEAN, SupernetSpec


class Supernet(nn.Module):
    """All candidates of one scale in one set of weights.

    State-dict keys are the layer names of `sr_core.network.layers` plus `.weight` and `.bias`.
    """

    def __init__(self, spec: SupernetSpec, seed: int = 0) -> None:
        super().__init__()
        self.spec = spec
        phases = spec.channels * spec.scale**2
        self.head = nn.Conv2d(spec.channels, spec.width, 3, padding=1)
        self.cells = nn.ModuleList(_cell(spec) for _ in range(spec.cells))
        self.tail = nn.Conv2d(spec.width, phases, 3, padding=1)
        self.input_skip = nn.Conv2d(spec.channels, phases, INPUT_SKIP_KERNEL)
        self._initialise(torch.Generator().manual_seed(seed))

    def forward(
        self, lr: Tensor, candidate: Candidate, masks: Mapping[str, Tensor] | None = None
    ) -> Tensor:
        """Upscale with one sub-network.

        Args:
            lr: (N, 3, H, W) RGB in 0..1, or (N, 1, H, W) luma.
            candidate: a sub-network of `spec` (not checked here: this is the inner loop).
            masks: layer name -> (out, in, k, k) 0/1 tensors, as from `torch_masks`.

        Returns:
            (N, 3 or 1, s H, s W), not clipped.
        """
        masks = masks or {}
        x = self._conv("head", lr - INPUT_MEAN, candidate.width, masks).float()
        for index, cell in enumerate(candidate.cells):
            branch = x
            for operation in BLOCKS[cell.block].operations:
                match operation:
                    case ConvSpec():
                        name = layer_name(index, cell.block, operation.name)
                        out_channels = operation.out_channels(candidate.width)
                        branch = self._conv(name, branch, out_channels, masks)
                    case Relu():  # in bf16 on a CPU, its backward takes half the time in this form
                        branch = F.leaky_relu(branch, 0.0)
            if cell.block != SKIP:
                x = x + branch  # fp32 even under bf16 autocast: 12 additions lose no precision
        y = self._conv("tail", x, self.tail.out_channels, masks).float()
        with torch.autocast(lr.device.type, enabled=False):
            edge, weight = INPUT_SKIP_KERNEL // 2, self.input_skip.weight
            if "input_skip" in masks:  # as it is: extraction refits what is left (`network.refit`)
                weight = weight * masks["input_skip"]
            padded = F.pad(lr.float(), (edge,) * 4, mode="replicate")
            y = y + F.conv2d(padded, weight, self.input_skip.bias)
        return F.pixel_shuffle(y, self.spec.scale)

    def torch_masks(self, candidate: Candidate) -> dict[str, Tensor]:
        """Return masks for `forward`, from the magnitudes of the current weights."""
        weights = dict(self.sliced_weights(candidate))
        device, dtype = self.head.weight.device, self.head.weight.dtype
        return {
            name: torch.from_numpy(np.ascontiguousarray(mask)).to(device, dtype)
            for name, mask in candidate_masks(candidate, weights).items()
        }

    def sliced_weights(self, candidate: Candidate) -> Iterator[tuple[str, NDArray[np.float32]]]:
        """Yield (name, weight) of each layer at the candidate's width; no copy on a CPU."""
        for index, cell in enumerate(candidate.cells):
            in_channels = candidate.width
            for name, conv in layer_names(index, cell.block):
                out_channels = conv.out_channels(candidate.width)
                weight = self._layer(name).weight[:out_channels, :in_channels]
                yield name, weight.detach().cpu().numpy()
                in_channels = out_channels
        yield "tail", self.tail.weight[:, : candidate.width].detach().cpu().numpy()
        yield "input_skip", self.input_skip.weight.detach().cpu().numpy()

    def _layer(self, name: str) -> nn.Conv2d:
        layer = self.get_submodule(name)
        assert isinstance(layer, nn.Conv2d)
        return layer

    def _conv(self, name: str, x: Tensor, out_channels: int, masks: Mapping[str, Tensor]) -> Tensor:
        layer = self._layer(name)
        weight = layer.weight[:out_channels, : x.shape[1]]
        if name in masks:
            # Channels removed upstream are False in this mask, so their biases need no masking.
            weight = weight * masks[name]
        assert layer.bias is not None
        return F.conv2d(x, weight, layer.bias[:out_channels], padding=layer.kernel_size[0] // 2)

    def _initialise(self, generator: torch.Generator) -> None:
        last_convs = tuple(f".{name}.{BLOCKS[name].convs[-1].name}" for name in self.spec.blocks)
        for name, layer in self.named_modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, generator=generator)
                assert layer.bias is not None
                nn.init.zeros_(layer.bias)
                if name == "tail" or name.endswith(last_convs):
                    with torch.no_grad():
                        layer.weight.mul_(0.1)  # start near the identity: near bicubic as a whole
        with torch.no_grad():
            start = bicubic_kernel(self.spec.scale, self.spec.channels)
            self.input_skip.weight.copy_(torch.from_numpy(start))


def _cell(spec: SupernetSpec) -> nn.ModuleDict:
    blocks: dict[str, nn.Module] = {}
    for block in spec.blocks:
        in_channels = spec.width
        convs: dict[str, nn.Module] = {}
        for conv in BLOCKS[block].convs:
            out_channels = conv.out_channels(spec.width)
            padding = conv.kernel // 2
            convs[conv.name] = nn.Conv2d(in_channels, out_channels, conv.kernel, padding=padding)
            in_channels = out_channels
        blocks[block] = nn.ModuleDict(convs)
    return nn.ModuleDict(blocks)
