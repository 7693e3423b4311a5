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

from sr_core.network.bt601 import BT601_Y

PROTOCOL = "y-shave-v1"
"""Name under which results with this exact definition are stored."""

Image8 = NDArray[np.uint8]

_BT601 = np.array(BT601_Y)
_SSIM_WINDOW = 11


def luma(image: Image8) -> NDArray[np.float64]:
    """Return Y in 16..235 of 8-bit RGB (H, W, 3). A greyscale image (H, W) keeps its values."""
    if image.ndim == 2:
        return image.astype(np.float64)
    return image.astype(np.float64) @ _BT601 / 255.0 + 16.0


def psnr_y(image: Image8, reference: Image8, *, shave: int) -> float:
    """Return the peak signal-to-noise ratio of the luma in dB, `inf` for equal images.

    Args:
        image, reference: uint8, (H, W, 3) RGB or (H, W) greyscale, same shape.
        shave: border in pixels left out on each side (the scale, by protocol).
    """
    difference = _inner(image, reference, shave)
    mse = float(np.mean((difference[0] - difference[1]) ** 2))
    return float("inf") if mse == 0 else 10 * float(np.log10(255.0**2 / mse))


def psnr_rgb(image: Image8, reference: Image8, *, shave: int) -> float:
    """Return the PSNR over all channels in dB, `inf` for equal images.

    Beside PSNR-Y it says what becomes of the colours. Arguments and errors are those of `psnr_y`.
    """
    inner = _kept(image, reference, shave)
    difference = image[inner].astype(np.float64) - reference[inner]
    mse = float(np.mean(difference**2))
    return float("inf") if mse == 0 else 10 * float(np.log10(255.0**2 / mse))


def ssim_y(image: Image8, reference: Image8, *, shave: int) -> float:
    """Return the structural similarity of the luma (Wang et al. 2004), in -1..1.

    The window is an 11x11 Gaussian of sigma 1.5. K1 = 0.01, K2 = 0.03, averaged where it fits.
    Arguments are as for `psnr_y`. Raises `ValueError` if less than 11x11 pixels are left.
    """
    a, b = _inner(image, reference, shave)
    if min(a.shape) < _SSIM_WINDOW:
        raise ValueError(f"SSIM needs {_SSIM_WINDOW}x{_SSIM_WINDOW} pixels inside the border.")
    mean: Any = structural_similarity(
        a, b, data_range=255, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
    )
    return float(mean)


class Reference:
    """One image that many are compared with, several times as fast as by the functions.

    What depends on the reference alone is computed once, and the luma of an image serves both
    metrics. The values differ from those of the functions by less than 1e-9.
    """

    def __init__(self, image: Image8, *, shave: int) -> None:
        """Prepare the image. Arguments and errors are those of `ssim_y`."""
        self._image, self._shave = image, shave
        self._luma = _inner(image, image, shave)[1]
        if min(self._luma.shape) < _SSIM_WINDOW:
            raise ValueError(f"SSIM needs {_SSIM_WINDOW}x{_SSIM_WINDOW} pixels inside the border.")
        self._mean, self._square = _smoothed(np.stack([self._luma, self._luma**2]))

    def scores(self, image: Image8) -> tuple[float, float]:
        """Return (PSNR-Y in dB, SSIM-Y) of an image of the reference's shape."""
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
    """Smooth (n, H, W) by SSIM's window, where it fits: (n, H - 10, W - 10)."""
    radius = _SSIM_WINDOW // 2
    rows: Any = correlate1d(planes, _WEIGHTS, axis=1)[:, radius:-radius]
    columns: Any = correlate1d(rows, _WEIGHTS, axis=2)[:, :, radius:-radius]
    return columns


def _inner(
    image: Image8, reference: Image8, shave: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    inner = _kept(image, reference, shave)
    return luma(image[inner]), luma(reference[inner])


def _kept(image: Image8, reference: Image8, shave: int) -> tuple[slice, slice]:
    """Return the rows and columns inside the border of two images."""
    if image.shape != reference.shape:
        raise ValueError(f"Shapes differ: {image.shape} against {reference.shape}.")
    height, width = image.shape[:2]
    if min(height, width) <= 2 * shave:
        raise ValueError(f"Nothing is left of {width}x{height} after shaving {shave} pixels.")
    return slice(shave, height - shave), slice(shave, width - shave)
