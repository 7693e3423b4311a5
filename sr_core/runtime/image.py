"""Any still image to the planes a network reads, and back; one clear refusal for the rest.

Kept: colour, greyscale (also 16-bit greyscale), alpha, RGB colour profile; EXIF orientation is
applied. CMYK and palette images become RGB. Refused, since Pillow would cut them to 8 bits:
16 bits per channel with colour or transparency.
"""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, ImageOps, PngImagePlugin, TiffImagePlugin

from sr_core.errors import InvalidImage
from sr_core.files import check_target, write_or_keep

Pixels = NDArray[np.uint8 | np.uint16]
Depth = TypeVar("Depth", bound=np.uint8 | np.uint16)

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF")
MIN_SIDE = 8
"""Pixels; below that there is nothing to upscale."""
MAX_PIXELS_UI = 2_000_000
MAX_PIXELS_CLI = 16_000_000


@dataclass(frozen=True)
class Planes:
    """An image split into what the network upscales and what it does not."""

    pixels: Pixels
    """(H, W, 3) uint8 colours; or (H, W) grey, uint8 or uint16."""
    alpha: Image.Image | None
    """Mode L; upscaled by bicubic interpolation, apart from the colours."""
    icc_profile: bytes | None


def open_image(source: Path | BinaryIO, *, max_pixels: int) -> Image.Image:
    """Read a still image, upright, fully decoded.

    Raises `InvalidImage`, in one sentence, for anything that is not a readable still image of
    at least 8x8 and at most `max_pixels` pixels, or would lose bits. All but damaged pixels are
    found before decoding.
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
                _check_depth(image)
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
    """Raise `InvalidImage` unless it has at least 8x8 and at most `max_pixels` pixels."""
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


def _check_depth(image: ImageFile.ImageFile) -> None:
    """Raise `InvalidImage` for 16 bits per channel, unless it is grey without transparency.

    Pillow has no such mode: it would keep the upper 8 bits and say nothing.
    """
    deep_grey = image.mode[0] in "IF" and not image.has_transparency_data
    bits = _stored_bits(image)
    if bits > 8 and not deep_grey:
        raise InvalidImage(
            f"The image has {bits} bits per channel, which are read only from greyscale without "
            "transparency: save it with 8 bits per channel."
        )


def _stored_bits(image: ImageFile.ImageFile) -> int:
    """Return the bits per channel in the file. The formats not named here have at most 8."""
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        return max(image.tag_v2.get(TiffImagePlugin.BITSPERSAMPLE, (1,)))
    if isinstance(image, PngImagePlugin.PngImageFile):  # Pillow keeps IHDR's depth only here
        return 16 if ";16" in str(image.tile[0].args) else 8
    return 8


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
    # The profile of a CMYK image describes inks, not the RGB that comes out.
    icc_profile = None if image.mode == "CMYK" else image.info.get("icc_profile")
    if mode == "I;16":
        return Planes(_deep_grey(image), None, icc_profile)
    alpha = None
    if mode in {"LA", "RGBA"}:
        image = _converted(image, mode)
        alpha = image.getchannel("A")
    return Planes(np.asarray(_converted(image, mode.removesuffix("A"))), alpha, icc_profile)


def _converted(image: Image.Image, mode: str) -> Image.Image:
    return image if image.mode == mode else image.convert(mode)  # convert always copies


def _deep_grey(image: Image.Image) -> NDArray[np.uint16]:
    values = np.asarray(image)
    if values.min() < 0 or values.max() > 65535:
        raise InvalidImage("The image has more than 16 bits a pixel: save it with 8 or 16 bits.")
    return values.astype(np.uint16)


def network_input(pixels: Pixels) -> NDArray[np.float32]:
    """Return what the network reads: float32 (1, 3, H, W) in 0..1.

    Of grey pixels the three planes are equal.

    Args:
        pixels: (H, W, 3), or (H, W) grey.
    """
    height, width = pixels.shape[:2]
    planes = pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
    values = np.empty((1, 3, height, width), dtype=np.float32)
    return np.divide(planes, np.iinfo(pixels.dtype).max, out=values, dtype=np.float32)


def rounded(values: NDArray[np.float32], depth: type[Depth]) -> NDArray[Depth]:
    """Round values in 0..1 to integers from 0 to the largest of `depth` (uint8 or uint16).

    The shape stays. This is the only place where values are rounded or clipped.
    """
    scaled = np.clip(values, 0, 1)
    scaled *= np.iinfo(depth).max
    return np.rint(scaled, out=scaled).astype(depth)


def quantise(sr: NDArray[np.float32], source: Pixels) -> Pixels:
    """Bring output (3, H, W) into the form and depth of `source`: (H, W, 3), or (H, W) grey."""
    if source.ndim == 2:
        return rounded(sr.mean(axis=0), source.dtype.type)
    return rounded(sr, source.dtype.type).transpose(1, 2, 0)  # turned when it is four times smaller


def join(colours: Image.Image, planes: Planes) -> Image.Image:
    """Put alpha and colour profile back into `colours` (L, RGB or I;16, changed in place)."""
    if planes.alpha is not None:
        colours.putalpha(planes.alpha.resize(colours.size, Image.Resampling.BICUBIC))
    if planes.icc_profile:
        colours.info["icc_profile"] = planes.icc_profile
    return colours


def check_output(image: Image.Image, scale: int, path: Path) -> None:
    """Raise `InvalidImage`, before any work, if the upscaled `image` cannot go to `path`.

    Checks the suffix, what its format can hold, and that the file can be written.
    """
    size = (image.width * scale, image.height * scale)
    _check_format(save_format(path), result_mode(image), size)
    folder = path.parent
    if not folder.is_dir():
        raise InvalidImage(f"Cannot save {path.name} in {folder}: give a folder that exists.")
    check_target(path, InvalidImage)


def save_format(path: Path) -> str:
    """Return Pillow's name of the format for the suffix. Raises `InvalidImage` if there is none."""
    kind = _SAVE_FORMATS.get(path.suffix.lower())
    if kind is None:
        raise InvalidImage(f"Cannot save {path.name}: expected {', '.join(_SAVE_FORMATS)}.")
    return kind


