"""The front plot in headless Chromium: choose, search, budget, theme, a phone, no plotly.js."""

from __future__ import annotations

import math
import random
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import gradio as gr
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Locator, Page, Route, expect

from sr_core.ui.components.front_plot import (
    NO_BUDGET,
    NONE,
    Axis,
    Baseline,
    FrontData,
    FrontPlot,
    Point,
    PublishedPoint,
)
from sr_core.ui.server import launch

pytestmark = pytest.mark.browser

BUDGET_MS = 33.0
EMPTY = "No search has run yet."


def _front_data(n: int) -> FrontData:
    """`n` networks of 4 to 80 ms whose quality grows with the logarithm of their latency."""
    rng = random.Random(1)
    points: list[Point] = []
    best_db = -math.inf
    for x in sorted(4 * math.exp(rng.uniform(0, 3)) for _ in range(n)):
        y = 29.2 + 0.9 * math.log(x / 3) - abs(rng.gauss(0.7, 0.2))
        number = len(points)
        title = f"{rng.choice((16, 24, 32))} ch, {rng.randint(6, 12)} cells, block {number % 90} %"
        points.append(
            Point(
                f"{number * 2654435761 % 2**32:08x}", title, "search", x, 0.88 * x, 1.12 * x, y,
                front=y > best_db, macs_g=0.45 * x, params_k=2.3 * x,
            )
        )  # fmt: skip
        best_db = max(best_db, y)
    points[n // 2 :: n // 5] = [replace(p, kind="listed") for p in points[n // 2 :: n // 5]]
    return FrontData(
        tuple(points),
        Axis("Latency, ms per 1280×720 frame", "estimated"),
        Axis("PSNR-Y, dB", "measured"),
        "Latency is estimated, with 90 % intervals.",
        (PublishedPoint("FSRCNN <b>", 9, 29.9, "AI Hub"),),
        Baseline("bicubic", 28.4),
    )


DATA = _front_data(2000)
FRONT = [point for point in DATA.points if point.front]


def _best(budget_ms: float) -> str:
    return max((p for p in FRONT if p.x <= budget_ms), key=lambda p: p.y).id


def _app() -> gr.Blocks:
    with gr.Blocks(analytics_enabled=False) as page:
        plot = FrontPlot(
            DATA, elem_id="front", budget=BUDGET_MS, best=_best(BUDGET_MS), picked=[FRONT[3].id]
        )
        chosen = gr.Textbox(label="Chosen", elem_id="chosen")
        empty = gr.Button("Empty")
        halve, drop = gr.Button("Halve the budget"), gr.Button("Drop the budget")

        def on_select(event: gr.EventData) -> tuple[Any, str]:
            name: str = event.value
            return gr.update(selected=name), name

        half_ms = BUDGET_MS / 2
        plot.select(on_select, None, [plot, chosen], trigger_mode="always_last")
        halve.click(lambda: gr.update(budget=half_ms, best=_best(half_ms)), None, plot)
        drop.click(lambda: gr.update(budget=NO_BUDGET, best=NONE), None, plot)
        empty.click(lambda: replace(DATA, points=(), note=EMPTY), None, plot)
    return page


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    page = _app()
    yield launch(page, host="127.0.0.1", port=None)
    page.close()


DESKTOP, PHONE = (1366, 1000, "light"), (390, 844, "dark")
only_desktop = pytest.mark.parametrize("page", [DESKTOP], ids=["desktop"], indirect=True)
"""What does not depend on the size or theme: each page of plots takes seconds to open."""


@pytest.fixture(params=[DESKTOP, PHONE], ids=["desktop", "phone-dark"])
def page(request: pytest.FixtureRequest, browser: Browser, url: str) -> Iterator[Page]:
    """The open plot; fails on console errors, page errors, sideways scroll and other hosts."""
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
    expect(_drawn(tab, "front").first).to_be_attached()
    yield tab
    assert tab.evaluate("document.documentElement.scrollWidth") <= width, "it scrolls sideways"
    tab.close()
    assert wrong == []


_TRACES = {"dominated": 1, "over": 3, "front": 4, "best": 8}


def _drawn(page: Page, look: str) -> Locator:
    """The markers of one class."""
    return page.locator("#front .scatterlayer .trace").nth(_TRACES[look]).locator(".point")


def _click(page: Page, marker: Locator) -> None:
    """As a person does: move there, wait for the hover, click."""
    marker.scroll_into_view_if_needed()
    at = _middle(marker)
    page.mouse.move(*at)
    page.wait_for_timeout(100)
    page.mouse.click(*at)


def _middle(marker: Locator) -> tuple[float, float]:
    place = marker.bounding_box()
    assert place
    return place["x"] + place["width"] / 2, place["y"] + place["height"] / 2


def _range(page: Page) -> list[float]:
    return page.evaluate("document.querySelector('#front .plot').layout.xaxis.range")


def test_a_click_on_a_point_chooses_it(page: Page) -> None:
    wanted = FRONT[8]  # next to dominated points
    marker = _drawn(page, "front").nth(8)
    before = _range(page)
    _click(page, marker)
    expect(page.locator("#chosen textarea")).to_have_value(wanted.id)
    row = page.locator("#front tr.chosen")
    expect(row).to_have_attribute("data-id", wanted.id)
    expect(row.get_by_role("button")).to_have_attribute("aria-pressed", "true")
    assert _range(page) == before


@only_desktop
def test_the_highlight_does_not_wait_for_the_server(page: Page) -> None:
    page.route("**/queue/join*", lambda route: None)  # never answered
    page.locator("#front tbody button").nth(2).click()
    expect(page.locator(f"#front tr.chosen[data-id='{FRONT[2].id}']")).to_be_visible()
    expect(page.locator("#chosen textarea")).to_have_value("")
    page.unroute_all(behavior="ignoreErrors")


def test_the_keyboard_chooses_from_the_table_without_scrolling_the_page(page: Page) -> None:
    box = page.locator("#front .box")
    page.locator("#front tbody button").nth(30).focus()
    page.evaluate("document.querySelector('#front .box').scrollTop = 0")
    before = page.evaluate("scrollY")
    page.keyboard.press("Enter")
    expect(page.locator("#chosen textarea")).to_have_value(FRONT[30].id)
    assert page.evaluate("document.activeElement.dataset.key") == FRONT[30].id
    assert page.evaluate("scrollY") == before
    frame, row = box.bounding_box(), page.locator("#front tr.chosen").bounding_box()
    assert frame
    assert row
    assert frame["y"] <= row["y"] <= frame["y"] + frame["height"] - row["height"] + 1


@only_desktop
def test_search_and_the_whole_table(page: Page) -> None:
    rows, count = page.locator("#front tbody tr"), page.locator("#front .count")
    expect(count).to_have_text(f"{len(FRONT)} of 2,000 networks")
    page.get_by_label("only the front").uncheck()
    expect(count).to_have_text("2,000 of 2,000 networks; 100 shown, 1,900 more: narrow the search")
    expect(rows).to_have_count(100)
    page.get_by_label("Search").fill("  12 cells  16 CH,")
    texts = [f"{p.title} {p.id}" for p in DATA.points]
    wanted = [t for t in texts if all(term in t for term in ("12", "cells", "16", "ch,"))]
    expect(count).to_contain_text(f"{len(wanted)} of")
    page.get_by_label("Search").fill(DATA.points[77].id.upper())
    expect(rows).to_have_count(1)
    rows.first.get_by_role("button").click()
    expect(page.locator("#chosen textarea")).to_have_value(DATA.points[77].id)
    page.get_by_label("Search").fill("no such network")
    expect(count).to_have_text("0 of 2,000 networks; the selected one on top")


@only_desktop
def test_a_header_sorts(page: Page) -> None:
    header = page.get_by_role("columnheader", name="PSNR-Y")
    header.get_by_role("button").click()
    expect(header).to_have_attribute("aria-sort", "ascending")
    header.get_by_role("button").click()
    expect(header).to_have_attribute("aria-sort", "descending")
    top = max(FRONT, key=lambda p: p.y)
    expect(page.locator("#front tbody tr").first).to_have_attribute("data-id", top.id)
    expect(page.locator("#front th[aria-sort]")).to_have_count(1)


@only_desktop
def test_the_budget_changes_the_classes(page: Page) -> None:
    rows_over = page.locator("#front tbody tr", has_text="over budget")
    for shown, limit_ms in (("33 ms", BUDGET_MS), ("16.5 ms", BUDGET_MS / 2)):
        expect(page.get_by_text(f"budget {shown}", exact=True)).to_be_visible()
        over = [p for p in DATA.points if p.x > limit_ms]
        expect(_drawn(page, "over")).to_have_count(len(over))
        expect(_drawn(page, "best")).to_have_count(1)
        expect(rows_over).to_have_count(sum(p.front for p in over))
        page.get_by_role("button", name="Halve the budget").click()
    page.get_by_role("button", name="Drop the budget").click()
    expect(rows_over).to_have_count(0)
    expect(page.locator("#front .legend")).not_to_contain_text("budget")
    expect(page.get_by_text("budget 16.5 ms")).to_have_count(0)


def test_the_theme_redraws_and_the_zoom_survives(page: Page) -> None:
    whole = _range(page)
    place = page.locator("#front .plot").bounding_box()
    assert place
    page.mouse.move(place["x"] + 100, place["y"] + 60)
    page.mouse.down()
    page.mouse.move(place["x"] + 200, place["y"] + 250, steps=4)
    page.mouse.up()
    on_phone = place["width"] < 560
    if on_phone:
        page.wait_for_timeout(300)
    else:
        page.wait_for_function(
            "start => document.querySelector('#front .plot').layout.xaxis.range[0] !== start",
            arg=whole[0],
        )
    zoomed = _range(page)
    assert (zoomed == whole) == on_phone
    title = page.locator("#front .xtitle")
    before = title.evaluate("node => getComputedStyle(node).fill")
    page.evaluate("document.body.classList.toggle('dark')")
    expect(title).not_to_have_css("fill", before)
    page.locator("#front tbody button").nth(1).click()
    expect(page.locator("#chosen textarea")).to_have_value(FRONT[1].id)
    assert _range(page) == zoomed


@only_desktop
def test_an_empty_front_is_a_sentence(page: Page) -> None:
    page.get_by_role("button", name="Empty").click()
    expect(page.get_by_text(EMPTY)).to_be_visible()
    expect(page.locator("#front .box")).to_be_hidden()
    expect(page.locator("#front .plot")).to_be_hidden()


def test_nobody_is_shut_out(page: Page) -> None:
    image = page.get_by_role("img", name="2,000 networks")
    expect(image).to_have_attribute(
        "aria-label", re.compile(rf"; {len(FRONT)} on the front\. Best")
    )
    found: list[dict[str, Any]] = Axe().run(page, context="#front").response["violations"]
    assert [v["id"] for v in found if v["impact"] in ("serious", "critical")] == []


def test_the_table_works_without_plotly(browser: Browser, url: str) -> None:
    tab = browser.new_page()
    waiting: list[Route] = []
    tab.route("**/plotly.min.js", lambda route: waiting.append(route))
    tab.goto(url)
    expect(tab.get_by_text("Loading the chart")).to_be_visible()
    tab.locator("#front tbody button").first.click()
    expect(tab.locator("#chosen textarea")).to_have_value(FRONT[0].id)
    waiting.pop().abort()
    expect(tab.get_by_text("could not be loaded")).to_be_visible()
    tab.unroute("**/plotly.min.js")
    tab.get_by_role("button", name="Try again").click()
    expect(_drawn(tab, "front").first).to_be_attached()
    expect(tab.get_by_text("could not be loaded")).to_be_hidden()
    tab.close()


def test_a_finger_taps_a_point_and_swipes_the_page(browser: Browser, url: str) -> None:
    context = browser.new_context(
        viewport={"width": 390, "height": 700}, has_touch=True, is_mobile=True
    )
    tab = context.new_page()
    tab.goto(url)
    marker = _drawn(tab, "front").nth(10)
    expect(marker).to_be_attached()
    x, y = _middle(marker)
    touch = context.new_cdp_session(tab)
    for kind, moves in (("touchStart", [0]), ("touchMove", range(20, 180, 20))):
        for move in moves:
            at = [{"x": x, "y": y - move}]
            touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": at})
    touch.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    tab.wait_for_function("scrollY > 50")
    tab.wait_for_timeout(500)  # the swipe runs out; a tap now is not the second of a double tap
    expect(tab.locator("#front tr.chosen")).to_have_count(0)
    tab.evaluate("scrollTo(0, 0)")
    tab.touchscreen.tap(*_middle(marker))
    expect(tab.locator("#front tr.chosen")).to_contain_text("front")
    context.close()


def test_of_plotly_only_the_script_is_served(browser: Browser, url: str) -> None:
    tab = browser.new_page()
    with tab.expect_response("**/plotly.min.js") as answer:
        tab.goto(url)
    assert answer.value.ok
    beside = answer.value.url.replace("plotly.min.js", "widgetbundle.js")
    assert tab.request.get(beside).status == 403
    tab.close()
