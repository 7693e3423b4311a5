"""How often each coefficient counts: against the numbers by hand, and against the engine's own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from sr_core.engine.pack import _groups  # pyright: ignore[reportPrivateUsage]
from sr_core.engine.session import Session
from sr_core.latency import work as module
from sr_core.latency.work import TERMS, Work, dense, engine, workload
from sr_core.network.blocks import Scheme
from sr_core.network.candidate import Candidate, Cell, LayerPruning, uniform
from sr_core.network.colour import CHANNELS, Colour
from sr_core.network.extract import extract
from sr_core.network.layers import ConvLayer, describe, timed
from sr_core.network.sampling import sample_candidate
from sr_core.network.weights import SupernetSpec, random_supernet
from tests.search.profiles import device, on_engine

WIDTH, STEP, NEAR_MIB = 320, 64, 1.5


def layer(inputs: int, outputs: int, kernel: int = 3) -> ConvLayer:
    """A dense convolution on 200 x 500 pixels, 0.1 Mpx."""
    return ConvLayer(
        "cells.0.residual.conv1", "cell", kernel, inputs, outputs, inputs, outputs, 200, 500,
        LayerPruning(), inputs * outputs * kernel**2,
    )  # fmt: skip


def of(works: list[Work], term: str) -> list[float]:
    return [one[TERMS.index(term)] for one in works]


@pytest.mark.parametrize(
    ("inputs", "outputs", "step", "padded"),
    [
        (20, 28, 16, (32, 32)),
        (16, 32, 16, (16, 32)),
        (12, 33, 8, (16, 40)),
        (20, 28, 1, (20, 28)),
        (3, 20, 16, (3, 32)),  # RGB is never padded
    ],
)
def test_dense_work_counts_whole_channel_steps(
    inputs: int, outputs: int, step: int, padded: tuple[int, int]
) -> None:
    reads, writes = padded
    (found,) = dense(step)([layer(inputs, outputs)])
    assert found == pytest.approx(
        (1, reads * writes * 9 * 1e-4, 0.1, 0.1 * reads, 0.1 * writes, 0, 0)
    )
    assert TERMS == (
        "launch_ms", "ms_per_gmac", "ms_per_mpx", "ms_per_mpx_in", "ms_per_mpx_out",
        "ms_per_gmac_single", "ms_per_mpx_in_far",
    )  # fmt: skip


def test_the_engine_computes_what_is_kept() -> None:
    candidate = uniform(scale=4, width=16, blocks=("wide", "residual"), scheme="block", ratio=0.7)
    layers = describe(candidate, 180, WIDTH)
    found = engine(1, STEP, NEAR_MIB)(layers)
    macs = [one.macs_kept / 1e9 for one in layers]
    assert of(found, "ms_per_gmac") == pytest.approx(macs)
    assert of(found, "ms_per_mpx") == pytest.approx([0.0576] * len(layers))
    assert of(found, "ms_per_mpx_in") == pytest.approx([0.0576 * one.in_channels for one in layers])
    assert not any(of(found, "ms_per_gmac_single"))
    assert not any(of(found, "ms_per_mpx_in_far"))  # a small network, near at hand


def test_strips_compute_the_rows_that_later_layers_read() -> None:
    """Head, wide (1x1, 1x1, 3x3), residual (3x3, 3x3), tail; the input skip runs beside it."""
    layers = describe(uniform(scale=4, width=16, blocks=("wide", "residual")), 180, WIDTH)
    extra = [4, 4, 4, 3, 2, 1, 0, 0]
    for threads in (1, 2, 5):
        rows = [180 + 2 * reach * (threads - 1) for reach in extra]
        expected = [count * WIDTH / 1e6 for count in rows]
        assert of(engine(threads, STEP, NEAR_MIB)(layers), "ms_per_mpx") == pytest.approx(expected)
    tiny = describe(uniform(scale=4, width=16, blocks=("wide",) * 12), 2, WIDTH)
    most = max(of(engine(8, STEP, NEAR_MIB)(tiny), "ms_per_mpx"))
    assert most == pytest.approx(2 * 2 * WIDTH / 1e6)  # two strips, both of the whole image


@pytest.mark.parametrize(("width", "columns"), [(320, 320), (288, 304), (1, 32.5), (65, 96.5)])
def test_part_of_a_chunk_takes_longer_than_its_share(width: int, columns: float) -> None:
    layers = describe(uniform(scale=4, width=16, blocks=("wide",)), 1, width)
    assert of(engine(1, STEP, NEAR_MIB)(layers), "ms_per_mpx") == pytest.approx([columns / 1e6] * 6)


@pytest.mark.parametrize("ratio", [0.1, 0.3, 0.45, 0.55, 0.7, 0.9])
@pytest.mark.parametrize("block", ["wide", "residual"])
def test_unstructured_layers_are_split_as_pack_splits_them(block: Any, ratio: float) -> None:
    candidate = uniform(scale=4, width=32, blocks=(block,), scheme="unstructured", ratio=ratio)
    supernet = random_supernet(SupernetSpec(4, 32, 1), np.random.default_rng(0))
    works = engine(1, STEP, NEAR_MIB)(describe(candidate, 1, 64))[1:-2]
    for found, real in zip(works, extract(supernet, candidate).cells[0], strict=True):
        shared = single = 0
        for group in _groups(real, np.ones(len(real.weight), dtype=np.bool_)):
            size = len(group.outputs) * int(group.mask.sum())
            shared, single = (
                shared + size * (size > 0 and len(group.outputs) == 4),
                (single + size * (len(group.outputs) == 1)),
            )
        expected = (shared + 1.8 * single) * 64 / 1e9
        model = found[TERMS.index("ms_per_gmac")] + 1.8 * found[TERMS.index("ms_per_gmac_single")]
        assert model == pytest.approx(expected, rel=0.04)


def networks() -> list[Candidate]:
    rng = np.random.default_rng(2)
    return [
        uniform(scale=4, width=32, blocks=("residual",) * 12),
        uniform(scale=4, width=16, blocks=("skip", "skip")),
        *(sample_candidate(rng, SupernetSpec(4, 32, 6)) for _ in range(6)),
    ]


class Blobs:
    """Stands in for the library: keeps what it was given."""

    def checked(self, blob: bytes) -> bytes:
        return blob


def session_of(candidate: Candidate) -> Session:
    spec = SupernetSpec.around(candidate)
    library: Any = Blobs()
    network = extract(random_supernet(spec, np.random.default_rng(0)), candidate)
    return Session(network, library, threads=1, rgb=True)


@pytest.mark.parametrize("width", [320, 640, 2000])
@pytest.mark.parametrize("colour", CHANNELS)
def test_tiles_are_those_of_the_session(width: int, colour: Colour) -> None:
    """Exactly, where nothing makes the engine leave out channels that nobody reads."""
    for candidate in networks():
        cells = tuple(Cell(c.block) for c in candidate.cells)
        plain = Candidate(4, candidate.width, cells, colour=colour)
        session = session_of(plain)
        reach = session._reach  # pyright: ignore[reportPrivateUsage]
        tiles = list(session._tiles(9, width))  # pyright: ignore[reportPrivateUsage]
        widths = [min(t.x1 + reach, width) - max(t.x0 - reach, 0) for t in tiles]
        chain = module._chain(timed(plain, 9, width))  # pyright: ignore[reportPrivateUsage]
        summary = module._plan_summary(chain)  # pyright: ignore[reportPrivateUsage]
        columns, widest = module._tiling(width, summary, 1)  # pyright: ignore[reportPrivateUsage]
        assert columns == pytest.approx(sum(widths), abs=len(tiles))
        assert widest == pytest.approx(max(widths), abs=1)
        assert summary.ring_floats == session._ring_floats  # pyright: ignore[reportPrivateUsage]


def test_what_does_not_fit_into_the_near_cache_is_far() -> None:
    large = describe(uniform(scale=4, width=32, blocks=("residual",) * 12), 180, WIDTH)
    sparse = describe(
        uniform(scale=4, width=32, blocks=("residual",) * 12, scheme="block", ratio=0.9),
        180, WIDTH,
    )  # fmt: skip

    def far_share(layers: list[ConvLayer], near_mib: float) -> float:
        found = engine(1, STEP, near_mib)(layers)  # every layer is larger than 1x1
        shares = np.divide(of(found, "ms_per_mpx_in_far"), of(found, "ms_per_mpx_in"))
        assert np.ptp(shares) < 1e-9
        return float(shares[0])

    assert far_share(large, 0.0) == far_share(large, 0.5) == 1
    # Pruned layers have fewer weights and offsets to go through.
    assert 1 > far_share(large, 3.0) > far_share(sparse, 3.0) > far_share(large, 99) == 0


@pytest.mark.parametrize("scheme", ["dense", "block", "unstructured"])
def test_the_profile_says_which_form_counts(scheme: Scheme) -> None:
    ratio = 0.0 if scheme == "dense" else 0.5
    candidate = uniform(scale=4, width=16, blocks=("wide",), scheme=scheme, ratio=ratio)
    layers = describe(candidate, 180, WIDTH)
    assert workload(device(), 2)(layers) == dense(4)(layers)
    assert workload(on_engine(), 2)(layers) == engine(2, STEP, NEAR_MIB)(layers)
    assert workload(on_engine(), None)(layers) == engine(1, STEP, NEAR_MIB)(layers)
