from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from sr_core.network.candidate import uniform
from sr_core.network.extract import extract
from sr_core.runtime.alpha import Layer, filled
from sr_core.runtime.read import open_image
from sr_core.runtime.upscale import Form, Upscaler
from tests import tiny
from tests.runtime.files import encoded
from tests.tiny import drawn

SCALE = 4
WHITE, BLACK = (255, 255, 255), (0, 0, 0)


def interpolating() -> Upscaler:
    """An upscaler that interpolates, so that every deviation is due to the alpha."""
    chosen = uniform(scale=SCALE, width=16, blocks=("wide", "wide"), scheme="dense", ratio=0)
    upscaler = Upscaler(extract(tiny.supernet(SCALE), chosen), threads=1, tile=11)

    def run(lr: np.ndarray) -> np.ndarray:
        size = (lr.shape[3] * SCALE, lr.shape[2] * SCALE)
        images = [Image.fromarray(plane).resize(size, Image.Resampling.BICUBIC) for plane in lr[0]]
        return np.stack([np.asarray(image) for image in images])[None]

    upscaler._colours = Form(3, run)  # pyright: ignore[reportPrivateUsage]
    return upscaler


def _rgba(image: Image.Image) -> Image.Image:
    """`image` in RGBA; Pillow goes there from La by LA only."""
    return (image.convert("LA") if image.mode == "La" else image).convert("RGBA")


def over(image: Image.Image, background: int) -> np.ndarray:
    pixels = np.asarray(_rgba(image)).astype(float)
    opacity = pixels[..., 3:] / 255
    return pixels[..., :3] * opacity + background * (1 - opacity)


def weighted(image: Image.Image) -> Image.Image:
    """Bicubic interpolation of premultiplied colours, by Pillow."""
    size = (image.width * SCALE, image.height * SCALE)
    return _rgba(image).convert("RGBa").resize(size, Image.Resampling.BICUBIC).convert("RGBA")


def disc(alpha: int = 255, hidden: tuple[int, ...] = BLACK, below: int = 0) -> Image.Image:
    """A white disc on `hidden` of alpha `below`."""
    y, x = np.mgrid[:30, :34]
    inside = (y - 14) ** 2 + (x - 16) ** 2 < 90
    pixels = np.where(inside[..., None], (*WHITE, alpha), (*hidden, below))
    return Image.fromarray(pixels.astype(np.uint8))


def palette(index: int | bytes) -> Image.Image:
    image = Image.fromarray((np.asarray(disc().convert("L")) > 128).astype(np.uint8), mode="P")
    image.putpalette([*BLACK, *WHITE])
    return reopened(image, "PNG", transparency=index)


def reopened(image: Image.Image, kind: str, **options: object) -> Image.Image:
    return open_image(io.BytesIO(encoded(image, kind, **options)))


WHITE_DISCS: dict[str, Callable[[], Image.Image]] = {
    "RGBA": disc,
    "RGBA, hidden red": lambda: disc(hidden=(255, 0, 0)),
    "RGBA, thin": lambda: disc(alpha=90),
    "RGBA, black of alpha 1 around it": lambda: disc(below=1),
    "LA": lambda: disc().convert("LA"),
    "La": lambda: disc().convert("LA").convert("La"),
    "RGBa": lambda: disc().convert("RGBa"),
    "PA": lambda: disc().convert("PA"),
    "one transparent colour": lambda: reopened(
        Image.fromarray(np.asarray(disc())[..., :3] * (np.asarray(disc())[..., 3:] > 0)),
        "PNG", transparency=BLACK,
    ),
    "one transparent grey": lambda: reopened(
        Image.fromarray(np.asarray(disc())[..., 3]), "PNG", transparency=0
    ),
    "one transparent index": lambda: palette(0),
    "alphas of a palette": lambda: palette(b"\0\xff"),
    "GIF": lambda: reopened(palette(0), "GIF", transparency=0),
    "WebP": lambda: reopened(disc(), "WEBP", lossless=True, exact=True),
    "TIFF": lambda: reopened(disc(), "TIFF"),
}  # fmt: skip


