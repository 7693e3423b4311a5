"""Folders of images: HR/LR pairs, validation crops and training patches, with checksums.

LR images are made by antialiased bicubic downscaling (Pillow's, which is MATLAB's kernel with
8-bit rounding), unless a benchmark brings its own.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import skimage
from numpy.typing import NDArray
from PIL import Image

from sr_core.errors import DatasetError, InvalidImage
from sr_core.quality.folders import hr_images, paired_images
from sr_core.quality.metrics import Image8
from sr_core.runtime.image import split
from sr_core.runtime.read import open_image

_MAX_PIXELS = 178_000_000
"""Where Pillow suspects an attack. Tools for training crop, and those that test pay for more."""
BENCHMARKS = ("Set5", "Set14", "BSD100")
"""Test sets: for reporting, never for choosing."""
VALIDATION_CROPS = 48
VALIDATION_CROP_HR = 192
"""Side of a validation crop in HR pixels (48 LR pixels at x4)."""
SAMPLE_PHOTOS = Path(skimage.__file__).parent / "data"
_SAMPLE_CENTRES: dict[str, tuple[tuple[int, int], ...]] = {
    "chelsea.png": ((150, 130), (150, 330)),
    "astronaut.png": ((130, 220), (380, 110), (400, 400), (150, 410)),
    "coffee.png": ((200, 250), (120, 480), (290, 300)),
    "rocket.jpg": ((230, 320), (230, 540)),
    "camera.png": ((150, 250),),
}
"""Photographs that scikit-image bundles; rows and columns of the crops' centres."""
SAMPLE_CROPS = "12 crops of 192×192 pixels of scikit-image's sample photographs"


def read_image(path: Path) -> Image8:
    """Read an image file, upright, as uint8: (H, W) if it is greyscale, else (H, W, 3) RGB.

    Alpha is left out. Raises `DatasetError` if it is unreadable or has values beyond 8 bits.
    """
    try:
        pixels = split(open_image(path, max_pixels=_MAX_PIXELS, min_side=1)).pixels
    except InvalidImage as error:
        raise DatasetError(f"{path.name} cannot be read. {error}") from None
    if pixels.itemsize > 1:
        raise DatasetError(
            f"{path.name} has more than 8 bits per channel: expected 8-bit greyscale or colour."
        )
    return pixels.astype(np.uint8, copy=False)


def as_rgb(image: Image8) -> Image8:
    """Return (H, W, 3) of a greyscale or RGB image."""
    return np.repeat(image[:, :, None], 3, axis=2) if image.ndim == 2 else image


def bicubic(image: Image8, width: int, height: int) -> Image8:
    """Resize to width x height with Pillow's antialiased bicubic filter."""
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC))


def downscale(hr: Image8, scale: int) -> tuple[Image8, Image8]:
    """Return (LR, HR cropped from the top left to a multiple of `scale`)."""
    height, width = hr.shape[0] // scale, hr.shape[1] // scale
    cropped = hr[: height * scale, : width * scale]
    return bicubic(cropped, width, height), cropped


def folder_checksum(folder: Path, files: Sequence[Path]) -> str:
    """Return the SHA-256 over the relative names and contents of `files`, in order."""
    digest = hashlib.sha256()
    for path in files:
        digest.update(os.fsencode(path.relative_to(folder).as_posix()))
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


@dataclass(frozen=True)
class Pair:
    """A test image and its LR version."""

    name: str
    lr: Image8
    hr: Image8
    """Exactly scale times the size of `lr`; (H, W) for both if greyscale."""


def benchmark_pairs(hr_folder: Path, lr_folder: Path | None, scale: int) -> Iterator[Pair]:
    """Yield pairs of images. HR is cropped from the top left to scale x LR.

    LR images are found by `paired_images`. Without `lr_folder` they are made by `downscale`.
    """
    if lr_folder is None:
        for path in hr_images(hr_folder):
            yield Pair(path.name, *downscale(read_image(path), scale))
        return
    for path, lr_path in paired_images(hr_folder, lr_folder, scale):
        hr, lr = read_image(path), read_image(lr_path)
        height, width = lr.shape[0] * scale, lr.shape[1] * scale
        spare = (hr.shape[0] - height, hr.shape[1] - width)
        if min(spare) < 0 or max(spare) >= scale:
            raise DatasetError(
                f"{path.name}: HR is {hr.shape[1]}x{hr.shape[0]}, which is not x{scale} of "
                f"LR {lr.shape[1]}x{lr.shape[0]}: give LR images of the model's scale."
            )
        if hr.ndim != lr.ndim:
            raise DatasetError(f"{path.name}: HR and LR must both be greyscale or both RGB.")
        yield Pair(path.name, lr, hr[:height, :width])


@dataclass(frozen=True)
class ValidationCrops:
    """Fixed crops that score a candidate during training and search."""

    lr: Image8
    """(n, h, w, 3)."""
    hr: Image8
    """(n, s h, s w, 3)."""
    checksum: str
    """SHA-256 of the HR crops' pixels and the scale."""


