"""A person's way through the page, in headless Chromium."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from sr_core.catalogue.store import Catalogue
from sr_core.errors import Cancelled
from sr_core.network.notation import to_text
from sr_core.ui.page import build_page
from sr_core.ui.server import launch
from tests import app_root, tiny
from tests.ui.findings import made_up as made_up_findings

pytestmark = pytest.mark.browser

NETWORKS = app_root.networks()
CELL_1_EXPAND = "Cell 1 1×1 expand"


@pytest.fixture(scope="session")
def url(tiny_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    root = app_root.write(tmp_path_factory.mktemp("e2e") / "precomputed", tiny_root)
    made_up_findings.add(root)
    page = build_page(Catalogue(root))
    yield launch(page, host="127.0.0.1", port=None).rstrip("/")
    page.close()


DESKTOP, PHONE = (1366, 900, "light", ""), (390, 844, "dark", "")
BAD_LINK = "&device=toaster&net=%3Cscript%3E"
only_desktop = pytest.mark.parametrize("page", [DESKTOP], ids=["desktop"], indirect=True)


@pytest.fixture(params=[DESKTOP, PHONE], ids=["desktop", "phone-dark"])
def page(request: pytest.FixtureRequest, browser: Browser, url: str) -> Iterator[Page]:
    """The open app; fails on console errors, page errors and requests to other hosts."""
    width, height, theme, link = request.param
    tab = browser.new_page(viewport={"width": width, "height": height})
    wrong: list[str] = []
    tab.on("console", lambda m: wrong.append(m.text) if m.type == "error" else None)
    tab.on("pageerror", lambda error: wrong.append(str(error)))
    tab.on(
        "request",
        lambda r: None if r.url.startswith((url, "data:", "blob:")) else wrong.append(r.url),
    )
    tab.goto(f"{url}/?__theme={theme}{link}")
    expect(tab.locator("#card h3")).to_be_visible()
    # It has loaded: what the load answers would undo what a test does before.
    expect(tab.locator("#link textarea")).to_have_value(re.compile("device="))
    yield tab
    assert tab.evaluate("document.documentElement.scrollWidth") <= width, "it scrolls sideways"
    tab.close()
    assert wrong == []


def _open(page: Page, tab: str) -> None:
    page.get_by_role("tab", name=tab, exact=True).click()


def _choose(page: Page, label: str, option: str) -> None:
    page.get_by_label(label, exact=True).first.click()
    page.get_by_role("option", name=option).first.click()


def _row(page: Page, index: int) -> None:
    """Choose a network in the table under the plot: the keyboard's path."""
    page.get_by_label("only the front").uncheck()
    page.locator("#front input[type=search]").fill(NETWORKS[index].id)
    row = page.locator("#front tbody tr", has_text=NETWORKS[index].id)
    row.get_by_role("button").press("Enter")


def test_a_point_of_the_plot_shows_its_network(page: Page) -> None:
    points = page.locator("#front .scatterlayer .trace .points path")
    expect(points.first).to_be_visible()
    before = page.locator("#card code").first.inner_text()
    page.locator("#front .plot").scroll_into_view_if_needed()
    for index in range(points.count()):
        box = points.nth(index).bounding_box()
        assert box
        page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        page.wait_for_timeout(150)
        page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        page.wait_for_timeout(400)
        if page.locator("#card code").first.inner_text() != before:
            break
    chosen, link = page.locator("#card code").first, page.locator("#link textarea")
    expect(chosen).not_to_have_text(before)
    _wait_for(lambda: f"net={chosen.inner_text()}" in link.input_value())


