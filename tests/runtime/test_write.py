from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from sr_core.errors import InvalidImage
from sr_core.runtime.read import open_image
from sr_core.runtime.write import check_output, save_image
from tests.runtime.files import encoded
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