@pytest.mark.parametrize("kind", list(WHITE_DISCS))
def test_hidden_colours_leave_no_fringe(kind: str) -> None:
    image = WHITE_DISCS[kind]()
    result = interpolating().upscale(image)
    assert result.mode in {"RGBA", "LA"}
    darkest = over(image, 255).min()  # 255, and 254 beside black of alpha 1
    assert over(result, 255).min() == pytest.approx(darkest)
    for background in (0, 255):
        got, expected = (over(one, background) for one in (result, weighted(image)))
        assert np.abs(got - expected).max() <= 3  # Pillow rounds colours times alpha to 8 bits


def test_any_alpha_gives_what_weighted_interpolation_gives() -> None:
    image = drawn(30, 26).convert("RGBA")
    grey = np.asarray(drawn(30, 26, seed=3).convert("L"), int)
    image.putalpha(Image.fromarray(np.clip(grey * 2 - 200, 0, 255).astype(np.uint8)))
    result = interpolating().upscale(image)
    for background in (0, 255):
        error = np.abs(over(result, background) - over(weighted(image), background))
        assert error.max() < 16  # the weights here have no negative lobes
        assert error.mean() < 0.5


def test_opaque_pixels_away_from_the_edge_are_the_network_alone() -> None:
    plain, image = drawn(40, 30), drawn(40, 30).convert("RGBA")
    image.paste((0, 0, 0, 0), (0, 0, 20, 30))
    upscaler = Upscaler(interpolating().network, threads=1)
    got, expected = (np.asarray(upscaler.upscale(one)) for one in (image, plain))
    away = (slice(None), slice(32 * SCALE, None), slice(3))
    assert (got[away] == expected[away]).all()


def test_an_image_of_full_alpha_is_the_opaque_one() -> None:
    upscaler = Upscaler(interpolating().network, threads=1, tile=11)
    got = upscaler.upscale(drawn(20, 17).convert("RGBA"))
    assert (np.asarray(got.convert("RGB")) == np.asarray(upscaler.upscale(drawn(20, 17)))).all()


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_an_image_that_is_transparent_everywhere_stays_so(mode: str) -> None:
    image = drawn(20, 17).convert(mode)
    image.putalpha(0)
    result = interpolating().upscale(image)
    assert not np.asarray(result.getchannel("A")).any()


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (7, 1), (16, 16), (13, 21)])
def test_hidden_pixels_take_the_nearest_visible_colours(shape: tuple[int, int]) -> None:
    colours = np.zeros((*shape, 3), np.uint8)
    alpha = np.zeros(shape, np.uint8)
    colours[0, 0], alpha[0, 0] = (200, 100, 50), 255
    assert (filled(colours, alpha) == (200, 100, 50)).all()
    assert (filled(colours[..., 0], alpha) == 200).all()


def test_filling_keeps_opaque_pixels_and_fades_the_others() -> None:
    colours = np.full((1, 9), 255, np.uint8)
    alpha = np.full((1, 9), 255, np.uint8)
    colours[0, 4] = 0
    for opacity in (255, 128, 1):
        alpha[0, 4] = opacity
        result = filled(colours, alpha)
        assert (result[0, [0, 1, 2, 3, 5, 6, 7, 8]] == 255).all()
        assert result[0, 4] == pytest.approx(255 - opacity, abs=60 if 0 < opacity < 255 else 0)


def test_a_constant_colour_needs_no_correction() -> None:
    alpha = np.asarray(drawn(20, 16).convert("L"))
    colours = np.full((16, 20, 3), 77, np.uint8)
    layer = Layer(colours, alpha, filled(colours, alpha))
    sr = np.full((3, 32, 40), 77 / 255, np.float32)
    assert (layer.seen == 77).all()
    assert layer.corrected(sr, (slice(16), slice(20)), 2) == pytest.approx(sr, abs=1e-4)
