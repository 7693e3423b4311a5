"""The zoom grid in headless Chromium, on a page of its own."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import gradio as gr
import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import Browser, Locator, Page, expect
from plotly.colors import sequential

from sr_core.ui.components.zoom_grid import Comparison, Fact, Tile, ZoomGrid
from sr_core.ui.server import launch

pytestmark = pytest.mark.browser

WIDTH, HEIGHT = 120, 80
WORST_LEFT, WORST_TOP = 70, 40
RNG = np.random.default_rng(0)
Pixels = NDArray[np.uint8]


def _noisy(image: Pixels, amplitude: int) -> Pixels:
    noise = RNG.integers(-amplitude, amplitude + 1, image.shape)
    return np.clip(image + noise, 0, 255).astype(np.uint8)


TRUTH: Pixels = RNG.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
BICUBIC = _noisy(TRUTH, 50)
MODEL = _noisy(BICUBIC, 1)
MODEL[WORST_TOP : WORST_TOP + 32, WORST_LEFT : WORST_LEFT + 32] ^= 128
WHOLE = np.tile(BICUBIC, (2, 2, 1))  # what the tile of BICUBIC would be a crop of
IMAGES = {"truth": TRUTH, "bicubic": BICUBIC, "m1": MODEL, "m2": BICUBIC.copy()}


def _comparison(grid: ZoomGrid, images: dict[str, Pixels], psnr: str = "30.00 dB") -> Comparison:
    facts = [Fact("PSNR-Y", psnr, "measured"), Fact("Latency", "9 ms (7 to 12)", "estimated")]
    tiles = [
        Tile(key, f"Title {key}", "<b>subtitle</b>", grid.save(Image.fromarray(pixels), key),
             f"{key}.png" if key != "m2" else "", facts,
             grid.save(Image.fromarray(WHOLE), key) if key == "bicubic" else "")
        for key, pixels in images.items()
    ]  # fmt: skip
    height, width, _ = TRUTH.shape
    return Comparison(tiles, width, height, "truth" if "truth" in images else "")


def _build() -> gr.Blocks:
    with gr.Blocks(analytics_enabled=False) as page:
        grid = ZoomGrid(elem_id="zoom", empty="No images yet.")
        whole = _comparison(grid, IMAGES)
        grid.value = whole.to_json()
        fewer = {key: pixels for key, pixels in IMAGES.items() if key != "truth"}
        first, *others = whole.tiles
        broken = Tile("gone", "Gone", "", first.src.replace("truth.png", "gone.png"))
        values = {
            "facts": _comparison(grid, IMAGES, psnr="31.00 dB"),
            "untrue": _comparison(grid, fewer),
            "broken": Comparison([*others, broken], WIDTH, HEIGHT),
            "clear": Comparison(),
        }
        for name, value in values.items():
            button = gr.Button(name, elem_id=name)
            button.click(value.to_json, None, grid, show_progress="hidden")
        again = gr.Button("again", elem_id="again")
        again.click(lambda: gr.update(value=whole.to_json()), None, grid, show_progress="hidden")
        gr.HTML("<div style='height: 1500px'></div>")
    return page


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    page = _build()
    yield launch(page, host="127.0.0.1", port=None)
    page.close()


@pytest.fixture(params=[(1366, 900, "light"), (390, 844, "dark")], ids=["desktop", "phone-dark"])
def page(request: pytest.FixtureRequest, browser: Browser, url: str) -> Iterator[Page]:
    """The open grid; fails on console errors, page errors and requests to other hosts."""
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
    expect(tab.locator("#zoom .silent")).to_have_count(4)
    yield tab
    assert tab.evaluate("document.documentElement.scrollWidth") <= width, "it scrolls sideways"
    tab.close()
    assert wrong == []


def _placed(page: Page) -> tuple[float, float, float]:
    """Left, top and zoom of the images; fails unless all of them are the same."""
    styles: list[str] = page.evaluate(
        "[...document.querySelectorAll('#zoom .layer')].map(node => node.style.transform)"
    )
    assert len(set(styles)) == 1, styles
    x, y, zoom = map(float, re.findall(r"-?[\d.]+", styles[0]))
    return x, y, zoom


def _box(part: Locator) -> tuple[float, float, float, float]:
    """Left, top, width and height on the screen."""
    box = part.bounding_box()
    assert box
    return box["x"], box["y"], box["width"], box["height"]


def _view(page: Page, key: str) -> Locator:
    return page.get_by_role("group", name=f"Title {key}: zoomable image")


def _drag(page: Page, start: tuple[float, float], by: tuple[float, float]) -> None:
    page.mouse.move(*start)
    page.mouse.down()
    page.mouse.move(start[0] + by[0] / 2, start[1] + by[1] / 2)
    page.mouse.move(start[0] + by[0], start[1] + by[1])
    page.mouse.up()


def test_the_wheel_zooms_all_images_at_the_cursor(page: Page) -> None:
    view = _view(page, "bicubic")
    left, top, width, height = _box(view)
    spot = np.array([0.3 * width, 0.6 * height])
    page.mouse.move(left + spot[0], top + spot[1])
    *offset, zoom = _placed(page)
    pixel = (spot - offset) / zoom
    page.keyboard.down("Control")
    page.mouse.wheel(0, -300)
    page.keyboard.up("Control")
    page.wait_for_function(
        f"!document.querySelector('#zoom .layer').style.transform.includes('scale({zoom})')"
    )
    *offset, closer = _placed(page)
    assert closer > 1.5 * zoom
    assert np.allclose((spot - offset) / closer, pixel, atol=1 / zoom)
    assert page.locator("#zoom output").inner_text() == f"{closer:.1f}×"


def test_the_wheel_alone_scrolls_until_an_image_is_clicked(page: Page) -> None:
    view = _view(page, "truth")
    left, top, width, height = _box(view)
    before = _placed(page)
    page.mouse.move(left + width / 2, top + height / 2)
    page.mouse.wheel(0, 40)
    page.wait_for_function("window.scrollY === 40")
    assert _placed(page) == before
    page.mouse.down()
    page.mouse.up()
    page.mouse.wheel(0, -100)
    expect(page.locator("#zoom output")).not_to_have_text(f"{before[2]:.1f}×")
    assert page.evaluate("window.scrollY") == 40
    view.dblclick()
    assert _placed(page) == before


def test_dragging_moves_all_images_and_stops_at_the_edge(page: Page) -> None:
    for _ in range(5):
        page.get_by_role("button", name="Zoom in").click()
    x, y, zoom = _placed(page)
    left, top, width, height = _box(_view(page, "m1"))
    _drag(page, (left + width / 2, top + height / 2), (-30, 14))
    assert _placed(page) == (x - 30, y + 14, zoom)
    _drag(page, (left + width / 2, top + height / 2), (5000, 5000))
    assert _placed(page) == (0, 0, zoom)


def test_keys_zoom_move_and_reset(page: Page) -> None:
    start = _placed(page)
    _view(page, "m2").focus()
    for _ in range(3):
        page.keyboard.press("+")
    x, y, zoom = _placed(page)
    assert zoom == pytest.approx(start[2] * 1.25**3, rel=1e-4)
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    moved = _placed(page)
    assert moved[0] < x
    assert moved[1] < y
    page.keyboard.press("-")
    assert _placed(page)[2] < zoom
    page.keyboard.press("0")
    assert _placed(page) == start
    page.keyboard.press("Escape")
    expect(page.locator("#zoom .stage :focus")).to_have_count(0)


def test_equal_images_look_equal_to_the_pixel(page: Page) -> None:
    """At an odd zoom and place, in tiles of different rows or columns."""
    for _ in range(2):
        page.get_by_role("button", name="Zoom in").click()
    left, top, width, height = _box(_view(page, "m1"))
    _drag(page, (left + width / 2, top + height / 2), (-7, 5))
    page.mouse.move(1, 1)
    corners = [_box(_view(page, key))[:2] for key in IMAGES]
    assert all(place % 1 == 0 for corner in corners for place in corner), corners
    looks = [
        np.asarray(Image.open(io.BytesIO(_view(page, key).screenshot())))[4:-4, 4:-4]
        for key in ("bicubic", "m2")
    ]
    assert np.array_equal(looks[0], looks[1])


def test_fingers_pinch_drag_after_a_tap_and_else_scroll_the_page(
    browser: Browser, url: str
) -> None:
    context = browser.new_context(
        viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True
    )
    page = context.new_page()
    page.goto(url)
    expect(page.locator("#zoom .silent")).to_have_count(4)
    expect(page.get_by_text("Tap an image")).to_be_visible()
    start = _placed(page)
    hand = context.new_cdp_session(page)

    def touch(kind: str, *points: tuple[float, float]) -> None:
        left, top, width, height = _box(_view(page, "truth"))
        places = [{"x": left + x * width, "y": top + y * height} for x, y in points]
        hand.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": places})

    def swipe_up() -> None:
        touch("touchStart", (0.5, 0.9))
        for y in (0.7, 0.5, 0.3, 0.1):
            touch("touchMove", (0.5, y))
        touch("touchEnd")

    touch("touchStart", (0.4, 0.5), (0.6, 0.5))
    touch("touchMove", (0.3, 0.5), (0.7, 0.5))
    touch("touchMove", (0.2, 0.5), (0.8, 0.5))
    touch("touchEnd")
    _, y, zoom = _placed(page)
    assert zoom == pytest.approx(3 * start[2], rel=0.05)
    _view(page, "truth").tap()
    expect(_view(page, "truth")).to_be_focused()
    page.wait_for_timeout(200)  # until the compositor knows, too
    swipe_up()
    page.wait_for_function(
        "y => new DOMMatrix(document.querySelector('#zoom .layer').style.transform).f < y - 20",
        arg=y,
    )
    assert page.evaluate("window.scrollY") == 0
    _view(page, "truth").blur()
    page.wait_for_timeout(200)
    dragged = _placed(page)
    swipe_up()
    page.wait_for_function("window.scrollY > 20")
    # The first few pixels of a touch may count as a drag, before it is known to be a scroll.
    assert _placed(page) == pytest.approx(dragged, abs=25)
    context.close()


def test_the_slider_uncovers_one_image_over_another(page: Page) -> None:
    page.get_by_role("button", name="Slider").click()
    divider = page.get_by_role("slider", name="Divider")
    expect(divider).to_have_attribute("aria-valuetext", "50 % Title bicubic, the rest Title m1")
    divider.focus()
    for key in ("ArrowRight", "ArrowRight", "ArrowLeft", "PageUp"):
        page.keyboard.press(key)
    expect(divider).to_have_attribute("aria-valuenow", "61")
    left, top, width, height = _box(_view(page, "bicubic"))
    x, y, own_width, own_height = _box(divider)
    assert x + own_width / 2 == pytest.approx(left + 0.61 * width, abs=1)
    _drag(page, (x + own_width / 2, y + own_height / 4), (-0.36 * width, 0))
    expect(divider).to_have_attribute("aria-valuenow", "25")
    shown = page.evaluate(
        """([x, y]) => [0.1, 0.4].map((part) => document.elementFromPoint(x[0] + part * x[1], y)
             .closest('.view').getAttribute('aria-label'))""",
        [[left, width], top + height / 4],
    )
    assert shown == ["Title bicubic: zoomable image", "Title m1: zoomable image"]
    page.get_by_label("First image").select_option("m1")  # the second one's: they swap
    expect(page.get_by_label("Second image")).to_have_value("bicubic")
    _placed(page)


def _luma(pixels: Pixels) -> NDArray[np.float64]:
    return pixels.astype(float) @ [0.299, 0.587, 0.114]


def _viridis(level: NDArray[np.float64]) -> NDArray[np.float64]:
    """(H, W, 3) colours 0..255 of levels 0..1."""
    anchors = np.array([[int(c[i : i + 2], 16) for i in (1, 3, 5)] for c in sequential.Viridis])
    places = np.linspace(0, 1, len(anchors))
    return np.stack([np.interp(level, places, anchors[:, i]) for i in range(3)], axis=-1)


def _canvas(page: Page, key: str) -> Pixels:
    values: list[int] = (
        _view(page, key)
        .locator("canvas")
        .evaluate(
            "node => [...node.getContext('2d').getImageData(0, 0, node.width, node.height).data]"
        )
    )
    return np.array(values, np.uint8).reshape(HEIGHT, WIDTH, 4)


def test_the_difference_map_is_what_numpy_computes(page: Page) -> None:
    page.get_by_role("button", name="Difference").click()
    expect(page.locator("#zoom .mapped")).to_have_count(3)
    expect(page.locator("#zoom .scale")).to_contain_text("32+")
    for key in ("bicubic", "m1"):
        difference = np.abs(_luma(IMAGES[key]) - _luma(TRUTH))
        levels = np.minimum(np.rint(difference * 8), 255) / 255
        map_ = _canvas(page, key)
        assert (map_[..., 3] == 255).all()
        # A grey level that lies half-way between two steps may round either way.
        assert np.abs(map_[..., :3] - _viridis(levels)).max() <= 3
        assert np.median(np.abs(map_[..., :3] - _viridis(levels))) <= 0.5
        figure = page.locator("#zoom figure", has=_view(page, key))
        expect(figure).to_contain_text(f"Mean |difference|{difference.mean():.2f} grey levels")
        expect(figure.get_by_role("img", name="measured").first).to_be_visible()
        expect(_view(page, key).locator("img")).to_be_hidden()
    expect(_view(page, "truth").locator("img")).to_be_visible()


def test_the_worst_spot_is_found_and_framed(page: Page) -> None:
    page.get_by_role("button", name="Worst spot").click()
    expect(page.locator("#zoom [role=status]")).to_contain_text(f"x {WORST_LEFT}, y {WORST_TOP}:")
    spot = (slice(WORST_TOP, WORST_TOP + 32), slice(WORST_LEFT, WORST_LEFT + 32))
    mean = np.abs(_luma(BICUBIC)[spot] - _luma(MODEL)[spot]).mean()
    expect(page.locator("#zoom [role=status]")).to_contain_text(f"{mean:.1f} grey levels")
    x, y, zoom = _placed(page)
    for key in IMAGES:
        left, top, *_ = _box(_view(page, key))
        corner = _box(_view(page, key).locator(".spot"))
        expected = (left + x + WORST_LEFT * zoom, top + y + WORST_TOP * zoom, 32 * zoom, 32 * zoom)
        assert corner == pytest.approx(expected, abs=1)
    page.get_by_label("Second image").select_option("m2")
    page.get_by_role("button", name="Worst spot").click()
    expect(page.locator("#zoom [role=status]")).to_contain_text("are identical")


def test_the_download_is_the_exact_png(page: Page) -> None:
    for key, pixels in (("m1", MODEL), ("bicubic", WHOLE)):
        link = page.get_by_role("link", name=f"Download PNG: Title {key}")
        with page.expect_download() as waiting:
            link.click()
        assert waiting.value.suggested_filename == f"{key}.png"
        path = Path(waiting.value.path())
        with Image.open(path) as saved:
            assert saved.format == "PNG"
            assert np.array_equal(np.asarray(saved), pixels)
        source = unquote((link.get_attribute("href") or "").split("file=")[1])
        assert path.read_bytes() == Path(source).read_bytes()
    expect(page.get_by_role("link", name="Download PNG: Title m2")).to_have_count(0)


def test_new_facts_leave_images_and_view_alone(page: Page) -> None:
    page.get_by_role("button", name="Zoom in").click()
    before = _placed(page)
    page.evaluate("document.querySelectorAll('#zoom img').forEach((node) => { node.seen = 1; })")
    page.locator("#facts").click()
    expect(page.locator("#zoom figure").first).to_contain_text("31.00 dB")
    assert page.evaluate("[...document.querySelectorAll('#zoom img')].every((node) => node.seen)")
    assert _placed(page) == before
    expect(page.locator("#zoom .head span").first).to_have_text("<b>subtitle</b>")


def test_without_truth_there_is_no_difference_view(page: Page) -> None:
    page.get_by_role("button", name="Difference").click()
    expect(page.locator("#zoom .mapped")).to_have_count(3)
    page.locator("#untrue").click()
    expect(page.locator("#zoom figure")).to_have_count(3)
    expect(page.get_by_role("button", name="Difference")).to_be_hidden()
    expect(page.get_by_role("button", name="Grid")).to_have_attribute("aria-pressed", "true")
    page.locator("#clear").click()
    expect(page.get_by_text("No images yet.")).to_be_visible()
    expect(page.locator("#zoom .stage")).to_be_hidden()
    page.locator("#again").click()
    expect(page.locator("#zoom .silent")).to_have_count(4)


def test_a_missing_image_says_so(browser: Browser, url: str) -> None:
    page = browser.new_page()
    page.goto(url)
    page.locator("#broken").click()
    expect(page.get_by_text("This image is no longer on the server")).to_be_visible()
    expect(page.locator("#zoom .silent")).to_have_count(3)
    page.get_by_label("Second image").select_option("gone")
    page.get_by_role("button", name="Worst spot").click()
    expect(page.get_by_text("The worst spot cannot be found")).to_be_visible()
    page.close()


def test_no_serious_barrier(page: Page) -> None:
    for mode in ("Grid", "Slider", "Difference"):
        page.get_by_role("button", name=mode).click()
        found: list[dict[str, Any]] = Axe().run(page, context="#zoom").response["violations"]
        serious = [rule for rule in found if rule["impact"] in {"serious", "critical"}]
        assert not serious, (mode, serious)
