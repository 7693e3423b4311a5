"""What the runtimes run, whatever it came from: a candidate, or another architecture (`rivals`).

    stream = head(image - input_mean)       convolutions in a row
    stream = stream + cell(stream)          for each cell, convolutions in a row
    result = pixel shuffle of tail(stream) + input_skip(image)

All convolutions have stride 1 and are zero-padded to the same size, but the input skip's image is
padded with its edge pixels. No torch.
"""

from __future__ import annotations

from dataclasses import dataclass

from sr_core.network.colour import Colour
from sr_core.network.extract import ExtractedLayer, ExtractedNetwork
from sr_core.network.weights import INPUT_MEAN


@dataclass(frozen=True)
class PlainNetwork:
    """A network without its history. It takes RGB (or luma) in 0..1 to the same, not clipped."""

    id: str
    """Of the network with its weights."""
    scale: int
    colour: Colour
    """What it takes and gives: RGB, or luma alone."""
    input_mean: float
    """Subtracted before the head, so that zero padding means this grey."""
    head: tuple[ExtractedLayer, ...]
    cells: tuple[tuple[ExtractedLayer, ...], ...]
    """The stream is added to the last layer of each, behind its ReLU if it has one."""
    tail: ExtractedLayer
    """To 3 s^2 channels, for luma s^2."""
    input_skip: ExtractedLayer | None

    @property
    def layers(self) -> tuple[ExtractedLayer, ...]:
        """All convolutions in forward order, the input skip last."""
        inner = (layer for cell in self.cells for layer in cell)
        skip = () if self.input_skip is None else (self.input_skip,)
        return (*self.head, *inner, self.tail, *skip)


Network = ExtractedNetwork | PlainNetwork
"""What the runtimes take."""


def plain(network: Network) -> PlainNetwork:
    """Return a candidate's network in the general form, and a plain one as it is."""
    if isinstance(network, PlainNetwork):
        return network
    return PlainNetwork(
        network.model_id,
        network.candidate.scale,
        network.candidate.colour,
        INPUT_MEAN,
        (network.head,),
        network.cells,
        network.tail,
        network.input_skip,
    )
