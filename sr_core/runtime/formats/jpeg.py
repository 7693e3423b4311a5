"""JPEG: the segments that make the pixels, and what is kept of the rest."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from sr_core.runtime.formats import exif
from sr_core.runtime.formats.ifd import plausible
from sr_core.runtime.formats.metadata import Metadata

_SCAN, _END = 0xDA, 0xD9
_APP0, _APP1, _APP2, _APP14, _COMMENT = 0xE0, 0xE1, 0xE2, 0xEE, 0xFE
_ICC = b"ICC_PROFILE\0"
_JFIF_BYTES, _ADOBE_BYTES = 14, 12
"""Shorter ones mean nothing to libjpeg either."""


def pixels_only(data: bytes) -> tuple[bytes, Metadata]:
    """Return a JPEG of the same pixels and nothing else, and the metadata.

    What cannot be followed is left as it is, for the decoder to judge. Pictures behind the
    first one, as phones add them, are not part of it.
    """
    kept, others = [data[:2]], list[tuple[int, bytes]]()
    for marker, content in _segments(data):
        if marker == _SCAN:
            return b"".join((*kept, content)), _metadata(others)
        others.append((marker, content))
        if not _is_metadata(marker, content):
            kept.append(struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content)
    return data, Metadata()


def _segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield marker and content up to the first scan, which is yielded with all that follows."""
    at = 2
    while (at := data.find(b"\xff", at)) >= 0 and at + 4 <= len(data):
        marker = data[at + 1]
        if marker == _SCAN:
            yield marker, data[at:]
            return
        if marker == _END:
            return
        if marker < 0xC0 or 0xD0 <= marker <= 0xD8 or marker == 0xFF:  # filling, or junk
            at += 1
            continue
        (length,) = struct.unpack_from(">H", data, at + 2)
        yield marker, data[at + 4 : at + 2 + length]
        at += 2 + max(length, 2)


def _is_metadata(marker: int, content: bytes) -> bool:
    """Tell whether a segment is neither pixels nor says how their colours are coded."""
    if marker == _APP0:
        return not (content.startswith(b"JFIF\0") and len(content) >= _JFIF_BYTES)
    if marker == _APP14:
        return not (content.startswith(b"Adobe") and len(content) >= _ADOBE_BYTES)
    return _APP0 <= marker <= 0xEF or marker == _COMMENT


def _metadata(segments: list[tuple[int, bytes]]) -> Metadata:
    blocks = [
        content.removeprefix(exif.PREFIX)
        for marker, content in segments
        if marker == _APP1 and content.startswith(exif.PREFIX)
    ]
    block = b"".join(blocks)
    return Metadata(
        icc_profile=_profile(segments),
        exif=block,
        dpi=_dpi(segments) or exif.dpi(block),
        orientation=exif.orientation(block),
    )


def _profile(segments: list[tuple[int, bytes]]) -> bytes | None:
    """Join the parts of the colour profile, each numbered from 1; None if one is missing."""
    parts = {
        (content[12], content[13]): content[14:]
        for marker, content in segments
        if marker == _APP2 and content.startswith(_ICC) and len(content) > 14
    }
    if sorted(parts) != [(number, len(parts)) for number in range(1, len(parts) + 1)]:
        return None
    return b"".join(parts[key] for key in sorted(parts)) or None


def _dpi(segments: list[tuple[int, bytes]]) -> tuple[float, float] | None:
    for marker, content in segments:
        if marker == _APP0 and content.startswith(b"JFIF\0") and len(content) >= _JFIF_BYTES:
            unit, across, down = struct.unpack_from(">BHH", content, 7)
            per_inch = {1: 1.0, 2: 2.54}.get(unit)
            return plausible((across * per_inch, down * per_inch)) if per_inch else None
    return None
