from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
import pytest
from PIL import Image

from sr_core.errors import InvalidImage
from sr_core.runtime.formats.tiff import pixels_only
from sr_core.runtime.image import split
from sr_core.runtime.read import open_image
from tests.runtime.files import ORIENTATION, Tags, big_tiff, encoded, packed_bits, tiff
from tests.tiny import drawn

WIDTH, HEIGHT = 13, 9
"""Odd, so that rows of 12 bits do not end with a byte."""
RNG = np.random.default_rng(0)
GREY8 = RNG.integers(0, 256, (HEIGHT, WIDTH), dtype=np.uint8)
GREY16 = RNG.integers(0, 65536, (HEIGHT, WIDTH), dtype=np.uint16)
Make = Callable[[int, int, bytes, Tags, str], bytes]


def read(content: bytes) -> np.ndarray:
    return split(open_image(io.BytesIO(content))).pixels


def grey(bits: int, photometric: int, **more: tuple[int, Sequence[int]]) -> Tags:
    named = {"sample_format": 339, "extra": 338, "samples": 277}
    return {
        258: (3, [bits]), 262: (3, [photometric]), **{named[k]: v for k, v in more.items()},
    }  # fmt: skip


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("make", [tiff, big_tiff])
@pytest.mark.parametrize("photometric", [0, 1])
def test_white_may_be_zero(make: Make, order: Literal["<", ">"], photometric: int) -> None:
    if make is big_tiff and order == ">":
        with pytest.raises(InvalidImage, match="not read here"):  # not by Pillow
            read(make(WIDTH, HEIGHT, GREY8.tobytes(), grey(8, photometric), order))
        return
    for bits, values in ((8, GREY8), (16, GREY16)):
        stored = values if photometric else np.iinfo(values.dtype).max - values
        raw = stored.astype(f"{order}u{values.itemsize}").tobytes()
        assert (read(make(WIDTH, HEIGHT, raw, grey(bits, photometric), order)) == values).all()
    bits = GREY8 > 99
    raw = packed_bits((bits == bool(photometric)).astype(int), 1)
    assert (read(make(WIDTH, HEIGHT, raw, grey(1, photometric), order)) == bits * 255).all()


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate", "packbits"])
def test_white_may_be_zero_in_a_packed_file(compression: str) -> None:
    for values in (GREY8, GREY16):
        plain = bytearray(
            encoded(Image.fromarray(values), "TIFF", compression=compression)
        )  # fmt: skip
        tags = plain.index(b"\x06\x01\x03\0\x01\0\0\0\x01\0")  # photometric: black is zero
        plain[tags + 8] = 0
        assert (read(bytes(plain)) == np.iinfo(values.dtype).max - values).all()


@pytest.mark.parametrize("photometric", [0, 1])
def test_12_bits_are_spread_over_16(photometric: int) -> None:
    values = RNG.integers(0, 4096, (HEIGHT, WIDTH))
    values[0, :2] = 0, 4095
    stored = values if photometric else 4095 - values
    content = tiff(WIDTH, HEIGHT, packed_bits(stored, 12), grey(12, photometric))
    pixels = read(content)
    assert np.abs(pixels - values * (65535 / 4095)).max() <= 1
    assert (pixels[values == 0] == 0).all()
    assert (pixels[values == 4095] == 65535).all()


REFUSED = {
    "10 bits": (grey(10, 1), packed_bits(RNG.integers(0, 1024, (HEIGHT, WIDTH)), 10), "10 bits"),
    "14 bits": (grey(14, 0), packed_bits(RNG.integers(0, 9999, (HEIGHT, WIDTH)), 14), "14 bits"),
    "32 bits": (grey(32, 1), GREY16.astype(np.uint32).tobytes(), "range is unknown"),
    "64 bits": (grey(64, 1), GREY16.astype(np.uint64).tobytes(), "range is unknown"),
    "signed 8 bits": (grey(8, 1, sample_format=(3, [2])), GREY8.tobytes(), "range is unknown"),
    "signed 16 bits": (grey(16, 1, sample_format=(3, [2])), GREY16.tobytes(), "range is unknown"),
    "signed 32": (grey(32, 1, sample_format=(3, [2])), bytes(4 * GREY8.size), "range is unknown"),
    "float": (grey(32, 1, sample_format=(3, [3])), bytes(4 * GREY8.size), "range is unknown"),
    "double": (grey(64, 0, sample_format=(3, [3])), bytes(8 * GREY8.size), "range is unknown"),
    "half": (grey(16, 1, sample_format=(3, [3])), GREY16.tobytes(), "range is unknown"),
    "deep grey and alpha": (
        {**grey(16, 1), 258: (3, [16, 16]), 277: (3, [2]), 338: (3, [2])},
        bytes(4 * GREY8.size), "16 bits per channel",
    ),
    "deep CMYK": (
        {258: (3, [16] * 4), 262: (3, [5]), 277: (3, [4])}, bytes(8 * GREY8.size), "16 bits per",
    ),
    "other inks than CMYK": (
        {258: (3, [8] * 4), 262: (3, [5]), 277: (3, [4]), 332: (3, [2])},
        bytes(4 * GREY8.size), "not read here",
    ),
    "YCbCr without compression": (
        {258: (3, [8] * 3), 262: (3, [6]), 277: (3, [3])}, bytes(3 * GREY8.size), "not read here",
    ),
    "Lab of another form": (
        {258: (3, [8] * 3), 262: (3, [9]), 277: (3, [3])}, bytes(3 * GREY8.size), "not read here",
    ),
    "5 bits of each colour": (
        {258: (3, [5, 6, 5]), 262: (3, [2]), 277: (3, [3])}, bytes(2 * GREY8.size), "not read here",
    ),
}  # fmt: skip


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("make", [tiff, big_tiff])
@pytest.mark.parametrize("what", list(REFUSED))
def test_what_pillow_would_misread_is_refused_in_one_sentence(
    make: Make, what: str, order: str
) -> None:
    tags, pixels, expected = REFUSED[what]
    with pytest.raises(InvalidImage, match=rf"^[^\n]*{expected}[^\n]*\.$"):
        read(make(WIDTH, HEIGHT, pixels, tags, order))


