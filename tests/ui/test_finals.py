"""Fine-tuned models in the page: beside their once-for-all selves, with weights of their own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qsl

import pytest

from sr_core.catalogue.fronts import Front
from sr_core.catalogue.store import Catalogue
from sr_core.errors import UpFrontError
from sr_core.network.candidate import Candidate, Family
from sr_core.network.notation import to_text
from sr_core.ui import comparison, finals
from sr_core.ui.page import Page
from sr_core.ui.pricing import Pricing
from sr_core.ui.view import Link, Pick, View, make_view, parse_query, pick, query
from tests import app_root, tiny
from tests.ui.findings.made_up import AFTER_DB, BEFORE_DB, GOOD, NOT_STORED, ON_FRONT, OUTSIDE
from tests.ui.held import built, held, image_held

REQUEST: Any = SimpleNamespace(session_hash="s", query_params={})


def _nothing(*_: object, **__: object) -> None: ...


no_progress: Any = _nothing


@pytest.fixture(scope="module")
def page(findings_root: Path) -> Page:
    return built(Catalogue(findings_root))


def view(page: Page, **changes: Any) -> View:
    return replace(page.start.view, **changes)


def test_they_are_drawn_at_their_cost_and_quality(page: Page) -> None:
    good, outside = finals.points(page.pricing, view(page))
    assert (good.id, good.of) == (GOOD, ON_FRONT.id)
    assert (good.y, good.before) == (AFTER_DB, BEFORE_DB)
    assert good.x == pytest.approx(page.pricing.estimate(view(page), ON_FRONT).total_ms)
    assert good.low < good.x < good.high
    assert outside.of == NOT_STORED.id
    (counted, _) = finals.points(page.pricing, view(page, axis="macs"))
    assert counted.x == counted.low == counted.macs_g
    (on_set5, _) = finals.points(page.pricing, view(page, metric="psnr_y_set5"))
    assert (on_set5.y, on_set5.before) == (30.9, 30.5)
    for metric in ("ssim_y", "psnr_y_bsd100"):
        assert finals.points(page.pricing, view(page, metric=metric)) == ()
    assert finals.points(page.pricing, view(page, scale=2)) == ()


def test_scores_on_other_crops_are_not_drawn(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    front = page.catalogue.front(Family(4))
    assert front is not None
    crops = front.header.crops.model_copy(update={"sha256": "9" * 64})
    other = replace(front, header=front.header.model_copy(update={"crops": crops}))

    def front_of(_: int) -> Front:
        return other

    monkeypatch.setattr(page.catalogue, "front", front_of)
    assert finals.points(page.pricing, view(page)) == ()
    assert len(finals.points(page.pricing, view(page, metric="psnr_y_set5"))) == 2


def test_the_best_once_for_all_and_the_best_fine_tuned_stand_side_by_side(page: Page) -> None:
    points, fine = page.pricing.points(view(page)), finals.points(page.pricing, view(page))
    text = finals.verdict(page.pricing, view(page))
    assert f"<b>{points.quality.max():.2f} dB</b>" in text
    assert f"<b>{AFTER_DB:.2f} dB</b> at {fine[0].x:.1f} ms, <code>{GOOD}</code>" in text
    tight = finals.verdict(page.pricing, view(page, budget_ms=1e-3))
    assert "once for all –; fine-tuned none of 2 is as fast" in tight
    for hidden in (view(page, budget_ms=None), view(page, axis="macs"), view(page, scale=2)):
        assert finals.verdict(page.pricing, hidden) == ""


@pytest.mark.parametrize(("name", "network"), [(GOOD, ON_FRONT), (OUTSIDE, NOT_STORED)])
def test_selecting_one_selects_its_network(page: Page, name: str, network: Candidate) -> None:
    event: Any = SimpleNamespace(value=name)
    answer = page.explore.on_select(held(page, table=ON_FRONT.to_json()), event)
    assert Candidate.from_json(answer[page.prune.table]) == network
    card = answer[page.explore.card]
    assert f"Fine-tuned: <code>{name}</code>" in card
    assert f"<td>{BEFORE_DB:.2f}</td><td>{AFTER_DB:.2f}</td><td>+0.60</td>" in card
    assert f"python -m sr_core finetune --model {to_text(network)}" in card
    assert answer[page.explore.pick_tuned]["visible"]
    other = held(page, table=app_root.networks()[0].to_json())
    assert not page.explore.on_budget(other)[page.explore.pick_tuned]["visible"]


def test_the_tab_prune_knows_its_fine_tuned_self(page: Page) -> None:
    assert f"<code>{GOOD}</code>: <b>29.60 dB</b>" in finals.line(page.catalogue, ON_FRONT)
    assert "+0.60 dB" in page.prune.show_quality(ON_FRONT)[page.prune.quality]
    assert finals.line(page.catalogue, app_root.networks()[0]) == ""


def test_comparing_both_uses_both_weights(page: Page) -> None:
    picked = page.state.on_pick(held(page, table=ON_FRONT.to_json()))[page.compare.picks]["value"]
    answer = page.explore.on_pick_tuned(held(page, table=ON_FRONT.to_json(), picks=picked))
    picked = answer[page.compare.picks]["value"]
    assert picked == [to_text(ON_FRONT), GOOD]
    assert answer[page.explore.plot]["picked"] == [ON_FRONT.id, GOOD]
    values = image_held(page, tiny.drawn(80, 48), "test", picks=picked)
    answer = page.compare.on_compare(values, REQUEST, no_progress)
    once, own = answer[page.compare.grid]["tiles"][2:]
    assert once["title"].endswith("once for all")
    assert own["title"].endswith(f"fine-tuned {GOOD}")
    assert own["subtitle"] == page.catalogue.network_of(GOOD).model_id != once["subtitle"]
    assert once["facts"][0] != own["facts"][0]


def test_sessions_of_one_network_are_told_apart_by_weights(page: Page) -> None:
    upscalers = comparison.Upscalers(page.catalogue)
    own = upscalers.get(ON_FRONT, GOOD)
    assert own.network.model_id != upscalers.get(ON_FRONT).network.model_id
    assert upscalers.get(ON_FRONT, GOOD) is own


def test_the_link_carries_their_names(findings_root: Path) -> None:
    catalogue = Catalogue(findings_root)
    start = Link(make_view(catalogue, scale=4), ON_FRONT)
    link = replace(start, picks=(Pick(ON_FRONT), Pick(ON_FRONT, GOOD)), tab="findings")
    assert parse_query(catalogue, start, dict(parse_qsl(query(link))), ("findings",)) == link
    with pytest.raises(UpFrontError, match="There is no model"):
        pick(catalogue, str(findings_root / f"models/{GOOD}.safetensors"))


def test_without_them_nothing_of_them_is_shown(catalogue: Catalogue) -> None:
    pricing = Pricing(catalogue)
    assert finals.points(pricing, make_view(catalogue, scale=4)) == ()
    assert finals.card(catalogue, ON_FRONT) == finals.line(catalogue, ON_FRONT) == ""
