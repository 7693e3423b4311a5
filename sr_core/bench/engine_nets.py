"""The networks that `bench engine` times: a dense one, pruned ones, and what rivals them there."""

from __future__ import annotations

import logging
import math
import tempfile
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_static,
)

from sr_core.network.blocks import BLOCKS, GROUP, Block, Scheme
from sr_core.network.candidate import (
    DENSE,
    MAX_RATIO,
    SCALES,
    Candidate,
    Cell,
    LayerPruning,
    uniform,
)
from sr_core.network.colour import RGB, Colour
from sr_core.network.extract import ExtractedLayer, ExtractedNetwork, extract
from sr_core.network.layers import describe, lr_size
from sr_core.network.onnx_graph import INPUT, build
from sr_core.network.weights import SupernetSpec, SupernetWeights, random_supernet
from sr_core.results.engine import Contender, Variant

ALIGNMENT = 16
"""Channels that ONNX Runtime's convolutions compute at once with AVX-512."""
EQUAL_DENSITY = 0.25
"""Of the networks whose MACs the channel-pruned and the aligned rival meet."""
_PRUNED: tuple[tuple[Scheme, float], ...] = (
    ("block", 0.5), ("block", 1 / 3), ("block", EQUAL_DENSITY), ("block", 1 / 6),
    ("pattern", 0.25), ("unstructured", 0.5), ("unstructured", 0.25),
)  # fmt: skip
"""Schemes and shares of weights kept."""
_CHANNEL_DENSITIES = (0.5, EQUAL_DENSITY)
_NEAR = 0.05
"""A rival's weights may differ by this share, if its widths are more like the network's."""
_CALIBRATION = (4, 48, 64)
"""Random frames that set the ranges of int8, their height and width."""


Widths = tuple[int, ...]
"""Channels of the stream, then behind each layer of a cell but the last."""


@dataclass(frozen=True)
class Net:
    """A dense network of equal cells."""

    channels: int
    cells: int
    scale: int
    block: Block = "wide"

    def candidate(
        self, scheme: Scheme = "dense", density: float = 1.0, colour: Colour = "rgb"
    ) -> Candidate:
        """Return the network with pruned cells. The tail stays dense."""
        return uniform(
            scale=self.scale,
            width=self.channels,
            blocks=(self.block,) * self.cells,
            scheme=scheme,
            ratio=1 - density,
            colour=colour,
        )

    def supernet(self, colour: Colour = "rgb") -> SupernetWeights:
        """Make random weights for it."""
        spec = SupernetSpec(self.scale, self.channels, self.cells, (self.block,), colour=colour)
        return random_supernet(spec, np.random.default_rng(0))

    def frame(self, output: tuple[int, int]) -> NDArray[np.float32]:
        """Return the LR frame of a result of this width and height, (1, 3, H, W)."""
        height, width = lr_size(self.scale, output)
        return np.random.default_rng(0).random((1, RGB, height, width), dtype=np.float32)


@dataclass(frozen=True)
class Entry:
    """One network and where it is timed."""

    scheme: Variant
    network: ExtractedNetwork
    runtimes: tuple[Contender, ...]


def entries(net: Net, *, peers: bool = False) -> Iterator[Entry]:
    """Yield all networks of the comparison, the dense one first.

    With `peers` MNN takes part: with the dense network, and with masks that keep `EQUAL_DENSITY`.
    """
    mnn: tuple[Contender, ...] = ("mnn",) if peers else ()
    supernet = net.supernet()
    dense = extract(supernet, net.candidate())
    yield Entry("dense", dense, ("onnx", "sparse", *mnn))
    equal = extract(supernet, net.candidate("block", EQUAL_DENSITY))
    for scheme, density in _PRUNED:
        network = extract(supernet, net.candidate(scheme, density))
        yield Entry(scheme, network, ("sparse", *(mnn if density == EQUAL_DENSITY else ())))
    for density in _CHANNEL_DENSITIES:
        runtimes: tuple[Contender, ...] = (
            ("onnx", "sparse") if density == EQUAL_DENSITY else ("sparse",)
        )
        network = extract(supernet, channel_pruned(net, density))
        yield Entry("channel", network, runtimes)
    for like in (dense, equal):
        rival = aligned_rival(dense, kept_weights(like))
        if _widths(rival) != _widths(dense):
            yield Entry("aligned", rival, ("onnx",))
    yield Entry("int8", dense, ("onnx",))


def kept_weights(network: ExtractedNetwork) -> int:
    """Count the multiply-accumulates per LR pixel."""
    return sum(int(layer.mask.sum()) for layer in network.layers)


def cell_weights(network: ExtractedNetwork) -> int:
    """Count the kept weights of the cells. Their share of the dense network's is a density."""
    return sum(int(layer.mask.sum()) for cell in network.cells for layer in cell)


