"""Any still image file to an upright image, or one clear refusal. All commands and the page use it.

Only what makes the pixels reaches Pillow, so that metadata never decides whether they are read.
Refused, since Pillow would cut them to 8 bits: 16 bits per channel with colour or transparency.
"""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image

from sr_core.errors import InvalidImage
from sr_core.runtime.formats import exif, ifd, jpeg, png, problems, tiff, webp
from sr_core.runtime.formats.metadata import Metadata

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF")
MIN_SIDE = 8
"""Pixels; below that there is nothing to upscale."""
MAX_PIXELS_UI = 2_000_000
MAX_PIXELS_CLI = 16_000_000
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM, 5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}  # fmt: skip
"""What makes an image of each EXIF orientation upright."""


def open_image(
    source: Path | str | BinaryIO, *, max_pixels: int = MAX_PIXELS_CLI, min_side: int = MIN_SIDE
) -> Image.Image:
    """Read a still image, upright, fully decoded, with the metadata that can be kept in its `info`.

    Raises `InvalidImage`, in one sentence, for anything that is not a readable still image of
    at least `min_side` pixels a side and at most `max_pixels` pixels, or would lose bits. All but
    damaged pixels are found before decoding.
    """
    if isinstance(source, str):
        source = Path(source)
    try:
        data = source.read_bytes() if isinstance(source, Path) else source.read()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of what is checked or refused here
            return _decoded(data, max_pixels=max_pixels, min_side=min_side)
    except FileNotFoundError:
        raise InvalidImage(f"There is no file {source}: check the path.") from None
    except InvalidImage as error:
        raise InvalidImage(_file_problem(source) or str(error)) from None
    except Image.DecompressionBombError:
        raise InvalidImage(
            f"The image is far beyond the limit of {max_pixels / 1e6:.0f} million pixels: crop or "
            "shrink it first."
        ) from None
    except Exception as error:  # decoders raise many kinds: SyntaxError, struct.error, ...
        raise InvalidImage(_file_problem(source) or _unreadable(error)) from None


def _decoded(data: bytes, *, max_pixels: int, min_side: int) -> Image.Image:
    layout = tiff.Layout()
    if data.startswith(ifd.MAGICS):
        data, metadata, layout = tiff.pixels_only(data)
    else:
        data, metadata = _pixels_only(data)
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
    except Image.UnidentifiedImageError:
        if data.startswith(ifd.MAGICS):
            raise InvalidImage(tiff.UNREADABLE) from None
        raise
    with image:
        check_size(image, max_pixels=max_pixels, min_side=min_side)
        if (frames := getattr(image, "n_frames", 1)) > 1:
            raise InvalidImage(
                f"The image has {frames} frames or pages: give a single still image."
            )
        layout.prepare(image)
        _load(image)
        return _finished(image, metadata or _of_pillow(image), layout)


def _load(image: Image.Image) -> None:
    try:
        image.load()
    except Exception:  # whatever the decoder says: the file was recognised, its pixels are bad
        raise problems.damaged() from None


def _pixels_only(data: bytes) -> tuple[bytes, Metadata | None]:
    """Return what Pillow is to decode, and the metadata, None where Pillow is to tell."""
    if data.startswith(png.SIGNATURE):
        return png.pixels_only(data)
    if data.startswith(b"\xff\xd8\xff"):
        return jpeg.pixels_only(data)
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return webp.pixels_only(data)
    return data, None


def _of_pillow(image: Image.Image) -> Metadata:
    dpi = image.info.get("dpi")
    return Metadata(
        icc_profile=image.info.get("icc_profile"),
        dpi=ifd.plausible((float(dpi[0]), float(dpi[1]))) if dpi else None,
    )


def _finished(image: Image.Image, metadata: Metadata, layout: tiff.Layout) -> Image.Image:
    """Return a plain image, upright, whose `info` holds what is kept and nothing else."""
    transparency = image.info.get("transparency")
    if image.mode.startswith("I"):
        deep = np.asarray(image).astype(np.uint16)
        result = Image.fromarray(layout.correct(deep))
    else:
        result = image.copy()
    if metadata.orientation in _TURNS:
        result = result.transpose(_TURNS[metadata.orientation])
    result.info = {**metadata.info()}
    if block := exif.upright(result.info.pop("exif", b"")):
        result.info["exif"] = block
    if transparency is not None:
        result.info["transparency"] = transparency
    return result


def _file_problem(source: Path | BinaryIO) -> str:
    """Say what is wrong with the file as such, whatever it was to hold; empty if nothing is."""
    if not isinstance(source, Path):
        return ""
    if source.is_dir():
        return f"{source} is a folder: give one image file."
    if source.is_file() and source.stat().st_size == 0:
        return "The file is empty: give an image file."
    if source.suffix.lower() in {".svg", ".svgz"}:
        return "SVG is a vector drawing, which needs no super-resolution: give a PNG or JPEG."
    return ""


def _unreadable(error: Exception) -> str:
    if isinstance(error, OSError) and error.errno:
        return f"The file cannot be read ({error.strerror}): check the path and its permissions."
    return f"This is not a readable image: expected one of {', '.join(FORMATS)}."


def check_size(image: Image.Image, *, max_pixels: int, min_side: int = MIN_SIDE) -> None:
    """Raise `InvalidImage` unless it has the pixels a side, and at most `max_pixels` pixels."""
    width, height = image.size
    if min(width, height) < min_side:
        raise InvalidImage(
            f"The image has {width}x{height} pixels: at least {min_side}x{min_side} are needed."
        )
    if width * height > max_pixels:
        raise InvalidImage(
            f"The image has {width}x{height} = {width * height / 1e6:.1f} million pixels, the "
            f"limit here is {max_pixels / 1e6:.0f} million: crop or shrink it first."
        )
