"""What the layer table sends to the browser; what it does there is in tests/e2e."""

from __future__ import annotations

import json
from typing import Any

import gradio as gr
import pytest

from sr_core.candidate import BLOCKS, Candidate, uniform
from sr_core.errors import InvalidCandidate
from sr_core.layers import describe
from sr_core.ui.components.layer_table import LayerTable, vocabulary

FIRST = uniform(scale=4, width=16, blocks=("wide", "residual"), scheme="block", ratio=0.5)


def _echo(question: dict[str, Any]) -> dict[str, Any]:
    return {"note": question["note"]}


def _parse(question: dict[str, Any]) -> dict[str, Any]:
    Candidate.from_json(question["candidate"])
    return {}


def _configured(page: gr.Blocks, table: LayerTable) -> dict[str, Any]:
    (config,) = (c for c in page.config["components"] if c["id"] == table._id)
    return json.loads(json.dumps(config))


def test_the_plain_table_asks_nothing() -> None:
    with gr.Blocks(analytics_enabled=False) as page:
        table = LayerTable(FIRST, elem_id="layers")
        table.input(lambda value: value, table, table)  # pyright: ignore
    config = _configured(page, table)
    assert config["server_fns"] == []
    assert config["props"]["value"] == FIRST.to_json()
    assert config["props"]["props"] == {"view": {}, "vocabulary": _plain(vocabulary())}


def test_price_and_mask_are_server_functions_and_no_properties() -> None:
    with gr.Blocks(analytics_enabled=False) as page:
        table = LayerTable(FIRST, elem_id="layers", price=_echo, mask=_parse, view={"device": "a"})
    config = _configured(page, table)
    assert config["server_fns"] == ["price", "mask"]
    assert not {"price", "mask"} & set(config["props"])
    assert config["props"]["props"]["view"] == {"device": "a"}


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
    updated = LayerTable(**{**table.constructor_args, "view": {"device": "b"}, "render": False})
    assert updated.view == {"device": "b"}
    assert [fn.__name__ for fn in updated.server_fns] == ["price"]


def test_the_rows_are_the_layers_of_the_cost_model() -> None:
    offered = vocabulary()
    unpruned = iter(offered["unpruned"])
    names = [
        next(unpruned),
        *(
            f"cells.{index}.{cell.block}.{layer['key']}"
            for index, cell in enumerate(FIRST.cells)
            for layer in offered["blocks"][cell.block]
        ),
        "tail",
        next(unpruned),
    ]
    assert names == [layer.name for layer in describe(FIRST, 90, 160)]
    for block in BLOCKS.values():
        kernels = [layer["name"][0] for layer in offered["blocks"][block.name]]
        assert kernels == [str(conv.kernel) for conv in block.convs]


def _plain(value: Any) -> Any:
    return json.loads(json.dumps(value))
