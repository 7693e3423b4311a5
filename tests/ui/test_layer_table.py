"""What the layer table sends to the browser; what it does there is in tests/e2e."""

from __future__ import annotations

import json
from typing import Any

import gradio as gr
import pytest

from sr_core.errors import InvalidCandidate
from sr_core.network.blocks import BLOCKS
from sr_core.network.candidate import Candidate, uniform
from sr_core.network.layers import describe
from sr_core.ui.components.layer_table import LayerTable, vocabulary

FIRST = uniform(scale=4, width=16, blocks=("wide", "residual"), scheme="block", ratio=0.5)


def _echo(question: dict[str, Any]) -> dict[str, Any]:
    return {"note": question["note"]}


def _parse(question: dict[str, Any]) -> dict[str, Any]:
    Candidate.from_json(question["candidate"])
    return {}


def _configured(page: gr.Blocks) -> dict[str, Any]:
    """The properties that reach the browser."""
    config: Any = page.config
    (found,) = (c["props"] for c in config["components"] if c["props"].get("elem_id") == "layers")
    return json.loads(json.dumps(found))


def test_the_plain_table_asks_nothing() -> None:
    with gr.Blocks(analytics_enabled=False) as page:
        LayerTable(FIRST, elem_id="layers")
    config = _configured(page)
    assert "server_fns" not in config
    assert config["value"] == FIRST.to_json()
    assert config["props"] == {"view": {}}
    assert config["js_on_load"].startswith(f"const VOCABULARY = {json.dumps(vocabulary())};")


def test_price_and_mask_are_server_functions_and_no_properties() -> None:
    with gr.Blocks(analytics_enabled=False) as page:
        LayerTable(FIRST, elem_id="layers", price=_echo, mask=_parse, view={"device": "a"})
    config = _configured(page)
    assert config["server_fns"] == ["price", "mask"]
    assert not {"price", "mask"} & set(config)
    assert config["props"]["view"] == {"device": "a"}


def test_an_expected_error_becomes_a_sentence() -> None:
    table = LayerTable(FIRST, elem_id="layers", price=_echo, mask=_parse)
    price, mask = table.server_fns
    assert price({"note": "counted"}) == {"note": "counted"}
    assert "expected one of" in mask({"candidate": {**FIRST.to_json(), "width": 17}})["error"]
    with pytest.raises(KeyError):
        price({})
    with pytest.raises(InvalidCandidate):
        _parse({"candidate": None})


def test_an_update_of_the_view_keeps_the_rest() -> None:
    table = LayerTable(FIRST, elem_id="layers", price=_echo)
    changes: dict[str, Any] = {"view": {"device": "b"}, "render": False}  # as Gradio does it
    updated = LayerTable(**{**table.constructor_args, **changes})
    assert updated.view == {"device": "b"}
    assert [fn.__name__ for fn in updated.server_fns] == ["price"]


def test_the_rows_are_the_layers_of_the_cost_model() -> None:
    offered = vocabulary()
    head, *ends = offered["ends"]
    names = [
        head,
        *(
            f"cells.{index}.{cell.block}.{layer['key']}"
            for index, cell in enumerate(FIRST.cells)
            for layer in offered["blocks"][cell.block]
        ),
        *ends,
    ]
    assert names == [layer.name for layer in describe(FIRST, 90, 160)]
    for block in BLOCKS.values():
        kernels = [layer["name"][0] for layer in offered["blocks"][block.name]]
        assert kernels == [str(conv.kernel) for conv in block.convs]
