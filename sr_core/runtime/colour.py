"""Colours of other kinds to RGB, through the profile of the file where it has one."""

from __future__ import annotations

import io
from typing import Any

from PIL import Image, ImageCms

_SPACES = {"L": "GRAY", "LA": "GRAY", "I;16": "GRAY", "RGB": "RGB", "RGBA": "RGB"}
"""What a profile must describe to belong to an image of this mode."""


def converted(image: Image.Image, mode: str) -> Image.Image:
    """Return the image in `mode`: L, LA, RGB or RGBA.

    CMYK goes through its profile to sRGB, or without one by inverting the inks. Lab goes to sRGB.
    """
    if image.mode == mode:
        return image
    if image.mode == "LAB":
        return _to_srgb(image, ImageCms.createProfile("LAB")).convert(mode)
    if image.mode == "CMYK" and (inks := _profile(image, "CMYK")):
        return _to_srgb(image, inks).convert(mode)
    return image.convert(mode)


def profile(image: Image.Image, mode: str) -> bytes | None:
    """Return the colour profile that an image has once it is in `mode`, None if there is none.

    A damaged profile is none, and neither is that of another kind of colour.
    """
    space = _SPACES[mode]
    if image.mode in {"CMYK", "LAB"} or _profile(image, space) is None:
        return None
    return image.info["icc_profile"]


def in_srgb(image: Image.Image) -> Image.Image:
    """Return a copy of an L, RGB, LA or RGBA image in sRGB, for formats without profiles."""
    own = _profile(image, _SPACES[image.mode])
    if own is None:
        return image
    alpha = image.getchannel("A") if image.mode.endswith("A") else None
    result = _to_srgb(image.convert(image.mode.removesuffix("A")), own)
    if image.mode.startswith("L"):
        result = result.convert("L")
    if alpha is not None:
        result.putalpha(alpha)
    result.info = {k: v for k, v in image.info.items() if k != "icc_profile"}
    return result


def _profile(image: Image.Image, space: str) -> ImageCms.ImageCmsProfile | None:
    content = image.info.get("icc_profile")
    if not content:
        return None
    try:
        found = ImageCms.ImageCmsProfile(io.BytesIO(content))
    except (OSError, ValueError):
        return None
    stated: str = getattr(found.profile, "xcolor_space", "")  # Pillow types it too widely
    return found if stated.strip() == space else None


def _to_srgb(image: Image.Image, source: Any) -> Image.Image:
    """Convert with the perceptual intent, which is the default of profiles and of browsers."""
    result = ImageCms.profileToProfile(
        image, source, ImageCms.createProfile("sRGB"), outputMode="RGB"
    )
    assert result is not None  # it is None only where a conversion is in place
    return result
