"""An image to the planes that a network reads, and back.

Kept: colour, greyscale (also 16-bit greyscale), alpha, colour profile and other metadata. CMYK, Lab
and palette images become RGB.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sr_core.errors import InvalidImage
from sr_core.network.colour import RGB
from sr_core.runtime import colour
from sr_core.runtime.formats.metadata import KEPT

Pixels = NDArray[np.uint8 | np.uint16]
Depth = TypeVar("Depth", bound=np.uint8 | np.uint16)


@dataclass(frozen=True)
class Planes:
    """An image split into what the network upscales and what it does not."""

    pixels: Pixels
    """(H, W, 3) uint8 colours; or (H, W) grey, uint8 or uint16."""
    alpha: Image.Image | None
    """Mode L; upscaled by bicubic interpolation, apart from the colours."""
    info: dict[str, Any]
    """Metadata for the upscaled image, by Pillow's names."""


def result_mode(image: Image.Image) -> str:
    """Return the upscaled image's mode: L, LA, RGB, RGBA, I;16. Raises `InvalidImage` for float."""
    if image.mode == "F":
        raise InvalidImage(
            "The image holds floating-point values, whose range is unknown: save it as an 8-bit "
            "or 16-bit image."
        )
    if image.mode.startswith("I"):
        return "I;16"
    colours = "L" if image.mode in {"1", "L", "LA", "La"} else "RGB"
    return f"{colours}A" if image.has_transparency_data else colours


def split(image: Image.Image) -> Planes:
    """Split an image of any supported mode. Raises `InvalidImage` for float and 32-bit ones."""
    mode = result_mode(image)
    info = {name: image.info[name] for name in KEPT if name in image.info}
    info["icc_profile"] = colour.profile(image, mode)
    if mode == "I;16":
        return Planes(_deep_grey(image), None, info)
    alpha = None
    if mode in {"LA", "RGBA"}:
        image = colour.converted(image, mode)
        alpha = image.getchannel("A")
    return Planes(np.asarray(colour.converted(image, mode.removesuffix("A"))), alpha, info)


def _deep_grey(image: Image.Image) -> NDArray[np.uint16]:
    values = np.asarray(image)
    if values.min() < 0 or values.max() > 65535:
        raise InvalidImage("The image has more than 16 bits a pixel: save it with 8 or 16 bits.")
    return values.astype(np.uint16)


def network_input(pixels: Pixels, channels: int = RGB) -> NDArray[np.float32]:
    """Return what the network reads: float32 (1, C, H, W) in 0..1.

    Of grey pixels all planes are equal.

    Args:
        pixels: (H, W, 3), or (H, W) grey.
        channels: of the result; 3 unless the pixels are grey.
    """
    height, width = pixels.shape[:2]
    planes = pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
    values = np.empty((1, channels, height, width), dtype=np.float32)
    return np.divide(planes, np.iinfo(pixels.dtype).max, out=values, dtype=np.float32)


def rounded(values: NDArray[np.float32], depth: type[Depth]) -> NDArray[Depth]:
    """Round values in 0..1 to integers from 0 to the largest of `depth` (uint8 or uint16).

    The shape stays. This is the only place where values are rounded or clipped.
    """
    scaled = np.clip(values, 0, 1)
    scaled *= np.iinfo(depth).max
    return np.rint(scaled, out=scaled).astype(depth)


def quantise(sr: NDArray[np.float32], source: Pixels) -> Pixels:
    """Bring output (C, H, W) into the form and depth of `source`: (H, W, 3), or (H, W) grey."""
    if source.ndim == 2:
        return rounded(sr.mean(axis=0), source.dtype.type)
    return rounded(sr, source.dtype.type).transpose(1, 2, 0)  # turned when it is four times smaller


def join(colours: Image.Image, planes: Planes) -> Image.Image:
    """Put alpha and metadata back into `colours` (L, RGB or I;16, changed in place)."""
    if planes.alpha is not None:
        colours.putalpha(planes.alpha.resize(colours.size, Image.Resampling.BICUBIC))
    colours.info |= {name: value for name, value in planes.info.items() if value}
    return colours
