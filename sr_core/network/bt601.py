"""Luma and chroma of ITU-R BT.601, as quality is scored and as the planes of a video hold them.

A `luma` network upscales Y, 16 to 235 over 255. Cb and Cr are upscaled by bicubic interpolation
beside it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

BT601_Y = (65.481, 128.553, 24.966)
"""Weights of R, G and B in 0..1 in luma of 16 to 235."""
YCBCR: NDArray[np.float64] = (
    np.array([BT601_Y, (-37.797, -74.203, 112.0), (112.0, -93.786, -18.214)]) / 255
)
"""(3, 3): rows are Y, Cb, Cr over 255, columns R, G, B in 0..1. `OFFSET` is added."""
OFFSET: NDArray[np.float64] = np.array([16.0, 128.0, 128.0]) / 255
TO_RGB: NDArray[np.float64] = np.linalg.inv(YCBCR).astype(np.float64)
"""(3, 3): from Y, Cb, Cr less their offsets to R, G, B in 0..1."""
