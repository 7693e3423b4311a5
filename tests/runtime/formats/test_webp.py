from __future__ import annotations

import io

import pytest
from PIL import Image

from sr_core.runtime.read import open_image
from tests.runtime.files import ORIENTATION, block, with_riff
from tests.tiny import drawn

PICTURE = drawn(20, 14)
HARMLESS = {
    "EXIF of noise": (b"EXIF", b"noise"),
    "an odd tag": (b"EXIF", block({271: (10, [0, -1])})),
    "XMP of noise": (b"XMP ", b"<"),
    "a profile of noise": (b"ICCP", b"noise"),
    "a chunk that nobody knows": (b"abcd", b"efg"),
}


@pytest.mark.parametrize("what", list(HARMLESS))
def test_metadata_never_decides_whether_pixels_are_read(what: str) -> None:
    whole = with_riff(PICTURE, HARMLESS[what])
    for content in (whole, whole[:-1], whole[:-3]):  # the end of the chunk may be missing
        assert open_image(io.BytesIO(content)).tobytes() == PICTURE.tobytes()


@pytest.mark.parametrize("prefix", [b"", b"Exif\0\0"])
def test_orientation_is_read_beside_an_odd_tag(prefix: bytes) -> None:
    exif = block({ORIENTATION: (3, [6]), 271: (10, [0, -1])})
    image = open_image(io.BytesIO(with_riff(PICTURE, (b"EXIF", prefix + exif))))
    assert image.tobytes() == PICTURE.transpose(Image.Transpose.ROTATE_270).tobytes()
