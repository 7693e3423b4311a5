"""Pixels from files of every format, whatever stands beside them."""

from __future__ import annotations

import io
import zlib
from pathlib import Path

import numpy as np
import pytest

from sr_core.errors import InvalidImage
from sr_core.runtime.read import MAX_PIXELS_CLI, open_image
from tests.runtime.files import chunk, encoded, png, tiff
from tests.tiny import drawn

LIMIT = 2_000_000


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds no pixels."""
    return png(width, height, 8, 2, b"")


def deep_png(colour: int, trns: bytes = b"") -> bytes:
    """A black 10x9 PNG of 16 bits per channel."""
    channels = {0: 1, 2: 3, 4: 2, 6: 4}[colour]
    chunks = [chunk(b"tRNS", trns)] if trns else []
    return png(10, 9, 16, colour, zlib.compress(bytes((1 + 2 * channels * 10) * 9)), *chunks)


def deep_tiff(channels: int) -> bytes:
    """A black 10x9 TIFF of 16 bits per channel: grey (1), RGB (3), RGBA (4)."""
    tags: dict[int, tuple[int, list[int]]] = {
        258: (3, [16] * channels),
        262: (3, [1 if channels == 1 else 2]),
        277: (3, [channels]),
    }
    if channels == 4:
        tags[338] = (3, [2])
    return tiff(10, 9, bytes(180 * channels), tags)


def frames(kind: str) -> bytes:
    return encoded(drawn(20, 20), kind, save_all=True, append_images=[drawn(20, 20, seed=1)])


BAD_FILES = {
    "text.png": (b"not an image", "not a readable image: expected one of PNG, JPEG"),
    "empty.png": (b"", "file is empty"),
    "short.png": (encoded(drawn(40, 40), "PNG")[:-200], "cut short or damaged"),
    "short.jpg": (encoded(drawn(40, 40), "JPEG")[:-200], "cut short or damaged"),
    "short.tif": (encoded(drawn(40, 40), "TIFF")[:-200], "cut short or damaged"),
    "stub.jpg": (encoded(drawn(40, 40), "JPEG")[:30], "not a readable image"),
    "drawing.svg": (b'<svg xmlns="http://www.w3.org/2000/svg"/>', "SVG is a vector drawing"),
    "vector.eps": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not a readable image"),
    "dot.png": (encoded(drawn(1, 1), "PNG"), "1x1 pixels: at least 8x8"),
    "line.png": (encoded(drawn(100, 7), "PNG"), "100x7 pixels: at least 8x8"),
    "large.png": (png_header(2000, 1001), "2000x1001 = 2.0 million .* limit here is 2 million"),
    "bomb.png": (png_header(60_000, 60_000), "beyond the limit of 2 million pixels"),
    "deep rgb.png": (deep_png(2), "16 bits per channel, .* save it with 8 bits"),
    "deep grey and alpha.png": (deep_png(4), "16 bits per channel"),
    "deep rgba.png": (deep_png(6), "16 bits per channel"),
    "deep grey, one transparent.png": (deep_png(0, b"\0\x09"), "16 bits per channel"),
    "deep rgb.tif": (deep_tiff(3), "16 bits per channel"),
    "deep rgba.tif": (deep_tiff(4), "16 bits per channel"),
    "moves.gif": (frames("GIF"), "2 frames or pages"),
    "moves.webp": (frames("WEBP"), "2 frames or pages"),
    "pages.tif": (frames("TIFF"), "2 frames or pages"),
}  # fmt: skip


@pytest.mark.parametrize("name", list(BAD_FILES))
def test_bad_file_is_refused_in_one_sentence(tmp_path: Path, name: str) -> None:
    content, expected = BAD_FILES[name]
    (tmp_path / name).write_bytes(content)
    for source in (tmp_path / name, io.BytesIO(content)):
        with pytest.raises(InvalidImage) as caught:
            open_image(source, max_pixels=LIMIT)
        message = str(caught.value)
        assert "\n" not in message
        assert message.endswith(".")
        if isinstance(source, Path):
            assert caught.match(expected)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("", "is a folder"), ("missing.png", "no file .*missing.png"), ("a.txt/b.png", "be read")],
)
def test_a_path_without_a_file_is_refused(tmp_path: Path, name: str, expected: str) -> None:
    (tmp_path / "a.txt").touch()
    with pytest.raises(InvalidImage, match=expected):
        open_image(tmp_path / name, max_pixels=LIMIT)


def test_limits_are_inclusive() -> None:
    for size in ((8, 8), (40, 50)):
        content = io.BytesIO(encoded(drawn(*size), "PNG"))
        assert open_image(content, max_pixels=2000).size == size
    with pytest.raises(InvalidImage, match="40x50"):
        open_image(io.BytesIO(encoded(drawn(40, 50), "PNG")), max_pixels=1999)


@pytest.mark.parametrize("content", [deep_png(0), deep_tiff(1)])
def test_16_bit_greyscale_without_alpha_is_read(content: bytes) -> None:
    image = open_image(io.BytesIO(content), max_pixels=LIMIT)
    assert (image.mode, image.size) == ("I;16", (10, 9))


def test_photo_with_an_embedded_preview_is_one_image() -> None:
    """Phones write MPO, a JPEG with more pictures behind the photo."""
    image = open_image(io.BytesIO(frames("MPO")), max_pixels=LIMIT)
    assert np.abs(np.asarray(image, dtype=int) - np.asarray(drawn(20, 20))).mean() < 20


def test_command_line_takes_more_pixels_than_the_page() -> None:
    with pytest.raises(InvalidImage, match="limit here is 16 million"):
        open_image(io.BytesIO(png_header(4001, 4000)), max_pixels=MAX_PIXELS_CLI)