def test_the_selection_goes_from_tab_to_tab_and_into_the_link(page: Page, url: str) -> None:
    _row(page, 5)
    network = to_text(NETWORKS[5])
    expect(page.locator("#card code").first).to_have_text(network)
    page.get_by_role("button", name="Prune this network").click()
    expect(page.get_by_label(f"{CELL_1_EXPAND} scheme")).to_have_value(
        NETWORKS[5].cells[0].layers[0].scheme
    )
    page.locator("#pick-edited").click()
    _open(page, "Compare")
    expect(page.locator("#picked")).to_contain_text("1 wide, block 40 %")
    link = page.locator("#link textarea")
    whole = re.compile(rf"^{re.escape(url)}/\?scale=4&.*compare=x4.*&tab=compare$")
    expect(link).to_have_value(whole)
    theme = page.evaluate("new URLSearchParams(location.search).get('__theme')")
    assert page.url == f"{link.input_value()}&__theme={theme}"
    assert theme in ("light", "dark")
    assert page.context.browser
    # Leaving the page itself may abort an answer on its way.
    other = page.context.browser.new_page()
    other.goto(link.input_value())
    expect(other.locator("#picked")).to_contain_text("1 wide, block 40 %")
    _open(other, "Explore")
    expect(other.locator("#card code").first).to_have_text(network)
    other.close()


def test_another_device_and_budget(page: Page) -> None:
    _row(page, 1)
    latency = page.locator("#card .tile strong").first
    expect(page.locator("#card code").first).to_have_text(to_text(NETWORKS[1]))
    on_computer = latency.inner_text()
    _choose(page, "Device", "Made-up phone (calibrated)")
    expect(latency).not_to_have_text(on_computer)
    expect(page.locator("#card")).to_contain_text("Made-up phone")
    expect(page.get_by_text("Assumed: share of skipped MACs")).to_be_visible()
    page.locator("#share input[type=range]").press("End")  # without a mouse
    expect(page.locator("#link textarea")).to_have_value(re.compile("share=1(&|$)"))
    page.locator("#budget input").fill("0.001")
    page.keyboard.press("Tab")
    expect(page.locator("#link textarea")).to_have_value(re.compile("budget=0.001"))
    page.locator("#best").click()
    expect(page.get_by_text("No stored network meets the budget")).to_be_visible()


def test_moving_a_slider_moves_the_milliseconds_and_then_the_quality(page: Page) -> None:
    _choose(page, "Device", "Made-up phone (calibrated)")
    expect(page.locator("#card")).to_contain_text("Made-up phone")
    _open(page, "Prune")
    _choose(page, "Network", "All wide, dense")
    total = page.locator("#layers .totals strong").first
    expect(total).to_have_text(re.compile(r"\d ms"))
    quality = page.locator("#quality .tile strong").first
    against_dense = page.locator("#quality .tile strong").nth(1)
    expect(against_dense).to_have_text("+0.00 dB")  # of this very network
    layer = page.locator("#layers tr", has=page.get_by_label(f"{CELL_1_EXPAND} scheme"))
    layer_ms = layer.locator(".figures > *").first
    expect(layer_ms).to_have_text(re.compile(r"\d ms"))
    before_ms, before_db = layer_ms.inner_text(), quality.inner_text()
    before_total = total.inner_text()
    page.get_by_label(f"{CELL_1_EXPAND} scheme").select_option("block")
    expect(layer_ms).not_to_have_text(before_ms)
    expect(total).not_to_have_text(before_total)
    expect(quality).not_to_have_text(before_db)
    halved_ms, halved_db = layer_ms.inner_text(), quality.inner_text()
    slider = page.get_by_label(re.compile(f"^{CELL_1_EXPAND}")).and_(
        page.locator("input[type=range]")
    )
    slider.press("End")
    expect(layer_ms).not_to_have_text(halved_ms)
    expect(quality).not_to_have_text(halved_db)
    expect(page.locator("#preset input")).to_have_value("Edited below")
    for _ in range(2):
        page.locator("#layers").get_by_role("button", name="↶ Undo").click()
    expect(layer_ms).to_have_text(before_ms)
    expect(total).to_have_text(before_total)
    expect(quality).to_have_text(before_db)


