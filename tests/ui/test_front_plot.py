"""The value of the front plot and what its Python part gives Gradio."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import gradio as gr
import pytest
from gradio.blocks import postprocess_update_dict
from gradio.utils import is_static_file

from sr_core.ui.components.front_plot import (
    NO_BUDGET,
    Axis,
    Baseline,
    FrontData,
    FrontPlot,
    Point,
    PublishedPoint,
    plotly_url,
)

POINT = Point("a1", "16 ch, block 50 %", "search", 10.0, 9.0, 12.0, 30.5, True, 4.5, 60.0)
DATA = FrontData(
    points=(POINT, replace(POINT, id="b2", y=30.0, front=False, kind="listed")),
    x=Axis("Latency, ms per 1280×720 frame", "estimated"),
    y=Axis("PSNR-Y, dB", "measured"),
    note="Measured on 24 crops.",
    published=(PublishedPoint("FSRCNN", 20.0, 29.0, "AI Hub"),),
    baseline=Baseline("bicubic", 28.4),
)


def test_points_travel_as_columns() -> None:
    value = DATA.to_json()
    assert list(value["points"]) == [
        "id", "title", "kind", "x", "low", "high", "y", "front", "macs_g", "params_k",
    ]  # fmt: skip
    assert value["points"]["id"] == ["a1", "b2"]
    assert value["points"]["front"] == [True, False]
    assert value["published"] == {
        "name": ["FSRCNN"], "x": [20.0], "y": [29.0], "source": ["AI Hub"], "note": [""],
    }  # fmt: skip
    assert value["baseline"] == {"name": "bicubic", "y": 28.4}


def test_an_empty_front_keeps_its_sentence_and_columns() -> None:
    empty = replace(DATA, points=(), published=(), baseline=None, note="No search yet.")
    value = empty.to_json()
    assert set(value["points"]) == set(DATA.to_json()["points"])
    assert value["points"]["id"] == value["published"]["name"] == []
    assert value["baseline"] is None
    assert value["note"] == "No search yet."


def test_an_axis_knows_its_name_and_unit() -> None:
    axis = DATA.x.to_json()
    assert (axis["name"], axis["unit"]) == ("Latency", "ms")
    assert axis["title"] == "Latency, ms per 1280×720 frame"


@pytest.mark.parametrize("title", ["Latency", "Latency, ", ", ms", ""])
def test_an_axis_without_unit_is_refused(title: str) -> None:
    with pytest.raises(ValueError, match="NAME, UNIT"):
        Axis(title, "estimated").to_json()


@pytest.mark.parametrize(
    "change",
    [{"low": 10.1}, {"high": 9.9}, {"low": 0.0}, {"y": float("nan")}, {"high": float("inf")}],
)
def test_impossible_points_are_refused(change: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"Point a1: .* 0 < low <= x <= high"):
        replace(POINT, **change)


@pytest.mark.parametrize("second", ["a1", ""])
def test_ids_are_different_and_not_empty(second: str) -> None:
    with pytest.raises(ValueError, match="different ids"):
        replace(DATA, points=(POINT, replace(POINT, id=second))).to_json()


def test_the_page_gets_json_text() -> None:
    with gr.Blocks():
        plot = FrontPlot(DATA, elem_id="front")
    assert json.loads(plot.get_config()["value"]) == DATA.to_json()
    assert plot.get_config()["props"]["budget"] == NO_BUDGET


def test_an_update_of_a_property_sends_it_alone() -> None:
    """Gradio builds the component anew, without value, and reads the property from it."""
    with gr.Blocks():
        plot = FrontPlot(DATA, elem_id="front")
    change = {"selected": "b2", "budget": 33.0}
    arguments: Any = {**plot.constructor_args, **change, "render": False}
    del arguments["value"]
    sent = postprocess_update_dict(FrontPlot(**arguments), dict(change))
    assert sent == {**change, "props": change, "__type__": "update"}


def test_of_plotly_one_file_is_served() -> None:
    served = Path(unquote(plotly_url().removeprefix("gradio_api/file=")))
    assert served.name == "plotly.min.js"
    assert is_static_file(served)
    assert not is_static_file(served.with_name("widgetbundle.js"))
