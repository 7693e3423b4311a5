from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from sr_core.errors import InvalidImage
from sr_core.runtime.image import join, split
from sr_core.runtime.read import open_image
from sr_core.runtime.write import check_output, save_image
from tests.runtime.files import (
    ORIENTATION,
    Tags,
    block,
    chunk,
    directory,
    encoded,
    grey_profile,
    with_chunks,
)
from tests.runtime.kinds import KEPT, round_trip, transparent
from tests.tiny import drawn


def test_colour_profile_is_kept(tmp_path: Path) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    image = open_image(io.BytesIO(encoded(drawn(10, 12), "PNG", icc_profile=profile)))
    for suffix in (".png", ".jpg", ".webp", ".tif"):
        save_image(round_trip(image), tmp_path / f"out{suffix}")
        with Image.open(tmp_path / f"out{suffix}") as saved:
            assert saved.info["icc_profile"] == profile


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


EXIF_TAGS: Tags = {
    ORIENTATION: (3, [6]), 271: (2, b"a maker of cameras\0"), 0x100: (3, [14]), 0x101: (3, [20]),
    0x106: (3, [6]), 0x103: (3, [6]), 0x11A: (5, [300, 1]), 0x11B: (5, [300, 1]), 0x128: (3, [2]),
}  # fmt: skip
GAMMA = struct.pack(">I", 100_000)


def exif_with_thumbnail(order: str = "<") -> bytes:
    """A block with sizes in both directories, GPS, and a thumbnail at its end."""
    thumbnail = encoded(drawn(8, 8), "JPEG")
    tags: Tags = {**EXIF_TAGS, 0x8769: (4, [400]), 0x8825: (4, [500])}
    content = block(tags, order).ljust(400, b"\0")
    content += directory({0xA002: (3, [14]), 0xA003: (3, [20])}, order, 400).ljust(100, b"\0")
    content += directory({1: (2, b"N\0")}, order, 500).ljust(100, b"\0")
    second: Tags = {0x201: (4, [700]), 0x202: (4, [len(thumbnail)])}
    content += directory(second, order, 600).ljust(100, b"\0") + thumbnail
    link = 8 + 2 + 12 * len(tags)
    return content[:link] + struct.pack(order + "I", 600) + content[link + 4 :]


def photo(order: str = "<") -> Image.Image:
    """What becomes of a photo with EXIF and a gamma, as large as its networks make it."""
    exif, gamma = chunk(b"eXIf", exif_with_thumbnail(order)), chunk(b"gAMA", GAMMA)
    image = open_image(io.BytesIO(with_chunks(drawn(20, 14), gamma, exif)))
    planes = split(image)
    size = (2 * image.width, 2 * image.height)
    return join(Image.fromarray(planes.pixels).resize(size, Image.Resampling.NEAREST), planes)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif"])
def test_exif_describes_the_new_image(tmp_path: Path, suffix: str, order: str) -> None:
    path = tmp_path / f"out{suffix}"
    save_image(photo(order), path)
    assert encoded(drawn(8, 8), "JPEG")[-60:] not in path.read_bytes()
    with Image.open(path) as saved:
        saved.load()
        exif = saved.getexif()
        assert saved.size == (28, 40)
        assert exif[271].rstrip("\0") == "a maker of cameras"
        assert exif.get(ORIENTATION, 1) == 1
        assert (exif[0x100], exif[0x101]) == (28, 40)
        assert exif[0x11A] == 300
        inner, place = exif.get_ifd(0x8769), exif.get_ifd(0x8825)
        assert (inner[0xA002], inner[0xA003]) == (28, 40)
        assert place[1].rstrip("\0") == "N"
        assert np.abs(np.asarray(saved, int) - np.asarray(photo(order))).mean() < 4
    again = open_image(path)
    assert (again.size, again.info["dpi"]) == ((28, 40), (300, 300))


@pytest.mark.parametrize(
    "odd", [(10, [0, -1]), (99, b"abcd"), (5, [1, 0]), (2, b"\xff\xfe\0"), (3, [1, 2, 3])]
)
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif"])
def test_odd_exif_neither_stops_saving_nor_spoils_the_file(
    tmp_path: Path, suffix: str, odd: tuple[int, list[int] | bytes]
) -> None:
    for tag in (271, 0x11A, 0x100, 0x112, 305, 40_000):
        exif = chunk(b"eXIf", block({tag: odd, 272: (2, b"model\0")}))
        image = open_image(io.BytesIO(with_chunks(drawn(20, 14), exif)))
        save_image(image, tmp_path / f"out{suffix}")
        with Image.open(tmp_path / f"out{suffix}") as saved:
            assert saved.size == (20, 14)
            assert saved.getexif().get(272, "model").rstrip("\0") == "model"


