"""Sentences that refuse a file, for whichever format they fit."""

from __future__ import annotations

from sr_core.errors import InvalidImage


def damaged() -> InvalidImage:
    """Return the error for pixels that are not all there."""
    return InvalidImage("The image file is cut short or damaged: save or download it again.")


def too_deep(bits: int) -> InvalidImage:
    """Return the error for more than 8 bits with colour or alpha: Pillow would keep only 8."""
    return InvalidImage(
        f"The image has {bits} bits per channel, which are read only from greyscale without "
        "transparency: save it with 8 bits per channel."
    )
