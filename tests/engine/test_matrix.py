"""The engine computes what ONNX Runtime computes on the masked dense network.

Every block x scheme x scale x width x odd size x thread count; on one thread and on several,
in one tile and in many, the results are the same bit for bit.
"""

from __future__ import annotations

from copy import copy
from dataclasses import replace
from itertools import product
from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sr_core.engine import session as module
from sr_core.engine.library import Library
from sr_core.engine.session import Session
from sr_core.network.blocks import Block, Scheme
from sr_core.network.candidate import SCALES, WIDTHS, Candidate, uniform
from sr_core.network.extract import ExtractedLayer
from tests.conftest import candidates
from tests.engine.networks import TOLERANCE, Reference, images, network

BLOCKS: tuple[tuple[Block, ...], ...] = (
    ("skip",), ("wide",), ("residual",), ("residual", "skip", "wide"),
)  # fmt: skip
RATIOS = (0.6, 0.9)
SIZES = (
    (1, 1), (1, 7), (5, 1), (2, 3), (7, 15), (2, 16), (13, 17), (3, 48), (3, 64), (4, 65), (6, 128),
    (33, 66),
)  # fmt: skip
"""Heights and widths: below every kernel's, around vectors and chunks of any library."""
THREADS = (1, 2, 3)
EDGES = range(1, 131)
"""Widths up to two chunks of the widest vectors, and two columns more."""


def pruned(
    blocks: tuple[Block, ...], scheme: Scheme, scale: int, width: int, ratio: float = 0.6
) -> Candidate:
    """Pruned everywhere, the tail too."""
    return uniform(
        scale=scale, width=width, blocks=blocks, scheme=scheme, ratio=ratio, prune_tail=True
    )


def matrix(blocks: tuple[Block, ...], scale: int) -> list[Candidate]:
    """Every scheme, width and ratio; equal candidates once."""
    options = product(get_args(Scheme), WIDTHS, RATIOS)
    every = (pruned(blocks, scheme, scale, width, ratio) for scheme, width, ratio in options)
    return list(dict.fromkeys(every))


def test_number_of_cases() -> None:
    candidates = sum(len(matrix(blocks, scale)) for blocks, scale in product(BLOCKS, SCALES))
    assert candidates * len(SIZES) * len(THREADS) == 11_520  # quoted in docs/engine.md


@pytest.mark.parametrize("blocks", BLOCKS, ids="-".join)
@pytest.mark.parametrize("scale", SCALES)
def test_equals_onnx_runtime(library: Library, blocks: tuple[Block, ...], scale: int) -> None:
    for candidate in matrix(blocks, scale):
        net = network(candidate)
        reference = Reference(net)
        sessions = [Session(net, library, threads=threads) for threads in THREADS]
        for height, columns in SIZES:
            lr = images(height, columns)
            expected = reference.run(lr)
            first, *others = [session.run(lr) for session in sessions]
            assert first.shape == expected.shape
            difference = np.abs(first - expected).max()
            assert difference <= TOLERANCE, (candidate, height, columns)
            assert all(np.array_equal(first, other) for other in others)


@pytest.mark.parametrize("scale", SCALES)
def test_every_width_up_to_two_chunks(library: Library, scale: int) -> None:
    equal_at_every_width(library, scale)


@pytest.mark.parametrize("scale", SCALES)
def test_every_width_with_shorter_vectors(other_library: Library, scale: int) -> None:
    equal_at_every_width(other_library, scale)


def equal_at_every_width(library: Library, scale: int) -> None:
    """Of a network with each kind of convolution, shared and lone positions."""
    for scheme in ("block", "unstructured"):
        net = network(pruned(("wide", "residual"), scheme, scale, 16))
        reference, session = Reference(net), Session(net, library, threads=1)
        for columns in EDGES:
            lr = images(3, columns)
            difference = np.abs(session.run(lr) - reference.run(lr)).max()
            assert difference <= TOLERANCE, (scheme, columns)


@pytest.mark.parametrize("scale", [1, 3])
def test_scales_that_no_supernet_has(
    library: Library, monkeypatch: pytest.MonkeyPatch, scale: int
) -> None:
    """The kernel knows them; their phases are no groups of four."""
    monkeypatch.setattr("sr_core.engine.pack.GROUP", 1)
    net = network(pruned(("wide",), "block", 4, 16))
    candidate = copy(net.candidate)
    object.__setattr__(candidate, "scale", scale)
    tail, skip = (first_channels(layer, 3 * scale**2) for layer in (net.tail, net.input_skip))
    other = replace(net, candidate=candidate, tail=tail, input_skip=skip)
    reference, session = Reference(other), Session(other, library, threads=2)
    for size in SIZES:
        lr = images(*size)
        assert np.abs(session.run(lr) - reference.run(lr)).max() <= TOLERANCE


def first_channels(layer: ExtractedLayer, count: int) -> ExtractedLayer:
    weight, bias, mask = layer.weight[:count], layer.bias[:count], layer.mask[:count]
    return replace(layer, weight=weight, bias=bias, mask=mask)


@settings(max_examples=60)
@given(
    candidate=candidates(),
    height=st.integers(1, 40),
    columns=st.integers(1, 150),
    threads=st.integers(1, 4),
    arena=st.sampled_from((1, 50_000, 4 << 20)),
)
def test_any_candidate(
    library: Library, candidate: Candidate, height: int, columns: int, threads: int, arena: int
) -> None:
    net, lr = network(candidate), images(height, columns, channels=candidate.channels)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "ARENA_BYTES", arena)
        session = Session(net, library, threads=threads)
        result = session.run(lr)
        assert np.abs(result - Reference(net).run(lr)).max() <= TOLERANCE
        assert np.array_equal(result, session.run(lr))


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("columns", [37, 131])
def test_tiles_change_no_bit(
    library: Library, monkeypatch: pytest.MonkeyPatch, scale: int, columns: int
) -> None:
    """Narrow tiles, whose margins overlap their neighbours; one column each in the end."""
    net = network(pruned(("residual", "wide"), "pattern", scale, 16))
    lr = images(23, columns)
    whole = Session(net, library, threads=1).run(lr)
    for arena in (100_000, 30_000, 1):
        monkeypatch.setattr(module, "ARENA_BYTES", arena)
        for threads in THREADS:
            assert np.array_equal(whole, Session(net, library, threads=threads).run(lr))
