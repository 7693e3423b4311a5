from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given

from sr_core.errors import InvalidCandidate
from sr_core.network.blocks import BLOCKS, Scheme
from sr_core.network.candidate import (
    DENSE,
    MAX_CELLS,
    Candidate,
    Cell,
    LayerPruning,
    model_id,
    uniform,
)
from tests.conftest import candidates

PRUNED = Candidate(
    scale=2,
    width=16,
    cells=(
        Cell("wide", (LayerPruning("channel", 0.5), DENSE, LayerPruning("pattern", 0.75))),
        Cell("skip"),
    ),
    tail=LayerPruning("block", 0.3),
)


def test_id_is_pinned_for_ever() -> None:
    """Stored fronts and latency tables are keyed by it."""
    assert PRUNED.id == "9075c4f669"
    assert model_id(PRUNED, "0123456789abcdef") == f"{PRUNED.id}-01234567"


@given(candidates())
def test_json_round_trip_keeps_candidate_and_id(candidate: Candidate) -> None:
    read = Candidate.loads(json.dumps(candidate.to_json()))
    assert read == candidate
    assert read.id == candidate.id


def test_defaults_spelled_out_or_left_out_are_the_same_network() -> None:
    short = {"scale": 4, "width": 24, "cells": [{"block": "residual"}]}
    dense = {"scheme": "dense", "ratio": 0}
    long = {**short, "cells": [{"block": "residual", "layers": [dense, dense]}], "tail": dense}
    assert Candidate.from_json(short) == Candidate.from_json(long)
    assert Candidate.from_json(short).id == Candidate.from_json(long).id


@pytest.mark.parametrize("scheme", ["channel", "block", "pattern", "unstructured"])
def test_ratio_zero_is_dense(scheme: Scheme) -> None:
    assert LayerPruning(scheme, 0.0) == LayerPruning(scheme, 0.00004) == DENSE


def test_dense_has_no_ratio() -> None:
    assert LayerPruning("dense", 0.5) == DENSE


def test_ratio_is_rounded_to_four_decimals() -> None:
    assert LayerPruning("block", 0.123449) == LayerPruning("block", 0.1234)
    assert LayerPruning("block", 0.123451) == LayerPruning("block", 0.1235)
    assert LayerPruning("pattern", 5 / 9).ratio == 0.5556


def test_skip_drops_its_layers() -> None:
    layers = (LayerPruning("block", 0.5),)
    assert Cell("skip", layers) == Cell("skip")
    assert Cell("skip", layers).layers == ()


def test_any_difference_changes_the_id() -> None:
    different = [
        PRUNED,
        Candidate(4, PRUNED.width, PRUNED.cells, PRUNED.tail),
        Candidate(PRUNED.scale, 24, PRUNED.cells, PRUNED.tail),
        Candidate(PRUNED.scale, PRUNED.width, PRUNED.cells[::-1], PRUNED.tail),
        Candidate(PRUNED.scale, PRUNED.width, PRUNED.cells, LayerPruning("block", 0.3001)),
        Candidate(PRUNED.scale, PRUNED.width, PRUNED.cells, LayerPruning("unstructured", 0.3)),
        replace(PRUNED, input_skip=LayerPruning("block", 0.3)),
        replace(PRUNED, colour="luma"),
    ]
    assert len({candidate.id for candidate in different}) == len(different)


def test_layers_are_named_in_forward_order() -> None:
    assert [name for name, _ in PRUNED.layers()] == [
        "cells.0.wide.expand",
        "cells.0.wide.linear",
        "cells.0.wide.conv",
        "tail",
        "input_skip",
    ]
    prunings = [*PRUNED.cells[0].layers, PRUNED.tail, PRUNED.input_skip]
    assert [pruning for _, pruning in PRUNED.layers()] == prunings


@pytest.mark.parametrize(
    ("scheme", "expected"),
    [
        ("pattern", ["block", "block", "pattern", "block", "dense"]),
        ("channel", ["channel", "channel", "dense", "dense", "dense"]),
        ("block", [*["block"] * 4, "dense"]),
        ("unstructured", [*["unstructured"] * 4, "dense"]),
    ],
)
def test_uniform_uses_the_scheme_wherever_it_fits(scheme: Scheme, expected: list[Scheme]) -> None:
    candidate = uniform(
        scale=4, width=32, blocks=("wide",), scheme=scheme, ratio=0.6, prune_tail=True
    )
    assert [pruning.scheme for _, pruning in candidate.layers()] == expected
    assert {pruning.ratio for _, pruning in candidate.layers()} <= {0.0, 0.6}


def test_uniform_leaves_the_tail_dense_unless_asked() -> None:
    assert uniform(scale=4, width=32, blocks=("wide",), scheme="block", ratio=0.5).tail == DENSE


def a_candidate(**changes: Any) -> dict[str, Any]:
    return {"scale": 4, "width": 32, "cells": [{"block": "residual"}], **changes}


def with_layer(pruning: object, *, block: str = "residual", at: int = 0) -> dict[str, Any]:
    layers: list[object] = [{"scheme": "dense"} for _ in BLOCKS[block].convs]
    layers[at] = pruning
    return a_candidate(cells=[{"block": block, "layers": layers}])


def block_ratio(ratio: object) -> dict[str, Any]:
    return with_layer({"scheme": "block", "ratio": ratio})


