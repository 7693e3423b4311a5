"""PSNR and SSIM as super-resolution papers report them (protocol `y-shave-v1`).

Both are computed on the luma Y of ITU-R BT.601 in MATLAB's `rgb2ycbcr` range (16..235), from
8-bit images, with a border of `scale` pixels shaved. Calibrated in tests against the published
bicubic figures of Set5, Set14 and BSD100.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import correlate1d
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


class Reference:
    """One image that many are compared with: `psnr_y` and `ssim_y`, several times as fast.

    What depends on the reference alone is computed once, and the luma of an image serves both
    metrics; the values differ from those of the functions by less than 1e-9.
    """

    def __init__(self, image: Image8, *, shave: int) -> None:
        """Arguments as for `ssim_y`, which also says what is too small."""
        self._image, self._shave = image, shave
        self._luma = _inner(image, image, shave)[1]
        if min(self._luma.shape) < _SSIM_WINDOW:
            raise ValueError(f"SSIM needs {_SSIM_WINDOW}x{_SSIM_WINDOW} pixels inside the border.")
        self._mean, self._square = _smoothed(np.stack([self._luma, self._luma**2]))

    def scores(self, image: Image8) -> tuple[float, float]:
        """(PSNR-Y in dB, SSIM-Y) of an image of the reference's shape."""
        if image.shape != self._image.shape:
            raise ValueError(f"Shapes differ: {image.shape} against {self._image.shape}.")
        inner = slice(self._shave, -self._shave or None)
        y = luma(image[inner, inner])
        mse = float(np.mean((y - self._luma) ** 2))
        mean, square, product = _smoothed(np.stack([y, y**2, y * self._luma]))
        means, squared = mean * self._mean, mean**2 + self._mean**2
        c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
        ssim = (2 * means + c1) * (2 * (product - means) + c2)
        ssim /= (squared + c1) * (square + self._square - squared + c2)
        psnr_db = float("inf") if mse == 0 else 10 * float(np.log10(255.0**2 / mse))
        return psnr_db, float(ssim.mean())


def _gaussian() -> NDArray[np.float64]:
    radius = _SSIM_WINDOW // 2
    weights = np.exp(-0.5 * (np.arange(-radius, radius + 1) / 1.5) ** 2)
    return weights / weights.sum()


_WEIGHTS = _gaussian()


def _smoothed(planes: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n, H, W) under SSIM's window, where it fits: (n, H - 10, W - 10)."""
    radius = _SSIM_WINDOW // 2
    rows: Any = correlate1d(planes, _WEIGHTS, axis=1)[:, radius:-radius]
    columns: Any = correlate1d(rows, _WEIGHTS, axis=2)[:, :, radius:-radius]
    return columns


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
