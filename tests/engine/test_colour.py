"""Luma networks: their plane alone, and RGB in and out with colours made in the engine's pass."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import cycle, product
from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from sr_core.engine import session as module
from sr_core.engine.library import Library
from sr_core.engine.pack import pack
from sr_core.engine.session import Session
from sr_core.network.blocks import Scheme
from sr_core.network.candidate import DENSE, SCALES, Candidate, LayerPruning
from sr_core.network.colour import CHANNELS, RGB, Colour
from sr_core.network.extract import ExtractedLayer, ExtractedNetwork
from sr_core.network.plain import PlainNetwork, plain
from sr_core.runtime.image import rounded
from tests.conftest import candidates
from tests.engine.networks import (
    Reference,
    by_numpy,
    images,
    in_colours_by_numpy,
    network,
    rounded_by_numpy,
)
from tests.engine.test_matrix import BLOCKS, EDGES, pruned

TOLERANCE = 1e-5
"""Largest difference to ONNX Runtime and to NumPy, for results near 0..1."""
SIZES = ((1, 1), (1, 7), (5, 1), (2, 3), (7, 15), (4, 65), (13, 66))
THREADS = (1, 2, 3)
SKIPS = (LayerPruning(), LayerPruning("block", 0.5), LayerPruning("unstructured", 0.9))


def luma(candidate: Candidate, skip: LayerPruning = SKIPS[0]) -> Candidate:
    return replace(candidate, colour="luma", input_skip=skip)


def matrix(scale: int) -> Iterator[Candidate]:
    """Every block and scheme, and all prunings of the input skip among them."""
    skips = cycle(SKIPS)
    for blocks, scheme, width in product(BLOCKS, get_args(Scheme), (8, 16)):
        yield luma(pruned(blocks, scheme, scale, width), next(skips))


@pytest.mark.parametrize("rgb", [False, True], ids=["plane", "rgb"])
@pytest.mark.parametrize("scale", SCALES)
def test_equals_onnx_runtime_and_numpy(library: Library, scale: int, rgb: bool) -> None:
    for candidate in matrix(scale):
        net = network(candidate)
        reference = Reference(net, rgb=rgb)
        sessions = [Session(net, library, threads=n, rgb=rgb) for n in THREADS]
        for size in SIZES:
            lr = images(*size, channels=RGB if rgb else 1)
            first, *others = [session.run(lr) for session in sessions]
            expected = (in_colours_by_numpy if rgb else by_numpy)(net, lr[0])
            assert first.shape[1:] == expected.shape
            assert np.abs(first[0] - expected).max() <= TOLERANCE, (candidate, size)
            assert np.abs(first - reference.run(lr)).max() <= TOLERANCE, (candidate, size)
            assert all(np.array_equal(first, other) for other in others)


@pytest.mark.parametrize("skip", SKIPS[1:], ids=lambda skip: skip.scheme)
@pytest.mark.parametrize("scale", SCALES)
def test_pruned_input_skips_of_rgb_networks(
    library: Library, scale: int, skip: LayerPruning
) -> None:
    net = network(replace(pruned(("wide",), "block", scale, 16), input_skip=skip))
    session = Session(net, library, threads=2)
    for size in SIZES:
        lr = images(*size)
        assert np.abs(session.run(lr)[0] - by_numpy(net, lr[0])).max() <= TOLERANCE


@pytest.mark.parametrize("scale", SCALES)
def test_every_width(library: Library, scale: int) -> None:
    equal_at_every_width(library, scale)


@pytest.mark.parametrize("scale", SCALES)
def test_every_width_with_shorter_vectors(other_library: Library, scale: int) -> None:
    equal_at_every_width(other_library, scale)


def equal_at_every_width(library: Library, scale: int) -> None:
    net = network(luma(pruned(("residual",), "block", scale, 8)))
    reference, session = Reference(net, rgb=True), Session(net, library, threads=1, rgb=True)
    for columns in EDGES:
        lr = images(3, columns)
        assert np.abs(session.run(lr) - reference.run(lr)).max() <= TOLERANCE, columns


@settings(max_examples=40)
@given(
    candidate=candidates(),
    skip=st.sampled_from(SKIPS),
    height=st.integers(1, 30),
    columns=st.integers(1, 150),
    threads=st.integers(1, 4),
    arena=st.sampled_from((1, 20_000, 4 << 20)),
    rgb=st.booleans(),
)
def test_any_candidate(
    library: Library, candidate: Candidate, skip: LayerPruning, height: int, columns: int,
    threads: int, arena: int, rgb: bool,
) -> None:  # fmt: skip
    net, lr = network(luma(candidate, skip)), images(height, columns, channels=RGB if rgb else 1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "ARENA_BYTES", arena)
        result = Session(net, library, threads=threads, rgb=rgb).run(lr)
    assert np.abs(result - Reference(net, rgb=rgb).run(lr)).max() <= TOLERANCE


@pytest.mark.parametrize("rgb", [False, True], ids=["plane", "rgb"])
@pytest.mark.parametrize("scale", SCALES)
def test_tiles_change_no_bit(
    library: Library, monkeypatch: pytest.MonkeyPatch, scale: int, rgb: bool
) -> None:
    net = network(luma(pruned(("residual", "wide"), "pattern", scale, 16)))
    lr = images(23, 131, channels=RGB if rgb else 1)
    whole = Session(net, library, threads=1, rgb=rgb).run(lr)
    for arena in (30_000, 1):
        monkeypatch.setattr(module, "ARENA_BYTES", arena)
        for threads in THREADS:
            assert np.array_equal(whole, Session(net, library, threads=threads, rgb=rgb).run(lr))


def test_a_network_without_an_input_skip(library: Library) -> None:
    net = plain(network(luma(pruned(("wide",), "block", 2, 8))))
    net, lr = replace(net, input_skip=None), images(5, 33)
    result = Session(net, library, rgb=True).run(lr)[0]
    assert np.abs(result - in_colours_by_numpy(net, lr[0])).max() <= TOLERANCE


def test_rgb_of_an_rgb_network_is_the_network() -> None:
    net = network(pruned(("wide",), "block", 2, 16))
    assert pack(net, rgb=True).blob == pack(net).blob


@pytest.mark.parametrize("scale", SCALES)
def test_bicubic_chroma_is_computed_without_its_zeros(scale: int) -> None:
    """Of 25 taps each phase has 16; groups of four share theirs where that is cheaper."""
    net = network(luma(pruned(("skip",), "dense", scale, 8)))
    (step,) = pack(net, rgb=True).plan.steps[-1:]
    assert [op.kind for op in step.ops] == ["conv", "conv", "conv", "write"]
    words = np.frombuffer(pack(net, rgb=True).blob, dtype=np.uint32)
    alone = np.frombuffer(pack(net).blob, dtype=np.uint32)
    weights = int(words[12]) - int(alone[12]) - (1 + RGB + RGB) * (1 + RGB)
    assert weights <= 2 * scale**2 * (1 + 25)


def showing(net: ExtractedNetwork, channels: int) -> PlainNetwork:
    """A network that repeats the pixels of its image exactly."""
    phases = channels * net.candidate.scale**2
    eye = np.repeat(np.eye(channels, dtype=np.float32), net.candidate.scale**2, axis=0)
    skip = one_by_one("input_skip", eye)
    head, tail = (one_by_one(name, np.zeros(shape, dtype=np.float32))
                  for name, shape in (("head", (8, channels)), ("tail", (phases, 8))))  # fmt: skip
    colour = "rgb" if channels == RGB else "luma"
    return PlainNetwork("identity", net.candidate.scale, colour, 0.0, (head,), (), tail, skip)


def one_by_one(name: str, weight: NDArray[np.float32]) -> ExtractedLayer:
    bias, kernel = np.zeros(len(weight), dtype=np.float32), weight[:, :, None, None]
    return ExtractedLayer(name, kernel, bias, kernel != 0, DENSE, relu=False)


@pytest.mark.parametrize("colour", [*CHANNELS])
@pytest.mark.parametrize("rgb", [False, True])
@pytest.mark.parametrize("scale", SCALES)
def test_bytes_are_the_rounded_result(
    library: Library, monkeypatch: pytest.MonkeyPatch, scale: int, rgb: bool, colour: Colour
) -> None:
    """At any width, and in tiles."""
    net = network(replace(pruned(("residual",), "block", scale, 8), colour=colour))
    session = Session(net, library, threads=2, rgb=rgb)
    for columns in EDGES:
        lr = 1.4 * images(3, columns, channels=session.channels) - np.float32(0.2)
        expected = rounded_by_numpy(session.run(lr)).transpose(0, 2, 3, 1)
        assert np.array_equal(session.run_bytes(lr), expected)
    lr = images(9, 131, channels=session.channels)
    expected = session.run_bytes(lr)
    monkeypatch.setattr(module, "ARENA_BYTES", 20_000)
    assert np.array_equal(Session(net, library, threads=3, rgb=rgb).run_bytes(lr), expected)


def test_rounding_is_that_of_images(library: Library) -> None:
    """Bit for bit: halves, values just beside them, and values that are clipped."""
    net = network(pruned(("skip",), "dense", 2, 8))
    halves = (np.arange(-2, 258, dtype=np.float32) + 0.5) / 255
    near = [np.nextafter(halves, np.float32(side)) for side in (-9, 9)]
    values = np.concatenate([halves, *near, [-1e9, -0.0, 0, 1, 1e-45, 1e9]]).astype(np.float32)
    for colours in (RGB, 1):
        identity = showing(net, colours)
        lr = np.resize(values, (1, colours, 5, 200)).astype(np.float32)
        session = Session(identity, library, threads=2)
        expected = np.repeat(np.repeat(lr, 2, axis=2), 2, axis=3)
        assert np.array_equal(session.run(lr), expected)
        pixels = session.run_bytes(lr).transpose(0, 3, 1, 2)
        assert np.array_equal(pixels, rounded(expected, np.uint8))
