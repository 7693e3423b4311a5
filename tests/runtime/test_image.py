from __future__ import annotations

import io
import struct
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from sr_core.errors import InvalidImage
from sr_core.runtime.image import (
    MAX_PIXELS_CLI,
    check_output,
    join,
    network_input,
    open_image,
    quantise,
    result_mode,
    save_image,
    split,
)
from tests.tiny import drawn

LIMIT = 2_000_000


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def png(
    width: int, height: int, depth: int, colour: int, pixels: bytes, trns: bytes = b""
) -> bytes:
    """A PNG file; `colour` is 0 grey, 2 RGB, 4 grey + alpha, 6 RGBA."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + (chunk(b"tRNS", trns) if trns else b"")
        + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    )  # fmt: skip


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds no pixels."""
    return png(width, height, 8, 2, b"")


def deep_png(colour: int, trns: bytes = b"") -> bytes:
    """A black 10x9 PNG of 16 bits per channel."""
    channels = {0: 1, 2: 3, 4: 2, 6: 4}[colour]
    return png(10, 9, 16, colour, zlib.compress(bytes((1 + 2 * channels * 10) * 9)), trns)


def deep_tiff(channels: int) -> bytes:
    """A black 10x9 TIFF of 16 bits per channel: grey (1), RGB (3), RGBA (4)."""
    depths, pixels = 146, 154  # where they begin in the file
    photometric = 1 if channels == 1 else 2
    tags = {
        256: 10, 257: 9, 258: 16 if channels == 1 else depths, 259: 1, 262: photometric,
        273: pixels, 277: channels, 278: 9, 279: 180 * channels, 338: 2, 339: 1,
    }  # fmt: skip
    if channels < 4:
        del tags[338]
    content = b"II*\0\x08\0\0\0" + struct.pack("<H", len(tags))
    for tag, value in tags.items():
        content += struct.pack("<HHII", tag, 3, channels if tag == 258 else 1, value)
    return content.ljust(depths, b"\0") + struct.pack("<4H", *[16] * 4) + bytes(180 * channels)


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
    "moves.png": (frames("PNG"), "2 frames or pages"),
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


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(orientation: int) -> None:
    upright = drawn(24, 16)
    undo: dict[int, list[Image.Transpose]] = {
        1: [],
        2: [Image.Transpose.FLIP_LEFT_RIGHT],
        3: [Image.Transpose.ROTATE_180],
        4: [Image.Transpose.FLIP_TOP_BOTTOM],
        5: [Image.Transpose.TRANSPOSE],
        6: [Image.Transpose.ROTATE_90],
        7: [Image.Transpose.TRANSVERSE],
        8: [Image.Transpose.ROTATE_270],
    }
    stored = upright
    for step in undo[orientation]:
        stored = stored.transpose(step)
    exif = Image.Exif()
    exif[0x112] = orientation
    image = open_image(io.BytesIO(encoded(stored, "PNG", exif=exif)), max_pixels=LIMIT)
    assert image.size == upright.size
    assert (np.asarray(image) == np.asarray(upright)).all()
    assert image.getexif().get(0x112, 1) == 1


def round_trip(image: Image.Image) -> Image.Image:
    """What upscaling does to an image, with a network that changes nothing."""
    planes = split(image)
    values = network_input(planes.pixels)
    assert values.shape == (1, 3, image.height, image.width)
    assert values.dtype == np.float32
    assert 0 <= values.min() <= values.max() <= 1
    return join(Image.fromarray(quantise(values[0], planes.pixels)), planes)


def deep_grey() -> Image.Image:
    values = np.random.default_rng(0).integers(0, 65536, (12, 10))
    return Image.fromarray(values.astype(np.uint16))


def transparent(mode: str) -> Image.Image:
    image = drawn(10, 12).convert("RGBA")
    image.putalpha(drawn(10, 12, seed=1).convert("L"))
    return image.convert(mode)


def palette(**options: object) -> Image.Image:
    """A palette image as read from a PNG; `transparency` is an index, or bytes of alphas."""
    return Image.open(io.BytesIO(encoded(drawn(10, 12).convert("P"), "PNG", **options)))


KEPT: dict[str, tuple[Callable[[], Image.Image], str]] = {
    "RGB": (lambda: drawn(10, 12), "RGB"),
    "L": (lambda: drawn(10, 12).convert("L"), "L"),
    "LA": (lambda: transparent("LA"), "LA"),
    "RGBA": (lambda: transparent("RGBA"), "RGBA"),
    "P": (palette, "RGB"),
    "P with one transparent colour": (lambda: palette(transparency=3), "RGBA"),
    "P with alphas": (lambda: palette(transparency=bytes(range(0, 250, 50))), "RGBA"),
    "L with one transparent grey": (
        lambda: Image.open(io.BytesIO(encoded(drawn(10, 12).convert("L"), "PNG", transparency=9))),
        "LA",
    ),
    "1": (lambda: drawn(10, 12).convert("1"), "L"),
    "CMYK": (lambda: drawn(10, 12).convert("CMYK"), "RGB"),
    "I;16": (deep_grey, "I;16"),
    "I": (lambda: Image.fromarray(np.asarray(deep_grey()).astype(np.int32)), "I;16"),
}  # fmt: skip


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


