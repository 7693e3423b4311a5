"""Colours of training batches: luma of RGB images, and RGB of an upscaled luma."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from sr_core.network.bicubic import bicubic_kernel
from sr_core.network.bt601 import OFFSET, TO_RGB, YCBCR
from sr_core.network.colour import Colour
from sr_core.network.layers import INPUT_SKIP_KERNEL


def seen(images: Tensor, colour: Colour) -> Tensor:
    """Return what a network of this colour sees of (N, 3, H, W) RGB in 0..1."""
    return images if colour == "rgb" else _mixed(images, YCBCR[:1], OFFSET[:1])


def shown(output: Tensor, lr: Tensor, colour: Colour, scale: int) -> Tensor:
    """Return a network's output as RGB, (N, 3, s H, s W), not clipped.

    Luma gets the bicubic chroma of `lr`, (N, 3, H, W) RGB in 0..1.
    """
    if colour == "rgb":
        return output
    chroma = _mixed(lr.float(), YCBCR[1:], OFFSET[1:])
    edge = INPUT_SKIP_KERNEL // 2
    kernel = torch.from_numpy(bicubic_kernel(scale, 2)).to(lr.device)
    grown = F.conv2d(F.pad(chroma, (edge,) * 4, mode="replicate"), kernel)
    ycbcr = torch.cat([output.float(), F.pixel_shuffle(grown, scale)], 1)
    return _mixed(ycbcr, TO_RGB, -TO_RGB @ OFFSET)


def _mixed(images: Tensor, matrix: NDArray[np.float64], offset: NDArray[np.float64]) -> Tensor:
    """Return weighted sums of the channels, plus an offset of each."""
    weights = images.new_tensor(matrix)[:, :, None, None]
    return F.conv2d(images, weights, images.new_tensor(offset))
