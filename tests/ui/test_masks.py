"""Pictures of masks: what they draw, how large they are, what is said of them."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sr_core import ui
from sr_core.errors import InvalidCandidate
from sr_core.network.blocks import Scheme
from sr_core.network.candidate import (
    DENSE,
    Candidate,
    Cell,
    LayerPruning,
    uniform,
)
from sr_core.network.extract import extract
from sr_core.network.masks import Mask
from sr_core.ui import masks
from tests import tiny

SUPERNET = tiny.supernet(4)


def _pruned(scheme: Scheme, ratio: float) -> Candidate:
    blocks = ("wide", "residual")
    return uniform(scale=4, width=16, blocks=blocks, scheme=scheme, ratio=ratio, prune_tail=True)


def _random(shape: tuple[int, int, int, int]) -> Mask:
    return np.random.default_rng(0).random(shape) < 0.3


def test_a_1x1_picture_is_the_matrix_with_borders_between_groups() -> None:
    mask = _random((8, 5, 1, 1))
    pixels = np.asarray(masks.mask_picture(mask, "block", cell=(3, 2)))
    assert pixels.shape == (8 * 2 + 1, 5 * 3)
    assert (pixels[8] == 0).all(), "the border after 4 rows of 2 pixels"
    cells = np.delete(pixels, 8, axis=0)
    assert np.array_equal(cells == 2, mask[:, :, 0, 0].repeat(2, axis=0).repeat(3, axis=1))
    assert np.array_equal(cells == 1, cells != 2)


def test_a_3x3_picture_shows_kernels_as_squares() -> None:
    mask = _random((8, 2, 3, 3))
    pixels = np.asarray(masks.mask_picture(mask, "pattern", cell=(1, 1)))
    assert pixels.shape == (8 * 3 + 6 + 3, 2 * 3 + 1)
    assert np.array_equal(pixels[:3, 4:] == 2, mask[0, 1])
    assert np.array_equal(pixels[4:7, :3] == 2, mask[1, 0])
    below_group = 4 * 3 + 3 + 3
    assert np.array_equal(pixels[below_group : below_group + 3, :3] == 2, mask[4, 0])
    assert (pixels == 2).sum() == mask.sum()
    assert (pixels == 1).sum() == (~mask).sum()


@pytest.mark.parametrize("shape", [(192, 32, 1, 1), (28, 192, 1, 1), (32, 28, 3, 3),
                                   (32, 32, 3, 3), (48, 32, 3, 3), (16, 12, 3, 3)])  # fmt: skip
def test_a_picture_fits_the_side_panel(shape: tuple[int, int, int, int]) -> None:
    width, height = masks.mask_picture(_random(shape), "block").size
    assert 200 <= width <= 384
    assert 200 <= height <= 512


@pytest.mark.parametrize("scheme", list(masks.SCHEME_COLOURS))
def test_colours_are_those_of_the_style_sheet_on_a_transparent_ground(scheme: Scheme) -> None:
    css = (Path(ui.__file__).parent / "style.css").read_text(encoding="utf-8")
    assert dict(re.findall(r"--scheme-(\w+): (#\w{6});", css)) == masks.SCHEME_COLOURS
    picture = masks.mask_picture(_random((8, 4, 3, 3)), scheme).convert("RGBA")
    colour = masks.SCHEME_COLOURS[scheme]
    pixels = np.asarray(picture).reshape(-1, 4)
    border, removed, kept = sorted(set(map(tuple, pixels.tolist())), key=lambda rgba: rgba[3])
    assert (border[3], removed[3]) == (0, 56)
    assert kept == (*bytes.fromhex(colour[1:]), 255)


@pytest.mark.parametrize(
    ("scheme", "ratio"),
    [("dense", 0.0), ("block", 0.5), ("pattern", 0.75), ("unstructured", 0.75), ("channel", 0.5)],
)
def test_masks_are_those_of_the_network_that_runs(scheme: Scheme, ratio: float) -> None:
    candidate = _pruned(scheme, ratio)
    for layer in extract(SUPERNET, candidate).layers:
        mask = masks.layer_mask(SUPERNET, candidate, layer.name)
        assert mask.shape == SUPERNET.spec.weight_shapes()[layer.name]
        rows, columns = mask.any(axis=(1, 2, 3)), mask.any(axis=(0, 2, 3))
        if scheme == "channel":  # whole channels are gone there, and False here
            mask = mask[rows][:, columns]
        assert np.array_equal(mask, layer.mask), layer.name


def test_captions_say_what_is_kept() -> None:
    candidate = _pruned("channel", 0.5)

    def caption(layer: str) -> str:
        return masks.layer_view(SUPERNET, candidate, layer)["caption"]

    assert caption("cells.0.wide.expand").startswith(
        "768 of 1,536 weights kept, 50 % (counted). 48 of 96 output channels left. Rows: 96 output "
        "channels in groups of 4; columns: 16 input channels; where they cross, a weight."
    )
    assert "4 of 12 input channels are not read" in caption("cells.0.wide.conv")
    assert caption("cells.1.residual.conv1").endswith("where they cross, a 3×3 kernel.")
    assert "100 %" in caption("head")
    assert "rows of a group" in masks.mask_caption(_random((8, 4, 3, 3)), "pattern")


def test_a_view_is_a_png_with_its_description() -> None:
    view = masks.layer_view(SUPERNET, _pruned("pattern", 0.75), "cells.1.residual.conv2")
    kind, data = view["src"].split(",")
    assert kind == "data:image/png;base64"
    with Image.open(io.BytesIO(base64.b64decode(data))) as picture:
        assert picture.format == "PNG"
        assert picture.convert("RGBA").getchannel("A").getextrema() == (0, 255)
    assert view["alt"] == (
        "Mask of cells.1.residual.conv2, pattern: 576 of 2,304 weights kept, 25 %."
    )


@pytest.mark.parametrize(
    ("candidate", "layer", "message"),
    [
        (_pruned("block", 0.5), "cells.0.residual.conv1", "no layer 'cells.0.residual.conv1'"),
        (_pruned("block", 0.5), "cells.9.wide.conv", "expected one of head, cells.0.wide.expand"),
        (Candidate(4, 16, (Cell("wide"),), DENSE), "tail", "this supernet is x4 with 2 cells"),
        (Candidate(4, 32, (Cell("wide"),) * 2, LayerPruning()), "tail", "widths 8, 12, 16"),
    ],
)
def test_what_is_not_there_has_no_mask(candidate: Candidate, layer: str, message: str) -> None:
    with pytest.raises(InvalidCandidate, match=message):
        masks.layer_view(SUPERNET, candidate, layer)
