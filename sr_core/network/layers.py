"""What a candidate costs: its convolutions with exact shapes, MACs, parameters and bytes.

Pure Python, and no weights: how many weights a layer keeps is an integer function of (shape,
scheme, ratio). *Which* ones it keeps is decided by `sr_core.network.masks`, which asks the
functions here how many. Latency, MACs and parameters are computed from `describe` alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from sr_core.network.blocks import BLOCKS, GROUP
from sr_core.network.candidate import DENSE, Candidate, LayerPruning

Role = Literal["head", "cell", "tail", "input_skip", "chroma"]

PATTERN_TAPS = 4
"""Taps that a 3x3 kernel keeps under `pattern`."""
INPUT_SKIP_KERNEL = 5
"""5x5 reaches every LR pixel that bicubic x2 or x4 reads, so bicubic is its starting point."""
CHROMA, BICUBIC_TAPS = 2, 16
"""Channels of chroma, and the taps of an interpolated pixel: 4x4."""
BYTES_PER_VALUE = 4  # fp32
OUTPUT_SIZE = (1280, 720)
"""Width and height of the frame that MACs and latency are quoted for."""


@dataclass(frozen=True)
class ConvLayer:
    """One convolution as it runs: shapes after channel removal, stride 1, same padding."""

    name: str
    role: Role
    kernel: int
    in_channels: int
    out_channels: int
    dense_in_channels: int
    dense_out_channels: int
    height: int
    """Rows of its output, in LR pixels."""
    width: int
    """Columns of its output, in LR pixels."""
    pruning: LayerPruning
    weights_kept: int
    """Weights left after channel removal and masking; biases not counted."""

    @property
    def weights_dense(self) -> int:
        """Weights of this layer with nothing pruned, here or upstream."""
        return self.dense_in_channels * self.dense_out_channels * self.kernel**2

    @property
    def params_kept(self) -> int:
        """Kept weights plus the biases of the kept output channels."""
        return self.weights_kept + self.out_channels

    @property
    def params_dense(self) -> int:
        """Weights and biases with nothing pruned."""
        return self.weights_dense + self.dense_out_channels

    @property
    def macs_kept(self) -> int:
        """Multiply-accumulates for one frame, kept weights only."""
        return self.weights_kept * self.height * self.width

    @property
    def macs_dense(self) -> int:
        """Multiply-accumulates for one frame with nothing pruned."""
        return self.weights_dense * self.height * self.width

    @property
    def bytes_moved(self) -> int:
        """Bytes (fp32) of the input, output, kept weights and biases, each moved once.

        A layer-by-layer runtime moves at least this much. Position tables are not counted.
        """
        values = (self.in_channels + self.out_channels) * self.height * self.width
        return BYTES_PER_VALUE * (values + self.params_kept)


@dataclass(frozen=True)
class Totals:
    """Sums over a network's layers."""

    params_kept: int
    params_dense: int
    macs_kept: int
    macs_dense: int


def totals(layers: list[ConvLayer]) -> Totals:
    """Add up what `describe` returned."""
    return Totals(
        params_kept=sum(layer.params_kept for layer in layers),
        params_dense=sum(layer.params_dense for layer in layers),
        macs_kept=sum(layer.macs_kept for layer in layers),
        macs_dense=sum(layer.macs_dense for layer in layers),
    )


def kept_channels(out_channels: int, ratio: float) -> int:
    """Count the output channels that `channel` keeps: the nearest multiple of 4, at least 4."""
    return max(GROUP, GROUP * round((1.0 - ratio) * out_channels / GROUP))


def kept_positions(in_channels: int, out_channels: int, kernel: int, ratio: float) -> int:
    """Count the positions that `block` keeps, each 4 weights wide.

    A position is a (group, input channel, row, column).
    """
    positions = out_channels // GROUP * in_channels * kernel**2
    return max(1, round((1.0 - ratio) * positions))


def kept_kernels(in_channels: int, out_channels: int, ratio: float) -> int:
    """Count the (group, input channel) kernels that `pattern` keeps, each with 4 of its 9 taps."""
    kernels = out_channels // GROUP * in_channels
    return min(kernels, max(1, round((1.0 - ratio) * kernels * 9 / PATTERN_TAPS)))


