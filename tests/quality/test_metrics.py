from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from sr_core.quality.datasets import benchmark_pairs, bicubic
from sr_core.quality.metrics import Image8, Reference, luma, psnr_rgb, psnr_y, ssim_y

# PSNR of Pillow's bicubic upscaling for x2, x3 and x4 (protocols.md).
BICUBIC = {
    "Set5": (33.67, 30.40, 28.43),
    "Set14": (30.23, 27.54, 25.99),
    "BSD100": (29.56, 27.21, 25.96),
}
# Published SSIM of MATLAB's bicubic on Set5 (Kim et al., VDSR, CVPR 2016, table 2).
BICUBIC_SSIM = {2: 0.9299, 3: 0.8682, 4: 0.8104}


def upscaled(folder: Path, scale: int) -> list[tuple[Image8, Image8]]:
    return [
        (bicubic(pair.lr, pair.hr.shape[1], pair.hr.shape[0]), pair.hr)
        for pair in benchmark_pairs(folder / "HR", folder / f"LRx{scale}", scale)
    ]


@pytest.mark.shared
@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("name", BICUBIC)
def test_bicubic_psnr_is_the_published_one(shared_data: Path, name: str, scale: int) -> None:
    pairs = upscaled(shared_data / "benchmark" / name, scale)
    mean = np.mean([psnr_y(sr, hr, shave=scale) for sr, hr in pairs])
    assert mean == pytest.approx(BICUBIC[name][scale - 2], abs=0.02)


@pytest.mark.shared
@pytest.mark.parametrize("scale", BICUBIC_SSIM)
def test_bicubic_ssim_is_the_published_one(shared_data: Path, scale: int) -> None:
    pairs = upscaled(shared_data / "benchmark" / "Set5", scale)
    mean = np.mean([ssim_y(sr, hr, shave=scale) for sr, hr in pairs])
    assert mean == pytest.approx(BICUBIC_SSIM[scale], abs=0.001)


def image_pair(rng: np.random.Generator) -> tuple[Image8, Image8]:
    """Two related images with some structure, 40x30."""
    first = rng.integers(0, 256, size=(30, 40, 3), dtype=np.uint8)
    noise = rng.integers(-40, 41, size=first.shape)
    return first, np.clip(first + noise, 0, 255).astype(np.uint8)


@pytest.mark.parametrize(
    ("colour", "expected"), [((0, 0, 0), 16.0), ((255, 255, 255), 235.0), ((255, 0, 0), 81.481)]
)
def test_luma_spans_16_to_235(colour: tuple[int, int, int], expected: float) -> None:
    assert luma(np.array([[colour]], dtype=np.uint8)) == pytest.approx(expected)


def test_psnr_by_hand() -> None:
    """A luma difference of 1 everywhere: 20 log10(255)."""
    grey = np.full((8, 8), 100, dtype=np.uint8)
    assert psnr_y(grey, grey + np.uint8(1), shave=2) == pytest.approx(48.1308, abs=1e-4)


def test_ssim_equals_its_definition(rng: np.random.Generator) -> None:
    first, second = image_pair(rng)
    expected = plain_ssim(luma(first)[2:-2, 2:-2], luma(second)[2:-2, 2:-2])
    assert 0.2 < expected < 0.98
    assert ssim_y(first, second, shave=2) == pytest.approx(expected, abs=1e-9)


