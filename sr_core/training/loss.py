"""What training lowers: the L1 distance of colours, or mostly that of luma."""

from __future__ import annotations

from torch import Tensor

from sr_core.network.bt601 import BT601_Y
from sr_core.training.settings import Loss

RGB_SHARE = 0.1
"""Of the colours' distance in the loss `y`, so that hue cannot drift."""


def distance(output: Tensor, target: Tensor, loss: Loss) -> Tensor:
    """Return the mean absolute difference of (N, 3, H, W) images, RGB in 0..1, or of luma alone.

    `rgb` counts all colours alike. `y` counts luma as PSNR-Y does (BT.601, 16 to 235 of 255), plus
    a share of the colours.
    """
    error = (output - target).float()
    rgb = error.abs().mean()
    if loss == "rgb" or output.shape[1] == 1:
        return rgb
    weights = error.new_tensor(BT601_Y).div(255).view(1, 3, 1, 1)
    return (error * weights).sum(1).abs().mean() + RGB_SHARE * rgb
