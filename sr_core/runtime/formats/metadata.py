"""What is kept of an image file beside its pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Metadata:
    """Each part is None or empty where the file does not state it, or not soundly."""

    icc_profile: bytes | None = None
    exif: bytes = b""
    """As the file has it."""
    dpi: tuple[float, float] | None = None
    """Dots per inch across and down."""
    png_colour: tuple[tuple[bytes, bytes], ...] = ()
    """Kind and content of the PNG chunks that say what the values mean: gamma and the like."""

    orientation: int = 1
    """1 is upright, 2 to 8 are EXIF's turns and mirrorings."""

    def info(self) -> dict[str, Any]:
        """Return what is stated, by the names that Pillow has for it in `Image.info`."""
        return {name: getattr(self, name) for name in KEPT if getattr(self, name)}


KEPT = ("icc_profile", "exif", "dpi", "png_colour")
"""Names in `Image.info` that go from an image to the one made of it."""
