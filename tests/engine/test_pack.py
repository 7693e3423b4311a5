"""Packing: what nobody reads is not computed, and equal networks give equal bytes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings

from sr_core.engine.library import Library
from sr_core.engine.pack import pack
from sr_core.engine.session import Session
from sr_core.network.candidate import Candidate, uniform
from sr_core.network.extract import ExtractedLayer, ExtractedNetwork
from tests.conftest import candidates
from tests.engine.networks import TOLERANCE, Reference, images, network

VALUES = 12
"""Word of the header that counts biases and weights."""


def values(net: ExtractedNetwork) -> int:
    """Biases and weights in the blob."""
    return int(np.frombuffer(pack(net).blob, dtype=np.uint32)[VALUES])


def reading(kept: list[int]) -> ExtractedNetwork:
    """A dense wide cell, but its second layer reads only the channels `kept` of the 96."""
    net = network(uniform(scale=2, width=16, blocks=("wide",)))
    expand, linear, conv = net.cells[0]
    mask = np.zeros_like(linear.mask)
    mask[:, kept] = True
    pruned = replace(linear, mask=mask, weight=linear.weight * mask)
    return replace(net, cells=((expand, pruned, conv),))


@pytest.mark.parametrize(
    "kept",
    [list(range(96)), list(range(8)), [0, 1, 2, 3, 92, 93, 94, 95], [5, 6, 50], [95]],
    ids=lambda kept: f"{len(kept)}-from-{kept[0]}",
)
def test_channels_that_nothing_reads_are_not_computed(library: Library, kept: list[int]) -> None:
    net = reading(kept)
    cell = len(kept) * (1 + 16) + 12 * (1 + len(kept)) + 16 * (1 + 12 * 9)
    ends = 16 * (1 + 3 * 9) + 12 * (1 + 16 * 9) + 12 * (1 + 3 * 25)
    assert values(net) == cell + ends
    assert len(kept) in [buffer.channels for buffer in pack(net).plan.buffers]
    equal(net, library)


def test_a_layer_may_read_nothing(library: Library) -> None:
    """Only its biases are left; a buffer has at least one channel all the same."""
    net = reading([])
    assert values(net) < values(reading([0])) + 16
    equal(net, library)


def test_a_whole_cell_may_be_pruned_away(library: Library) -> None:
    net = network(uniform(scale=4, width=16, blocks=("residual", "wide")))
    empty = tuple(tuple(emptied(layer) for layer in cell) for cell in net.cells)
    equal(replace(net, cells=empty), library)


def emptied(layer: ExtractedLayer) -> ExtractedLayer:
    return replace(layer, mask=np.zeros_like(layer.mask), weight=np.zeros_like(layer.weight))


def equal(net: ExtractedNetwork, library: Library) -> None:
    lr = images(5, 33)
    assert np.abs(Session(net, library).run(lr) - Reference(net).run(lr)).max() <= TOLERANCE


@settings(max_examples=20)
@given(candidates())
def test_equal_networks_give_equal_bytes(candidate: Candidate) -> None:
    assert pack(network(candidate)).blob == pack(network(candidate)).blob
