"""A person's way through the page, in headless Chromium."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect, sync_playwright

from sr_core.store import Catalogue
from sr_core.ui.page import build_page
from sr_core.ui.server import launch
from tests import tiny

pytestmark = pytest.mark.browser

_QUIET = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update",
)  # fmt: skip


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    path = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    if not path:
        pytest.skip("no Chromium here: install Debian's chromium, or set CHROMIUM to its path")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(_QUIET))
        yield browser
        browser.close()


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
    page.get_by_role("button", name="Stop").click()
    expect(page.locator("#start")).to_be_enabled()
