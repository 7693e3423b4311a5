"""An image of every kind that is kept, and the way through the planes and back."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
from PIL import Image

from sr_core.runtime.image import join, network_input, quantise, split
from tests.runtime.files import encoded
from tests.tiny import drawn


def round_trip(image: Image.Image) -> Image.Image:
    """What upscaling does to an image, with a network that changes nothing."""
    planes = split(image)
    values = network_input(planes.pixels)
    assert values.shape == (1, 3, image.height, image.width)
    assert values.dtype == np.float32
    assert 0 <= values.min() <= values.max() <= 1
    return join(Image.fromarray(quantise(values[0], planes.pixels)), planes)


def deep_grey() -> Image.Image:
    values = np.random.default_rng(0).integers(0, 65536, (12, 10))
    return Image.fromarray(values.astype(np.uint16))


def transparent(mode: str) -> Image.Image:
    image = drawn(10, 12).convert("RGBA")
    image.putalpha(drawn(10, 12, seed=1).convert("L"))
    return image.convert(mode)


def palette(**options: object) -> Image.Image:
    """A palette image as read from a PNG; `transparency` is an index, or bytes of alphas."""
    return Image.open(io.BytesIO(encoded(drawn(10, 12).convert("P"), "PNG", **options)))


KEPT: dict[str, tuple[Callable[[], Image.Image], str]] = {
    "RGB": (lambda: drawn(10, 12), "RGB"),
    "L": (lambda: drawn(10, 12).convert("L"), "L"),
    "LA": (lambda: transparent("LA"), "LA"),
    "RGBA": (lambda: transparent("RGBA"), "RGBA"),
    "P": (palette, "RGB"),
    "P with one transparent colour": (lambda: palette(transparency=3), "RGBA"),
    "P with alphas": (lambda: palette(transparency=bytes(range(0, 250, 50))), "RGBA"),
    "L with one transparent grey": (
        lambda: Image.open(io.BytesIO(encoded(drawn(10, 12).convert("L"), "PNG", transparency=9))),
        "LA",
    ),
    "1": (lambda: drawn(10, 12).convert("1"), "L"),
    "CMYK": (lambda: drawn(10, 12).convert("CMYK"), "RGB"),
    "I;16": (deep_grey, "I;16"),
    "I": (lambda: Image.fromarray(np.asarray(deep_grey()).astype(np.int32)), "I;16"),
}  # fmt: skip
