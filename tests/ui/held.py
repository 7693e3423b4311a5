"""A page for calling its callbacks, and what its components hold."""

from __future__ import annotations

from typing import Any

import gradio as gr
from gradio.components import Component
from PIL import Image

from sr_core.catalogue.store import Catalogue
from sr_core.ui.comparison import Mode
from sr_core.ui.page import Page


def built(catalogue: Catalogue) -> Page:
    """The page, laid out and connected."""
    page = Page(catalogue)
    with gr.Blocks(analytics_enabled=False) as blocks:
        page.build(blocks)
    return page


def held(page: Page, **changes: Any) -> dict[Component, Any]:
    """What the components of the state hold at the start, except `changes`, by `StateParts`."""
    start, parts = page.start, vars(page.state.parts)
    texts = {
        "family": start.view.family.name, "device": start.view.device, "size": "1280x720",
        "threads": start.view.threads, "share": 0.5, "budget": 33.3, "axis": "latency",
        "metric": "psnr_y_db", "table": start.current.to_json(), "picks": [], "tab": "explore",
        "ratio": 50,
    }  # fmt: skip
    assert texts.keys() == parts.keys() >= changes.keys()
    return {parts[name]: value for name, value in (texts | changes).items()}


def image_held(page: Page, image: Image.Image | None, mode: Mode, **changes: Any) -> dict[Any, Any]:
    """The same with what tab Compare holds beside the state."""
    return {**held(page, **changes), page.compare.image: image, page.compare.mode: mode}
