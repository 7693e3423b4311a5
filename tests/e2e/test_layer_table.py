"""The layer table in headless Chromium, on a page of its own, with real prices and masks."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import gradio as gr
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Locator, Page, expect

from sr_core.catalogue.store import Catalogue
from sr_core.latency.estimate import estimate
from sr_core.network.candidate import Candidate, LayerPruning, uniform
from sr_core.network.layers import describe, lr_size, totals
from sr_core.network.weights import SupernetWeights
from sr_core.ui import masks
from sr_core.ui.components.layer_table import LayerTable, Offer
from sr_core.ui.server import launch
from tests import tiny

pytestmark = pytest.mark.browser

CATALOGUE = Catalogue()
SUPERNET = tiny.supernet(4, width=32, cells=12)
FIRST = uniform(scale=4, width=32, blocks=("wide",) * 12, scheme="block", ratio=0.5)
DENSE = uniform(scale=4, width=32, blocks=("wide",) * 12)
LUMA = uniform(scale=4, width=16, blocks=("residual", "skip"), colour="luma")
RATIO = "Cell 1 1×1 expand share removed"
EXACT = "Cell 1 1×1 expand percent removed, exactly"
SCHEME = "Cell 1 1×1 expand scheme"


def _price(question: dict[str, Any]) -> dict[str, Any]:
    candidate = Candidate.from_json(question["candidate"])
    priced = estimate(CATALOGUE.device(question["view"]["device"]), candidate)
    layers = describe(candidate, *lr_size(candidate.scale))
    macs = totals(layers)
    return {
        "totals": [
            ["Latency, estimated", f"{priced.total_ms:.2f} ms", f"{priced.basis}"],
            ["MACs, counted", f"{macs.macs_kept / 1e9:.3f} G", "of 1280×720"],
        ],
        "layers": {
            layer.name: {
                "ms": share.ms,
                "gmacs": layer.macs_kept / 1e9,
                "title": f"{layer.in_channels}→{layer.out_channels}, {share.basis}",
                "basis": share.basis,
            }
            for layer, share in zip(layers, priced.per_layer, strict=True)
        },
        "note": " ".join(priced.notes),
    }


def _mask(question: dict[str, Any]) -> dict[str, Any]:
    return masks.layer_view(
        SUPERNET, Candidate.from_json(question["candidate"]), question["layer"]
    )  # fmt: skip


def _seen(value: object, count: str) -> str:
    """How many edits Python saw, and the last value."""
    return f"{int(count.partition(' ')[0]) + 1} {json.dumps(value)}"


def _build() -> gr.Blocks:
    quick: dict[str, Any] = {"show_progress": "hidden", "queue": False}
    with gr.Blocks(analytics_enabled=False) as page:
        table = LayerTable(
            FIRST, elem_id="layers", price=_price, mask=_mask,
            view={"device": CATALOGUE.devices[0].id},
        )  # fmt: skip
        seen = gr.Textbox("0 ", elem_id="seen", label="Seen")
        table.input(_seen, [table, seen], seen, trigger_mode="always_last", **quick)
        views = {"s21": "galaxy-s21-gpu", "unknown": "no-such-device"}
        for name, device in views.items():
            view = partial(gr.update, view={"device": device})
            gr.Button(name, elem_id=name).click(view, None, table, **quick)
        gr.Button("preset", elem_id="preset").click(DENSE.to_json, None, table, **quick)
    return page


def _build_plain() -> gr.Blocks:
    with gr.Blocks(analytics_enabled=False) as page:
        table = LayerTable(FIRST, elem_id="layers")
        seen = gr.Textbox("0 ", label="Seen")
        table.input(_seen, [table, seen], seen, show_progress="hidden", queue=False)
    return page


def _served(page: gr.Blocks) -> Iterator[str]:
    yield launch(page, host="127.0.0.1", port=None)
    page.close()


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    yield from _served(_build())


@pytest.fixture(scope="module")
def plain_url() -> Iterator[str]:
    yield from _served(_build_plain())


@pytest.fixture(params=[(1366, 768, "light"), (390, 844, "dark")], ids=["desktop", "phone-dark"])
def page(request: pytest.FixtureRequest, browser: Browser, url: str) -> Iterator[Page]:
    """The open table; fails on console errors, page errors and requests to other hosts."""
    width, height, theme = request.param
    tab = browser.new_page(viewport={"width": width, "height": height})
    wrong: list[str] = []
    tab.on("console", lambda m: wrong.append(m.text) if m.type == "error" else None)
    tab.on("pageerror", lambda error: wrong.append(str(error)))
    tab.on(
        "request",
        lambda r: None if r.url.startswith((url, "data:", "blob:")) else wrong.append(r.url),
    )
    tab.goto(f"{url}?__theme={theme}")
    expect(_total(tab)).to_contain_text("ms")
    yield tab
    overflow = "document.documentElement.scrollWidth > innerWidth"
    assert not tab.evaluate(overflow), "it scrolls sideways"
    tab.close()
    assert wrong == []


def _total(page: Page) -> Locator:
    return page.locator("#layers .totals strong").first


def _seen_by_python(page: Page, holds: Callable[[Candidate], bool]) -> tuple[int, Candidate]:
    """Wait for a candidate of which it holds. Returns how many edits there were, and the last."""
    count, text = "no", ""
    for _ in range(150):
        page.wait_for_timeout(400)
        count, _, text = page.get_by_label("Seen").input_value().partition(" ")
        if text and holds(candidate := Candidate.loads(text)):
            return int(count), candidate
    pytest.fail(f"after a minute Python has seen {count} edits, and last: {text}")


def _drag(page: Page, label: str, start: float, end: float) -> None:
    """Drag a slider's thumb between two shares of its width, in 8 moves."""
    slider = page.get_by_label(label)
    slider.scroll_into_view_if_needed()
    box = slider.bounding_box()
    assert box
    y = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + start * box["width"], y)
    page.mouse.down()
    page.mouse.move(box["x"] + end * box["width"], y, steps=8)
    page.mouse.up()


