"""Image files made byte by byte, as no library writes them."""

from __future__ import annotations

import io
import itertools
import struct
import zlib
from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image

from sr_core.runtime.formats.png import SIGNATURE

ORIENTATION = 0x112
Tags = Mapping[int, tuple[int, Sequence[int] | bytes]]
"""Type (3 short, 4 long, 5 fraction, ...) and values, or the bytes as they are."""
CODES = {1: "B", 3: "H", 4: "I", 5: "I", 6: "b", 8: "h", 9: "i", 10: "i", 16: "Q"}


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def chunk(kind: bytes, data: bytes, *, sound: bool = True) -> bytes:
    """A PNG chunk; one that is not sound has a wrong checksum."""
    crc = zlib.crc32(kind + data) ^ (not sound)
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", crc)


def png(
    width: int, height: int, depth: int, colour: int, pixels: bytes, *chunks: bytes
) -> bytes:  # fmt: skip
    """A PNG file; `colour` is 0 grey, 2 RGB, 3 palette, 4 grey + alpha, 6 RGBA."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    body = (chunk(b"IHDR", header), *chunks, chunk(b"IDAT", pixels), chunk(b"IEND", b""))
    return SIGNATURE + b"".join(body)


def with_chunks(image: Image.Image, *chunks: bytes, behind: bool = False) -> bytes:
    """`image` as a PNG with more chunks before, or behind, its pixels."""
    content = encoded(image, "PNG")
    at = content.index(b"IEND" if behind else b"IDAT") - 4
    return content[:at] + b"".join(chunks) + content[at:]


def with_segments(image: Image.Image, *segments: tuple[int, bytes]) -> bytes:
    """`image` as a JPEG with more segments, each a marker and its content, at its start."""
    content = encoded(image, "JPEG", quality=95, subsampling=0)
    made = (struct.pack(">BBH", 0xFF, marker, len(data) + 2) + data for marker, data in segments)
    return content[:2] + b"".join(made) + content[2:]


def with_riff(image: Image.Image, *chunks: tuple[bytes, bytes]) -> bytes:
    """`image` as a lossless WebP with more chunks behind it."""
    content = encoded(image, "WEBP", lossless=True)
    pixels = content[12:]
    flags = struct.pack("<I", 0x2C) + (image.width - 1).to_bytes(3, "little")
    flags += (image.height - 1).to_bytes(3, "little")
    body = b"WEBPVP8X" + struct.pack("<I", len(flags)) + flags + pixels
    for kind, data in chunks:
        body += kind + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def directory(tags: Tags, order: str, offset: int, following: int = 0) -> bytes:
    """A directory that stands at `offset`, followed by its values."""
    entries, values = b"", b""
    behind = offset + 2 + 12 * len(tags) + 4
    for tag, (kind, content) in sorted(tags.items()):
        raw = content if isinstance(content, bytes) else _packed(kind, content, order)
        size = {5: 8, 10: 8, 2: 1, 7: 1}.get(kind) or struct.calcsize("=" + CODES.get(kind, "B"))
        place = raw.ljust(4, b"\0")
        if len(raw) > 4:
            place = struct.pack(order + "I", behind + len(values))
            values += raw
        entries += struct.pack(order + "HHI", tag, kind, len(raw) // size) + place
    return (
        struct.pack(order + "H", len(tags)) + entries + struct.pack(order + "I", following) + values
    )


def _packed(kind: int, values: Sequence[int], order: str) -> bytes:
    return struct.pack(order + CODES[kind] * len(values), *values)


def block(tags: Tags, order: str = "<") -> bytes:
    """An EXIF block of one directory."""
    header = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8)
    return header + directory(tags, order, 8)


def tiff(width: int, height: int, pixels: bytes, tags: Tags, order: str = "<") -> bytes:
    """A TIFF of one strip. `tags` come on top of size, strip and no compression."""
    header = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8 + len(pixels))
    strip: Tags = {
        256: (4, [width]), 257: (4, [height]), 259: (3, [1]), 273: (4, [8]),
        278: (4, [height]), 279: (4, [len(pixels)]),
    }  # fmt: skip
    return header + pixels + directory({**strip, **tags}, order, 8 + len(pixels))


def big_tiff(width: int, height: int, pixels: bytes, tags: Tags, order: str = "<") -> bytes:
    """A BigTIFF of one strip; values of tags must fit into 8 bytes."""
    strip: Tags = {
        256: (4, [width]), 257: (4, [height]), 259: (3, [1]), 273: (4, [16]),
        278: (4, [height]), 279: (4, [len(pixels)]),
    }  # fmt: skip
    all_tags = {**strip, **tags}
    magic = b"II+\0" if order == "<" else b"MM\0+"
    content = magic + struct.pack(order + "HHQ", 8, 0, 16 + len(pixels)) + pixels
    content += struct.pack(order + "Q", len(all_tags))
    for tag, (kind, values) in sorted(all_tags.items()):
        assert not isinstance(values, bytes)
        raw = _packed(kind, values, order)
        content += struct.pack(order + "HHQ", tag, kind, len(values)) + raw.ljust(8, b"\0")
    return content + bytes(8)


def packed_bits(values: np.ndarray, bits: int) -> bytes:
    """Rows of `values`, `bits` each, highest bit first, every row padded to whole bytes."""
    shifts = np.arange(bits - 1, -1, -1)
    rows = (values[..., None] >> shifts) & 1
    return np.packbits(rows.reshape(len(values), -1).astype(np.uint8), axis=1).tobytes()


def grey_profile() -> bytes:
    """A colour profile of greyscale with gamma 1."""
    curve, white = b"curv" + bytes(8), b"XYZ " + bytes(4) + struct.pack(">3i", 63190, 65536, 54061)
    header = _profile_header(128 + 4 + 24 + 32, b"mntr", b"GRAY", b"XYZ ")
    table = struct.pack(">I4sII4sII", 2, b"wtpt", 156, 20, b"kTRC", 176, 12)
    return header + table + white + curve


def _profile_header(size: int, kind: bytes, colours: bytes, connection: bytes) -> bytes:
    return struct.pack(
        ">I4sI4s4s4s12s4s4sI4s4sQI3i4s44x", size, b"", 0x02400000, kind, colours, connection,
        bytes(12), b"acsp", b"", 0, b"", b"", 0, 0, 63190, 65536, 54061, b"",
    )  # fmt: skip


def ink_profile() -> bytes:
    """A colour profile of CMYK by which cyan ink is green, and black ink takes the lightness."""
    grid = itertools.product((0, 255), repeat=4)
    lab = bytearray()
    for cyan, magenta, yellow, black in grid:
        light = 255 - (cyan // 5 + magenta // 4 + yellow // 16)
        lightness = light * (255 - black) // 255
        colour = (128 - cyan // 4 + magenta // 4, 128 + yellow // 4 + cyan // 8)
        lab += bytes([lightness, *(colour if black == 0 else (128, 128))])
    ramp = bytes(range(256))
    identity = struct.pack(">9i", 65536, 0, 0, 0, 65536, 0, 0, 0, 65536)
    table = b"mft1" + bytes(4) + bytes([4, 3, 2, 0]) + identity + ramp * 4 + bytes(lab) + ramp * 3
    header = _profile_header(128 + 4 + 12 + len(table), b"prtr", b"CMYK", b"Lab ")
    return header + struct.pack(">I4sII", 1, b"A2B0", 144, len(table)) + table