def validation_crops(folder: Path, scale: int) -> ValidationCrops:
    """Cut the centres of `VALIDATION_CROPS` images, evenly spaced over the sorted folder."""
    files = hr_images(folder)
    picks = np.linspace(0, len(files) - 1, VALIDATION_CROPS).round().astype(int)
    return _with_lr([_centre_crop(files[i]) for i in dict.fromkeys(picks.tolist())], scale)


@cache
def sample_crops(scale: int) -> ValidationCrops:
    """Return the crops of `SAMPLE_CROPS`. They are no benchmark, but always at hand."""
    half = VALIDATION_CROP_HR // 2
    hr: list[Image8] = []
    for name, centres in _SAMPLE_CENTRES.items():
        image = as_rgb(read_image(SAMPLE_PHOTOS / name))
        hr += [image[y - half : y + half, x - half : x + half] for y, x in centres]
    return _with_lr(hr, scale)


def _with_lr(crops: Sequence[Image8], scale: int) -> ValidationCrops:
    hr = np.stack(crops)
    lr = np.stack([downscale(crop, scale)[0] for crop in crops])
    digest = hashlib.sha256(f"x{scale} {hr.shape}".encode() + hr.tobytes()).hexdigest()
    return ValidationCrops(lr, hr, digest)


def _centre_crop(path: Path) -> Image8:
    image, side = as_rgb(read_image(path)), VALIDATION_CROP_HR
    top, left = (image.shape[0] - side) // 2, (image.shape[1] - side) // 2
    if min(top, left) < 0:
        raise DatasetError(f"{path.name} is smaller than a {side}x{side} validation crop.")
    return image[top : top + side, left : left + side]


class TrainingPatches:
    """All training images in memory (3 bytes a pixel), and random aligned LR/HR patches of them.

    Each top-level subfolder is a source. A source is drawn in proportion to its pixels times
    its weight (default 1; 0 leaves it out), an image within it in proportion to its pixels.
    """

    def __init__(
        self, folder: Path, scale: int, patch: int, source_weights: dict[str, float] | None = None
    ) -> None:
        weights = source_weights or {}
        files = drawn_images(folder, weights)
        self.scale, self.patch = scale, patch
        self.checksum = folder_checksum(folder, files)

        def pair(path: Path) -> tuple[Image8, Image8]:
            return downscale(as_rgb(read_image(path)), scale)

        with ThreadPoolExecutor() as pool:
            pairs = list(pool.map(pair, files))
        large = [i for i, (lr, _) in enumerate(pairs) if min(lr.shape[:2]) >= patch]
        if not large:
            raise DatasetError(
                f"No image in {folder} holds a {patch}x{patch} LR patch at x{scale}: expected "
                f"images of at least {patch * scale} pixels a side."
            )
        self._pairs = [pairs[i] for i in large]
        sources = [_source(folder, files[i]) for i in large]
        share = np.array([lr.shape[0] * lr.shape[1] for lr, _ in self._pairs], dtype=np.float64) * [
            weights.get(source, 1.0) for source in sources
        ]
        self._cumulative = np.cumsum(share / share.sum())

    def batch(self, rng: np.random.Generator, size: int) -> tuple[Image8, Image8]:
        """Draw (size, p, p, 3) LR and (size, s p, s p, 3) HR, flipped and rotated at random."""
        lr = np.empty((size, self.patch, self.patch, 3), dtype=np.uint8)
        hr = np.empty((size, self.patch * self.scale, self.patch * self.scale, 3), dtype=np.uint8)
        for i in range(size):
            lr[i], hr[i] = self._one(rng)
        return lr, hr

    def _one(self, rng: np.random.Generator) -> tuple[Image8, Image8]:
        index = int(np.searchsorted(self._cumulative, rng.random(), side="right"))
        lr, hr = self._pairs[min(index, len(self._pairs) - 1)]
        top = int(rng.integers(lr.shape[0] - self.patch + 1))
        left = int(rng.integers(lr.shape[1] - self.patch + 1))
        turn = int(rng.integers(8))
        return _cut(lr, top, left, self.patch, turn), _cut(
            hr, top * self.scale, left * self.scale, self.patch * self.scale, turn
        )


def _source(folder: Path, file: Path) -> str:
    return file.relative_to(folder).parts[0]


def drawn_images(folder: Path, weights: dict[str, float]) -> list[Path]:
    """List the images whose source is not left out. Raises `DatasetError` on unknown sources."""
    files = hr_images(folder)
    sources = {_source(folder, file) for file in files}
    if unknown := weights.keys() - sources:
        raise DatasetError(
            f"There is no source {', '.join(sorted(unknown))} in {folder}: expected some of "
            f"{', '.join(sorted(sources))}."
        )
    if not any(weights.get(source, 1.0) for source in sources):
        raise DatasetError(f"All sources in {folder} have the weight 0: leave some in.")
    return [file for file in files if weights.get(_source(folder, file), 1.0)]


def _cut(image: Image8, top: int, left: int, side: int, turn: int) -> NDArray[np.uint8]:
    """Cut a square out of `image`, in one of its 8 orientations."""
    patch = np.rot90(image[top : top + side, left : left + side], turn % 4)
    return patch[:, ::-1] if turn >= 4 else patch
