"""PSNR and SSIM as super-resolution papers report them (protocol `y-shave-v1`).

Both are computed on the luma Y of ITU-R BT.601 in MATLAB's `rgb2ycbcr` range (16..235), from
8-bit images, with a border of `scale` pixels shaved. Calibrated in tests against the published
bicubic figures of Set5, Set14 and BSD100.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from skimage.metrics import structural_similarity

PROTOCOL = "y-shave-v1"
"""Name under which results with this exact definition are stored."""

Image8 = NDArray[np.uint8]

_BT601 = np.array([65.481, 128.553, 24.966])
_SSIM_WINDOW = 11


def luma(image: Image8) -> NDArray[np.float64]:
    """Y in 16..235 of an 8-bit RGB image (H, W, 3); a greyscale one (H, W) keeps its values."""
    if image.ndim == 2:
        return image.astype(np.float64)
    return image.astype(np.float64) @ _BT601 / 255.0 + 16.0


def psnr_y(image: Image8, reference: Image8, *, shave: int) -> float:
    """Peak signal-to-noise ratio of the luma in dB; `inf` for equal images.

    Args:
        image, reference: uint8, (H, W, 3) RGB or (H, W) greyscale, same shape.
        shave: border in pixels left out on each side (the scale, by protocol).
    """
    difference = _inner(image, reference, shave)
    mse = float(np.mean((difference[0] - difference[1]) ** 2))
    return float("inf") if mse == 0 else 10 * float(np.log10(255.0**2 / mse))


def ssim_y(image: Image8, reference: Image8, *, shave: int) -> float:
    """Structural similarity of the luma (Wang et al. 2004), in -1..1.

    11x11 Gaussian window of sigma 1.5, K1 = 0.01, K2 = 0.03, averaged where the window fits.
    Arguments as for `psnr_y`; raises `ValueError` if less than 11x11 pixels are left.
    """
    a, b = _inner(image, reference, shave)
    if min(a.shape) < _SSIM_WINDOW:
        raise ValueError(f"SSIM needs {_SSIM_WINDOW}x{_SSIM_WINDOW} pixels inside the border.")
    mean: Any = structural_similarity(
        a, b, data_range=255, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
    )
    return float(mean)


def _inner(
    image: Image8, reference: Image8, shave: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    if image.shape != reference.shape:
        raise ValueError(f"Shapes differ: {image.shape} against {reference.shape}.")
    height, width = image.shape[:2]
    if min(height, width) <= 2 * shave:
        raise ValueError(f"Nothing is left of {width}x{height} after shaving {shave} pixels.")
    inner = np.s_[shave : height - shave, shave : width - shave]
    return luma(image[inner]), luma(reference[inner])
