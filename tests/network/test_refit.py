from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sr_core.network.bicubic import bicubic_kernel
from sr_core.network.bt601 import OFFSET, YCBCR
from sr_core.network.candidate import LayerPruning, uniform
from sr_core.network.colour import CHANNELS, Colour
from sr_core.network.extract import extract
from sr_core.network.masks import layer_mask
from sr_core.network.refit import Moments, of_colour, refit
from sr_core.quality.moments import moments
from tests import tiny

IMAGES = [np.asarray(tiny.drawn(61, 53, seed)) for seed in range(4)]


def patches(colour: Colour) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """(n, c 25 + 1) of the same images, cut one by one."""
    rows: list[np.ndarray[tuple[int], np.dtype[np.float64]]] = []
    for image in IMAGES:
        planes = (image / 255.0).transpose(2, 0, 1)
        if colour == "luma":
            planes = np.tensordot(YCBCR[:1], planes, 1) + OFFSET[0]
        for y in range(0, image.shape[0] - 4, 3):
            for x in range(0, image.shape[1] - 4, 3):
                rows.append(np.append(planes[:, y : y + 5, x : x + 5].ravel(), 1.0))
    return np.stack(rows)


@pytest.mark.parametrize("colour", CHANNELS)
def test_moments_are_means_over_all_patches(colour: Colour) -> None:
    cut = patches(colour)
    expected = cut.T @ cut / len(cut)
    np.testing.assert_allclose(of_colour(moments(IMAGES), colour), expected, rtol=1e-9)


def fitted(pruning: LayerPruning, colour: Colour, second: Moments):
    weight = bicubic_kernel(4, CHANNELS[colour])
    weight = weight + np.random.default_rng(0).normal(0, 0.01, weight.shape).astype(np.float32)
    bias = np.full(len(weight), 0.01, dtype=np.float32)
    mask = layer_mask(weight, pruning)
    return weight, bias, mask, *refit(weight, bias, mask, second)


@pytest.mark.parametrize("colour", CHANNELS)
@pytest.mark.parametrize("scheme", ["block", "unstructured"])
def test_kept_taps_are_the_least_squares_solution(colour: Colour, scheme: str) -> None:
    cut, second = patches(colour), of_colour(moments(IMAGES), colour)
    weight, bias, mask, new, new_bias = fitted(LayerPruning(scheme, 0.8), colour, second)  # pyright: ignore[reportArgumentType]
    wanted = cut[:, :-1] @ weight.reshape(len(weight), -1).T + bias
    assert (new[~mask] == 0).all()
    without = np.mean((cut[:, :-1] @ (weight * mask).reshape(len(weight), -1).T - wanted) ** 2)
    for output in range(0, len(weight), 5):
        kept = np.append(mask[output].ravel(), True)
        best = np.linalg.lstsq(cut[:, kept], wanted[:, output], rcond=None)[0]
        got = np.append(new[output].ravel(), new_bias[output])[kept]
        errors = [np.mean((cut[:, kept] @ taps - wanted[:, output]) ** 2) for taps in (got, best)]
        assert errors[0] <= 1.01 * errors[1] + 1e-9
        assert errors[0] < without / 10


def test_what_fits_already_stays() -> None:
    second = moments(IMAGES)
    _, _, mask, new, new_bias = fitted(LayerPruning("block", 0.8), "rgb", second)
    again, bias = refit(new, new_bias, mask, second)
    np.testing.assert_array_equal(again, new)
    np.testing.assert_array_equal(bias, new_bias)


def test_extraction_refits_where_moments_are_known() -> None:
    supernet = tiny.supernet(2, colour="luma")
    blocks = ("residual",) * tiny.CELLS
    dense = uniform(scale=2, width=tiny.WIDTH, blocks=blocks, colour="luma")
    candidate = replace(dense, input_skip=LayerPruning("block", 0.5))
    plain = extract(supernet, candidate).input_skip
    fitted = extract(replace(supernet, moments=moments(IMAGES)), candidate).input_skip
    np.testing.assert_array_equal(plain.mask, fitted.mask)
    assert plain.mask.mean() == pytest.approx(0.5, abs=0.03)
    assert np.abs(plain.weight - fitted.weight).max() > 0.01
    assert (fitted.weight[~fitted.mask] == 0).all()
