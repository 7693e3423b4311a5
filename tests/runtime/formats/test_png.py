from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sr_core.errors import InvalidImage
from sr_core.runtime.image import split
from sr_core.runtime.read import open_image
from tests.runtime.files import ORIENTATION, block, chunk, encoded, png, with_chunks
from tests.tiny import drawn

PICTURE = drawn(20, 14)
BOMB = zlib.compress(bytes(3_000_000))
HUGE = zlib.compress(bytes(20_000_000))


def read(content: bytes) -> Image.Image:
    return open_image(io.BytesIO(content))


HARMLESS = {
    "more than 1 MB of packed text": chunk(b"zTXt", b"a\0\0" + BOMB),
    "the same in iTXt": chunk(b"iTXt", b"a\0\1\0\0\0" + BOMB),
    "a packed text of noise": chunk(b"zTXt", b"a\0\0not zlib"),
    "a text packed in an unknown way": chunk(b"zTXt", b"a\0\7" + BOMB),
    "much text": chunk(b"tEXt", b"a\0" + b"b" * 900_000) * 80,
    "a text without a name": chunk(b"tEXt", b""),
    "a wrong checksum in a text": chunk(b"tEXt", b"a\0b", sound=False),
    "a wrong checksum in a profile": chunk(b"iCCP", b"a\0\0" + BOMB, sound=False),
    "a profile of noise": chunk(b"iCCP", b"a\0\0not zlib"),
    "a profile of zeros": chunk(b"iCCP", b"a\0\0" + BOMB),
    "a huge profile": chunk(b"iCCP", b"a\0\0" + HUGE),
    "a profile packed in an unknown way": chunk(b"iCCP", b"a\0\7" + BOMB),
    "an empty profile": chunk(b"iCCP", b""),
    "a wrong checksum in the gamma": chunk(b"gAMA", bytes(4), sound=False),
    "a short gamma": chunk(b"gAMA", b"\1"),
    "a short chromaticity": chunk(b"cHRM", bytes(31)),
    "an empty sRGB": chunk(b"sRGB", b""),
    "a short resolution": chunk(b"pHYs", bytes(3)),
    "no dots per metre": chunk(b"pHYs", bytes(8) + b"\1"),
    "a time": chunk(b"tIME", b"\1"),
    "EXIF of noise": chunk(b"eXIf", b"not exif at all"),
    "an empty EXIF": chunk(b"eXIf", b""),
    "a wrong checksum in the EXIF": chunk(b"eXIf", block({}), sound=False),
    "text that says it is EXIF": chunk(b"tEXt", b"Raw profile type exif\0\nexif\n  9\nxyz"),
    "a chunk that nobody knows": chunk(b"abCd", b"anything"),
    "a transparency for RGB that is short": chunk(b"tRNS", b"\0"),
    "a broken animation": chunk(b"acTL", b"\0") + chunk(b"fcTL", b"\0"),
    "frames behind nothing": chunk(b"fdAT", bytes(9)),
}


@pytest.mark.parametrize("what", list(HARMLESS))
def test_metadata_never_decides_whether_pixels_are_read(what: str) -> None:
    for behind in (False, True):
        image = read(with_chunks(PICTURE, HARMLESS[what], behind=behind))
        assert (image.mode, image.size) == ("RGB", PICTURE.size)
        assert image.tobytes() == PICTURE.tobytes()
        assert not image.has_transparency_data


def test_a_file_that_ends_within_or_behind_its_metadata_is_read() -> None:
    whole = with_chunks(PICTURE, chunk(b"tEXt", b"a\0" + b"b" * 50), behind=True)
    for cut in range(1, 70):
        assert read(whole[:-cut]).tobytes() == PICTURE.tobytes()


