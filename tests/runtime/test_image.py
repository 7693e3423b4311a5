from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from PIL import Image

from sr_core.errors import InvalidImage
from sr_core.runtime.image import network_input, quantise, result_mode, split
from tests.runtime.kinds import KEPT, deep_grey, round_trip
from tests.tiny import drawn


@pytest.mark.parametrize("kind", list(KEPT))
def test_every_kind_of_image_comes_back_unchanged(kind: str) -> None:
    make, mode = KEPT[kind]
    image = make()
    with image:
        result = round_trip(image)
        assert result.mode == result_mode(image) == mode
        expected = np.asarray(image if mode == "I;16" else image.convert(mode))
    assert (np.asarray(result) == expected).all()


def test_grey_input_gives_three_equal_planes() -> None:
    for image in (drawn(10, 12).convert("L"), deep_grey()):
        rgb = network_input(split(image).pixels)[0]
        assert (rgb == rgb[0]).all()


def test_splitting_takes_no_more_than_the_pixels() -> None:
    """Three bytes a pixel, and as many again while Pillow hands them over."""
    image = drawn(500, 400)
    tracemalloc.start()
    split(image)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 7 * 500 * 400


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.zeros((9, 9), np.float32), "floating-point"),
        (np.full((9, 9), 70_000, np.int32), "more than 16 bits"),
        (np.full((9, 9), -1, np.int32), "more than 16 bits"),
    ],
)
def test_values_of_unknown_range_are_refused(values: np.ndarray, expected: str) -> None:
    with pytest.raises(InvalidImage, match=expected):
        split(Image.fromarray(values))


@pytest.mark.parametrize("levels", [8, 16])
def test_values_are_rounded_and_clipped(levels: int) -> None:
    image = drawn(8, 8).convert("L") if levels == 8 else deep_grey()
    source = split(image).pixels
    top = 2**levels - 1
    sr = np.array([-0.1, 0.4 / top, 0.6 / top, 1 - 0.6 / top, 1.7], dtype=np.float32)
    pixels = quantise(np.broadcast_to(sr, (3, 1, 5)), source)
    assert pixels.tolist() == [[0, 0, 1, top - 1, top]]
    assert pixels.dtype == f"uint{levels}"


def test_profile_of_inks_is_dropped() -> None:
    image = drawn(10, 12).convert("CMYK")
    image.info["icc_profile"] = b"inks"
    assert "icc_profile" not in round_trip(image).info
