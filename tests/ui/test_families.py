"""The page with luma networks beside those of RGB."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import gradio as gr
import numpy as np
import pytest

from sr_core.catalogue.fronts import Crops, Header, empty_front, write_front
from sr_core.catalogue.replaced import write_replaced
from sr_core.catalogue.store import Catalogue
from sr_core.catalogue.writer import changing
from sr_core.errors import LatencyError, UpFrontError
from sr_core.network.candidate import Family
from sr_core.network.notation import from_text
from sr_core.quality.metrics import PROTOCOL
from sr_core.results.quality import Quality
from sr_core.ui import cards, comparison, finals, masks
from sr_core.ui.components.layer_table import vocabulary
from sr_core.ui.page import Page
from sr_core.ui.pricing import Pricing, cost_of, table_prices
from sr_core.ui.savings import prune_all
from sr_core.ui.titles import title
from sr_core.ui.view import Link, View, family_fields, make_view, parse_query, query
from tests import app_root, tiny
from tests.ui.findings.made_up import add as add_findings
from tests.ui.held import built, held

LUMA = Family(4, "luma")
TEXT = "x4c8y_r_s_ib80"
TABS = ("explore", "prune")


@pytest.fixture(scope="module")
def luma_root(page_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page's folder with luma x4 added; only to be read."""
    root = shutil.copytree(page_root, tmp_path_factory.mktemp("luma") / "precomputed")
    tiny.add_luma(root)
    return root


@pytest.fixture(scope="module")
def page(luma_root: Path) -> Page:
    return built(Catalogue(luma_root))


def _view(catalogue: Catalogue) -> View:
    return make_view(catalogue, **family_fields("x4-luma"))


def test_the_bar_offers_what_is_there(page: Page) -> None:
    family = page.target.family
    assert family.choices == [("×2", "x2"), ("×4", "x4"), ("×4 luma", "x4-luma")]
    assert family.value == "x4"
    assert "brightness alone" in str(family.info)


def test_without_luma_nothing_is_said_of_it(page_root: Path) -> None:
    family = built(Catalogue(page_root)).target.family
    assert [name for _, name in family.choices] == ["x2", "x4"]
    assert family.info is None


def test_links_carry_the_colour(page: Page) -> None:
    catalogue = page.catalogue
    link = Link(_view(catalogue), from_text(TEXT))
    fields = dict(parse_qsl(query(link)))
    assert (fields["scale"], fields["colour"], fields["net"]) == ("4", "luma", TEXT)
    assert parse_query(catalogue, page.start, fields, TABS) == link
    assert "colour" not in query(page.start)
    start = parse_query(catalogue, link, {"scale": "4"}, TABS)
    assert start.view.family == Family(4)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"scale": "2", "colour": "luma"}, "no x2-luma networks here: expected x2, x4, x4-luma"),
        ({"scale": "4", "colour": "red"}, "There is no colour 'red': expected rgb, luma"),
        (
            {"scale": "4", "colour": "luma", "net": "x4c16_2w"},
            "is x4 with .* this supernet is x4-luma",
        ),
        ({"scale": "4", "colour": "luma", "net": "x4c8y_2r_iu50"}, "input skip is unstructured"),
        ({"scale": "4", "compare": "x4-gone"}, "weights of x4-gone were replaced: use x4-wide"),
    ],
)
def test_a_bad_link_is_one_sentence(
    luma_root: Path, tmp_path: Path, fields: dict[str, str], message: str
) -> None:
    root = shutil.copytree(luma_root, tmp_path / "precomputed")
    with changing(root):
        write_replaced(root, {"x4-gone": "x4-wide"}, ())
    catalogue = Catalogue(root)
    start = Link(make_view(catalogue, scale=4), catalogue.models(Family(4))[0].candidate)
    with pytest.raises(UpFrontError, match=message):
        parse_query(catalogue, start, fields, TABS)