def kept_weights(in_channels: int, out_channels: int, kernel: int, pruning: LayerPruning) -> int:
    """Count the weights that a layer keeps, from the channels that reach it and those it computes.

    `in_channels` is counted after upstream channel removal, `out_channels` after the layer's
    own.
    """
    match pruning.scheme:
        case "dense" | "channel":
            return in_channels * out_channels * kernel**2
        case "block":
            return GROUP * kept_positions(in_channels, out_channels, kernel, pruning.ratio)
        case "pattern":
            return GROUP * PATTERN_TAPS * kept_kernels(in_channels, out_channels, pruning.ratio)
        case "unstructured":
            weights = in_channels * out_channels * kernel**2
            return max(1, round((1.0 - pruning.ratio) * weights))


def lr_size(scale: int, output: tuple[int, int] = OUTPUT_SIZE) -> tuple[int, int]:
    """Return (height, width) of the LR frame that gives an output of (width, height)."""
    return output[1] // scale, output[0] // scale


def describe(candidate: Candidate, lr_height: int, lr_width: int) -> list[ConvLayer]:
    """List the convolutions of `candidate` on an LR input of this size, in forward order.

    The head is never pruned. The input skip comes last: it is added to the tail's output before
    the pixel shuffle. What a luma network costs beside it, the chroma of a colour image, is no
    convolution here: published figures of luma networks do not count it either.
    """

    def conv(
        name: str,
        role: Role,
        kernel: int,
        dense: tuple[int, int],
        in_channels: int | None = None,
        pruning: LayerPruning = DENSE,
    ) -> ConvLayer:
        dense_in, dense_out = dense
        reaching = dense_in if in_channels is None else in_channels
        computed = (
            kept_channels(dense_out, pruning.ratio) if pruning.scheme == "channel" else dense_out
        )
        weights = kept_weights(reaching, computed, kernel, pruning)
        return ConvLayer(
            name, role, kernel, reaching, computed, dense_in, dense_out,
            lr_height, lr_width, pruning, weights,
        )  # fmt: skip

    width, channels = candidate.width, candidate.channels
    phases = channels * candidate.scale**2
    layers = [conv("head", "head", 3, (channels, width))]
    for index in range(len(candidate.cells)):
        dense_in, reaching = width, width
        for name, spec, pruning in candidate.cell_layers(index):
            dense_out = spec.out_channels(width)
            layers.append(conv(name, "cell", spec.kernel, (dense_in, dense_out), reaching, pruning))
            dense_in, reaching = dense_out, layers[-1].out_channels
    layers.append(conv("tail", "tail", 3, (width, phases), pruning=candidate.tail))
    skip = (channels, phases)
    layers.append(
        conv("input_skip", "input_skip", INPUT_SKIP_KERNEL, skip, pruning=candidate.input_skip)
    )
    return layers


def timed(candidate: Candidate, lr_height: int, lr_width: int) -> list[ConvLayer]:
    """List what takes time: `describe`, and the chroma of a colour image beside a luma network.

    Cb and Cr are upscaled by bicubic interpolation, as one more convolution of the image.
    """
    layers = describe(candidate, lr_height, lr_width)
    if candidate.colour == "rgb":
        return layers
    phases = CHROMA * candidate.scale**2
    taps = BICUBIC_TAPS * phases
    pruning = LayerPruning("block", 1 - taps / (phases * CHROMA * INPUT_SKIP_KERNEL**2))
    chroma = ConvLayer(
        "chroma", "chroma", INPUT_SKIP_KERNEL, CHROMA, phases, CHROMA, phases,
        lr_height, lr_width, pruning, taps,
    )  # fmt: skip
    return [*layers, chroma]


def halo(candidate: Candidate) -> int:
    """Return the receptive radius: how many LR pixels around its own an output pixel can see."""
    cells = sum(conv.kernel // 2 for cell in candidate.cells for conv in BLOCKS[cell.block].convs)
    return max(1 + cells + 1, INPUT_SKIP_KERNEL // 2)
