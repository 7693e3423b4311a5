"""One candidate as a torch module, with its masks frozen: what fine-tuning trains.

It is the supernet's forward pass on layers of the candidate's own shapes, so removed channels and
unused blocks cost nothing, and there is no second implementation that could differ.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sr_core.catalogue.final import assemble
from sr_core.network.extract import ExtractedNetwork
from sr_core.network.masks import layer_mask
from sr_core.network.weights import SupernetSpec
from sr_core.supernet.module import Supernet
from sr_core.training.colour import seen, shown


class Network(Supernet):
    """One extracted network: its weights and its masks.

    Parameters are named like a final model's tensors. The mask of a masked layer is its buffer
    `mask`. Masked weights get no gradient, so they and the mask stay as they are.
    """

    def __init__(self, network: ExtractedNetwork) -> None:
        candidate = network.candidate
        super().__init__(SupernetSpec.around(candidate))
        self.candidate = candidate
        for modules, cell in zip(self.cells, candidate.cells, strict=True):
            assert isinstance(modules, nn.ModuleDict)
            for name in modules.keys() - {cell.block}:
                del modules[name]
        self._masked: list[str] = []
        for layer in network.layers:
            conv = self._layer(layer.name)
            conv.weight = nn.Parameter(torch.from_numpy(np.array(layer.weight)))
            conv.bias = nn.Parameter(torch.from_numpy(np.array(layer.bias)))
            if not layer.mask.all():
                conv.register_buffer("mask", torch.from_numpy(layer.mask.astype(np.float32)))
                self._masked.append(layer.name)

    @torch.no_grad()
    def hold_in_units(self, name: str, unit: float) -> None:
        """Make a layer's parameter its weight over `unit`. Its mask puts the unit back.

        Adam moves all parameters alike. So the weight moves relative to its own size.
        """
        self.get_parameter(f"{name}.weight").div_(unit)
        if name in self._masked:
            self.get_buffer(f"{name}.mask").mul_(unit)
        else:
            layer = self._layer(name)
            layer.register_buffer("mask", torch.full_like(layer.weight, unit))
            self._masked.append(name)

    def masked(self, name: str) -> Tensor:
        """Return a layer's weight behind its mask. Gradients flow."""
        weight = self.get_parameter(f"{name}.weight")
        return weight * self.get_buffer(f"{name}.mask") if name in self._masked else weight

    def upscale(self, lr: Tensor) -> Tensor:
        """Upscale (N, 3, H, W) RGB in 0..1, or (N, 1, H, W) luma, not clipped."""
        masks = {name: self.get_buffer(f"{name}.mask") for name in self._masked}
        return self(lr, self.candidate, masks)

    def run(self, lr: NDArray[np.float32]) -> NDArray[np.float32]:
        """Upscale (N, 3, H, W) RGB to RGB, luma with its chroma, in fp32 without gradients."""
        colour, scale = self.candidate.colour, self.candidate.scale
        with torch.no_grad():
            image = torch.from_numpy(lr).to(self.head.weight.device)
            return shown(self.upscale(seen(image, colour)), image, colour, scale).cpu().numpy()

    def extracted(
        self, tensors: Mapping[str, NDArray[np.float32]] | None = None
    ) -> ExtractedNetwork:
        """Return the network with `tensors` (default: its parameters) behind its masks."""
        if tensors is None:
            tensors = {name: p.detach().cpu().numpy() for name, p in self.named_parameters()}
        values = dict(tensors)
        prunings = dict(self.candidate.layers())
        for name in self._masked:
            weight = values[f"{name}.weight"] * self.get_buffer(f"{name}.mask").cpu().numpy()
            # Of a kernel's taps the last bit of a sum may not see the smallest; then it goes.
            values[f"{name}.weight"] = weight * layer_mask(weight, prunings[name])
        return assemble(self.candidate, values, "0" * 64)