def test_prices_follow_the_slider_and_bars_add_up(page: Page) -> None:
    page.locator("#s21").click()  # a device on which block pruning is assumed to save time
    expect(page.locator("#layers .note")).to_contain_text("Assumed")
    before = _total(page).inner_text()
    _drag(page, RATIO, 0.5, 0.8)
    expect(_total(page)).not_to_have_text(before)
    last = float(page.get_by_label(EXACT).input_value()) / 100
    assert 0.7 < last < 0.9
    count, candidate = _seen_by_python(
        page, lambda it: it.cells[0].layers[0].ratio == pytest.approx(last, abs=1e-4)
    )
    assert count <= 2, "a drag of 8 moves is one edit, or two where the machine is busy"
    priced = estimate(CATALOGUE.device("galaxy-s21-gpu"), candidate)
    expect(_total(page)).to_have_text(f"{priced.total_ms:.2f} ms")
    shown = [
        text.partition(" ms")[0] for text in page.locator("#layers .figures").all_inner_texts()
    ]
    assert len(shown) == 39
    assert sum(map(float, shown)) == pytest.approx(priced.total_ms, abs=0.005 * 39)
    grown = page.evaluate(
        "[...document.querySelectorAll('#layers .strip button')].map(b => +b.style.flexGrow)"
    )
    assert grown == pytest.approx([layer.ms for layer in priced.per_layer], rel=1e-4)
    expect(page.locator("#layers .track .weak")).not_to_have_count(0)


def test_undo_takes_back_gestures_and_what_python_wrote(page: Page) -> None:
    scheme, exact = page.get_by_label(SCHEME), page.get_by_label(EXACT)
    undo = page.get_by_role("button", name="Undo")
    redo = page.get_by_role("button", name="Redo")
    expect(undo).to_have_attribute("aria-disabled", "true")
    _drag(page, RATIO, 0.5, 0.8)
    dragged = exact.input_value()
    scheme.select_option("channel")
    page.locator("#preset").click()
    expect(scheme).to_have_value("dense")
    expect(exact).to_be_disabled()
    undo.click()
    expect(scheme).to_have_value("channel")
    scheme.press("ControlOrMeta+z")
    expect(scheme).to_have_value("block")
    expect(exact).to_have_value(dragged)
    page.keyboard.press("ControlOrMeta+z")
    expect(exact).to_have_value("50")
    expect(undo).to_have_attribute("aria-disabled", "true")
    page.keyboard.press("ControlOrMeta+Shift+z")
    expect(exact).to_have_value(dragged)
    redo.click()
    redo.click()
    expect(scheme).to_have_value("dense")
    expect(redo).to_have_attribute("aria-disabled", "true")
    undo.click()
    scheme.select_option("unstructured")
    expect(redo).to_have_attribute("aria-disabled", "true")
    _seen_by_python(page, lambda it: it.cells[0].layers[0].scheme == "unstructured")


