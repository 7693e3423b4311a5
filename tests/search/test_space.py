from __future__ import annotations

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sr_core.network.candidate import PATTERN_MIN_RATIO, Candidate, LayerPruning, uniform
from sr_core.network.notation import from_text
from sr_core.network.presets import presets
from sr_core.network.weights import SupernetSpec
from sr_core.search.space import RATIOS, Params, Space

SPACE = Space(SupernetSpec(4, 32, 12))
SMALL = Space(SupernetSpec(2, 24, 2))


def all_params(space: Space) -> st.SearchStrategy[Params]:
    return st.fixed_dictionaries({k: st.sampled_from(v) for k, v in space.choices.items()})


@given(all_params(SMALL))
def test_encode_inverts_decode(params: Params) -> None:
    candidate = SMALL.decode(params)
    encoded = SMALL.encode(candidate)
    assert encoded is not None
    assert encoded.keys() == SMALL.choices.keys()
    assert SMALL.decode(encoded) == candidate


def test_flat_means_one_choice_per_layer_of_every_block() -> None:
    assert len(SPACE.choices) == 3 + 12 * (1 + 3 + 2)
    assert SPACE.choices["width"] == (16, 24, 32)
    assert SMALL.choices["width"] == (16, 24)
    assert SPACE.choices["cells.11.wide.conv"] == ("dense", "block", "pattern", "unstructured")
    assert SPACE.choices["tail"] == ("dense", "block", "unstructured")


def test_every_preset_is_in_the_space() -> None:
    for preset in presets(SupernetSpec(4)):
        params = SPACE.encode(preset.candidate)
        assert params is not None, preset.name
        assert SPACE.decode(params) == preset.candidate


def test_pattern_takes_at_least_five_ninths() -> None:
    params = SMALL.encode(uniform(scale=2, width=16, blocks=("residual", "skip")))
    assert params is not None
    params |= {"ratio": 0.3, "cells.0.residual.conv1": "block", "cells.0.residual.conv2": "pattern"}
    layers = SMALL.decode(params).cells[0].layers
    assert layers == (LayerPruning("block", 0.3), LayerPruning("pattern", PATTERN_MIN_RATIO))


@pytest.mark.parametrize(
    "text",
    [
        "x2c16_2wb50b50b25",  # two ratios
        "x2c16_2wb33b33b33",  # not on the grid
        "x2c16_rp60b50_w",  # pattern above the minimum needs the same ratio as the others
        "x2c16_w",  # cells
        "x2c32_2w",  # wider than the supernet
        "x4c16_2w",  # scale
    ],
)
def test_what_the_space_does_not_hold(text: str) -> None:
    assert SMALL.encode(from_text(text)) is None


@pytest.mark.parametrize("candidate", ["x2c16_rp55.56d_s", "x2c16_2s", "x2c16_rp55.56u50_w_tu50"])
def test_what_it_holds_besides(candidate: str) -> None:
    params = SMALL.encode(from_text(candidate))
    assert params is not None
    assert params["ratio"] in RATIOS
    assert SMALL.decode(params) == from_text(candidate)


def test_optuna_draws_from_it() -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    known = uniform(scale=2, width=24, blocks=("wide", "residual"), scheme="pattern", ratio=0.75)
    params = SMALL.encode(known)
    assert params is not None
    study.enqueue_trial(params)
    drawn: list[Candidate] = [SMALL.suggest(study.ask()) for _ in range(20)]
    assert drawn[0] == known
    assert len(set(drawn)) > 15
    assert all(SMALL.encode(candidate) for candidate in drawn)


def test_schemes_can_be_restricted() -> None:
    space = Space(SupernetSpec(2, 24, 2), schemes=("channel",))
    assert space.choices["cells.0.wide.expand"] == ("dense", "channel")
    assert space.choices["cells.0.wide.conv"] == ("dense",)  # channel does not fit it
    assert space.choices["cells.0"] == SMALL.choices["cells.0"]
    assert space.encode(from_text("x2c16_wc50dd_s")) is not None
    assert space.encode(from_text("x2c16_wb50dd_s")) is None


def test_a_ratio_per_kind_of_layer() -> None:
    space = Space(SupernetSpec(2, 24, 2), ratio_per_kind=True)
    ratios = [name for name in space.choices if name.startswith("ratio.")]
    assert ratios == [f"ratio.{kind}" for kind in space.kinds]
    assert "ratio" not in space.choices
    candidate = from_text("x2c16_wb50c30u80_rdb40_tb20")
    params = space.encode(candidate)
    assert params is not None
    assert space.decode(params) == candidate
    assert (params["ratio.wide.linear"], params["ratio.tail"]) == (0.3, 0.2)
    assert space.encode(from_text("x2c16_wb50dd_wb30dd")) is None  # two of one kind
    assert SMALL.encode(candidate) is None
