"""The layer table: block per cell, scheme and ratio per layer, as one `gr.HTML` component.

Its value is a candidate's JSON. The browser may send anything, so the value must go through
`Candidate.from_json` before use.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr

from sr_core.candidate import BLOCKS, MAX_RATIO, PATTERN_MIN_RATIO, TAIL_SCHEMES, Candidate

_HERE = Path(__file__).parent


class LayerTable(gr.HTML):
    """Editable table of a candidate; fires `input` with the new JSON after each edit."""

    def __init__(self, candidate: Candidate, *, elem_id: str) -> None:
        super().__init__(
            value=candidate.to_json(),
            vocabulary=vocabulary(),
            html_template="<div class='layer-table'></div>",
            css_template=(_HERE / "layer_table.css").read_text(encoding="utf-8"),
            js_on_load=(_HERE / "layer_table.js").read_text(encoding="utf-8"),
            elem_id=elem_id,
        )

    def api_info(self) -> dict[str, Any]:
        return {"type": "object"}


def vocabulary() -> dict[str, Any]:
    """What the browser may offer: layers and schemes of each block, limits of the ratio."""
    return {
        "blocks": {
            block.name: [
                {"name": f"{conv.kernel}×{conv.kernel} {conv.name}", "schemes": conv.schemes}
                for conv in block.convs
            ]
            for block in BLOCKS.values()
        },
        "summaries": {block.name: block.summary for block in BLOCKS.values()},
        "tail": TAIL_SCHEMES,
        "max_ratio": MAX_RATIO,
        "pattern_min_ratio": PATTERN_MIN_RATIO,
    }
