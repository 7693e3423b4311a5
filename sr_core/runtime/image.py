"""Any still image to the planes a network reads, and back; one clear refusal for the rest.

Kept: colour, greyscale (also 16-bit greyscale), alpha, RGB colour profile; EXIF orientation is
applied. CMYK and palette images become RGB.
"""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from sr_core.errors import InvalidImage
from sr_core.files import write_atomic

Pixels = NDArray[np.uint8 | np.uint16]

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF")
MIN_SIDE = 8
"""Pixels; below that there is nothing to upscale."""
MAX_PIXELS_UI = 2_000_000
MAX_PIXELS_CLI = 16_000_000


@dataclass(frozen=True)
class Planes:
    """An image split into what the network upscales and what it does not."""

    rgb: NDArray[np.float32]
    """(3, H, W) in 0..1; three equal planes if `grey`."""
    grey: bool
    levels: int
    """Largest value of the source's depth: 255 or 65535."""
    alpha: Image.Image | None
    """Mode L; upscaled by bicubic interpolation, apart from the colours."""
    icc_profile: bytes | None


def open_image(source: Path | BinaryIO, *, max_pixels: int) -> Image.Image:
    """Read a still image, upright, fully decoded.

    Raises `InvalidImage`, in one sentence, for anything that is not a readable still image of
    at least 8x8 and at most `max_pixels` pixels; size and frames are checked before decoding.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of what is checked or refused here
            with Image.open(source, formats=FORMATS) as image:
                check_size(image, max_pixels=max_pixels)
                frames = getattr(image, "n_frames", 1)
                if frames > 1 and image.format != "MPO":  # phones put previews behind a photo
                    raise InvalidImage(
                        f"The image has {frames} frames or pages: give a single still image."
                    )
                image.load()
                return ImageOps.exif_transpose(image)
    except FileNotFoundError:
        raise InvalidImage(f"There is no file {source}: check the path.") from None
    except InvalidImage:
        raise
    except Image.DecompressionBombError:
        raise InvalidImage(
            f"The image is far beyond the limit of {max_pixels / 1e6:.0f} million pixels: crop or "
            "shrink it first."
        ) from None
    except Exception as error:  # decoders raise many kinds: SyntaxError, struct.error, ...
        raise InvalidImage(_unreadable(source, error)) from None


def _unreadable(source: Path | BinaryIO, error: Exception) -> str:
    if isinstance(source, Path) and source.is_dir():
        return f"{source} is a folder: give one image file."
    if isinstance(source, Path) and source.is_file() and source.stat().st_size == 0:
        return "The file is empty: give an image file."
    if isinstance(source, Path) and source.suffix.lower() in {".svg", ".svgz"}:
        return "SVG is a vector drawing, which needs no super-resolution: give a PNG or JPEG."
    if isinstance(error, OSError) and error.errno:
        return f"The file cannot be read ({error.strerror}): check the path and its permissions."
    if "truncated" in str(error) or "broken" in str(error):
        return "The image file is cut short or damaged: save or download it again."
    return f"This is not a readable image: expected one of {', '.join(FORMATS)}."


def check_size(image: Image.Image, *, max_pixels: int) -> None:
    """`InvalidImage` unless the image has at least 8x8 and at most `max_pixels` pixels."""
    width, height = image.size
    if min(width, height) < MIN_SIDE:
        raise InvalidImage(
            f"The image has {width}x{height} pixels: at least {MIN_SIDE}x{MIN_SIDE} are needed."
        )
    if width * height > max_pixels:
        raise InvalidImage(
            f"The image has {width}x{height} = {width * height / 1e6:.1f} million pixels, the "
            f"limit here is {max_pixels / 1e6:.0f} million: crop or shrink it first."
        )


def split(image: Image.Image) -> Planes:
    """Separate an image of any supported mode; `InvalidImage` for float and 32-bit ones."""
    icc_profile = image.info.get("icc_profile")
    if image.mode in {"I;16", "I;16B", "I;16L", "I"}:
        return _split_deep_grey(image, icc_profile)
    if image.mode == "F":
        raise InvalidImage(
            "The image holds floating-point values, whose range is unknown: save it as an 8-bit "
            "or 16-bit image."
        )
    grey = image.mode in {"1", "L", "LA", "La"}
    if image.mode == "CMYK":
        icc_profile = None  # it describes inks, not the RGB that comes out
    alpha = None
    if image.has_transparency_data:
        image = image.convert("LA" if grey else "RGBA")
        alpha = image.getchannel("A")
    colours = np.asarray(image.convert("L" if grey else "RGB"), dtype=np.float32) / 255
    planes = np.stack([colours] * 3) if grey else colours.transpose(2, 0, 1)
    return Planes(np.ascontiguousarray(planes, dtype=np.float32), grey, 255, alpha, icc_profile)


def _split_deep_grey(image: Image.Image, icc_profile: bytes | None) -> Planes:
    values = np.asarray(image)
    if values.min() < 0 or values.max() > 65535:
        raise InvalidImage("The image has more than 16 bits a pixel: save it with 8 or 16 bits.")
    grey = (values / 65535).astype(np.float32)
    return Planes(np.stack([grey] * 3), True, 65535, None, icc_profile)


def quantise(sr: NDArray[np.float32], planes: Planes) -> Pixels:
    """Round and clip network output (3, H, W) to the source's depth: (H, W, 3), or (H, W) grey.

    The only place where values are rounded or clipped.
    """
    pixels = sr.mean(axis=0) if planes.grey else sr.transpose(1, 2, 0)
    rounded = np.rint(np.clip(pixels, 0, 1) * planes.levels)
    return rounded.astype(np.uint16 if planes.levels > 255 else np.uint8)


def join(pixels: Pixels, planes: Planes) -> Image.Image:
    """The upscaled image, with alpha and colour profile back in place."""
    image = Image.fromarray(pixels)
    if planes.alpha is not None:
        image.putalpha(planes.alpha.resize(image.size, Image.Resampling.BICUBIC))
    if planes.icc_profile:
        image.info["icc_profile"] = planes.icc_profile
    return image


def save_format(path: Path) -> str:
    """Pillow's name of the format that the suffix asks for; `InvalidImage` if it is unknown."""
    kind = _SAVE_FORMATS.get(path.suffix.lower())
    if kind is None:
        raise InvalidImage(f"Cannot save {path.name}: expected {', '.join(_SAVE_FORMATS)}.")
    return kind