def test_undo_brings_blocks_back_and_keeps_the_focus(page: Page) -> None:
    block = page.get_by_label("Cell 2 block")
    block.select_option("skip")
    expect(page.get_by_label("Cell 2 1×1 expand scheme")).to_have_count(0)
    block.focus()
    page.keyboard.press("ControlOrMeta+z")
    expect(page.get_by_label("Cell 2 1×1 expand scheme")).to_have_value("block")
    expect(block).to_be_focused()
    page.keyboard.press("ControlOrMeta+Shift+z")
    expect(block).to_have_value("skip")
    _seen_by_python(page, lambda it: it.cells[1].block == "skip")


def test_undo_reaches_back_100_steps(page: Page) -> None:
    scheme, undo = page.get_by_label(SCHEME), page.get_by_role("button", name="Undo")
    picks = ["channel", "unstructured"] * 51
    scheme.evaluate(
        "(select, picks) => picks.forEach((pick) => { select.value = pick;"
        " select.dispatchEvent(new Event('change')); })",
        picks,
    )
    undo.evaluate("(button) => { for (let i = 0; i < 99; i++) button.click(); }")
    expect(undo).to_have_attribute("aria-disabled", "false")
    undo.click()
    expect(undo).to_have_attribute("aria-disabled", "true")
    expect(scheme).to_have_value("unstructured")  # 102 edits, 100 taken back


def test_ratios_can_be_typed_exactly(page: Page) -> None:
    exact, ratio = page.get_by_label(EXACT), page.get_by_label(RATIO)
    exact.fill("33.333")
    exact.press("Enter")
    expect(exact).to_have_value("33.33")
    _seen_by_python(page, lambda it: it.cells[0].layers[0].ratio == 0.3333)
    exact.fill("99")
    exact.press("Tab")
    expect(exact).to_have_value("95")
    exact.fill("")
    exact.press("Tab")
    expect(exact).to_have_value("95")
    ratio.press("ArrowLeft")
    ratio.press("ArrowLeft")
    expect(exact).to_have_value("93")
    page.get_by_label("Cell 1 3×3 conv scheme").select_option("pattern")
    expect(page.get_by_label("Cell 1 3×3 conv percent removed")).to_have_value("55.56")
    page.get_by_label("Cell 1 3×3 conv share removed").press("Home")
    ratios = [0.93, 0.5, 0.5556]
    _seen_by_python(page, lambda it: [layer.ratio for layer in it.cells[0].layers] == ratios)


def test_a_selected_layer_shows_its_mask(page: Page) -> None:
    panel = page.locator("#layers .mask")
    expect(panel).to_contain_text("Select a layer")
    page.get_by_role("button", name="Cell 1 3×3 conv", exact=True).click()
    expect(panel).to_contain_text("4,032 of 8,064 weights kept")
    expect(panel.get_by_role("img", name="Mask of cells.0.wide.conv, block")).to_be_visible()
    expect(page.locator("#layers tr.selected")).to_have_attribute("data-layer", "cells.0.wide.conv")
    page.get_by_label("Cell 1 3×3 conv scheme").select_option("unstructured")
    page.get_by_label("Cell 1 3×3 conv percent removed").fill("75")
    expect(panel).to_contain_text("2,016 of 8,064 weights kept")
    page.get_by_label("Cell 1 1×1 linear scheme").select_option("channel")
    expect(panel).to_contain_text("Cell 1 1×1 linear, channel")
    expect(panel).to_contain_text("of 28 output channels left")
    page.get_by_label("Cell 1 block").select_option("skip")
    expect(panel).not_to_contain_text("linear")


def test_the_strip_leads_to_the_rows(page: Page) -> None:
    segments = page.locator("#layers .strip button")
    expect(segments).to_have_count(39)
    segments.first.focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator("#layers .readout")).to_contain_text("Cell 1 1×1 expand, block: 32→192")
    segments.nth(30).click()
    name = page.get_by_role("button", name="Cell 10 3×3 conv", exact=True)
    expect(name).to_be_in_viewport()
    expect(name).to_be_focused()


def test_a_price_that_fails_is_a_sentence_and_the_table_lives_on(page: Page) -> None:
    total = _total(page).inner_text()
    page.locator("#unknown").click()
    expect(page.get_by_role("alert").filter(has_text="no device")).to_be_visible()
    expect(page.locator("#layers .outdated")).to_have_count(1)
    expect(_total(page)).to_have_text(total)
    page.get_by_label(SCHEME).select_option("channel")
    _seen_by_python(page, lambda it: it.cells[0].layers[0].scheme == "channel")
    page.locator("#s21").click()
    expect(page.locator("#layers .outdated")).to_have_count(0)
    expect(page.locator("#layers .alarm")).to_be_empty()