def plain_ssim(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """Wang et al. 2004, equations 13 to 17, window by window."""
    bell = np.exp(-(np.arange(-5.0, 6.0) ** 2) / (2 * 1.5**2))
    window = np.outer(bell, bell) / bell.sum() ** 2

    def weighted(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return (sliding_window_view(values, (11, 11)) * window).sum(axis=(2, 3))

    mean_x, mean_y = weighted(x), weighted(y)
    var_x, var_y = weighted(x * x) - mean_x**2, weighted(y * y) - mean_y**2
    covariance = weighted(x * y) - mean_x * mean_y
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    likeness = (2 * mean_x * mean_y + c1) * (2 * covariance + c2)
    return float(np.mean(likeness / ((mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2))))


def test_identical_images(rng: np.random.Generator) -> None:
    image, _ = image_pair(rng)
    assert psnr_y(image, image.copy(), shave=4) == float("inf")
    assert ssim_y(image, image.copy(), shave=4) == pytest.approx(1.0)


def test_only_the_border_is_ignored(rng: np.random.Generator) -> None:
    image, _ = image_pair(rng)
    framed, touched = image.copy(), image.copy()
    framed[:3], framed[-3:], framed[:, :3], framed[:, -3:] = 0, 0, 0, 0
    assert psnr_y(framed, image, shave=3) == float("inf")
    assert psnr_y(framed, image, shave=2) < 60
    assert ssim_y(framed, image, shave=3) == pytest.approx(1.0)
    assert ssim_y(framed, image, shave=2) < 0.9999
    for y, x in ((3, 3), (3, -4), (-4, 3), (-4, -4)):
        touched[:] = image
        touched[y, x] ^= 255
        assert psnr_y(touched, image, shave=3) < 60


def test_greyscale_is_scored_on_its_raw_values(rng: np.random.Generator) -> None:
    """Not squeezed into 16..235 as the luma of an RGB image is."""
    first, second = (image[:, :, 0] for image in image_pair(rng))
    error = (first.astype(float) - second)[2:-2, 2:-2]
    expected = 10 * np.log10(255**2 / (error**2).mean())
    assert psnr_y(first, second, shave=2) == pytest.approx(expected)
    assert ssim_y(first, second, shave=2) == pytest.approx(
        plain_ssim(first[2:-2, 2:-2].astype(float), second[2:-2, 2:-2].astype(float)), abs=1e-9
    )


def test_sizes_that_cannot_be_scored(rng: np.random.Generator) -> None:
    first, second = image_pair(rng)
    for metric in (psnr_y, ssim_y):
        with pytest.raises(ValueError, match=r"\(30, 40, 3\) against \(30, 39, 3\)"):
            metric(first, second[:, :39], shave=2)
        with pytest.raises(ValueError, match="Nothing is left of 40x30"):
            metric(first, second, shave=15)
    with pytest.raises(ValueError, match="11x11"):
        ssim_y(first, second, shave=10)


@pytest.mark.parametrize("shave", [0, 2, 4])
def test_a_reference_scores_as_the_functions(shave: int, rng: np.random.Generator) -> None:
    first, second = image_pair(rng)
    reference = Reference(second, shave=shave)
    for image in (first, second // 2 + np.uint8(30)):
        expected = psnr_y(image, second, shave=shave), ssim_y(image, second, shave=shave)
        assert reference.scores(image) == pytest.approx(expected, abs=1e-9, rel=0)
    assert reference.scores(second) == (float("inf"), pytest.approx(1))


def test_a_reference_refuses_what_the_functions_refuse(rng: np.random.Generator) -> None:
    first, second = image_pair(rng)
    with pytest.raises(ValueError, match="Shapes differ"):
        Reference(second, shave=0).scores(first[1:])
    with pytest.raises(ValueError, match="SSIM needs 11x11"):
        Reference(second, shave=10)


def test_psnr_rgb_is_over_all_channels(rng: np.random.Generator) -> None:
    image = rng.integers(0, 256, (20, 24, 3)).astype(np.uint8)
    changed = image.copy()
    changed[4:-4, 4:-4, 2] ^= 1  # one channel, by one
    expected = 10 * np.log10(255**2 * 3)
    assert psnr_rgb(changed, image, shave=4) == pytest.approx(expected)
    assert psnr_rgb(image, image, shave=4) == float("inf")
    grey = image[..., 0]
    assert psnr_rgb(grey, changed[..., 1], shave=4) == psnr_y(grey, changed[..., 1], shave=4)
    with pytest.raises(ValueError, match="Nothing is left"):
        psnr_rgb(image, image, shave=10)


def test_psnr_rgb_sees_what_luma_does_not(rng: np.random.Generator) -> None:
    image = rng.integers(60, 200, (20, 24, 3)).astype(np.uint8)
    greyed = np.repeat(luma(image)[..., None].round().astype(np.uint8), 3, axis=2)
    assert psnr_rgb(greyed, image, shave=0) < psnr_y(greyed, image, shave=0)
