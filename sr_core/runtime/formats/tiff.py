"""TIFF: the tags that make the pixels, what is kept of the rest, and what Pillow reads wrong.

Pillow forgets that white may be zero in 16 bits, leaves 12 bits dark, and takes signed values for
unsigned ones. The first two are mended here, the rest is refused.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImagePalette

from sr_core.errors import InvalidImage
from sr_core.runtime.formats.ifd import Directory, resolution, turn
from sr_core.runtime.formats.metadata import Metadata
from sr_core.runtime.formats.problems import too_deep

UNREADABLE = (
    "This TIFF is damaged, or stores its pixels in a way that is not read here: save it as PNG."
)
_BITS, _COMPRESSION, _PHOTOMETRIC, _SAMPLES = 258, 259, 262, 277
_COLOURS, _INK_SET, _SAMPLE_FORMAT, _PROFILE = 320, 332, 339, 34675
PIXEL_TAGS = frozenset(
    {254, 255, 256, 257, 258, 259, 262, 266, 273, 277, 278, 279, 284, 292, 293, 317, 320}
    | {322, 323, 324, 325, 332, 338, 339, 347, 529, 530, 531, 532}
    | set(range(512, 522))
)
"""Sizes, samples, places in the file, compression, palette. The others could only do harm."""
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _INKS, _YCBCR = 0, 1, 5, 6
_DEEP = {12, 16}
_UNSIGNED = {1, 4}
"""4 is undefined: mostly unsigned, and for Pillow to decide."""


@dataclass(frozen=True)
class Layout:
    """What is to be done to the pixels that Pillow reads."""

    bits: int = 8
    inverted: bool = False
    """Deep greyscale in which white is zero."""
    colours: tuple[int, ...] = ()
    """A palette that was written with 8 instead of 16 bits per value: all red, green, blue."""

    def prepare(self, image: Image.Image) -> None:
        """Correct an image before its pixels are decoded."""
        if self.colours and image.mode in {"P", "PA"}:
            image.palette = ImagePalette.raw("RGB;L", bytes(self.colours))

    def correct(self, values: NDArray[np.uint16]) -> NDArray[np.uint16]:
        """Spread deep greyscale over 0..65535, black to white."""
        if self.bits == 12:
            values = values * np.uint16(16) + values // np.uint16(256)  # 4095 becomes 65535
        return ~values if self.inverted else values


def pixels_only(data: bytes) -> tuple[bytes, Metadata, Layout]:
    """Return a TIFF of the same pixels and nothing else, the metadata, and what to correct.

    Raises `InvalidImage` for what Pillow would misread.
    """
    stripped = bytearray(data)
    try:
        tags = Directory(stripped)
        layout = _layout(tags)
        metadata = Metadata(
            icc_profile=tags.raw(_PROFILE), dpi=resolution(tags), orientation=turn(tags)
        )
        tags.keep(PIXEL_TAGS)
        if layout.inverted:
            tags.set_integer(_PHOTOMETRIC, _BLACK_IS_ZERO)
    except ValueError:
        raise InvalidImage(UNREADABLE) from None
    return bytes(stripped), metadata, layout


def _layout(tags: Directory) -> Layout:
    depths = tags.integers(_BITS) or (1,)
    bits, samples = max(depths), tags.integer(_SAMPLES) or 1
    photometric = tags.integer(_PHOTOMETRIC) or _WHITE_IS_ZERO
    grey = photometric in {_WHITE_IS_ZERO, _BLACK_IS_ZERO} and samples == 1
    if not set(tags.integers(_SAMPLE_FORMAT)) <= _UNSIGNED or (grey and bits > 16):
        raise InvalidImage(
            "The image holds floating-point, signed or 32-bit values, whose range is unknown: "
            "save it as an 8-bit or 16-bit image."
        )
    if bits > 8 and not grey:
        raise too_deep(bits)
    if bits > 8 and bits not in _DEEP:
        raise InvalidImage(f"The image has {bits} bits per pixel: save it with 8 or 16 bits.")
    misread = photometric == _YCBCR and tags.integer(_COMPRESSION) in {None, 1} and samples > 1
    if misread or (photometric == _INKS and tags.integer(_INK_SET) == 2):
        raise InvalidImage(UNREADABLE)
    colours = tags.integers(_COLOURS)
    return Layout(
        bits,
        inverted=bits > 8 and photometric == _WHITE_IS_ZERO,
        colours=colours if colours and max(colours) < 256 else (),
    )
