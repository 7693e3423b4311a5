"""Shapes and costs, against published figures (of `published.json` and of the papers)."""

from __future__ import annotations

import pytest

from sr_core.errors import InvalidCandidate
from sr_core.rivals.arch import ARCHITECTURES, Layout, architecture, layout

LUMA = 1
X4_AT_360 = 4
"""ETDS counts x4 for an input of 640x360, four times ours."""


def shape(name: str, scale: int, colours: int = 3) -> Layout:
    return layout(ARCHITECTURES[name], scale, published=colours == LUMA)


def slopes(of: Layout) -> int:
    """PReLU has a slope per channel, ReLU none."""
    return sum(conv.out_channels for conv in of.convs if conv.relu)


def weights(of: Layout) -> int:
    return sum(conv.weights for conv in of.convs)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_as_published_it_has_slopes_and_one_colour(name: str) -> None:
    of, ours = shape(name, 4, LUMA), shape(name, 4)
    assert (of.colour, ours.colour) == ("luma", "rgb")
    assert [conv.prelu for conv in of.convs] == [conv.relu for conv in ours.convs]
    biases = sum(conv.out_channels for conv in of.convs if conv != of.tail)
    tail = 1 if name == "fsrcnn" else 16
    assert of.params == weights(of) + biases + tail + slopes(of)


def test_fsrcnn_in_luma_has_the_weights_of_the_paper() -> None:
    """25 d + s d + 9 m s^2 + d s + 81 d = 12,464, commonly quoted as 12 K."""
    assert weights(shape("fsrcnn", 2, LUMA)) == weights(shape("fsrcnn", 4, LUMA)) == 12_464


@pytest.mark.parametrize(
    ("name", "scale", "params_k"),
    [("fsrcnn", 2, 24.68), ("fsrcnn", 4, 24.68), ("ecbsr-m4c16", 2, 11.55),
     ("ecbsr-m4c16", 4, 16.77)],
)  # fmt: skip
def test_parameters_in_rgb_are_those_of_etds(name: str, scale: int, params_k: float) -> None:
    """ETDS (CVPR 2023, Table 2) counts RGB networks with PReLU."""
    of = shape(name, scale)
    assert (of.params + slopes(of)) / 1e3 == pytest.approx(params_k, abs=0.006)


@pytest.mark.parametrize(
    ("name", "scale", "macs_g"),
    [("ecbsr-m4c16", 2, 2.64), ("ecbsr-m4c16", 4, 3.83 / X4_AT_360)],
)
def test_macs_in_rgb_are_those_of_etds(name: str, scale: int, macs_g: float) -> None:
    assert shape(name, scale).macs / 1e9 == pytest.approx(macs_g, rel=0.01)


@pytest.mark.parametrize(("colours", "macs_g"), [(LUMA, 6.0), (3, 15.05)])
def test_published_macs_of_fsrcnn_multiply_zeros_too(colours: int, macs_g: float) -> None:
    """All 81 weights for every pixel of the result, of which three quarters meet a zero at x2."""
    of = shape("fsrcnn", 2, colours)
    extra = 3 * of.tail.weights * 360 * 640
    assert (of.macs + extra) / 1e9 == pytest.approx(macs_g, rel=0.01)
    assert of.macs / 1e9 == pytest.approx({LUMA: 2.87, 3: 5.61}[colours], rel=0.01)


@pytest.mark.parametrize(("name", "macs_g"), [("sesr-m5", 3.1), ("sesr-m11", 6.3)])
def test_sesr_in_luma_has_the_macs_of_the_chart(name: str, macs_g: float) -> None:
    """SESR_results.png of the authors' repository, read by eye; x2 to 720p."""
    of = shape(name, 2, LUMA)
    assert of.macs / 1e9 == pytest.approx(macs_g, rel=0.02)
    assert weights(of) == {"sesr-m5": 13_520, "sesr-m11": 27_344}[name]


def test_what_rgb_adds() -> None:
    """Only the ends grow: inputs of the head and outputs of the tail are threefold."""
    for name in ARCHITECTURES:
        luma, rgb = shape(name, 4, LUMA), shape(name, 4)
        for a, b in zip(luma.convs, rgb.convs, strict=True):
            assert b.weights == a.weights * (3 if a.name in ("head", "tail") else 1)


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(InvalidCandidate, match="'vdsr': expected one of fsrcnn, ecbsr-m4c16"):
        architecture("vdsr")
