"""Bicubic interpolation as a convolution: where an input skip starts, and how chroma grows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sr_core.network.layers import INPUT_SKIP_KERNEL


def bicubic_kernel(scale: int, channels: int) -> NDArray[np.float32]:
    """Return (c s^2, c, 5, 5) weights: bicubic upscaling (a = -0.5), before pixel shuffle."""
    taps = np.zeros((scale, INPUT_SKIP_KERNEL))
    for phase in range(scale):
        position = (phase + 0.5) / scale - 0.5
        distance = np.abs(np.arange(INPUT_SKIP_KERNEL) - INPUT_SKIP_KERNEL // 2 - position)
        near = 1.5 * distance**3 - 2.5 * distance**2 + 1
        far = -0.5 * distance**3 + 2.5 * distance**2 - 4 * distance + 2
        taps[phase] = np.where(distance <= 1, near, np.where(distance < 2, far, 0.0))
    kernel = np.einsum("yi,xj->yxij", taps, taps).reshape(scale**2, 5, 5)
    weights = np.zeros((channels, scale**2, channels, 5, 5), dtype=np.float32)
    for channel in range(channels):
        weights[channel, :, channel] = kernel
    return weights.reshape(channels * scale**2, channels, 5, 5)
