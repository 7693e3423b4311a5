"""Second moments of LR patches, from which pruned input skips are refitted (`network.refit`)."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from safetensors.numpy import save

from sr_core.network.candidate import SCALES
from sr_core.network.layers import INPUT_SKIP_KERNEL
from sr_core.network.refit import Moments
from sr_core.quality.datasets import as_rgb, downscale, drawn_images, read_image
from sr_core.quality.metrics import Image8

_STRIDE = 3
"""LR pixels from patch to patch: neighbours say much the same."""


def moments_file(folder: Path, source_weights: dict[str, float]) -> bytes:
    """Return a file of the moments of every scale, over the training images of `folder`."""
    files = drawn_images(folder, source_weights)
    tensors = {
        f"x{scale}": moments(downscale(as_rgb(read_image(file)), scale)[0] for file in files)
        for scale in SCALES
    }
    return save(tensors)


def moments(images: Iterable[Image8]) -> Moments:
    """Return the (76, 76) means of products of 5x5 RGB patches (channel, row, column) and a one.

    Args:
        images: (H, W, 3), of LR size. Those smaller than a patch are left out.
    """
    side = INPUT_SKIP_KERNEL
    total, count = np.zeros((3 * side**2 + 1,) * 2), 0
    for image in images:
        if min(image.shape[:2]) < side:
            continue
        windows = sliding_window_view(image, (side, side), (0, 1))[::_STRIDE, ::_STRIDE]
        patches = windows.reshape(-1, 3 * side**2) / 255.0
        rows = np.concatenate([patches, np.ones((len(patches), 1))], axis=1)
        total += rows.T @ rows
        count += len(rows)
    return total / count
