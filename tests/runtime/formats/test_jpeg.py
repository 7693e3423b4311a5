from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from sr_core.runtime.image import split
from sr_core.runtime.read import open_image
from tests.runtime.files import ORIENTATION, block, encoded, with_segments
from tests.tiny import drawn

PICTURE = drawn(20, 14)
PLAIN = open_image(io.BytesIO(with_segments(PICTURE)))
EXIF, ICC = b"Exif\0\0", b"ICC_PROFILE\0"

HARMLESS = {
    "a short JFIF": (0xE0, b"JFIF"),
    "a JFIF without density": (0xE0, b"JFIF\0\1\1"),
    "a JFIF extension": (0xE0, b"JFXX\0\x10"),
    "EXIF of noise": (0xE1, EXIF + b"noise"),
    "an empty EXIF": (0xE1, EXIF),
    "EXIF cut short": (0xE1, EXIF + block({271: (2, b"a maker of cameras")})[:20]),
    "EXIF that points beyond its end": (0xE1, EXIF + b"II*\0\xff\xff\xff\x7f"),
    "EXIF that points into itself": (0xE1, EXIF + block({0x8769: (4, [8])})),
    "a maker of fractions": (0xE1, EXIF + block({271: (10, [0, -1])})),
    "a resolution over 0": (0xE1, EXIF + block({0x11A: (5, [72, 0]), 0x128: (3, [2])})),
    "a resolution of letters": (0xE1, EXIF + block({0x11A: (2, b"many dots\0"), 0x128: (3, [2])})),
    "a place that is not there": (0xE1, EXIF + block({0x8825: (4, [9999])})),
    "a tag of unknown type": (0xE1, EXIF + block({271: (99, b"abcd")})),
    "a profile without a number": (0xE2, ICC),
    "one part of two of a profile": (0xE2, ICC + b"\1\2" + bytes(200)),
    "a profile of noise": (0xE2, ICC + b"\1\1" + bytes(200)),
    "a broken list of more pictures": (0xE2, b"MPF\0II*\0\xff\xff\xff\xff"),
    "a broken block of Photoshop": (0xED, b"Photoshop 3.0\0" + b"8BIM\3\xed\0\0\0\0\0\1a"),
    "a short block of Adobe": (0xEE, b"Adobe"),
    "an empty comment": (0xFE, b""),
    "a segment of an unknown kind": (0xEB, b"anything"),
}  # fmt: skip


@pytest.mark.parametrize("what", list(HARMLESS))
def test_metadata_never_decides_whether_pixels_are_read(what: str) -> None:
    image = open_image(io.BytesIO(with_segments(PICTURE, HARMLESS[what])))
    assert image.size == PICTURE.size
    assert image.tobytes() == PLAIN.tobytes()


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("odd", [(10, [0, -1]), (99, b"abcd"), (2, b""), (5, [1, 0])])
def test_orientation_is_read_whatever_the_other_tags_are(
    order: str, odd: tuple[int, list[int] | bytes]
) -> None:
    exif = block({ORIENTATION: (3, [6]), 271: odd, 0x11A: odd}, order)
    image = open_image(io.BytesIO(with_segments(PICTURE, (0xE1, EXIF + exif))))
    expected = PLAIN.transpose(Image.Transpose.ROTATE_270)
    assert (np.asarray(image) == np.asarray(expected)).all()


def test_a_picture_behind_the_photo_is_ignored_even_if_it_is_broken() -> None:
    photo = encoded(PICTURE, "MPO", save_all=True, append_images=[drawn(20, 14, seed=1)])
    for cut in (0, 100):
        assert open_image(io.BytesIO(photo[: len(photo) - cut])).size == PICTURE.size


def test_a_profile_in_parts_is_joined_in_their_order() -> None:
    from PIL import ImageCms

    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    parts = ((0xE2, ICC + b"\2\2" + profile[200:]), (0xE2, ICC + b"\1\2" + profile[:200]))
    image = open_image(io.BytesIO(with_segments(PICTURE, *parts)))
    assert split(image).info["icc_profile"] == profile
