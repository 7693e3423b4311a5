"""What makes RGB of a luma network: 1x1 convolutions between colours, and bicubic chroma.

`sr_core.training.colour` is the same with torch.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sr_core.network.bicubic import bicubic_kernel
from sr_core.network.bt601 import OFFSET, TO_RGB, YCBCR
from sr_core.network.candidate import DENSE
from sr_core.network.extract import ExtractedLayer


def to_ycbcr(*planes: int) -> ExtractedLayer:
    """Return the convolution from RGB in 0..1 to some of Y, Cb and Cr (0, 1 and 2)."""
    rows = list(planes)
    return _mixing("to_ycbcr", YCBCR[rows], OFFSET[rows])


def to_rgb() -> ExtractedLayer:
    """Return the convolution from Y, Cb and Cr to RGB in 0..1."""
    return _mixing("to_rgb", TO_RGB, -TO_RGB @ OFFSET)


def chroma(scale: int) -> ExtractedLayer:
    """Return the convolution from edge-padded Cb and Cr to the 2 s^2 phases of them, bicubic."""
    weight = bicubic_kernel(scale, 2)
    bias = np.zeros(len(weight), dtype=np.float32)
    return ExtractedLayer("chroma", weight, bias, weight != 0, DENSE, relu=False)


def _mixing(name: str, matrix: NDArray[np.float64], offset: NDArray[np.float64]) -> ExtractedLayer:
    weight = matrix.astype(np.float32)[:, :, None, None]
    mask = np.ones(weight.shape, dtype=np.bool_)
    return ExtractedLayer(name, weight, offset.astype(np.float32), mask, DENSE, relu=False)