@only_desktop
def test_on_the_engine_a_block_ratio_moves_the_latency(page: Page) -> None:
    expect(page.locator("#card")).to_contain_text("Made-up engine")  # the default device
    _open(page, "Prune")
    _choose(page, "Network", "All wide, dense")
    expect(page.locator("#link textarea")).to_have_value(re.compile("net=x4c16_2w&"))
    total = page.locator("#layers .totals strong").first
    expect(total).to_have_text(re.compile(r"\d ms"))
    dense = total.inner_text()
    page.get_by_label(f"{CELL_1_EXPAND} scheme").select_option("block")
    expect(total).not_to_have_text(dense)
    halved = total.inner_text()
    ratio = page.get_by_label(f"{CELL_1_EXPAND} share removed")
    ratio.press("End")
    expect(total).not_to_have_text(halved)
    _choose(page, "Device", "Made-up computer (calibrated)")
    expect(page.locator("#layers .note")).to_contain_text("No gain from masks")
    on_onnx = total.inner_text()
    ratio.press("Home")
    expect(page.locator("#layers tr.selected input[type=number]")).to_have_value("1")
    page.wait_for_timeout(500)
    expect(total).to_have_text(on_onnx)


@only_desktop
def test_presets_and_apply_to_all_fill_the_table(page: Page) -> None:
    _open(page, "Prune")
    scheme = page.get_by_label(f"{CELL_1_EXPAND} scheme")
    _choose(page, "Network", "All wide, dense")
    expect(scheme).to_have_value("dense")
    page.get_by_role("button", name="Apply to all layers").click()
    expect(scheme).to_have_value("block")
    expect(page.locator("#preset input")).to_have_value("All wide, block 50 %")
    at_50 = page.locator("#schemes").inner_text()
    _choose(page, "Scheme for all layers", "pattern")  # lifts the ratio: all follow
    expect(page.locator("#ratio input[type=number]")).to_have_value("56")
    expect(page.locator("#schemes")).not_to_have_text(at_50)
    page.get_by_role("button", name="Measure them here now").click()
    expect(page.locator("#schemes")).to_contain_text("Measured just now", timeout=60_000)


def test_compare_two_networks_and_take_the_pictures_home(page: Page, tmp_path: Path) -> None:
    _row(page, 0)
    expect(page.locator("#card code").first).to_have_text(to_text(NETWORKS[0]))
    page.locator("#pick").click()
    expect(page.locator("#link textarea")).to_have_value(re.compile("compare=x4c16_2w(&|$)"))
    _row(page, 6)
    expect(page.locator("#card code").first).to_have_text(to_text(NETWORKS[6]))
    page.locator("#pick").click()
    expect(page.locator("#link textarea")).to_have_value(re.compile(r"compare=x4c16_2w(\+|%20)"))
    _open(page, "Compare")
    page.get_by_role("button", name="Remove Image").click()
    photo = tiny.save_drawn(tmp_path / "photo.png", 160, 96)
    page.locator("#image input[type=file]").first.set_input_files(photo)
    expect(page.locator("#image img")).to_be_visible()
    page.locator("#start").click()
    expect(page.locator("#grid figure")).to_have_count(4)
    expect(page.locator("#grid")).to_contain_text(re.compile(r"\d\d?\.\d\d dB"))
    expect(page.locator("#outcome")).to_contain_text("no phone latency")
    with page.expect_download() as waiting:
        page.get_by_role("link", name=re.compile("^Download PNG")).last.click()
    with Image.open(waiting.value.path()) as saved:
        assert (saved.format, saved.size) == ("PNG", (160, 96))


def test_a_bad_upload_is_one_sentence_and_the_page_lives_on(page: Page, tmp_path: Path) -> None:
    _open(page, "Compare")
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"no image at all")
    page.get_by_role("button", name="Remove Image").click()
    page.locator("#image input[type=file]").first.set_input_files(bad)
    expect(page.get_by_text("This is not a readable image")).to_be_visible()
    page.locator("#mode").get_by_text("Upscale as is").click()
    expect(page.locator("#mode input").last).to_be_checked()


@pytest.mark.parametrize("page", [(*PHONE[:3], BAD_LINK)], ids=["phone"], indirect=True)
def test_a_bad_link_gives_a_notice_and_the_start_page(page: Page) -> None:
    expect(page.get_by_text("There is no device 'toaster'")).to_be_visible()
    expect(page.locator("#card h3")).to_be_visible()
    expect(page.locator("#link textarea")).to_have_value(re.compile("device=engine"))


def test_no_serious_accessibility_violation(page: Page) -> None:
    for tab in ("Explore", "Search", "Prune", "Compare", "Findings"):
        _open(page, tab)
        page.wait_for_timeout(1500)  # transitions and the chart
        found = Axe().run(page).response["violations"]
        serious = [
            f"{rule['id']}: {node['target']} {node['failureSummary']}"
            for rule in found
            if rule["impact"] in ("serious", "critical")
            for node in rule["nodes"]
        ]
        assert serious == [], tab


