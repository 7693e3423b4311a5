"""WebP: the chunks that make the pixels, and what is kept of the rest."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from sr_core.runtime.formats import exif
from sr_core.runtime.formats.metadata import Metadata

_PIXELS = (b"VP8 ", b"VP8L", b"VP8X", b"ALPH", b"ANIM", b"ANMF")
_METADATA_FLAGS = 0x20 | 0x08 | 0x04
"""Bits of VP8X that announce a colour profile, EXIF and XMP."""


def pixels_only(data: bytes) -> tuple[bytes, Metadata]:
    """Return a WebP of the same pixels and nothing else, and the metadata."""
    kept, others = list[bytes](), dict[bytes, bytes]()
    for kind, length, content in _chunks(data):
        if kind == b"VP8X" and content:
            content = bytes([content[0] & ~_METADATA_FLAGS]) + content[1:]
        if kind in _PIXELS:
            kept.append(kind + struct.pack("<I", length) + content + b"\0" * (length % 2))
        elif len(content) == length:
            others.setdefault(kind, content)
    body = b"WEBP" + b"".join(kept)
    block = others.get(b"EXIF", b"")
    metadata = Metadata(
        icc_profile=others.get(b"ICCP"),
        exif=block,
        dpi=exif.dpi(block),
        orientation=exif.orientation(block),
    )
    return b"RIFF" + struct.pack("<I", len(body)) + body, metadata


def _chunks(data: bytes) -> Iterator[tuple[bytes, int, bytes]]:
    """Yield kind, stated length and content. The last content may be shorter than stated."""
    at = 12
    while at + 8 <= len(data):
        kind, length = struct.unpack_from("<4sI", data, at)
        yield kind, length, data[at + 8 : at + 8 + length]
        at += 8 + length + length % 2
