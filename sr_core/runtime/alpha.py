"""Transparency: what the network sees below it, and colours that leave no fringe.

Colours below alpha 0 are arbitrary, often black, and below a small alpha they are unreliable. A
network would carry them into its neighbours. So it reads them filled from the visible pixels, and
what it makes is moved onto what interpolation weighted by alpha gives. Over any background the
result is that interpolation and the network's detail.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]
_OPAQUE = 255


def filled(colours: Bytes, alpha: Bytes) -> Bytes:
    """Fade `colours` into those of the nearest visible pixels where they are transparent.

    Opaque pixels stay exactly as they are, and so does an image that is transparent everywhere.
    Time and memory are a few times those of one plane of the image as float32.

    Args:
        colours: (H, W) or (H, W, 3).
        alpha: (H, W), 0..255.
    """
    if not alpha.any() or alpha.min() == _OPAQUE:
        return colours
    weights = [_unit(alpha)]
    while max(weights[-1].shape) > 1:
        # One visible pixel of four is enough to set the colour of the coarser one.
        weights.append(np.minimum(1, 4 * _halved(weights[-1])))
    planes = [_filled_plane(plane, weights) for plane in _planes(colours)]
    return np.stack(planes, axis=-1).reshape(colours.shape)


def _filled_plane(plane: Bytes, weights: list[Floats]) -> Bytes:
    """Fill one plane, given the weights from the full size down to a single pixel."""
    weighted = [plane * weights[0]]
    for fine, coarse in pairwise(weights):
        sums, colours = _halved(fine), _halved(weighted[-1])
        gain = np.divide(coarse, sums, out=np.ones_like(sums), where=sums > 0)
        weighted.append(colours * gain)
    result = weighted.pop() / weights[-1]
    for weight, colours in zip(weights[-2::-1], weighted[::-1], strict=True):
        result = colours + (1 - weight) * _doubled(result, weight.shape)
    return np.rint(result).astype(np.uint8)


def _halved(values: Floats) -> Floats:
    return np.asarray(Image.fromarray(values).reduce(2))


def _doubled(values: Floats, shape: tuple[int, ...]) -> Floats:
    height, width = values.shape
    size = (2 * width, 2 * height)
    smooth = np.asarray(Image.fromarray(values).resize(size, Image.Resampling.BILINEAR))
    return smooth[: shape[0], : shape[1]]


@dataclass(frozen=True)
class Layer:
    """The colours of an image with transparency, and how visible they are."""

    colours: Bytes
    """(H, W) or (H, W, 3), as in the file."""
    alpha: Bytes
    """(H, W), 0..255."""
    seen: Bytes
    """`colours` as the network reads them, from `filled`."""

    def corrected(self, sr: Floats, area: tuple[slice, slice], scale: int) -> Floats:
        """Move the network's output (3, s h, s w) for `area` onto what alpha leaves visible.

        Where all is opaque it stays as it is. At the sides of `area` that are not those of the
        image, a pixel lacks its neighbour.
        """
        alpha = self.alpha[area]
        if alpha.min() == _OPAQUE:
            return sr
        opacity = _unit(alpha)
        total = _interpolated(opacity, scale)
        pairs = zip(_planes(self.colours[area]), _planes(self.seen[area]), strict=True)
        return sr + [_difference(own, seen, opacity, total, scale) for own, seen in pairs]


def _planes(colours: Bytes) -> Bytes:
    """Return (1, H, W) or (3, H, W)."""
    return colours[None] if colours.ndim == 2 else np.moveaxis(colours, -1, 0)


def _difference(own: Bytes, seen: Bytes, opacity: Floats, total: Floats, scale: int) -> Floats:
    """Return one plane of `own` interpolated with weights, less that of `seen` without."""
    plain = _interpolated(_unit(seen), scale)
    weighted = _interpolated(opacity * _unit(own), scale)
    return np.divide(weighted, total, out=plain.copy(), where=total > 0) - plain


def _unit(plane: Bytes) -> Floats:
    return np.divide(plane, _OPAQUE, dtype=np.float32)


def _interpolated(plane: Floats, scale: int) -> Floats:
    """Interpolate linearly: a mean weighted by alpha must have no negative weights."""
    height, width = plane.shape
    size = (width * scale, height * scale)
    return np.asarray(Image.fromarray(plane).resize(size, Image.Resampling.BILINEAR))
