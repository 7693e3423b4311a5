"""A person's way through the page, in headless Chromium."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from sr_core.errors import Cancelled
from sr_core.store import Catalogue
from sr_core.ui.page import build_page
from sr_core.ui.server import launch
from tests import tiny

pytestmark = pytest.mark.browser


@pytest.fixture(scope="session")
def url(tiny_root: Path) -> Iterator[str]:
    page = build_page(Catalogue(tiny_root))
    yield launch(page, host="127.0.0.1", port=None)
    page.close()


@pytest.fixture(params=[(1366, 900, "light"), (390, 844, "dark")], ids=["desktop", "phone-dark"])
def page(request: pytest.FixtureRequest, browser: Browser, url: str) -> Iterator[Page]:
    """The open app; fails on console errors, page errors and requests to other hosts."""
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
    expect(tab.locator("#start")).to_be_visible()
    yield tab
    assert tab.evaluate("document.documentElement.scrollWidth") <= width, "it scrolls sideways"
    tab.close()
    assert wrong == []


def _replace_image(page: Page, path: Path) -> None:
    page.get_by_role("button", name="Remove Image").click()
    page.locator("#image input[type=file]").first.set_input_files(path)


def test_upload_prune_upscale_and_see_psnr(page: Page, tmp_path: Path) -> None:
    photo = tiny.save_drawn(tmp_path / "photo.png", 160, 96)
    _replace_image(page, photo)
    expect(page.locator("#image img")).to_be_visible()

    page.get_by_role("button", name="Edit the network, layer by layer").click()
    macs = page.locator("#facts .tile strong").nth(1)
    before = macs.inner_text()
    page.get_by_label("Cell 1 1×1 expand scheme").select_option("block")
    expect(macs).not_to_have_text(before)
    expect(page.locator("#preset input")).to_have_value("Edited below")

    page.locator("#start").click()
    expect(page.locator("#outcome .scores")).to_be_visible(timeout=30_000)
    expect(page.locator("#outcome")).to_contain_text(re.compile(r"\d\d?\.\d\d dB"))
    expect(page.locator("#outcome")).to_contain_text("measured just now")
    expect(page.locator("#result img").first).to_be_visible()

    with page.expect_download() as waiting:
        page.locator("#download").click()
    with Image.open(waiting.value.path()) as saved:
        assert (saved.format, saved.size) == ("PNG", (160, 96))


def test_a_bad_upload_is_one_sentence_and_the_page_lives_on(page: Page, tmp_path: Path) -> None:
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"no image at all")
    _replace_image(page, bad)
    expect(page.get_by_text("This is not a readable image")).to_be_visible(timeout=15_000)
    page.locator("#mode").get_by_text("Upscale as is").click()
    expect(page.locator("#mode input").first).to_be_checked()


def test_the_table_shows_the_network_that_runs(page: Page) -> None:
    """Edit a layer, take it back, choose another network and the first one again."""
    page.get_by_role("button", name="Edit the network, layer by layer").click()
    scheme = page.get_by_label("Cell 1 1×1 expand scheme")
    preset = page.locator("#preset input")
    for wanted, shown in (("block", "Edited below"), ("dense", "All wide, dense")):
        scheme.select_option(wanted)
        expect(preset).to_have_value(shown)
    for title, wanted in (("All wide, block 50 %", "block"), ("All wide, dense", "dense")):
        preset.click()
        page.get_by_role("option", name=title, exact=True).first.click()
        expect(scheme).to_have_value(wanted)


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

    monkeypatch.setattr("sr_core.ui.jobs.run", endless)
    page.locator("#start").click()
    _wait_for(lambda: ran == ["started"])
    other = browser.new_page()
    other.goto(url)
    other.locator("#start").click()
    expect(other.get_by_text("queue", exact=False).first).to_be_visible(timeout=15_000)
    other.get_by_role("button", name="Stop").click()
    other.wait_for_timeout(500)
    page.get_by_role("button", name="Stop").click()
    _wait_for(lambda: ran == ["started", "stopped"])
    page.wait_for_timeout(500)
    other.close()
    assert ran == ["started", "stopped"], "the waiting job ran although it was stopped"


def _wait_for(condition: Callable[[], bool], seconds: float = 15) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)
