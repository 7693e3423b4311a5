"""Colours of other kinds to RGB, through the profile of the file where it has one."""

from __future__ import annotations

import io
from typing import Any

from PIL import Image, ImageCms

_SPACES = {
    "L": "GRAY", "LA": "GRAY", "I;16": "GRAY", "RGB": "RGB", "RGBA": "RGB", "CMYK": "CMYK",
}  # fmt: skip
"""What a profile must describe to belong to an image of this mode."""


def converted(image: Image.Image, mode: str) -> Image.Image:
    """Return the image in `mode`: L, LA, RGB or RGBA.

    CMYK goes through its profile to sRGB, or without a sound one by inverting the inks. Lab goes to
    sRGB.
    """
    if image.mode == mode:
        return image
    found = None
    if image.mode == "LAB":
        found = _to_srgb(image, ImageCms.createProfile("LAB"))
    elif image.mode == "CMYK":
        found = _to_srgb(image, _profile(image, "CMYK"))
    return (found or image).convert(mode)


def profile(image: Image.Image, mode: str) -> bytes | None:
    """Return the colour profile that an image has once it is in `mode`, None if there is none.

    A damaged profile is none, and neither is that of another kind of colour.
    """
    if image.mode in {"CMYK", "LAB"} or _profile(image, mode) is None:
        return None
    return image.info["icc_profile"]


def in_srgb(image: Image.Image) -> Image.Image:
    """Return an L, LA, RGB or RGBA image in sRGB, without profile, for formats that have none."""
    mode = image.mode.removesuffix("A")
    colours = _to_srgb(image.convert(mode), _profile(image, mode))
    if colours is None:
        return image
    result = colours.convert(mode)
    if image.mode != mode:
        result.putalpha(image.getchannel("A"))
    result.info = {name: value for name, value in image.info.items() if name != "icc_profile"}
    return result


def _profile(image: Image.Image, mode: str) -> Any:
    """Return the image's profile, None unless it is sound and describes such colours."""
    content = image.info.get("icc_profile")
    try:
        found: Any = ImageCms.ImageCmsProfile(io.BytesIO(content)) if content else None
        return found if found and found.profile.xcolor_space.strip() == _SPACES[mode] else None
    except (OSError, ValueError):
        return None


def _to_srgb(image: Image.Image, source: Any) -> Image.Image | None:
    """Convert by the perceptual intent, the default of profiles and browsers; None if it fails."""
    if source is None:
        return None
    try:
        return ImageCms.profileToProfile(
            image, source, ImageCms.createProfile("sRGB"), outputMode="RGB"
        )
    except ImageCms.PyCMSError:  # the header is sound, its tables are not
        return None