def channel_pruned(net: Net, density: float) -> Candidate:
    """Return `net` with fewer channels inside its cells.

    The cells keep about the share `density` of their weights. Among the candidates close enough to
    it, this is the one where all inner layers lose most alike.
    """
    convs = BLOCKS[net.block].convs
    widths = [conv.out_channels(net.channels) for conv in convs if conv.inner]
    dense = _cell_weights(net, [DENSE] * len(convs))
    choices: list[tuple[float, float, list[LayerPruning]]] = []
    for channels in product(*(range(GROUP, width + GROUP, GROUP) for width in widths)):
        shares = [count / width for count, width in zip(channels, widths, strict=True)]
        if min(shares) < 1 - MAX_RATIO:
            continue
        inner = (LayerPruning("channel", 1 - share) for share in shares)
        prunings = [next(inner) if conv.inner else DENSE for conv in convs]
        off = abs(_cell_weights(net, prunings) / dense - density)
        choices.append((max(off, _NEAR * density), max(shares) / min(shares), prunings))
    cell = Cell(net.block, tuple(min(choices, key=lambda choice: choice[:2])[2]))
    return Candidate(net.scale, net.channels, (cell,) * net.cells)


def _cell_weights(net: Net, prunings: Sequence[LayerPruning]) -> int:
    """Count the kept weights of a cell."""
    candidate = Candidate(SCALES[0], net.channels, (Cell(net.block, tuple(prunings)),))
    return sum(layer.weights_kept for layer in describe(candidate, 1, 1) if layer.role == "cell")


def aligned_rival(network: ExtractedNetwork, weights: int) -> ExtractedNetwork:
    """Return a dense network of about `weights` weights whose widths are multiples of 16.

    It has as many cells as `network`. Among those close enough, it is the one whose widths are
    most like those of `network`.
    """
    own = _widths(network)
    choices: list[tuple[float, float, Widths]] = []
    for widths in product(*(range(ALIGNMENT, 2 * width + ALIGNMENT, ALIGNMENT) for width in own)):
        off = abs(math.log(_weights_with(network, widths) / weights))
        unlike = sum(abs(math.log(a / b)) for a, b in zip(widths, own, strict=True))
        choices.append((max(off, _NEAR), unlike, widths))
    return _with_widths(network, min(choices)[2])


def _widths(network: ExtractedNetwork) -> Widths:
    *inner, last = network.cells[0]
    return len(last.bias), *(len(layer.bias) for layer in inner)


def _shapes(network: ExtractedNetwork, widths: Widths) -> list[tuple[int, int]]:
    """Return (out, in) of head, the layers of a cell and tail."""
    stream, *inner = widths
    cell = zip((*inner, stream), (stream, *inner), strict=True)
    return [(stream, RGB), *cell, (len(network.tail.bias), stream)]


def _weights_with(network: ExtractedNetwork, widths: Widths) -> int:
    sample = (network.head, *network.cells[0], network.tail)
    sizes = [
        outputs * inputs * layer.weight[0, 0].size
        for (outputs, inputs), layer in zip(_shapes(network, widths), sample, strict=True)
    ]
    cells = len(network.cells) * sum(sizes[1:-1])
    return sizes[0] + cells + sizes[-1] + network.input_skip.weight.size


def _with_widths(network: ExtractedNetwork, widths: Widths) -> ExtractedNetwork:
    head, *inner, tail = _shapes(network, widths)
    return replace(
        network,
        head=_resized(network.head, head),
        cells=tuple(
            tuple(_resized(layer, shape) for layer, shape in zip(cell, inner, strict=True))
            for cell in network.cells
        ),
        tail=_resized(network.tail, tail),
    )


def _resized(layer: ExtractedLayer, shape: tuple[int, int]) -> ExtractedLayer:
    """Return the layer with random weights of another number of channels."""
    size = (*shape, *layer.weight.shape[2:])
    spread = 1 / math.sqrt(math.prod(size[1:]))
    weight = np.random.default_rng(0).normal(0, spread, size).astype(np.float32)
    bias = np.zeros(shape[0], dtype=np.float32)
    return replace(layer, weight=weight, bias=bias, mask=np.ones(size, dtype=np.bool_))


def int8_model(network: ExtractedNetwork) -> bytes:
    """Return the ONNX model with 8-bit weights (per channel) and activations (static QDQ).

    Ranges come from random frames: good for timing alone.
    """
    with tempfile.TemporaryDirectory() as folder, _quiet_root_logger():
        source, target = Path(folder) / "fp32.onnx", Path(folder) / "int8.onnx"
        source.write_bytes(build(network).SerializeToString())
        quantize_static(
            source,
            target,
            _RandomFrames(),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
        return target.read_bytes()


class _RandomFrames(CalibrationDataReader):
    """The frames that the ranges of activations are taken from."""

    def __init__(self) -> None:
        count, height, width = _CALIBRATION
        frames = np.random.default_rng(0).random((count, 1, RGB, height, width), dtype=np.float32)
        self._frames = iter(frames)

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:  # pyright: ignore[reportIncompatibleMethodOverride]
        frame = next(self._frames, None)
        return None if frame is None else {INPUT: frame}


@contextmanager
def _quiet_root_logger() -> Generator[None]:
    """Silence the quantiser's advice to pre-process, which our graphs do not need."""
    logger = logging.getLogger()
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
