from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from importlib.metadata import version

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from sr_core.engine.library import Library
from sr_core.errors import Cancelled, InvalidImage
from sr_core.network.blocks import Block, Scheme
from sr_core.network.candidate import SCALES, Candidate, uniform
from sr_core.network.extract import extract
from sr_core.network.layers import halo
from sr_core.runtime import image as images
from sr_core.runtime.upscale import Upscaler, tiles
from tests import tiny
from tests.tiny import drawn

SUPERNETS = {scale: tiny.supernet(scale) for scale in SCALES}


def candidate(scale: int, *blocks: Block, scheme: Scheme = "dense", ratio: float = 0) -> Candidate:
    return uniform(
        scale=scale, width=16, blocks=blocks or ("wide", "residual"), scheme=scheme, ratio=ratio
    )


def upscaler(chosen: Candidate, tile: int | None, library: Library | None = None) -> Upscaler:
    return Upscaler(extract(SUPERNETS[chosen.scale], chosen), library, threads=1, tile=tile)


class FloatResult:
    """Collects what `upscale` is about to round."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.tiles: list[NDArray[np.float32]] = []
        monkeypatch.setattr(images, "quantise", self._quantise)

    def _quantise(self, sr: NDArray[np.float32], _: images.Pixels) -> NDArray[np.uint8]:
        self.tiles.append(sr)
        return np.zeros((*sr.shape[1:], 3), dtype=np.uint8)


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize(
    ("blocks", "scheme"),
    [
        (("wide", "wide"), "dense"),
        (("residual", "residual"), "dense"),
        (("wide", "residual"), "pattern"),
        (("skip", "skip"), "dense"),
    ],
)
def test_tiled_is_untiled_before_rounding(
    scale: int, blocks: tuple[Block, ...], scheme: Scheme, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every pixel, at the seams and at the image's border, on tiles of about 5x5 pixels."""
    chosen = candidate(scale, *blocks, scheme=scheme, ratio=0.6)
    image = drawn(26, 31)
    whole = upscaler(chosen, 1000).run(images.network_input(images.split(image).pixels))[0]
    result = FloatResult(monkeypatch)
    upscaler(chosen, 6).upscale(image)
    areas = [tile.keep for tile in tiles(31, 26, tile=6, halo=0)]
    assert len(result.tiles) == len(areas) == 6 * 5
    tolerance = 1e-4 * float(np.abs(whole).max())
    for got, (rows, columns) in zip(result.tiles, areas, strict=True):
        expected = whole[
            :,
            rows.start * scale : rows.stop * scale,
            columns.start * scale : columns.stop * scale,
        ]
        np.testing.assert_allclose(got, expected, rtol=0, atol=tolerance)


def test_a_smaller_halo_shows_at_the_seams(monkeypatch: pytest.MonkeyPatch) -> None:
    """The halo is as large as needed: with one pixel less, tiles differ from the whole."""
    chosen, image = candidate(2, "residual", "residual"), drawn(24, 24)
    whole = upscaler(chosen, 1000).run(images.network_input(images.split(image).pixels))[0]

    def too_small(candidate: Candidate) -> int:
        return halo(candidate) - 1

    monkeypatch.setattr("sr_core.runtime.upscale.halo", too_small)
    result = FloatResult(monkeypatch)
    upscaler(chosen, 12).upscale(image)
    difference = np.abs(result.tiles[0] - whole[:, :24, :24])
    assert difference.max() > 1e-4 * np.abs(whole).max()


def test_tiled_image_is_the_untiled_image() -> None:
    """All pixels of the finished image, which may differ by one where rounding is a close call."""
    chosen, image = candidate(4), drawn(41, 23)
    whole, tiled = (np.asarray(upscaler(chosen, tile).upscale(image), int) for tile in (1000, 7))
    assert np.abs(whole - tiled).max() <= 1
    assert (whole != tiled).mean() < 1e-3
    assert np.ptp(whole) > 50


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("scheme", ["dense", "channel", "block", "unstructured"])
def test_the_engine_gives_the_image_of_onnx_runtime(
    library: Library, scale: int, scheme: Scheme
) -> None:
    """In tiles and in one; a value may differ by one where rounding is a close call."""
    chosen, image = candidate(scale, scheme=scheme, ratio=0.6), drawn(41, 23)
    expected = np.asarray(upscaler(chosen, None).upscale(image), int)
    for tile in (None, 9):
        result = np.asarray(upscaler(chosen, tile, library).upscale(image), int)
        assert np.abs(result - expected).max() <= 1
        assert (result != expected).mean() < 1e-3


def test_the_runtime_is_named(library: Library) -> None:
    chosen = candidate(4)
    assert upscaler(chosen, None).runtime == f"ONNX Runtime {version('onnxruntime')}"
    assert upscaler(chosen, None, library).runtime.startswith("UpFront engine, ")


def test_one_engine_session_serves_several_threads(library: Library) -> None:
    shared, pictures = upscaler(candidate(2), 9, library), [drawn(20, 17, i) for i in range(6)]
    expected = [np.asarray(shared.upscale(picture)) for picture in pictures]
    with ThreadPoolExecutor(3) as pool:
        for result, alone in zip(pool.map(shared.upscale, pictures), expected, strict=True):
            assert (np.asarray(result) == alone).all()


