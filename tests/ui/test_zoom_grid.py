"""What the zoom grid sends to the browser; what it does there is in tests/e2e."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import gradio as gr
import pytest
from PIL import Image

from sr_core.ui.components.zoom_grid import Comparison, Fact, Tile, ZoomGrid
from tests import tiny


def test_a_comparison_is_plain_json() -> None:
    facts = [Fact("PSNR-Y", "31.43 dB", "measured")]
    tiles = [Tile("m1", "Wide", "dense", "gradio_api/file=/a.png", "wide.png", facts)]
    sent = Comparison(tiles, 12, 8).to_json()
    assert json.loads(json.dumps(sent)) == sent
    assert (sent["width"], sent["height"], sent["truth"]) == (12, 8, "")
    assert sent["tiles"] == [
        {
            "key": "m1",
            "title": "Wide",
            "subtitle": "dense",
            "src": "gradio_api/file=/a.png",
            "download": "wide.png",
            "facts": [["PSNR-Y", "31.43 dB", "measured"]],
            "href": "",
        }
    ]


def _tiles(*keys: str) -> list[Tile]:
    return [Tile(key, key, "", f"{key}.png") for key in keys]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((_tiles(*"abcdefg"), 8, 8), "up to 6 tiles"),
        ((_tiles("a", "a"), 8, 8), "different keys"),
        ((_tiles("a"), 8, 0), "got 8x0"),
        ((_tiles("a"), 8, 8, "truth"), "no tile 'truth'"),
    ],
)
def test_an_impossible_comparison_is_refused(arguments: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Comparison(*arguments)


def test_an_empty_grid_has_a_sentence() -> None:
    grid = ZoomGrid(elem_id="grid", empty="Nothing yet.")
    assert grid.value == Comparison().to_json()
    assert 'const EMPTY = "Nothing yet.";' in (grid.js_on_load or "")
    assert grid.api_info() == {"type": "object"}
    # Gradio takes an argument's name that is quoted in the script for that of an event.
    assert json.dumps(grid.get_config())


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA"])
def test_cached_images_keep_their_pixels_and_are_cleared_with_the_page(
    tmp_path: Path, mode: str
) -> None:
    with gr.Blocks(analytics_enabled=False) as page:
        grid = ZoomGrid(elem_id="grid")
    grid.GRADIO_CACHE = str(tmp_path / "a folder, 100 %#?")
    image = tiny.drawn(40, 30).convert(mode)
    src = grid.save(image, "upfront-m1")
    assert src.startswith("gradio_api/file=")
    assert not set(" #?") & set(src)
    path = unquote(src.removeprefix("gradio_api/file="))
    with Image.open(path) as saved:
        assert (saved.format, saved.mode) == ("PNG", mode)
        assert saved.tobytes() == image.tobytes()
    assert any(Path(path) in map(Path, paths) for paths in page.temp_file_sets)
    assert Path(path).name == "upfront-m1.png"
