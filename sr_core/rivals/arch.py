"""Published plain-chain networks, as shapes: what our own are compared with. No torch.

- `fsrcnn` (Dong et al., ECCV 2016; d = 56, s = 12, m = 4): 5x5, 1x1 to s, m 3x3, 1x1 to d, then a
  9x9 deconvolution of stride `scale`. Read in github.com/yjn870/FSRCNN-pytorch, models.py.
- `ecbsr-m4c16`, `ecbsr-m10c32` (Zhang et al., ACM MM 2021): a head, m and a tail 3x3; the image is
  added before the pixel shuffle. Read in github.com/xindongzhang/ECBSR, models/ecbsr.py.
- `sesr-m5`, `sesr-m11` (Bhardwaj et al., MLSys 2022): 5x5, m 3x3, the first feature map added, 5x5,
  the image added. Read in github.com/ARM-software/sesr, models/sesr.py, which subtracts 0.5 from
  the image, has no activation behind the first layer, and at x4 two pixel shuffles by 2: these only
  put 16 learned channels into another order than one by 4.

There are two forms of each. As *published* they see luma alone, add it to every phase, and have
PReLU. Else they are as ours are: in RGB, with ReLU. SESR has biases here (they cost nothing). All
see the image minus 0.5, as SESR and ours do: behind ReLU, channels that are silent for every image
stay so. A third of the first ones of ECBSR's and FSRCNN's shapes still are, on the sample crops.
PReLU prevents that, but ONNX Runtime 1.31 does not merge it into a convolution: six 3x3 of 16
channels at 320x180 take 21 ms with it and 11 with ReLU, on a core of our Xeon.

The deconvolution runs as the equal convolution to scale^2 phases with a pixel shuffle, which is
also what ONNX Runtime computes faster (x4: 33 against 48 ms on a core of our Xeon). A 1x1
convolution repeats the image's pixels, as fast as ONNX Runtime gathers them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from sr_core.errors import InvalidCandidate
from sr_core.network.colour import CHANNELS, RGB, Colour
from sr_core.network.layers import lr_size

Family = Literal["fsrcnn", "ecbsr", "sesr"]
DECONVOLUTION = 9
"""Rows and columns of FSRCNN's deconvolution."""
_SHRUNK = 12
"""Channels between FSRCNN's 1x1 convolutions (s)."""


@dataclass(frozen=True)
class Architecture:
    """One published network, for any scale."""

    name: str
    title: str
    family: Family
    width: int
    """Channels of the head."""
    depth: int
    """3x3 convolutions between head and tail (m)."""


ARCHITECTURES = {
    arch.name: arch
    for arch in (
        Architecture("fsrcnn", "FSRCNN-shaped", "fsrcnn", 56, 4),
        Architecture("ecbsr-m4c16", "ECBSR-M4C16-shaped", "ecbsr", 16, 4),
        Architecture("ecbsr-m10c32", "ECBSR-M10C32-shaped", "ecbsr", 32, 10),
        Architecture("sesr-m5", "SESR-M5-shaped", "sesr", 16, 5),
        Architecture("sesr-m11", "SESR-M11-shaped", "sesr", 16, 11),
    )
}


def architecture(name: str) -> Architecture:
    """Return the architecture called `name`. `InvalidCandidate` lists what there is."""
    if name not in ARCHITECTURES:
        raise InvalidCandidate(
            f"There is no architecture {name!r}: expected one of {', '.join(ARCHITECTURES)}."
        )
    return ARCHITECTURES[name]


@dataclass(frozen=True)
class Conv:
    """One convolution as it runs."""

    name: str
    kernel: int
    in_channels: int
    out_channels: int
    relu: bool
    prelu: bool
    """Whether its ReLU has slopes that are trained."""
    weights: int
    """That it needs: a deconvolution fewer than its shape holds."""
    biases: int
    """That it needs: a deconvolution one per colour. Slopes of a PReLU count with them."""


