"""The search in a family with all that the first ones did not have: luma, widths, input skip."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sr_core.catalogue.store import Catalogue
from sr_core.errors import SearchError
from sr_core.network.candidate import Candidate, Family, uniform
from sr_core.network.notation import from_text, to_text
from sr_core.network.presets import uniform_networks
from sr_core.network.weights import SupernetSpec
from sr_core.search.encoding import Encoder, Pool
from sr_core.search.evaluate import Evaluation, Evaluator
from sr_core.search.events import Start
from sr_core.search.objective import Objective, check_budget
from sr_core.search.settings import SearchArgs, family_words
from sr_core.search.space import RATIOS, Params, Space
from sr_core.search.storage import Settings, SharedStudy
from sr_core.search.study import search
from tests import tiny
from tests.tiny import LUMA

FAMILY = Family(4, "luma")
SPACE = Space(LUMA)
PER_KIND = Space(LUMA, ratio_per_kind=True)


@pytest.fixture
def root(own_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """RGB x2 and x4, and luma x4."""
    monkeypatch.setenv("UPFRONT_DATA", str(tmp_path / "data"))
    tiny.add_luma(own_root)
    return own_root


@pytest.fixture(autouse=True)
def evaluated(monkeypatch: pytest.MonkeyPatch) -> list[Candidate]:
    """Replaces evaluation by a formula; returns the list of what was evaluated."""
    asked: list[Candidate] = []

    def evaluate(evaluator: Evaluator, candidate: Candidate) -> Evaluation:
        evaluator.supernet.spec.check(candidate)
        asked.append(candidate)
        return Evaluation(20 + int(candidate.id, 16) / 16**10, 0.8, 0.01)

    monkeypatch.setattr(Evaluator, "evaluate", evaluate)
    return asked


def _args(photos: Path, **changes: Any) -> SearchArgs:
    chosen: dict[str, Any] = {"scale": 4, "colour": "luma", "val": photos / "val", "trials": 30}
    all_changes: dict[str, Any] = chosen | {"sampler": "random"} | changes
    return SearchArgs(**all_changes)


def all_params(space: Space) -> st.SearchStrategy[Params]:
    return st.fixed_dictionaries({k: st.sampled_from(v) for k, v in space.choices.items()})


@given(all_params(SPACE))
def test_encode_inverts_decode(params: Params) -> None:
    candidate = SPACE.decode(params)
    assert candidate.family == FAMILY
    encoded = SPACE.encode(candidate)
    assert encoded is not None
    assert SPACE.decode(encoded) == candidate


def test_widths_and_the_input_skip_are_choices() -> None:
    assert SPACE.choices["width"] == (8, 12, 16)
    assert SPACE.choices["input_skip"] == ("dense", "block")
    assert SPACE.choices["cells.0"] == ("skip", "residual")
    assert PER_KIND.ratio_names["input_skip"] == "ratio.input_skip"
    assert Space(LUMA, ("dense", "unstructured")).choices["input_skip"] == ("dense",)
    only_dense = Space(replace(LUMA, skip_schemes=("dense",)))
    assert "input_skip" not in only_dense.choices
    assert "ratio.input_skip" not in replace(only_dense, ratio_per_kind=True).choices


def test_the_input_skip_shares_the_global_ratio_or_has_its_own() -> None:
    shared, own = from_text("x4c8y_rb50b50_s_ib50"), from_text("x4c8y_rb50b50_s_ib80")
    assert (SPACE.encode(shared) or {})["ratio"] == 0.5
    assert SPACE.encode(own) is None
    params = PER_KIND.encode(own)
    assert params is not None
    assert (params["ratio.input_skip"], params["ratio.residual.conv1"]) == (0.8, 0.5)
    assert PER_KIND.decode(params) == own


@pytest.mark.parametrize("text", ["x4c8_2r", "x4c8y_r_s_iu50", "x4c8y_r_w"])
def test_what_the_space_does_not_hold(text: str) -> None:
    assert SPACE.encode(from_text(text)) is None


def test_encodings_tell_input_skips_apart() -> None:
    candidates = [from_text(f"x4c8y_2r{skip}") for skip in ("", "_ib50", "_ib80")]
    rows = Encoder(SPACE).encode(candidates)
    assert len({row.tobytes() for row in rows}) == 3
    first = Space(SupernetSpec(4, 16, 2))
    assert Encoder(first).encode([uniform(scale=4, width=16, blocks=("wide",) * 2)]).any()


def test_the_pool_mutates_and_crosses_input_skips() -> None:
    parents = [from_text("x4c8y_2r"), from_text("x4c16y_rb50d_r_tb50_ib50")]
    pool = Pool(SPACE, np.random.default_rng(0)).draw(parents, 200, set())
    assert {candidate.input_skip.scheme for candidate in pool} == {"dense", "block"}
    assert {candidate.width for candidate in pool} == {8, 12, 16}
    assert all(LUMA.holds(candidate) for candidate in pool)


def test_uniform_networks_have_pruned_input_skips_where_these_can_be() -> None:
    networks = uniform_networks(LUMA)
    assert from_text("x4c8y_2rb80b80") in networks
    assert from_text("x4c8y_2rb80b80_tb80_ib80") in networks
    assert all(LUMA.holds(network) for network in networks)
    first = uniform_networks(SupernetSpec(4, 16, 2))
    assert {network.input_skip.scheme for network in first} == {"dense"}


def test_a_budget_below_the_cheapest_network_is_refused() -> None:
    def cost(candidates: Any) -> Any:
        removed = [one.tail.ratio / 2 + one.input_skip.ratio / 4 for one in candidates]
        return np.array([one.width for one in candidates]) * (1 - np.array(removed))

    check_budget(Objective("phone", "ms", cost, 4.0), SPACE)
    with pytest.raises(SearchError, match=rf"x4c8y_2s_t[bu]{max(RATIOS):.0%}_ib".replace("%", "")):
        check_budget(Objective("phone", "ms", cost, 0.1), SPACE)


def test_a_search_is_stored_in_the_front_of_its_family(root: Path, photos: Path) -> None:
    events: list[Start] = []
    result = search(
        Catalogue(root), _args(photos), lambda e: events.append(e) if isinstance(e, Start) else None
    )
    assert result.start.family == events[0].family == FAMILY
    assert "--scale 4 --colour luma" in result.start.command
    catalogue = Catalogue(root)
    front = catalogue.front(FAMILY)
    assert front is not None
    assert {candidate.family for candidate in front.candidates} == {FAMILY}
    assert catalogue.front(Family(4)) is None
    again = search(Catalogue(root), _args(photos, seed=1))  # goes on with the stored front
    assert again.run.evaluated < 30


@pytest.mark.parametrize("sampler", ["nsga2", "bayes", "tpe", "uniform"])
def test_every_sampler_searches_it(root: Path, photos: Path, sampler: str) -> None:
    result = search(Catalogue(root), _args(photos, sampler=sampler, trials=45))
    assert {from_text(trial.network).family for trial in result.trials} == {FAMILY}
    assert any("_ib" in trial.network for trial in result.trials)


def test_a_study_names_what_it_was_made_with(root: Path, photos: Path, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/studies.db"
    args = _args(photos, storage=url, study="mine", trials=8)
    search(Catalogue(root), args)
    study = SharedStudy.join(url, "mine")
    settings = study.settings
    study.close()
    assert (settings.family, settings.widths) == (FAMILY, (8, 12, 16))
    assert (settings.blocks, settings.skip_schemes) == (("residual",), ("dense", "block"))
    worker = SearchArgs(
        storage=url, study="mine", worker=True, val=photos / "val", sampler="random"
    )
    assert search(Catalogue(root), worker).start.family == FAMILY
    with pytest.raises(SearchError, match=r"--colour luma, not rgb"):
        search(Catalogue(root), replace(args, colour="rgb", resume=True))


def test_a_study_keeps_its_choices(root: Path, photos: Path, tmp_path: Path) -> None:
    """One whose settings name fewer choices than the supernet has does not propose the others."""
    url = f"sqlite:///{tmp_path}/studies.db"
    args = _args(photos, storage=url, study="mine", trials=8)
    search(Catalogue(root), args)
    study = SharedStudy.join(url, "mine")
    fields = json.loads(study.settings.model_dump_json())
    study.close()
    fields |= {"widths": [8, 16], "skip_schemes": ["dense"], "start": ["x4c8y_2r"]}
    settings = Settings.model_validate_json(json.dumps(fields))
    SharedStudy.create(url, "other", settings).close()
    result = search(Catalogue(root), replace(args, study="other", resume=True))
    networks = [from_text(trial.network) for trial in result.trials]
    assert {network.width for network in networks} <= {8, 16}
    assert {network.input_skip.scheme for network in networks} == {"dense"}


def test_settings_of_a_first_study_mean_what_there_was(root: Path) -> None:
    spec = Catalogue(root).supernet(Family(4)).spec
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    unnamed = Settings.model_construct(scale=4)
    assert unnamed.family == Family(4)
    assert unnamed.vocabulary(spec) == spec
    more = replace(spec, width=32, widths=(8, 16, 24), skip_schemes=("dense", "block"))
    first = unnamed.vocabulary(more)
    assert (first.widths, first.skip_schemes) == ((16, 24, 32), ("dense",))


def test_options_name_the_family() -> None:
    assert family_words(Family(4)) == "--scale 4"
    assert family_words(FAMILY) == "--scale 4 --colour luma"
    assert SearchArgs(scale=4, colour="luma").name == "x4-luma-macs-nsga2-0"
    assert "--colour" not in SearchArgs(scale=4).command
    with pytest.raises(SearchError, match="--scale is missing"):
        SearchArgs()


def test_the_notation_of_the_space() -> None:
    params = {name: some[-1] for name, some in SPACE.choices.items()}
    assert to_text(SPACE.decode(params)) == "x4c16y_2ru90u90_tu90_ib90"
