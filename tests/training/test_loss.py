from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")
import torch

from sr_core.quality.metrics import luma
from sr_core.training.loss import RGB_SHARE, distance


def images(seed: int) -> torch.Tensor:
    """Two images of 8 bits, as floats in 0..1."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(256, (2, 3, 5, 7), generator=generator).float() / 255


def test_rgb_is_the_mean_absolute_difference() -> None:
    one, other = images(0), images(1)
    assert distance(one, other, "rgb").item() == pytest.approx((one - other).abs().mean().item())


def test_y_counts_luma_as_the_metric_does() -> None:
    one, other = images(0), images(1)
    rows = [(all_of * 255).round().byte().permute(0, 2, 3, 1) for all_of in (one, other)]
    y, other_y = (np.stack([luma(image.numpy()) for image in row]) for row in rows)
    expected = np.abs(y - other_y).mean() / 255 + RGB_SHARE * distance(one, other, "rgb").item()
    assert distance(one, other, "y").item() == pytest.approx(float(expected), rel=1e-5)


def test_a_colour_that_luma_does_not_see_still_counts() -> None:
    grey = torch.full((1, 3, 2, 2), 0.5)
    tinted = grey + torch.tensor([128.553, -65.481, 0.0]).view(1, 3, 1, 1) / 1000
    assert distance(tinted, grey, "y").item() == pytest.approx(
        RGB_SHARE * distance(tinted, grey, "rgb").item(), rel=1e-4
    )