@pytest.mark.parametrize("kind", [b"IHDR", b"PLTE", b"IDAT"])
def test_a_wrong_checksum_of_what_makes_the_pixels_is_an_error(kind: bytes) -> None:
    content = bytearray(encoded(PICTURE.convert("P"), "PNG"))
    at = content.index(kind)
    (length,) = struct.unpack(">I", content[at - 4 : at])
    content[at + 4 + length] ^= 1
    with pytest.raises(InvalidImage, match=r"^The image file is cut short or damaged: [^.]*\.$"):
        read(bytes(content))


def test_an_animated_png_is_its_still_image() -> None:
    moving = encoded(PICTURE, "PNG", save_all=True, append_images=[drawn(20, 14, seed=1)])
    assert b"acTL" in moving
    assert read(moving).tobytes() == PICTURE.tobytes()


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("packed", [True, False])
def test_exif_in_a_text_of_older_imagemagick_turns_the_image(order: str, packed: bool) -> None:
    raw = block({ORIENTATION: (3, [6])}, order)
    text = f"\nexif\n    {len(raw)}\n{raw.hex()[:20]}\n{raw.hex()[20:]}\n".encode()
    name = b"Raw profile type exif\0"
    content = (
        chunk(b"zTXt", name + b"\0" + zlib.compress(text))
        if packed
        else chunk(b"tEXt", name + text)
    )
    assert read(with_chunks(PICTURE, content)).size == (14, 20)


@pytest.mark.parametrize(
    ("depth", "key", "others"),
    [(1, 1, 0), (2, 2, 1), (4, 9, 1), (8, 200, 7), (8, 0x1200 + 200, 7), (4, 0xFF09, 1)],
)
def test_one_transparent_grey_of_any_depth(depth: int, key: int, others: int) -> None:
    """The key is a value of the file, whose upper bits do not count, not one of 0..255."""
    value, side = key & (2**depth - 1), 8
    values = np.full((side, side), others)
    values[2:4] = value
    bits = (values[..., None] >> np.arange(depth - 1, -1, -1)) & 1
    rows = np.packbits(bits.reshape(side, -1).astype(np.uint8), axis=1)
    pixels = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    content = png(side, side, depth, 0, pixels, chunk(b"tRNS", struct.pack(">H", key)))
    planes = split(read(content))
    assert planes.alpha is not None
    assert (np.asarray(planes.alpha) == np.where(values == value, 0, 255)).all()
    top = 2**depth - 1
    assert (planes.pixels == values * 255 // top).all()


def test_one_transparent_colour_and_a_palette_of_alphas() -> None:
    pixels = zlib.compress(b"".join(b"\0" + bytes([9, 8, 7]) * 4 + bytes([1, 2, 3]) * 4
                                    for _ in range(8)))  # fmt: skip
    key = struct.pack(">3H", 9, 8, 0x0107)
    alpha = split(read(png(8, 8, 8, 2, pixels, chunk(b"tRNS", key)))).alpha
    assert alpha is not None
    assert np.asarray(alpha)[0].tolist() == [0] * 4 + [255] * 4

    pixels = zlib.compress((b"\0" + bytes([0, 1, 2, 3] * 2)) * 8)
    palette = chunk(b"PLTE", bytes(range(12)))
    alpha = split(read(png(8, 8, 8, 3, pixels, palette, chunk(b"tRNS", b"\x00\x80\xff")))).alpha
    assert alpha is not None
    assert np.asarray(alpha)[0].tolist() == [0, 128, 255, 255] * 2


def test_16_bit_grey_keeps_all_its_bits() -> None:
    values = np.random.default_rng(0).integers(0, 65536, (8, 8)).astype(">u2")
    pixels = zlib.compress(b"".join(b"\0" + row.tobytes() for row in values))
    assert (split(read(png(8, 8, 16, 0, pixels))).pixels == values).all()


def test_what_the_page_shows_it_takes(tmp_path: Path) -> None:
    """Browsers show a picture whatever its texts are."""
    path = tmp_path / "much text.png"
    path.write_bytes(with_chunks(PICTURE, HARMLESS["more than 1 MB of packed text"]))
    assert open_image(path).tobytes() == PICTURE.tobytes()
