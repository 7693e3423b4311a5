"""EXIF blocks: how the image is turned, and the block that describes the image made from it."""

from __future__ import annotations

from collections.abc import Sequence, Set

from sr_core.runtime.formats.ifd import ORIENTATION, RESOLUTION, Directory, resolution, turn

PREFIX = b"Exif\0\0"
_EXIF_TAGS = 0x8769
_INNER = (_EXIF_TAGS, 0x8825)
"""Tags that point to the directories of the exposure and of the place."""
_WIDTHS, _HEIGHTS = (0x100, 0xA002), (0x101, 0xA003)
_THUMBNAILS = ((0x201, 0x202), (0x111, 0x117))
"""Tags with place and length of a JPEG thumbnail, and of an uncompressed one."""


def orientation(block: bytes) -> int:
    """Return how the image is turned, 1 (upright) to 8. Anything else counts as upright."""
    tags = _read(block)
    return 1 if tags is None else turn(tags[1])


def dpi(block: bytes) -> tuple[float, float] | None:
    """Return the dots per inch across and down, None if they are not stated."""
    tags = _read(block)
    return None if tags is None else resolution(tags[1])


def upright(block: bytes) -> bytes:
    """Return the block for the turned image, without thumbnail; empty if it is damaged.

    Odd tags are dropped, since some readers refuse the whole image for one of them. All others stay
    byte by byte, so that notes of the camera's maker keep their offsets.
    """
    if (tags := _read(block)) is None:
        return b""
    data, first = tags
    for directory in (first, *_inner(data, first, _INNER)):
        directory.keep({tag for tag in directory.tags() if directory.sound(tag)})
    if resolution(first) is None:
        first.keep(first.tags() - RESOLUTION)
    first.set_integer(ORIENTATION, 1)
    end = _without_thumbnail(data, first)
    return PREFIX + bytes(data[:end])


def resized(block: bytes, size: tuple[int, int]) -> bytes:
    """Return the block for an image of `size`, width and height. Sizes not stated stay so."""
    if (tags := _read(block)) is None:
        return b""
    data, first = tags
    for directory in (first, *_inner(data, first, (_EXIF_TAGS,))):
        for names, value in zip((_WIDTHS, _HEIGHTS), size, strict=True):
            for tag in names:
                directory.set_integer(tag, value)
    return PREFIX + bytes(data)


def without(block: bytes, tags: Set[int]) -> bytes:
    """Return the block without the given tags of its first directory."""
    if (found := _read(block)) is None:
        return b""
    data, first = found
    first.keep(first.tags() - tags)
    return PREFIX + bytes(data)


def _read(block: bytes) -> tuple[bytearray, Directory] | None:
    data = bytearray(block.removeprefix(PREFIX))
    first = _directory(data, None) if data else None
    return None if first is None else (data, first)


def _directory(data: bytearray, offset: int | None) -> Directory | None:
    try:
        return Directory(data, offset)
    except ValueError:
        return None


def _inner(data: bytearray, first: Directory, tags: Sequence[int]) -> list[Directory]:
    """Return the directories that the given tags of the first one point to."""
    places = [first.integer(tag) for tag in tags]
    return [found for at in places if at is not None and (found := _directory(data, at))]


def _without_thumbnail(data: bytearray, first: Directory) -> int:
    """Blank the thumbnail, which shows the old image. Return where the rest of the block ends."""
    end, offset = len(data), first.next()
    first.unlink_next()
    second = _directory(data, offset) if offset else None
    if second is None:
        return end
    for place, length in _THUMBNAILS:
        start, size = second.integer(place) or 0, second.integer(length) or 0
        if 8 <= start <= start + size <= len(data):
            data[start : start + size] = bytes(size)
            end = start if start + size == end else end
    return end