def test_another_family_keeps_the_network_where_it_can(page: Page) -> None:
    catalogue = page.catalogue
    wide = from_text("x4c16_2w").to_json()
    link = page.state.read(held(page, family="x4-luma", picks=["x4c16_2w"], table=wide))
    assert (link.view.family, link.picks) == (LUMA, ())
    assert link.current == catalogue.models(LUMA)[0].candidate  # no wide blocks there
    both = from_text("x4c16_rb50d_s").to_json()
    assert page.state.read(held(page, family="x4-luma", table=both)).current == from_text(
        "x4c16y_rb50d_s"
    )
    small = from_text(TEXT).to_json()
    back = page.state.read(held(page, family="x4", table=small))
    assert back.current == catalogue.models(Family(4))[0].candidate  # no 8 channels there


def test_the_tabs_show_the_family(page: Page) -> None:
    answer = page.state.on_view(held(page, family="x4-luma"))
    assert answer[page.target.family] == "x4-luma"
    assert answer[page.prune.width]["choices"] == [8, 12, 16]
    names = [name for _, name in answer[page.prune.preset]["choices"]]
    assert "x4-luma-residual" in names
    assert "x4-wide" not in names
    choices = [text for _, text in answer[page.compare.picks]["choices"]]
    assert {from_text(text).family for text in choices} == {LUMA}
    assert "no stored search for x4-luma" in answer[page.explore.plot]["value"].note
    assert "--colour luma" in answer[page.explore.plot]["value"].note
    assert "luma: brightness alone" in answer[page.explore.card]


def test_selecting_a_luma_network_shows_its_family(page: Page) -> None:
    text = json.dumps(from_text(TEXT).to_json())
    answer = page.prune.on_json({**held(page), page.prune.json: text})
    assert answer[page.target.family] == "x4-luma"
    shown = json.loads(answer[page.prune.json])
    assert shown == from_text(TEXT).to_json()
    other = {**held(page), page.prune.json: json.dumps(from_text("x4c8y_2r_iu50").to_json())}
    with pytest.raises(gr.Error, match="input skip is unstructured"):
        page.prune.on_json(other)


def test_the_table_offers_what_each_family_was_trained_with(page: Page) -> None:
    script: Any = page.prune.table.js_on_load
    told = json.loads(script.partition("const VOCABULARY = ")[2].partition(";\n")[0])
    assert told["offered"]["x4-luma"] == {
        "blocks": ["skip", "residual"], "skip_schemes": ["dense", "block"],
    }  # fmt: skip
    assert told["offered"]["x4"] == {
        "blocks": ["skip", "wide", "residual"], "skip_schemes": ["dense"],
    }  # fmt: skip
    assert vocabulary()["offered"] == {}


def test_one_scheme_for_all_keeps_colour_and_input_skip() -> None:
    pruned = prune_all(from_text(TEXT), "unstructured", 40)
    assert pruned == from_text("x4c8y_ru40u40_s_ib80")


def test_the_mask_of_the_input_skip_is_shown(page: Page) -> None:
    question = {"candidate": from_text(TEXT).to_json(), "layer": "input_skip"}
    view = page.prune.mask(question)
    assert "80 of 400 weights kept, 20 %" in view["caption"]
    assert view["alt"].startswith("Mask of input_skip, block")
    supernet = page.catalogue.supernet(LUMA)
    mask = masks.layer_mask(supernet, from_text(TEXT), "input_skip")
    extracted = page.catalogue.network(from_text(TEXT)).input_skip
    assert (mask == extracted.mask).all()
    assert np.all(masks.layer_mask(supernet, from_text("x4c8y_2r"), "input_skip"))


def test_the_table_has_prices_of_luma_networks(page: Page) -> None:
    candidate = from_text(TEXT)
    question = {"candidate": candidate.to_json(), "view": {"device": app_root.ENGINE}}
    answer = table_prices(page.pricing, question)
    assert answer["error"] == ""
    assert answer["layers"]["input_skip"]["gmacs"] > 0
    assert answer["layers"]["chroma"]["ms"] > 0
    counted = cost_of(candidate).macs_kept / 1e9
    assert answer["totals"][1][1] == f"{counted:.2f} G"  # chroma takes time, and counts no MACs
    other = {"candidate": from_text("x2c8y_2r").to_json(), "view": {"device": app_root.ENGINE}}
    assert "no x2-luma supernet here" in table_prices(page.pricing, other)["error"]