def _check_format(kind: str, mode: str, size: tuple[int, int]) -> None:
    """Raise `InvalidImage` if files of `kind` cannot hold such an image exactly."""
    if kind in _SAVE_MODES and mode not in _SAVE_MODES[kind]:
        lost = "16 bits" if mode.startswith("I") else "transparency"
        raise InvalidImage(f"{kind} cannot hold the image's {lost}: save it as PNG.")
    if kind in _SAVE_SIDES and max(size) > _SAVE_SIDES[kind]:
        raise InvalidImage(
            f"{kind} cannot hold {size[0]}x{size[1]} pixels, its limit is {_SAVE_SIDES[kind]} a "
            "side: save it as PNG."
        )


def save_image(image: Image.Image, path: Path) -> None:
    """Write an image whole or not at all. The suffix decides the format.

    PNG, BMP and TIFF are exact. WebP is written lossless, JPEG at quality 95. Raises
    `InvalidImage` for an unknown suffix, what the format cannot hold, or a full disk.
    """
    kind = save_format(path)
    _check_format(kind, image.mode, image.size)
    options = _SAVE_OPTIONS.get(kind, {})
    buffer = io.BytesIO()
    try:
        image.save(buffer, kind, icc_profile=image.info.get("icc_profile"), **options)
    except (OSError, ValueError) as error:  # encoders raise either
        raise InvalidImage(f"Cannot save {path.name} ({error}): try PNG.") from None
    write_or_keep(path, buffer.getvalue(), InvalidImage)


_SAVE_FORMATS = {
    ".png": "PNG", ".webp": "WEBP", ".tif": "TIFF", ".tiff": "TIFF",
    ".jpg": "JPEG", ".jpeg": "JPEG", ".bmp": "BMP",
}  # fmt: skip
_SAVE_OPTIONS: dict[str, dict[str, Any]] = {
    "PNG": {"compress_level": 3},  # measured: a third of the default's time, files 7-9 % larger
    "JPEG": {"quality": 95},
    "WEBP": {"lossless": True, "exact": True},
}
_SAVE_MODES = {
    "JPEG": ("L", "RGB"), "BMP": ("L", "RGB"), "WEBP": ("L", "RGB", "LA", "RGBA"),
}  # fmt: skip
"""Modes that come back unchanged; PNG and TIFF hold all that `join` makes."""
_SAVE_SIDES = {"JPEG": 65_500, "WEBP": 16_383}
"""Largest width and height in pixels (libjpeg stops short of the format's 65535)."""
