"""PNG: the chunks that make the pixels, and what is kept of the rest.

Only the former reach Pillow, for which one bad checksum in a comment is the end of the image.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from sr_core.runtime.formats import exif
from sr_core.runtime.formats.ifd import plausible
from sr_core.runtime.formats.metadata import Metadata
from sr_core.runtime.formats.problems import damaged, too_deep

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_COLOUR_BYTES = {b"gAMA": 4, b"cHRM": 32, b"sRGB": 1, b"cICP": 4}
_MAX_UNPACKED = 16_000_000
"""Bytes of a colour profile or an EXIF block; more is an attack."""
_RAW_EXIF = b"Raw profile type exif\0"
_GREY, _RGB, _PALETTE = 0, 2, 3


@dataclass(frozen=True)
class _Chunk:
    kind: bytes
    data: bytes
    whole: bool
    """Whether the content is all there and fits its checksum."""

    @property
    def critical(self) -> bool:
        return self.kind[:1].isupper()

    def encoded(self) -> bytes:
        crc = zlib.crc32(self.kind + self.data)
        return struct.pack(">I", len(self.data)) + self.kind + self.data + struct.pack(">I", crc)


def pixels_only(data: bytes) -> tuple[bytes, Metadata]:
    """Return a PNG of the same pixels and nothing else, and the metadata.

    Raises `InvalidImage` if the pixels or the palette do not fit their checksum, or have 16 bits
    and are not grey without transparency.
    """
    header, transparent, kept, rest = b"", b"", [SIGNATURE], dict[bytes, bytes]()
    for chunk in _chunks(data):
        if chunk.critical:
            if not chunk.whole and chunk.kind != b"IEND":  # behind which nothing can be missing
                raise damaged()
            header = header or (chunk.data if chunk.kind == b"IHDR" else b"")
            kept.append(chunk.encoded())
        elif chunk.kind == b"tRNS" and chunk.whole and len(header) == 13:
            kept.append(transparent := _transparency(header, chunk.data))
        elif chunk.whole:
            rest.setdefault(chunk.kind, chunk.data)
            if chunk.kind in (b"tEXt", b"zTXt") and chunk.data.startswith(_RAW_EXIF):
                rest.setdefault(_RAW_EXIF, chunk.kind + chunk.data)
    if header[8:9] == b"\x10" and (header[9] != _GREY or transparent):
        raise too_deep(16)
    return b"".join(kept), _metadata(rest)


def _chunks(data: bytes) -> Iterator[_Chunk]:
    at = len(SIGNATURE)
    while at + 8 <= len(data):
        (length,), kind = struct.unpack_from(">I", data, at), data[at + 4 : at + 8]
        content = data[at + 8 : at + 8 + length]
        crc = data[at + 8 + length : at + 12 + length]
        yield _Chunk(kind, content, crc == struct.pack(">I", zlib.crc32(kind + content)))
        at += 12 + length
        if kind == b"IEND":
            return


def _transparency(header: bytes, data: bytes) -> bytes:
    """Return the chunk as Pillow needs it, nothing if it does not fit the kind of image."""
    depth, colour = header[8], header[9]
    if colour == _PALETTE and 1 <= len(data) <= 256:
        return _Chunk(b"tRNS", data, whole=True).encoded()
    if len(data) != {_GREY: 2, _RGB: 6}.get(colour):
        return b""
    largest = 2**depth - 1
    values = [value & largest for value in struct.unpack(f">{len(data) // 2}H", data)]
    if 1 < depth < 8:  # Pillow spreads the pixels over 0..255, but not this value
        values = [value * 255 // largest for value in values]
    return _Chunk(b"tRNS", struct.pack(f">{len(values)}H", *values), whole=True).encoded()


def _metadata(rest: dict[bytes, bytes]) -> Metadata:
    block = rest.get(b"eXIf") or _raw_exif(rest.get(_RAW_EXIF, b""))
    return Metadata(
        icc_profile=_unpacked(rest.get(b"iCCP", b"").partition(b"\0")[2]),
        exif=block,
        dpi=_dpi(rest.get(b"pHYs", b"")) or exif.dpi(block),
        png_colour=tuple(
            (kind, rest[kind]) for kind, n in _COLOUR_BYTES.items() if len(rest.get(kind, b"")) == n
        ),
        orientation=exif.orientation(block),
    )


def _unpacked(data: bytes) -> bytes | None:
    """Return what a byte 0 (the method) and zlib data hold, None if that is broken or too long."""
    unpacker = zlib.decompressobj()
    try:
        content = unpacker.decompress(data[1:], _MAX_UNPACKED) if data[:1] == b"\0" else b""
    except zlib.error:
        return None
    return content if unpacker.eof else None


def _raw_exif(chunk: bytes) -> bytes:
    """Return the block that older ImageMagick writes: a text of a name, a length and hex digits."""
    kind, content = chunk[:4], chunk[4 + len(_RAW_EXIF) :]
    text = _unpacked(content) if kind == b"zTXt" else content
    try:
        return bytes.fromhex("".join((text or b"").decode("ascii").split("\n")[3:]))
    except ValueError:
        return b""


def _dpi(data: bytes) -> tuple[float, float] | None:
    if len(data) != 9 or data[8] != 1:  # else the unit is unknown
        return None
    across, down = struct.unpack(">II", data[:8])
    # Whole dots per inch do not survive the rounding to dots per metre otherwise.
    return plausible((round(across * 0.0254, 2), round(down * 0.0254, 2)))