@pytest.mark.parametrize("page", [DESKTOP], ids=["desktop"], indirect=True)
def test_stop_ends_a_running_and_a_waiting_job(
    page: Page, browser: Browser, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[str] = []

    def endless(*_: object, should_stop: Callable[[], bool], **__: object) -> None:
        ran.append("started")
        while not should_stop():
            time.sleep(0.02)
        ran.append("stopped")
        raise Cancelled("Stopped after 0 of 1 tiles.")

    monkeypatch.setattr("sr_core.ui.comparison.compare", endless)
    _open(page, "Compare")
    page.locator("#start").click()
    _wait_for(lambda: ran == ["started"])
    other = browser.new_page()
    other.goto(url)
    _open(other, "Compare")
    other.locator("#start").click()
    expect(other.get_by_text("queue", exact=False).first).to_be_visible()
    other.get_by_role("button", name="Stop").click()
    other.wait_for_timeout(500)
    page.get_by_role("button", name="Stop").click()
    _wait_for(lambda: ran == ["started", "stopped"])
    page.wait_for_timeout(500)
    other.close()
    assert ran == ["started", "stopped"], "the waiting job ran although it was stopped"


def _wait_for(condition: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


@only_desktop
def test_a_live_search_from_start_to_a_chosen_network(page: Page, tmp_path: Path) -> None:
    _open(page, "Search")
    expect(page.locator("#plan")).to_contain_text("12 crops of 192×192 pixels")
    expect(page.locator("#found .note")).to_contain_text("press Start")
    page.locator("#trials input").fill("30")
    page.locator("#search-start").click()
    progress, points = page.locator("#search-progress"), page.locator("#found tbody tr")
    expect(points.first).to_be_visible()
    pause = page.locator("#search-pause")
    pause.click()
    expect(progress).to_contain_text("Paused")
    pause.click()
    expect(progress).to_contain_text("Finished, 30 of 30 trials")
    page.locator("#found").get_by_label("only the front").uncheck()  # the front may be one point
    link = page.locator("#link textarea")
    before = link.input_value()
    # The network that is selected already may be among those found, and have its card.
    page.locator("#found tbody button[aria-pressed=false]").first.press("Enter")
    expect(link).not_to_have_value(before)
    found = page.locator("#search-card code").first
    network = f"net={re.escape(found.inner_text())}"
    expect(link).to_have_value(re.compile(f"{network}.*tab=search"))
    with page.expect_download() as waiting:
        page.locator("#search-download").click()
    file = tmp_path / waiting.value.suggested_filename
    waiting.value.save_as(file)
    with page.expect_file_chooser() as choosing:
        page.locator("#search-load").click()
    choosing.value.set_files(file)
    expect(progress).to_contain_text("Loaded result, 30 of 30 trials")
    page.get_by_role("button", name="Prune this network").click()
    expect(link).to_have_value(re.compile(f"{network}.*tab=prune"))
    expect(page.locator("#layers .totals strong").first).to_have_text(re.compile(r"\d ms"))


@pytest.mark.parametrize("page", [PHONE], ids=["phone-dark"], indirect=True)
def test_fine_tuned_models_and_findings_are_there(page: Page) -> None:
    row = page.locator("#front tbody tr", has_text=made_up_findings.GOOD)
    row.get_by_role("button").press("Enter")
    expect(page.locator("#card h4")).to_have_text(f"Fine-tuned: {made_up_findings.GOOD}")
    expect(page.locator("#front tr.chosen")).to_have_count(2)  # and its once-for-all self
    page.locator("#pick-tuned").click()
    link = page.locator("#link textarea")
    expect(link).to_have_value(re.compile(f"compare={made_up_findings.GOOD}$"))
    _open(page, "Findings")
    expect(page.locator("#findings section")).to_have_count(7)
    expect(page.locator("#findings")).to_contain_text("Yes: fine-grained pruning pays.")
    expect(link).to_have_value(re.compile("tab=findings$"))
