"""From supernet to candidate: plain NumPy weights and masks, no torch.

Channels removed by `channel` are really gone; the other schemes leave a mask and zeros.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from sr_core.network.blocks import BLOCKS, SKIP
from sr_core.network.candidate import DENSE, Candidate, LayerPruning, model_id
from sr_core.network.masks import Mask, kept_channel_mask, layer_mask
from sr_core.network.refit import Moments, of_colour, refit
from sr_core.network.weights import Array, SupernetWeights


@dataclass(frozen=True)
class ExtractedLayer:
    """One convolution ready to run: stride 1, same padding, and the ReLU behind it."""

    name: str
    weight: Array
    """(out, in, k, k), zero where `mask` is False."""
    bias: Array
    """(out,)."""
    mask: Mask
    """(out, in, k, k), True = kept; what engines pack."""
    pruning: LayerPruning
    relu: bool
    slope: Array | None = None
    """(out,) of a PReLU: what is below zero is multiplied by it. None with `relu`: by zero."""


@dataclass(frozen=True)
class ExtractedNetwork:
    """A candidate with its weights."""

    candidate: Candidate
    model_id: str
    head: ExtractedLayer
    cells: tuple[tuple[ExtractedLayer, ...], ...]
    """The convolutions of each cell that is not skipped, in order."""
    tail: ExtractedLayer
    input_skip: ExtractedLayer
    """5x5, reads the edge-padded input; its output is added to the tail's."""

    @property
    def layers(self) -> tuple[ExtractedLayer, ...]:
        """All convolutions, in the order of `sr_core.network.layers.describe`."""
        inner = tuple(layer for cell in self.cells for layer in cell)
        return (self.head, *inner, self.tail, self.input_skip)


def extract(supernet: SupernetWeights, candidate: Candidate) -> ExtractedNetwork:
    """Cut `candidate` out of `supernet`. Raises `InvalidCandidate` if it is not a part of it."""
    supernet.spec.check(candidate)
    width, phases = candidate.width, candidate.channels * candidate.scale**2
    image = np.arange(candidate.channels)
    head, stream = _cut(supernet, "head", width, image)
    skip, _ = _cut(supernet, "input_skip", phases, image, candidate.input_skip)
    return ExtractedNetwork(
        candidate=candidate,
        model_id=model_id(candidate, supernet.sha256),
        head=head,
        cells=tuple(
            _cell(supernet, candidate, index)
            for index, cell in enumerate(candidate.cells)
            if cell.block != SKIP
        ),
        tail=_cut(supernet, "tail", phases, stream, candidate.tail)[0],
        input_skip=_refitted(supernet, skip),
    )


def with_input_skip(
    network: ExtractedNetwork, pruning: LayerPruning, moments: Moments
) -> ExtractedNetwork:
    """Return a network of other weights whose dense input skip is pruned and refitted.

    Its model id is of no weights yet.
    """
    skip, candidate = network.input_skip, replace(network.candidate, input_skip=pruning)
    mask = layer_mask(skip.weight, pruning)
    weight, bias = refit(skip.weight, skip.bias, mask, of_colour(moments, candidate.colour))
    pruned = replace(skip, weight=weight, bias=bias, mask=mask, pruning=pruning)
    identity = model_id(candidate, "0" * 64)
    return replace(network, candidate=candidate, model_id=identity, input_skip=pruned)


def _refitted(supernet: SupernetWeights, skip: ExtractedLayer) -> ExtractedLayer:
    """Return an input skip whose kept taps make up for the removed ones."""
    if supernet.moments is None or skip.mask.all():
        return skip
    moments = of_colour(supernet.moments, supernet.spec.colour)
    dense = supernet.tensors["input_skip.weight"]
    weight, bias = refit(dense, skip.bias, skip.mask, moments)
    return replace(skip, weight=weight, bias=bias)


def _cell(
    supernet: SupernetWeights, candidate: Candidate, index: int
) -> tuple[ExtractedLayer, ...]:
    fused, reaching = BLOCKS[candidate.cells[index].block].fused, np.arange(candidate.width)
    layers: list[ExtractedLayer] = []
    for (name, conv, pruning), (_, relu) in zip(candidate.cell_layers(index), fused, strict=True):
        out_channels = conv.out_channels(candidate.width)
        layer, reaching = _cut(supernet, name, out_channels, reaching, pruning, relu=relu)
        layers.append(layer)
    return tuple(layers)


def _cut(
    supernet: SupernetWeights,
    name: str,
    out_channels: int,
    reaching: NDArray[np.intp],
    pruning: LayerPruning = DENSE,
    *,
    relu: bool = False,
) -> tuple[ExtractedLayer, NDArray[np.intp]]:
    """Return one layer, and the indices of its output channels that still exist.

    `out_channels` is what the candidate's width gives, `reaching` the input channels that exist.
    """
    weight = supernet.tensors[f"{name}.weight"][:out_channels][:, reaching]
    bias = supernet.tensors[f"{name}.bias"][:out_channels]
    outputs = np.arange(out_channels)
    if pruning.scheme == "channel":
        outputs = np.flatnonzero(kept_channel_mask(weight, pruning.ratio))
        weight, bias = weight[outputs], bias[outputs]
        mask = np.ones(weight.shape, dtype=np.bool_)
    else:
        mask = layer_mask(weight, pruning)
    return ExtractedLayer(name, weight * mask, bias, mask, pruning, relu), outputs