def test_exif_too_long_for_jpeg_is_left_out(tmp_path: Path) -> None:
    exif = chunk(b"eXIf", block({271: (2, b"m" * 70_000 + b"\0")}))
    image = open_image(io.BytesIO(with_chunks(drawn(20, 14), exif)))
    for suffix, kept in ((".jpg", False), (".png", True)):
        save_image(image, tmp_path / f"out{suffix}")
        with Image.open(tmp_path / f"out{suffix}") as saved:
            assert (271 in saved.getexif()) == kept


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".bmp"])
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "BMP"])
def test_resolution_is_kept(tmp_path: Path, kind: str, suffix: str) -> None:
    image = open_image(io.BytesIO(encoded(drawn(20, 14), kind, dpi=(300, 150))))
    save_image(round_trip(image), tmp_path / f"out{suffix}")
    assert open_image(tmp_path / f"out{suffix}").info["dpi"] == pytest.approx((300, 150), abs=0.02)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".bmp", ".webp"])
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "WEBP", "GIF"])
def test_no_resolution_is_made_up(tmp_path: Path, kind: str, suffix: str) -> None:
    image = open_image(io.BytesIO(encoded(drawn(20, 14), kind)))
    save_image(round_trip(image), tmp_path / f"out{suffix}")
    assert "dpi" not in open_image(tmp_path / f"out{suffix}").info


@pytest.mark.parametrize("order", ["<", ">"])
def test_odd_resolutions_are_none(order: str) -> None:
    for across in ([1, 0], [0, 5], [2**32 - 1, 1], [1, 2**32 - 1]):
        tags: Tags = {0x11A: (5, across), 0x11B: (5, [72, 1]), 0x128: (3, [2])}
        exif = chunk(b"eXIf", block(tags, order))
        assert "dpi" not in open_image(io.BytesIO(with_chunks(drawn(20, 14), exif))).info


def test_colour_chunks_of_png_are_kept(tmp_path: Path) -> None:
    chunks = {b"gAMA": GAMMA, b"cHRM": bytes(range(32)), b"sRGB": b"\1", b"cICP": b"\1\2\0\1"}
    content = with_chunks(drawn(20, 14), *(chunk(kind, data) for kind, data in chunks.items()))
    save_image(round_trip(open_image(io.BytesIO(content))), tmp_path / "out.png")
    saved = (tmp_path / "out.png").read_bytes()
    for kind, data in chunks.items():
        assert chunk(kind, data) in saved


def test_jpeg_keeps_the_resolution_of_colours(tmp_path: Path) -> None:
    """Red letters on white: at half the resolution of colours they err by up to 48 levels."""
    pixels = np.full((32, 32, 3), 255, np.uint8)
    pixels[::3, 4:28] = (200, 0, 0)
    save_image(Image.fromarray(pixels), tmp_path / "out.jpg")
    assert np.abs(np.asarray(open_image(tmp_path / "out.jpg"), int) - pixels).max() <= 20


def test_formats_without_profile_get_colours_in_srgb(tmp_path: Path) -> None:
    image = drawn(20, 14)
    image.info["icc_profile"] = swapped_primaries()
    save_image(image, tmp_path / "out.bmp")
    got = np.asarray(open_image(tmp_path / "out.bmp"), int)
    assert np.abs(got - np.asarray(image)[..., ::-1]).max() <= 3
    srgb = drawn(20, 14)
    srgb.info["icc_profile"] = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    save_image(srgb, tmp_path / "out.bmp")
    assert np.abs(np.asarray(open_image(tmp_path / "out.bmp"), int) - np.asarray(srgb)).max() <= 1


@pytest.mark.parametrize("suffix", [".bmp", ".webp"])
def test_formats_without_greyscale_profile_get_grey_in_srgb(tmp_path: Path, suffix: str) -> None:
    image = Image.new("L", (8, 8), 128)
    image.info["icc_profile"] = grey_profile()  # of gamma 1, by which 128 is light
    save_image(image, tmp_path / f"out{suffix}")
    saved = open_image(tmp_path / f"out{suffix}")
    assert "icc_profile" not in saved.info
    assert np.abs(np.asarray(saved.convert("L"), int) - 188).max() <= 1
    save_image(image, tmp_path / "out.png")
    assert open_image(tmp_path / "out.png").info["icc_profile"] == grey_profile()


def swapped_primaries() -> bytes:
    """The profile of sRGB with red and blue exchanged."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    red, blue = profile.index(b"rXYZ"), profile.index(b"bXYZ")
    swapped = bytearray(profile)
    swapped[red : red + 4], swapped[blue : blue + 4] = b"bXYZ", b"rXYZ"
    return bytes(swapped)
