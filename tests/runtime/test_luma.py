"""Networks that see luma: every kind of image, on the engine and on ONNX Runtime."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from sr_core.engine.library import Library
from sr_core.network.candidate import SCALES, LayerPruning, uniform
from sr_core.network.colour import Colour
from sr_core.network.extract import ExtractedNetwork
from sr_core.runtime.image import network_input, quantise, rounded, split
from sr_core.runtime.upscale import Upscaler
from tests.engine.networks import by_numpy, images, in_colours_by_numpy, network
from tests.runtime.test_upscale import MODES
from tests.tiny import drawn

TOLERANCE = 1e-5


def luma(scale: int) -> ExtractedNetwork:
    """Pruned everywhere, the input skip too."""
    candidate = uniform(
        scale=scale, width=8, blocks=("residual", "wide"), scheme="block", ratio=0.5,
        prune_tail=True, colour="luma",
    )  # fmt: skip
    return network(replace(candidate, input_skip=LayerPruning("unstructured", 0.4)))


@pytest.mark.parametrize("engine", [False, True], ids=["onnx", "engine"])
@pytest.mark.parametrize("scale", SCALES)
def test_run_takes_and_gives_rgb(library: Library, scale: int, engine: bool) -> None:
    net = luma(scale)
    upscaler = Upscaler(net, library if engine else None, threads=1)
    for size in ((1, 1), (3, 8), (13, 35)):
        lr = images(*size, count=2)
        expected = [in_colours_by_numpy(net, image) for image in lr]
        assert np.abs(upscaler.run(lr) - expected).max() <= TOLERANCE


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("mode", list(MODES))
def test_the_engine_gives_the_image_of_onnx_runtime(
    library: Library, mode: str, scale: int
) -> None:
    """In tiles and in one; a value may differ by one where rounding is a close call."""
    make, kind = MODES[mode]
    net, image = luma(scale), make()
    whole = Upscaler(net, threads=1).upscale(image)
    assert (whole.mode, whole.size) == (kind, (20 * scale, 17 * scale))
    expected, deep = np.asarray(whole, int), mode == "I;16"
    assert np.ptp(expected) > 30
    for runtime, tile in ((None, 7), (library, None), (library, 7)):
        result = np.asarray(Upscaler(net, runtime, threads=1, tile=tile).upscale(image), int)
        off = np.abs(result - expected)
        if "A" in kind:  # beside a tile's edge the correction lacks a neighbour
            off = off[..., -1] if tile else off
        assert off.max() <= 1
        assert (off > 0).mean() < (0.2 if deep else 5e-3)


@pytest.mark.parametrize("mode", ["L", "I;16"])
def test_grey_is_the_plane_that_the_network_sees(library: Library, mode: str) -> None:
    """No conversion to 16..235 and back, nor any rounding on the way."""
    net, image = luma(2), MODES[mode][0]()
    pixels = split(image).pixels
    plane = by_numpy(net, network_input(pixels, 1)[0])[0].astype(np.float32)
    expected = rounded(plane, pixels.dtype.type).astype(int)
    for runtime in (None, library):
        result = np.asarray(Upscaler(net, runtime, threads=1).upscale(image), int)
        assert np.abs(result - expected).max() <= 1
        assert (result != expected).mean() < 0.2


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_rounding_in_the_engine_changes_no_bit(library: Library, mode: str, scale: int) -> None:
    image, upscaler = MODES[mode][0](), Upscaler(luma(scale), library, threads=2)
    pixels = split(image).pixels
    form = upscaler._colours if mode == "RGB" else upscaler._grey  # pyright: ignore[reportPrivateUsage]
    sr = form.run(network_input(pixels, form.channels))[0]
    assert np.array_equal(np.asarray(upscaler.upscale(image)), quantise(sr, pixels))


def test_a_colour_image_keeps_its_bicubic_chroma(library: Library) -> None:
    """Colours of a luma network are those of interpolation, up to what is clipped."""
    image = drawn(40, 30)
    result = Upscaler(luma(2), library, threads=1).upscale(image)
    bicubic = image.resize(result.size, Image.Resampling.BICUBIC)
    for plane in ("Cb", "Cr"):
        got, expected = (
            np.asarray(one.convert("YCbCr").getchannel(plane), int) for one in (result, bicubic)
        )
        assert np.median(np.abs(got - expected)) <= 2


@pytest.mark.parametrize(
    ("mode", "seen", "count"),
    [("RGB", "luma", 1), ("RGB", "rgb", 1), ("L", "luma", 1), ("L", "rgb", 4), ("RGBA", "rgb", 4),
     ("I;16", "luma", 4)],
)  # fmt: skip
def test_tiles_that_the_engine_rounds_are_larger(
    library: Library, monkeypatch: pytest.MonkeyPatch, mode: str, seen: Colour, count: int
) -> None:
    monkeypatch.setattr("sr_core.runtime.upscale.ENGINE_TILE", 10)
    monkeypatch.setattr("sr_core.runtime.upscale.BYTES_TILE", 20)
    net = network(uniform(scale=2, width=8, blocks=("residual",), colour=seen))
    totals: list[int] = []
    Upscaler(net, library, threads=1).upscale(
        MODES[mode][0](), report=lambda _, total: totals.append(total)
    )
    assert totals == [count] * count