def test_a_server_that_is_gone_is_a_sentence_too(browser: Browser, url: str) -> None:
    page = browser.new_page()
    page.route("**/component_server/", lambda route: route.abort())
    page.goto(url)
    expect(page.get_by_role("alert").filter(has_text="server does not answer")).to_be_visible()
    page.locator("#layers .rows").get_by_role("button", name="Tail 3×3").click()
    expect(page.locator("#layers .mask")).to_contain_text("server does not answer")
    page.unroute("**/component_server/")
    page.get_by_label("Tail 3×3 scheme").select_option("block")
    expect(_total(page)).to_contain_text("ms")
    expect(page.locator("#layers .mask")).to_contain_text("weights kept")
    page.close()


def test_without_price_and_mask_it_is_a_plain_table(browser: Browser, plain_url: str) -> None:
    page = browser.new_page()
    page.goto(plain_url)
    page.get_by_label(SCHEME).select_option("channel")
    _seen_by_python(page, lambda it: it.cells[0].layers[0].scheme == "channel")
    expect(page.locator("#layers tbody")).to_have_count(13)
    for part in (".summary", ".strip", ".mask", ".cost"):
        expect(page.locator(f"#layers {part}")).to_have_count(0)
    page.close()


def test_controls_are_in_reach_and_accessible(page: Page) -> None:
    page.get_by_role("button", name="Cell 1 3×3 conv", exact=True).click()
    expect(page.locator("#layers .mask img")).to_be_visible()
    rows = page.locator("#layers .rows")
    assert rows.evaluate("box => box.scrollWidth <= box.clientWidth"), "rows scroll sideways"
    controls = "#layers :is(.rows button, .tools button, select, input)"
    for control in page.locator(controls).all()[:12]:
        box = control.bounding_box()
        assert box
        assert box["height"] >= 24
    names = page.evaluate(
        "['dense', 'pattern'].map(s => getComputedStyle(document.body)"
        ".getPropertyValue(`--scheme-${s}`))"
    )
    assert names == ["#808080", "#009E73"], "the colours are there for the whole page"
    found = Axe().run(page, context="#layers").response["violations"]
    assert [v["id"] for v in found if v["impact"] in ("serious", "critical")] == []


def _build_luma() -> gr.Blocks:
    offered = {"x4-luma": Offer(("skip", "residual"), ("dense", "block")), "x4": Offer(("skip",))}
    with gr.Blocks(analytics_enabled=False) as page:
        table = LayerTable(LUMA, elem_id="layers", mask=_luma_mask, offered=offered)
        seen = gr.Textbox("0 ", label="Seen")
        table.input(_seen, [table, seen], seen, show_progress="hidden", queue=False)
        gr.Button("rgb", elem_id="rgb").click(DENSE.to_json, None, table, queue=False)
    return page


def _luma_mask(question: dict[str, Any]) -> dict[str, Any]:
    supernet = SupernetWeights(tiny.LUMA, tiny.weights(tiny.LUMA), "0" * 64)
    candidate = Candidate.from_json(question["candidate"])
    return masks.layer_view(supernet, candidate, question["layer"])  # fmt: skip


def test_an_input_skip_is_pruned_where_its_family_offers_it(browser: Browser) -> None:
    for url in _served(_build_luma()):
        page = browser.new_page()
        page.goto(url)
        menu = page.get_by_label("Cell 1 block").locator("option")
        expect(menu).to_have_text(["skip", "residual"])
        page.get_by_label("Input skip 5×5 scheme").select_option("block")
        _, pruned = _seen_by_python(page, lambda it: it.input_skip.scheme == "block")
        assert pruned == replace(LUMA, input_skip=LayerPruning("block", 0.5))
        expect(page.locator("#layers .mask figcaption")).to_contain_text("200 of 400 weights kept")
        page.get_by_role("button", name="Undo").click()
        _, dense = _seen_by_python(page, lambda it: it == LUMA)
        assert "input_skip" not in dense.to_json()
        page.locator("#rgb").click()
        expect(page.get_by_label("Input skip 5×5 scheme")).to_have_count(0)
        expect(page.get_by_label("Cell 1 block").locator("option").first).to_have_text("skip")
        page.close()