COLOUR = RNG.integers(0, 256, (HEIGHT, WIDTH, 4), dtype=np.uint8)


@pytest.mark.parametrize("separate", [False, True])
@pytest.mark.parametrize("extra", [None, 0, 2])
def test_colour_beside_other_samples(extra: int | None, separate: bool) -> None:
    samples = COLOUR[..., : 3 if extra is None else 4]
    tags: Tags = {
        258: (3, [8] * samples.shape[2]), 262: (3, [2]), 277: (3, [samples.shape[2]]),
        284: (3, [2 if separate else 1]),
    }  # fmt: skip
    if extra is not None:
        tags = {**tags, 338: (3, [extra])}
    stored = samples.transpose(2, 0, 1) if separate else samples
    if separate:
        count, at = samples.shape[2], [8 + i * WIDTH * HEIGHT for i in range(samples.shape[2])]
        tags = {**tags, 273: (4, at), 279: (4, [WIDTH * HEIGHT] * count)}
    content = tiff(WIDTH, HEIGHT, np.ascontiguousarray(stored).tobytes(), tags)
    if separate and extra == 0:  # Pillow takes the samples for too few
        with pytest.raises(InvalidImage, match="not read here"):
            read(content)
        return
    planes = split(open_image(io.BytesIO(content)))
    assert (planes.pixels == samples[..., :3]).all()
    assert (planes.alpha is not None) == (extra == 2)
    if planes.alpha is not None:
        assert (np.asarray(planes.alpha) == samples[..., 3]).all()


def test_lab_becomes_the_colour_it_describes() -> None:
    lab = np.zeros((8, 8, 3), np.uint8)
    lab[:4], lab[4:] = (136, 208, 195), (255, 0, 0)  # sRGB red is about 53, 80, 67; then white
    lab[:4, :, 1:] = (80, 67)
    pixels = read(tiff(8, 8, lab.tobytes(), {258: (3, [8] * 3), 262: (3, [8]), 277: (3, [3])}))
    assert np.abs(pixels[0, 0].astype(int) - (255, 0, 0)).max() < 12
    assert np.abs(pixels[7, 7].astype(int) - 255).max() < 3


def test_a_palette_of_8_bits_is_not_black() -> None:
    """The format has 16 bits; some programs wrote 8."""
    colours = RNG.integers(0, 256, (3, 256))
    colours[:, 7] = 10, 20, 30
    indices = RNG.integers(0, 256, (8, 8), dtype=np.uint8)
    for spread in (1, 257):
        tags: Tags = {
            258: (3, [8]), 262: (3, [3]), 320: (3, (colours * spread).ravel().tolist()),
        }  # fmt: skip
        content = tiff(8, 8, indices.tobytes(), tags)
        assert (read(content) == colours.T[indices]).all()


ODD: dict[int, tuple[int, list[int] | bytes]] = {
    271: (10, [0, -1]), 282: (2, b"dots\0"), 283: (5, [1, 0]), 296: (2, b"inch\0"),
    305: (99, b"abcd"), 34665: (4, [99_999]), 34853: (5, [1, 2]), 700: (1, b"<"), 33723: (4, [1]),
    34675: (7, b"no profile"), 34377: (1, b"8BIM"), 330: (4, [99_999]),
}  # fmt: skip


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("tag", [*ODD, 0])
def test_odd_tags_do_not_decide_whether_pixels_are_read(tag: int, order: str) -> None:
    odd = {tag: ODD[tag]} if tag else ODD
    tags: Tags = {**grey(8, 1), **odd, ORIENTATION: (3, [3])}
    assert (read(tiff(WIDTH, HEIGHT, GREY8.tobytes(), tags, order)) == GREY8[::-1, ::-1]).all()


def test_resolution_and_orientation_come_from_the_tags() -> None:
    tags: Tags = {
        **grey(8, 1), 282: (5, [300, 1]), 283: (5, [150, 1]), 296: (3, [2]), ORIENTATION: (3, [6]),
    }  # fmt: skip
    for make in (tiff, big_tiff):
        metadata = pixels_only(make(WIDTH, HEIGHT, GREY8.tobytes(), grey(8, 1)))[1]
        assert (metadata.dpi, metadata.orientation) == (None, 1)
    image = open_image(io.BytesIO(tiff(WIDTH, HEIGHT, GREY8.tobytes(), tags)))
    assert (image.size, image.info["dpi"]) == ((HEIGHT, WIDTH), (300, 150))


def test_16_bit_grey_of_pillow_comes_back() -> None:
    image = Image.fromarray(GREY16)
    assert (read(encoded(image, "TIFF", compression="tiff_lzw")) == GREY16).all()
    assert (read(encoded(drawn(9, 9), "TIFF")) == np.asarray(drawn(9, 9))).all()