def test_titles_and_cards_say_luma(page: Page) -> None:
    candidate = page.catalogue.models(LUMA)[0].candidate
    assert title(candidate) == "luma, 16 ch, 2 residual, dense"
    pricing: Pricing = page.pricing
    view = _view(page.catalogue)
    results = [
        Quality(
            model_id="m", image_set=name, image_set_sha256="0" * 64, protocol=PROTOCOL, n=5,
            psnr_y=30.5, ssim_y=0.8, psnr_rgb=rgb_db,
        )
        for name, rgb_db in (("Set5", 28.25), ("Set14", None))
    ]  # fmt: skip
    model = page.catalogue.models(LUMA)[0]
    measured = type(model)(model.id, model.name, model.title, candidate, tuple(results))
    card = cards.network_card(
        candidate, measured, {}, pricing.estimate(view, candidate), pricing.profile(view),
        cost_of(candidate), (),
    )  # fmt: skip
    assert "PSNR-RGB" in card
    assert "chroma: 2→32, 5×5, 320×180; bicubic interpolation;" in card
    assert "--scheme-block" not in card
    assert "<td>28.25 dB</td>" in card
    assert "<td>–</td>" in card
    assert measured.summary()["psnr_rgb_set5"] == 28.25
    assert "psnr_rgb_set14" not in measured.summary()


def test_the_card_of_a_final_model_has_its_psnr_rgb(
    page_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = add_findings(shutil.copytree(page_root, tmp_path / "precomputed"))
    catalogue = Catalogue(root)
    final = catalogue.finals()[0]
    assert "PSNR-RGB" not in finals.card(catalogue, final.candidate)
    rows = [one.model_copy(update={"psnr_rgb": 27.5}) for one in final.quality]
    measured = replace(final, descriptor=final.descriptor.model_copy(update={"quality": rows}))
    monkeypatch.setattr(catalogue, "_finals", [measured])
    assert "PSNR-RGB, fine-tuned: Set5 27.50 dB" in finals.card(catalogue, final.candidate)


def test_a_search_of_the_page_is_of_its_family(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def start(_: str, settings: Any) -> None:
        asked.append(settings)

    monkeypatch.setattr(page.search.searches, "start", start)
    parts = page.state.parts
    values: Any = {
        parts.family: "x4-luma", parts.device: app_root.ENGINE, page.search.budget: 12,
        page.search.trials: 20, page.search.sampler: "nsga2", page.search.seed: 0,
        parts.table: from_text(TEXT).to_json(),
    }  # fmt: skip
    page.search.on_start(values, gr.Request(session_hash="ann"))
    assert asked[0].family == LUMA
    assert "--colour luma" in asked[0].command


def test_quality_and_comparison_of_luma_networks(page: Page) -> None:
    answer = page.prune.show_quality(from_text(TEXT))
    assert "PSNR-Y now" in answer[page.prune.quality]
    assert answer[page.prune.picture][1].mode == "RGB"
    image = tiny.drawn(96, 80)
    networks = [from_text(TEXT), from_text("x4c16y_2r")]
    upscalers = [page.compare.upscalers.get(network) for network in networks]
    result = comparison.compare(upscalers, image, "test")
    for outcome in result.outcomes:
        assert outcome.result.size == (96, 80)
        assert outcome.score is not None
        assert np.isfinite(outcome.score.psnr_rgb_db or np.nan)
    grey = comparison.compare(upscalers, image.convert("L"), "test")
    assert {one.score.psnr_rgb_db for one in grey.outcomes if one.score} == {None}


def test_the_start_page_is_rgb_where_it_can_be(page: Page, tmp_path: Path) -> None:
    assert page.start.view.family == Family(4)
    for name in ("unknown", [4], None):
        with pytest.raises(LatencyError, match="no scale"):
            make_view(page.catalogue, **family_fields(name))


def test_an_empty_front_of_luma_has_no_knee(luma_root: Path, tmp_path: Path) -> None:
    root = shutil.copytree(luma_root, tmp_path / "precomputed")
    header = Header(
        scale=4, colour="luma", weights_sha256=Catalogue(root).supernet(LUMA).sha256,
        protocol=PROTOCOL, crops=Crops(sha256="0" * 64, n=1, bicubic_psnr_y_db=20.0),
    )  # fmt: skip
    with changing(root):
        write_front(root, empty_front(header))
    pricing = Pricing(Catalogue(root))
    assert pricing.points(_view(pricing.catalogue)).candidates == []