@given(
    height=st.integers(1, 70), width=st.integers(1, 70),
    tile=st.integers(1, 40), halo=st.integers(0, 12),
)  # fmt: skip
def test_tiles_cover_each_pixel_once_with_their_halo(
    height: int, width: int, tile: int, halo: int
) -> None:
    count = np.zeros((height, width), dtype=int)
    for piece in tiles(height, width, tile=tile, halo=halo):
        count[piece.keep] += 1
        for keep, read, length in zip(piece.keep, piece.read, (height, width), strict=True):
            assert 0 < keep.stop - keep.start <= tile
            assert read == slice(max(0, keep.start - halo), min(length, keep.stop + halo))
    assert (count == 1).all()


def test_progress_counts_the_tiles() -> None:
    seen: list[tuple[int, int]] = []
    upscaler(candidate(2), 8).upscale(
        drawn(24, 16), report=lambda done, total: seen.append((done, total))
    )
    assert seen == [(done, 6) for done in range(1, 7)]


def test_cancelling_stops_before_the_next_tile() -> None:
    done: list[int] = []
    with pytest.raises(Cancelled, match="after 2 of 6 tiles"):
        upscaler(candidate(2), 8).upscale(
            drawn(24, 16),
            report=lambda count, _: done.append(count),
            should_stop=lambda: len(done) == 2,
        )
    assert done == [1, 2]


def transparent() -> Image.Image:
    image = drawn(20, 17).convert("RGBA")
    image.putalpha(drawn(20, 17, seed=1).convert("L"))
    return image


MODES: dict[str, tuple[Callable[[], Image.Image], str]] = {
    "RGB": (lambda: drawn(20, 17), "RGB"),
    "L": (lambda: drawn(20, 17).convert("L"), "L"),
    "1": (lambda: drawn(20, 17).convert("1"), "L"),
    "P": (lambda: drawn(20, 17).convert("P"), "RGB"),
    "CMYK": (lambda: drawn(20, 17).convert("CMYK"), "RGB"),
    "LA": (lambda: transparent().convert("LA"), "LA"),
    "RGBA": (transparent, "RGBA"),
    "I;16": (
        lambda: Image.fromarray(np.asarray(drawn(20, 17).convert("L")).astype(np.uint16) * 257),
        "I;16",
    ),
}


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("mode", list(MODES))
def test_output_has_the_kind_of_the_input(mode: str, scale: int) -> None:
    make, expected = MODES[mode]
    result = upscaler(candidate(scale), 9).upscale(make())
    assert (result.mode, result.size) == (expected, (20 * scale, 17 * scale))
    assert np.ptp(np.asarray(result)) > 30


def test_alpha_is_upscaled_apart_from_the_colours() -> None:
    image = transparent()
    result = upscaler(candidate(2), 100).upscale(image)
    alpha = image.getchannel("A").resize(result.size, Image.Resampling.BICUBIC)
    assert (np.asarray(result.getchannel("A")) == np.asarray(alpha)).all()


def test_16_bit_grey_is_finer_than_8_bit_grey() -> None:
    deep, shallow = (
        np.asarray(upscaler(candidate(2), 100).upscale(MODES[mode][0]()), int)
        for mode in ("I;16", "L")
    )
    assert np.abs(deep / 257 - shallow).max() <= 0.51
    assert len(np.unique(deep)) > len(np.unique(shallow))


@pytest.mark.parametrize("scale", SCALES)
def test_untrained_network_keeps_a_constant_grey(scale: int) -> None:
    """At mid-grey its cells see zeros, so only the bicubic path speaks; at the border too."""
    from sr_core.supernet.module import Supernet

    net = Supernet(SUPERNETS[scale].spec)
    tensors = {name: p.detach().numpy() for name, p in net.named_parameters()}
    network = extract(replace(SUPERNETS[scale], tensors=tensors), candidate(scale))
    grey = Image.new("RGB", (20, 12), (128, 128, 128))
    result = np.asarray(Upscaler(network, threads=1, tile=7).upscale(grey))
    assert (result == 128).all()


def test_memory_does_not_grow_with_the_output() -> None:
    """Beside Pillow's images: the input's bytes, twice while they are handed over, and a tile."""
    network, image, tile = upscaler(candidate(4, "wide", "wide"), 16), drawn(240, 200), 16 + 2 * 4
    tracemalloc.start()
    network.upscale(image)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 6 * 240 * 200 + 5 * (3 * 4 * (4 * tile) ** 2)


def test_one_session_serves_several_threads() -> None:
    shared, pictures = upscaler(candidate(2), 9), [drawn(20, 17, seed) for seed in range(6)]
    expected = [np.asarray(shared.upscale(picture)) for picture in pictures]
    with ThreadPoolExecutor(3) as pool:
        for result, alone in zip(pool.map(shared.upscale, pictures), expected, strict=True):
            assert (np.asarray(result) == alone).all()


def test_unusable_image_is_refused() -> None:
    with pytest.raises(InvalidImage, match="floating-point"):
        upscaler(candidate(2), 9).upscale(Image.new("F", (9, 9)))