def save_image(image: Image.Image, path: Path) -> None:
    """Write an image whole or not at all; the suffix decides the format.

    PNG, BMP and TIFF are exact; WebP is written lossless, JPEG at quality 95. Raises
    `InvalidImage` for an unknown suffix, a mode the format cannot hold, or a full disk.
    """
    kind = save_format(path)
    if kind in _SAVE_MODES and image.mode not in _SAVE_MODES[kind]:
        lost = "16 bits" if image.mode.startswith("I") else "transparency"
        raise InvalidImage(f"{kind} cannot hold the image's {lost}: save it as PNG.")
    options = _SAVE_OPTIONS.get(kind, {})
    buffer = io.BytesIO()
    try:
        image.save(buffer, kind, icc_profile=image.info.get("icc_profile"), **options)
        write_atomic(path, buffer.getvalue())
    except (OSError, ValueError) as error:  # ValueError: beyond WebP's 16383 pixels a side
        raise InvalidImage(
            f"Cannot save {path.name} ({error}): try PNG, or another place."
        ) from None


_SAVE_FORMATS = {
    ".png": "PNG", ".webp": "WEBP", ".tif": "TIFF", ".tiff": "TIFF",
    ".jpg": "JPEG", ".jpeg": "JPEG", ".bmp": "BMP",
}  # fmt: skip
_SAVE_OPTIONS: dict[str, dict[str, Any]] = {
    "PNG": {"compress_level": 3},  # half the time of the default, files a few percent larger
    "JPEG": {"quality": 95},
    "WEBP": {"lossless": True, "exact": True},
}
_SAVE_MODES = {
    "JPEG": ("L", "RGB"), "BMP": ("L", "RGB"), "WEBP": ("L", "RGB", "LA", "RGBA"),
}  # fmt: skip
"""Modes that come back unchanged; PNG and TIFF hold all that `join` makes."""
