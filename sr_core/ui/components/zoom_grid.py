"""The zoom grid: up to six equal-sized images side by side, always showing the same spot.

Its value is a `Comparison` as JSON; the browser only reads it. Views: a grid, a before/after
slider, and (where the true image is known) difference maps computed in the page from the PNGs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple
from urllib.parse import quote

import gradio as gr
from PIL import Image

from sr_core.ui.components import source
from sr_core.ui.components.picture import cached_png

MAX_TILES = 6
Origin = Literal["measured", "estimated", "published", "counted"]


class Fact(NamedTuple):
    """One line below an image, such as `Fact("PSNR-Y", "31.43 dB", "measured")`."""

    label: str
    value: str
    """With unit, and with interval where it is estimated."""
    origin: Origin


@dataclass(frozen=True)
class Tile:
    """One image and what is said of it."""

    key: str
    """"truth", "bicubic", or a name of the caller's such as "m1"; unique in a comparison."""
    title: str
    subtitle: str
    src: str
    """Address of a PNG, from `ZoomGrid.save`."""
    download: str = ""
    """File name offered for download, `name` of `ZoomGrid.save` and ".png"; empty for none."""
    facts: Sequence[Fact] = ()
    href: str = ""
    """Address of what is downloaded, where that is not `src` (a crop is shown, say)."""


@dataclass(frozen=True)
class Comparison:
    """What the zoom grid shows. Without tiles it shows its `empty` sentence."""

    tiles: Sequence[Tile] = ()
    width: int = 0
    height: int = 0
    """Pixels, the same for every tile."""
    truth: str = ""
    """Key of the true image, which difference maps are taken against; empty if unknown."""

    def __post_init__(self) -> None:
        keys = [tile.key for tile in self.tiles]
        if len(keys) > MAX_TILES or len(set(keys)) < len(keys):
            raise ValueError(f"Expected up to {MAX_TILES} tiles with different keys, got {keys}.")
        if keys and min(self.width, self.height) < 1:
            raise ValueError(f"Expected the size of the tiles, got {self.width}x{self.height}.")
        if self.truth and self.truth not in keys:
            raise ValueError(f"There is no tile {self.truth!r} among {keys}.")

    def to_json(self) -> dict[str, Any]:
        """Return the component's value."""
        return {
            "tiles": [
                {**vars(tile), "facts": [list(fact) for fact in tile.facts]} for tile in self.tiles
            ],
            "width": self.width,
            "height": self.height,
            "truth": self.truth,
        }


class ZoomGrid(gr.HTML):
    """Side-by-side images with one shared zoom. Without images it shows the sentence `empty`."""

    def __init__(
        self,
        comparison: Comparison | None = None,
        *,
        elem_id: str,
        empty: str = "The images to compare appear here.",
        render: bool = True,
    ) -> None:
        # On an update Gradio builds the component anew, with `render=False`.
        super().__init__(
            value=(comparison or Comparison()).to_json(),
            html_template="<div class='zoom-grid'></div>",
            css_template=source.css("zoom_grid"),
            js_on_load=source.js("zoom_grid", EMPTY=empty),
            apply_default_css=False,
            elem_id=elem_id,
            render=render,
        )

    def api_info(self) -> dict[str, Any]:
        return {"type": "object"}

    def save(self, image: Image.Image, name: str = "image") -> str:
        """Save `image` without loss in the cache that Gradio serves. Returns its `Tile.src`.

        `name`, without ending, is what browsers save it as. Raises `OSError` if the disk is full.
        """
        path = cached_png(self, image, name)
        return "gradio_api/file=" + quote(path.as_posix(), safe="/:")
