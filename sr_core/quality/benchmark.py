"""Score a network or bicubic on HR/LR pairs, by the protocol of `quality.metrics`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sr_core.errors import DatasetError
from sr_core.quality.datasets import Pair, ValidationCrops, bicubic
from sr_core.quality.metrics import Image8, psnr_rgb, psnr_y, ssim_y
from sr_core.runtime.image import rounded

Upscale = Callable[[Image8], Image8]
"""uint8 LR, (H, W) or (H, W, 3) -> uint8 SR of the same kind."""


@dataclass(frozen=True)
class Score:
    """Means of per-image values over `n` images."""

    psnr_y: float
    """dB"""
    ssim_y: float
    n: int
    psnr_rgb: float
    """dB, over all channels."""


def score(pairs: Iterable[Pair], upscale: Upscale, *, scale: int) -> Score:
    """Upscale every LR image and compare it with its HR image."""
    values: list[tuple[float, float, float]] = []
    for pair in pairs:
        sr = upscale(pair.lr)
        try:
            both = psnr_y(sr, pair.hr, shave=scale), ssim_y(sr, pair.hr, shave=scale)
            values.append((*both, psnr_rgb(sr, pair.hr, shave=scale)))
        except ValueError as error:
            raise DatasetError(f"{pair.name} is too small to score. {error}") from None
    psnr_db, ssim, rgb_db = np.mean(values, axis=0).tolist()
    return Score(psnr_db, ssim, len(values), rgb_db)


def score_crops(
    run: Callable[[NDArray[np.float32]], NDArray[np.float32]],
    crops: ValidationCrops,
    *,
    scale: int,
) -> float:
    """Return a candidate's score in searches: its mean PSNR-Y in dB over fixed crops.

    Args:
        run: the network, (N, 3, h, w) in 0..1 -> (N, 3, s h, s w); output is rounded here.
        crops: from `quality.datasets.validation_crops`.
    """
    lr = np.ascontiguousarray(crops.lr.transpose(0, 3, 1, 2), dtype=np.float32) / np.float32(255)
    sr = rounded(run(lr), np.uint8).transpose(0, 2, 3, 1)
    return float(np.mean([psnr_y(a, b, shave=scale) for a, b in zip(sr, crops.hr, strict=True)]))


def score_upscaled(upscale: Upscale, crops: ValidationCrops, *, scale: int) -> float:
    """Return the mean PSNR-Y in dB over fixed crops of what turns colour images into such.

    It is what `score_crops` returns, also for a network that does not see colours.
    """
    pairs = zip(crops.lr, crops.hr, strict=True)
    return float(np.mean([psnr_y(upscale(lr), hr, shave=scale) for lr, hr in pairs]))


def bicubic_upscale(scale: int) -> Upscale:
    """Return the baseline: Pillow's bicubic interpolation."""
    return lambda lr: bicubic(lr, lr.shape[1] * scale, lr.shape[0] * scale)


def network_upscale(upscale: Callable[[Image.Image], Image.Image]) -> Upscale:
    """Adapt an image-to-image function (`runtime.Upscaler.upscale`) to arrays."""
    return lambda lr: np.asarray(upscale(Image.fromarray(lr)))