def test_colour_profile_is_kept(tmp_path: Path) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    image = open_image(
        io.BytesIO(encoded(drawn(10, 12), "PNG", icc_profile=profile)), max_pixels=LIMIT
    )
    for suffix in (".png", ".jpg", ".webp", ".tif"):
        save_image(round_trip(image), tmp_path / f"out{suffix}")
        with Image.open(tmp_path / f"out{suffix}") as saved:
            assert saved.info["icc_profile"] == profile


def test_profile_of_inks_is_dropped() -> None:
    image = drawn(10, 12).convert("CMYK")
    image.info["icc_profile"] = b"inks"
    assert "icc_profile" not in round_trip(image).info


@pytest.mark.parametrize("suffix", [".png", ".PNG", ".webp", ".tif", ".tiff", ".bmp"])
@pytest.mark.parametrize("kind", ["RGB", "L", "LA", "RGBA", "I;16"])
def test_saved_image_is_exact_or_refused(tmp_path: Path, suffix: str, kind: str) -> None:
    image, path = KEPT[kind][0](), tmp_path / f"out{suffix}"
    lossy = {".webp": {"I;16"}, ".bmp": {"LA", "RGBA", "I;16"}}.get(suffix, set[str]())
    if kind in lossy:
        with pytest.raises(InvalidImage, match=r"cannot hold the image's .*save it as PNG"):
            save_image(image, path)
        assert list(tmp_path.iterdir()) == []
        return
    save_image(image, path)
    with Image.open(path) as saved:
        restored = saved if kind == "I;16" else saved.convert(kind)
        assert (np.asarray(restored) == np.asarray(image)).all()
    assert list(tmp_path.iterdir()) == [path]


def test_jpeg_is_close_and_refuses_transparency(tmp_path: Path) -> None:
    path = tmp_path / "out.jpg"
    with pytest.raises(InvalidImage, match="JPEG cannot hold the image's transparency"):
        save_image(transparent("RGBA"), path)
    assert list(tmp_path.iterdir()) == []
    save_image(Image.new("RGB", (16, 16), (200, 100, 50)), path)
    with Image.open(path) as saved:
        assert np.abs(np.asarray(saved, dtype=int) - (200, 100, 50)).max() <= 3


@pytest.mark.parametrize("name", ["out.gif", "out", "out.png.txt"])
def test_unknown_suffix_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidImage, match=rf"Cannot save {name}: expected \.png, \.webp"):
        save_image(drawn(8, 8), tmp_path / name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("suffix", "limit"), [(".webp", 16_383), (".jpg", 65_500)])
def test_too_large_for_the_format_is_refused(tmp_path: Path, suffix: str, limit: int) -> None:
    path = tmp_path / f"out{suffix}"
    save_image(Image.new("L", (limit, 1)), path)
    path.unlink()
    with pytest.raises(InvalidImage, match=rf"{limit + 1}x1 pixels, its limit is {limit} a side"):
        save_image(Image.new("L", (limit + 1, 1)), path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("kind", "name", "expected"),
    [
        ("RGB", "out.gif", "expected .png"),
        ("RGBA", "out.jpg", "JPEG cannot hold the image's transparency"),
        ("P with one transparent colour", "out.bmp", "BMP cannot hold the image's transparency"),
        ("I;16", "out.webp", "WEBP cannot hold the image's 16 bits"),
        ("RGB", "gone/out.png", "Cannot save out.png in .*gone: give a folder that exists"),
        ("RGB", "file.txt/out.png", "Cannot save out.png in .*file.txt"),
        ("RGB", "folder.png", "folder.png is a folder: give the name of a file"),
        ("RGB", f"{'o' * 252}.png", r"\(File name too long\)"),
    ],
)
def test_output_is_checked_before_there_is_any(
    tmp_path: Path, kind: str, name: str, expected: str
) -> None:
    (tmp_path / "file.txt").touch()
    (tmp_path / "folder.png").mkdir()
    with KEPT[kind][0]() as image:
        check_output(image, 4, tmp_path / "out.png")
        with pytest.raises(InvalidImage, match=expected):
            check_output(image, 4, tmp_path / name)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file.txt", "folder.png"]


@pytest.mark.parametrize(("suffix", "limit"), [(".webp", 16_383), (".jpg", 65_500)])
def test_size_of_the_output_is_checked(tmp_path: Path, suffix: str, limit: int) -> None:
    side = limit // 4
    check_output(Image.new("L", (8, side)), 4, tmp_path / f"out{suffix}")
    with pytest.raises(InvalidImage, match=rf"32x{4 * side + 4} pixels, its limit is {limit}"):
        check_output(Image.new("L", (8, side + 1)), 4, tmp_path / f"out{suffix}")


def test_a_full_disk_loses_neither_the_old_file_nor_the_image(
    tmp_path: Path, user_data: Path, full: set[Path]
) -> None:
    path = tmp_path / "out.png"
    path.write_bytes(b"old")
    full.add(path)
    with pytest.raises(InvalidImage, match=r"Cannot write .*out\.png \(No space left") as caught:
        save_image(drawn(8, 8), path)
    assert path.read_bytes() == b"old"
    (kept,) = (user_data / "kept").iterdir()
    assert f"kept in {kept}: " in str(caught.value)
    with Image.open(kept) as image:
        assert (np.asarray(image) == np.asarray(drawn(8, 8))).all()


def test_command_line_takes_more_pixels_than_the_page() -> None:
    with pytest.raises(InvalidImage, match="limit here is 16 million"):
        open_image(io.BytesIO(png_header(4001, 4000)), max_pixels=MAX_PIXELS_CLI)