ONE_LAYER = [{"block": "wide", "layers": [{"scheme": "dense"}]}]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (a_candidate(cells=[{"block": "deep"}]), ["cell 0", "'deep'", "skip, wide, residual"]),
        (a_candidate(cells=[{"block": ["wide"]}]), ["cell 0", "['wide']", "skip, wide"]),
        (with_layer({"scheme": "magic"}), ["cell 0, layer 0", "'magic'", "dense, channel, block"]),
        (with_layer({"scheme": None}), ["None", "dense, channel, block"]),
        (block_ratio(1.0), ["cell 0, layer 0", "1.0", "0 to 0.95"]),
        (block_ratio(0.9501), ["0.9501", "0 to 0.95"]),
        (block_ratio(-0.1), ["-0.1", "0 to 0.95"]),
        (block_ratio(math.nan), ["nan", "0 to 0.95"]),
        (block_ratio(math.inf), ["inf", "0 to 0.95"]),
        (block_ratio(10**400), ["0 to 0.95"]),
        (block_ratio("half"), ["ratio", "number", "str"]),
        (block_ratio(True), ["ratio", "number", "bool"]),
        (block_ratio(None), ["ratio", "number", "null"]),
        (
            with_layer({"scheme": "pattern", "ratio": 0.7}, block="wide"),
            ["'pattern'", "wide.expand (1x1)", "dense, channel, block, unstructured"],
        ),
        (with_layer({"scheme": "pattern", "ratio": 0.3}), ["0.3", "0.5556 to 0.95"]),
        (
            with_layer({"scheme": "channel", "ratio": 0.5}, at=1),
            ["'channel'", "residual.conv2", "dense, block, pattern, unstructured"],
        ),
        (
            a_candidate(tail={"scheme": "pattern", "ratio": 0.7}),
            ["'pattern'", "tail", "dense, block, unstructured"],
        ),
        (a_candidate(tail={"scheme": "block", "ratio": 2}), ["tail", "2", "0 to 0.95"]),
        (
            a_candidate(input_skip={"scheme": "channel", "ratio": 0.7}),
            ["'channel'", "input skip", "dense, block, unstructured"],
        ),
        (a_candidate(colour="grey"), ["'grey'", "rgb, luma"]),
        (a_candidate(colour=["rgb"]), ["Colour", "rgb, luma"]),
        (a_candidate(cells=ONE_LAYER), ["cell 0", "3 layers", "expand, linear, conv", "got 1"]),
        (a_candidate(cells=[]), ["0 cells", "1 to 32"]),
        (a_candidate(cells=[{"block": "skip"}] * (MAX_CELLS + 1)), ["33 cells", "at most 32"]),
        # Counted before anything in them is parsed: the first one is wrong already.
        (a_candidate(cells=[3] * 200_000), ["got 200000 cells", "at most 32"]),
        (
            a_candidate(cells=[{"block": "skip", "layers": [3] * 200_000}]),
            ["cell 0", "got 200000 layers", "at most 3"],
        ),
        (a_candidate(cells={}), ["'cells'", "list", "dict"]),
        (a_candidate(cells=["wide"]), ["cell 0", "JSON object", "str"]),
        (a_candidate(cells=[{"block": "wide", "layers": 3}]), ["cell 0", "list", "int"]),
        (with_layer("dense"), ["cell 0, layer 0", "JSON object", "str"]),
        (a_candidate(scale=3), ["3", "2, 4"]),
        (a_candidate(scale=4.0), ["scale", "whole number", "float"]),
        (a_candidate(width=20), ["20", "16, 24, 32"]),
        (a_candidate(width="32"), ["width", "whole number", "str"]),
        (a_candidate(name="x"), ["unknown name", "cells, colour, input_skip, scale, tail"]),
        (a_candidate(cells=[{"block": "skip", "n": 1}]), ["cell 0", "unknown n", "block, layers"]),
        (with_layer({"scheme": "dense", "share": 0}), ["unknown share", "ratio, scheme"]),
        ({"scale": 4}, ["missing cells, width"]),
        (a_candidate(cells=[{}]), ["cell 0", "missing block"]),
        (with_layer({"ratio": 0.5}), ["cell 0, layer 0", "missing scheme"]),
        ([], ["candidate", "JSON object", "list"]),
        (None, ["candidate", "JSON object", "null"]),
    ],
)
def test_bad_input_is_refused_with_what_was_got_and_expected(
    data: object, message: list[str]
) -> None:
    with pytest.raises(InvalidCandidate) as refusal:
        Candidate.from_json(data)
    for part in message:
        assert part in str(refusal.value)


LONG = "x" * 1_000_000


def nested(depth: int) -> list[object]:
    return [nested(depth - 1)] if depth else []


@pytest.mark.parametrize(
    "data",
    [
        a_candidate(cells=[{"block": LONG}]),
        a_candidate(cells=[{"block": nested(400)}]),
        with_layer({"scheme": LONG}),
        with_layer({"scheme": [LONG] * 9}),
        block_ratio(10**4000),
        a_candidate(scale=10**4000),
        a_candidate(width=10**4000),
        a_candidate(**{LONG: 1}),
        a_candidate(**dict.fromkeys(map(str, range(100_000)))),
    ],
)
def test_huge_values_are_refused_in_one_short_sentence(data: object) -> None:
    with pytest.raises(InvalidCandidate) as refusal:
        Candidate.from_json(data)
    assert len(str(refusal.value)) < 200


@pytest.mark.parametrize("text", ["", "{", "{'scale': 4}", "[" * 100_000, "1" * 5000])
def test_malformed_json_is_refused(text: str) -> None:
    with pytest.raises(InvalidCandidate, match="not valid JSON"):
        Candidate.loads(text)
