"""Writing an upscaled image: what each format can hold, and what else goes along.

Resolution (dots per inch) stays what it was, so that a print grows with the image. EXIF stays,
without its thumbnail and with the new size. A format without profiles gets colours in sRGB.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from PIL import Image, PngImagePlugin

from sr_core.errors import InvalidImage
from sr_core.files import check_target, write_or_keep
from sr_core.runtime.colour import in_srgb
from sr_core.runtime.formats import exif
from sr_core.runtime.formats.tiff import PIXEL_TAGS
from sr_core.runtime.image import result_mode


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


def save_image(image: Image.Image, path: Path | str) -> None:
    """Write an image whole or not at all. The suffix decides the format.

    PNG, BMP and TIFF are exact. WebP is written lossless, JPEG at quality 95 with its colours at
    full resolution. Raises `InvalidImage` for an unknown suffix, what the format cannot hold, or a
    full disk.
    """
    path = Path(path)
    kind = save_format(path)
    _check_format(kind, image.mode, image.size)
    try:
        data = encoded(image, kind)
    except (OSError, ValueError) as error:  # encoders raise either
        raise InvalidImage(f"Cannot save {path.name} ({error}): try PNG.") from None
    write_or_keep(path, data, InvalidImage)


def encoded(image: Image.Image, kind: str) -> bytes:
    """Return the file for an image, with the metadata in its `info` that the format can hold."""
    if kind == "BMP" or (kind == "WEBP" and image.mode.startswith("L")):  # WebP has RGB only
        image = in_srgb(image)
    block = exif.resized(image.info.get("exif", b""), image.size)
    if kind == "TIFF":  # whose own tags they would replace
        block = exif.without(block, PIXEL_TAGS)
    try:
        return _encoded(image, kind, block)
    except Exception:  # Pillow writes EXIF into a TIFF tag by tag, and fails at an odd one
        if not block:
            raise
        return _encoded(image, kind, b"")


def _encoded(image: Image.Image, kind: str, block: bytes) -> bytes:
    options = dict(_SAVE_OPTIONS.get(kind, {}))
    if block and kind != "BMP" and len(block) <= _MAX_EXIF.get(kind, len(block)):
        options["exif"] = block
    if kind == "PNG":
        options["pnginfo"] = PngImagePlugin.PngInfo()
        for chunk, content in image.info.get("png_colour", ()):
            options["pnginfo"].add(chunk, content)
    if kind == "BMP":
        options["dpi"] = (0, 0)  # not stated; Pillow would say 96
    if dpi := image.info.get("dpi"):
        options["dpi"] = dpi
    buffer = io.BytesIO()
    image.save(buffer, kind, icc_profile=image.info.get("icc_profile"), **options)
    return buffer.getvalue()


_SAVE_FORMATS = {
    ".png": "PNG", ".webp": "WEBP", ".tif": "TIFF", ".tiff": "TIFF",
    ".jpg": "JPEG", ".jpeg": "JPEG", ".bmp": "BMP",
}  # fmt: skip
_SAVE_OPTIONS: dict[str, dict[str, Any]] = {
    "PNG": {"compress_level": 3},  # measured: a third of the default's time, files 7-9 % larger
    "JPEG": {"quality": 95, "subsampling": 0},
    "WEBP": {"lossless": True, "exact": True},
}
_SAVE_MODES = {
    "JPEG": ("L", "RGB"), "BMP": ("L", "RGB"), "WEBP": ("L", "RGB", "LA", "RGBA"),
}  # fmt: skip
"""Modes that come back unchanged; PNG and TIFF hold all that `join` makes."""
_MAX_EXIF = {"JPEG": 65_533}
"""Bytes that fit into a segment."""
_SAVE_SIDES = {"JPEG": 65_500, "WEBP": 16_383}
"""Largest width and height in pixels (libjpeg stops short of the format's 65535)."""
