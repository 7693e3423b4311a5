from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")
import torch
from torch.nn import functional as F

from sr_core.network.bicubic import bicubic_kernel
from sr_core.quality.metrics import luma
from sr_core.training.colour import seen, shown
from tests import tiny


def test_luma_is_that_of_the_score() -> None:
    image = np.asarray(tiny.drawn(20, 12))
    rgb = torch.from_numpy(image.transpose(2, 0, 1)[None] / np.float32(255))
    expected = luma(image)
    np.testing.assert_allclose(seen(rgb, "luma")[0, 0].numpy() * 255, expected, atol=1e-3)
    assert seen(rgb, "rgb") is rgb


@pytest.mark.parametrize("scale", [2, 4])
def test_bicubic_luma_with_its_chroma_is_the_bicubic_image(scale: int) -> None:
    """Interpolation and the change of colours are linear, so their order does not matter."""
    lr = torch.rand(2, 3, 9, 7)

    def bicubic(image: torch.Tensor) -> torch.Tensor:
        kernel = torch.from_numpy(bicubic_kernel(scale, image.shape[1]))
        edged = F.pad(image, (2,) * 4, mode="replicate")
        return F.pixel_shuffle(F.conv2d(edged, kernel), scale)

    got = shown(bicubic(seen(lr, "luma")), lr, "luma", scale)
    torch.testing.assert_close(got, bicubic(lr), atol=1e-5, rtol=0)
    assert shown(lr, lr, "rgb", scale) is lr
