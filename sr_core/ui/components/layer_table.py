"""The layer table: block per cell, scheme and ratio per layer, as one `gr.HTML` component.

Its value is a candidate's JSON. The browser may send anything, so the value, and what it asks
`price` and `mask`, must go through `Candidate.from_json` before use.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import gradio as gr

from sr_core.errors import UpFrontError
from sr_core.network.blocks import BLOCKS, Block, Scheme
from sr_core.network.candidate import MAX_RATIO, PATTERN_MIN_RATIO, TAIL_SCHEMES, Candidate
from sr_core.network.layers import INPUT_SKIP_KERNEL
from sr_core.ui.components import source


@dataclass(frozen=True)
class Offer:
    """What the networks of a family may have."""

    blocks: tuple[Block, ...]
    """`skip` included."""
    skip_schemes: tuple[Scheme, ...] = ("dense",)
    """Of the input skip. If `dense` is all, its row says that it is never pruned."""


Answer = Callable[[dict[str, Any]], dict[str, Any]]
"""Answers a question of the browser; an `UpFrontError` it raises becomes a sentence there."""


class LayerTable(gr.HTML):
    """Editable table of a candidate. It fires `input` with the new JSON after each edit.

    Args:
        price: called on every edit, also while a slider moves, with `{"candidate", "view"}`.
            Answers `{"totals": [[label, value, beside], ...], "layers": {name: {"ms", "gmacs",
            "title", "basis"}}, "note": ...}` or `{"error": sentence}`. Layer names are those of
            `sr_core.network.layers.describe`. A title says all there is to say about its layer, the
            origin of its numbers included. None: no costs are shown.
        mask: called with `{"candidate", "layer"}` for the selected layer. Answers `{"src",
            "caption", "alt"}` (`sr_core.ui.masks.layer_view`) or `{"error": sentence}`. None: no
            mask panel.
        offered: what to choose from, by the name of the family. None offers all blocks, and an
            input skip that is never pruned.
        view: any JSON that `price` gets with its question, changed by `gr.update(view=...)`.
    """

    def __init__(
        self,
        candidate: Candidate,
        *,
        elem_id: str,
        price: Answer | None = None,
        mask: Answer | None = None,
        offered: Mapping[str, Offer] | None = None,
        view: dict[str, Any] | None = None,
        render: bool = True,
    ) -> None:
        # On an update Gradio builds the component anew, with `render=False`, and reads its
        # properties as attributes. None would never reach the browser.
        self.view = view or {}
        answers = {"price": price, "mask": mask}
        super().__init__(
            value=candidate.to_json(),
            view=self.view,
            server_functions=[_server_function(name, fn) for name, fn in answers.items() if fn],
            html_template="<div class='layer-table'></div>",
            css_template=source.css("layer_table"),
            js_on_load=source.js("layer_table", VOCABULARY=vocabulary(offered)),
            apply_default_css=False,
            elem_id=elem_id,
            render=render,
        )

    def get_config(self) -> dict[str, Any]:
        """Leave out the arguments that are no properties, which Gradio would send."""
        config = super().get_config()
        return {n: value for n, value in config.items() if n not in ("price", "mask", "offered")}

    def api_info(self) -> dict[str, Any]:
        return {"type": "object"}


def _server_function(name: str, answer: Answer) -> Answer:
    """Return `answer` as the server function called `name`, with errors as sentences."""

    def answer_or_error(question: dict[str, Any]) -> dict[str, Any]:
        try:
            return answer(question)
        except UpFrontError as error:
            return {"error": str(error)}

    answer_or_error.__name__ = name
    return answer_or_error


def vocabulary(offered: Mapping[str, Offer] | None = None) -> dict[str, Any]:
    """Return what the browser may offer: blocks, layers, schemes, limits of the ratio."""
    return {
        "offered": {name: asdict(offer) for name, offer in (offered or {}).items()},
        "blocks": {
            block.name: [
                {
                    "key": conv.name,
                    "name": f"{conv.kernel}×{conv.kernel} {conv.name}",
                    "schemes": conv.schemes,
                }
                for conv in block.convs
            ]
            for block in BLOCKS.values()
        },
        "summaries": {block.name: block.summary for block in BLOCKS.values()},
        "tail": TAIL_SCHEMES,
        "ends": {
            "head": "3×3",
            "tail": "3×3",
            "input_skip": f"{INPUT_SKIP_KERNEL}×{INPUT_SKIP_KERNEL}",
        },
        "max_ratio": MAX_RATIO,
        "pattern_min_ratio": PATTERN_MIN_RATIO,
    }
