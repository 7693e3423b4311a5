"""Lists of networks that tables and searches start from."""

from __future__ import annotations

import pytest

from sr_core.network.candidate import SCALES
from sr_core.network.presets import presets, uniform_networks
from sr_core.network.weights import SupernetSpec


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize(("width", "cells"), [(32, 12), (16, 2), (24, 1)])
def test_uniform_networks_are_plain_and_differ(scale: int, width: int, cells: int) -> None:
    networks = uniform_networks(SupernetSpec(scale, width, cells))
    assert len(set(networks)) == len(networks)
    for network in networks:
        assert network.scale == scale
        assert network.width <= width
        assert len(network.cells) == cells
        assert len({cell.block for cell in network.cells} - {"skip"}) == 1
        assert len({cell for cell in network.cells if cell.block != "skip"}) == 1
    anchors = {preset.candidate for preset in presets(SupernetSpec(scale, width, cells))[:2]}
    assert anchors <= set(networks)


def test_depths_reach_from_a_third_to_all_cells() -> None:
    networks = uniform_networks(SupernetSpec(4, 16, 12))
    depths = {sum(cell.block != "skip" for cell in network.cells) for network in networks}
    assert depths == {4, 6, 8, 10, 12}