@dataclass(frozen=True)
class Layout:
    """An architecture at one scale."""

    scale: int
    colours: int
    head: tuple[Conv, ...]
    """One after the other, from the image to the stream."""
    cell: tuple[Conv, ...]
    """Their result is added to the stream; may be empty."""
    tail: Conv
    nearest: bool
    """Whether the image, every pixel repeated, is added to the result."""

    @property
    def colour(self) -> Colour:
        """What it sees and gives."""
        return "rgb" if self.colours == RGB else "luma"

    @property
    def convs(self) -> tuple[Conv, ...]:
        """All convolutions in forward order."""
        return (*self.head, *self.cell, self.tail)

    @property
    def params(self) -> int:
        """Weights and biases."""
        return sum(conv.weights + conv.biases for conv in self.convs)

    @property
    def macs(self) -> int:
        """Multiply-accumulates of a 1280x720 frame. Adding the image is not counted."""
        height, width = lr_size(self.scale)
        return height * width * sum(conv.weights for conv in self.convs)


def layout(arch: Architecture, scale: int, *, published: bool = False) -> Layout:
    """Return the convolutions of `arch`, as published or as ours are."""
    whole = _layout(arch, scale, CHANNELS["luma" if published else "rgb"])
    if not published:
        return whole
    head, cell = (tuple(map(_with_slopes, row)) for row in (whole.head, whole.cell))
    return replace(whole, head=head, cell=cell)


def _with_slopes(conv: Conv) -> Conv:
    if not conv.relu:
        return conv
    return replace(conv, prelu=True, biases=conv.biases + conv.out_channels)


def _layout(arch: Architecture, scale: int, colours: int) -> Layout:
    width, phases = arch.width, colours * scale**2
    if arch.family == "fsrcnn":
        head = [_conv("head", 5, colours, width), _conv("shrink", 1, width, _SHRUNK)]
        head += [_conv(f"map{i}", 3, _SHRUNK, _SHRUNK) for i in range(arch.depth)]
        head += [_conv("expand", 1, _SHRUNK, width)]
        weights = DECONVOLUTION**2 * width * colours
        kernel = len(deconvolution_taps(scale)[0])
        tail = Conv("tail", kernel, width, phases, False, False, weights, colours)
        return Layout(scale, colours, tuple(head), (), tail, nearest=False)
    body = tuple(_conv(f"body{i}", 3, width, width) for i in range(arch.depth))
    if arch.family == "ecbsr":
        tail = _conv("tail", 3, width, phases, relu=False)
        head = (_conv("head", 3, colours, width), *body)
        return Layout(scale, colours, head, (), tail, nearest=True)
    first = (_conv("head", 5, colours, width, relu=False),)
    tail = _conv("tail", 5, width, phases, relu=False)
    return Layout(scale, colours, first, body, tail, nearest=True)


def deconvolution_taps(scale: int) -> NDArray[np.intp]:
    """Tell which row of FSRCNN's deconvolution each phase multiplies each input row with.

    A deconvolution of stride s, padded by 4, puts row t of its kernel on output row s i + t - 4 of
    input row i. So output row s q + p sums the input rows q + d with t = p + 4 - s d.

    Returns:
        (scale, k), -1 where the kernel has no such row; k = 5 for x2 and 3 for x4.
    """
    reach = (scale + DECONVOLUTION // 2 - 1) // scale
    phase, offset = np.arange(scale)[:, None], np.arange(-reach, reach + 1)
    taps = phase + DECONVOLUTION // 2 - scale * offset
    return np.where((taps >= 0) & (taps < DECONVOLUTION), taps, -1)


def nearest_weight(scale: int, colours: int) -> NDArray[np.float32]:
    """Return (colours s^2, colours, 1, 1) weights that repeat every pixel before a shuffle."""
    repeated = np.repeat(np.eye(colours, dtype=np.float32), scale**2, axis=0)
    return repeated[:, :, None, None]


def _conv(name: str, kernel: int, inputs: int, outputs: int, *, relu: bool = True) -> Conv:
    weights = kernel**2 * inputs * outputs
    return Conv(name, kernel, inputs, outputs, relu, False, weights, outputs)
