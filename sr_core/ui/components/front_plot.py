"""The front: an accuracy-latency plot and a table of the same points, as one `gr.HTML` component.

The browser classifies points by the budget, moves the highlight at once and reports what was
chosen; dominance and the best point under the budget are computed in Python.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from functools import cache
from math import isfinite
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

import gradio as gr
import plotly

from sr_core.ui.components import source

Kind = Literal["search", "listed"]
NO_BUDGET = -1.0
NONE = ""
"""No point: Gradio does not send `None` to a property."""
_TEMPLATE = """<div class="front-plot">
  <div class="chart">
    <div class="plot" role="img"></div>
    <div class="state" role="status"></div>
  </div>
  <ul class="legend" aria-label="Legend of the chart"></ul>
  <p class="note"></p>
  <div class="controls">
    <label>Search <input type="search" placeholder="title or id" autocomplete="off"></label>
    <label><input type="checkbox" checked> only the front</label>
    <span class="count" role="status"></span>
  </div>
  <div class="box"><table><thead></thead><tbody></tbody></table></div>
</div>"""


@dataclass(frozen=True)
class Point:
    """A network: cost `x` with its 90 % interval (`low == high == x`: exact) and quality `y`."""

    id: str
    title: str
    """Short, such as `32 ch, 12 cells, block 50 %`."""
    kind: Kind
    x: float
    low: float
    high: float
    y: float
    front: bool
    """Not dominated by any other point."""
    macs_g: float
    params_k: float

    def __post_init__(self) -> None:
        """Raise `ValueError` unless numbers are finite and `0 < low <= x <= high`."""
        numbers = (self.low, self.x, self.high, self.y, self.macs_g, self.params_k)
        if not all(map(isfinite, numbers)) or not 0 < self.low <= self.x <= self.high:
            raise ValueError(f"Point {self.id}: expected finite numbers and 0 < low <= x <= high.")


@dataclass(frozen=True)
class TunedPoint:
    """A network with weights of its own: drawn above its once-for-all self, and selectable."""

    id: str
    title: str
    of: str
    """Id of the same network with the shared weights, which need not be among the points."""
    x: float
    low: float
    high: float
    y: float
    before: float | None
    """`y` with the shared weights, if it is known."""
    macs_g: float
    params_k: float

    __post_init__ = Point.__post_init__


@dataclass(frozen=True)
class PublishedPoint:
    """A figure from elsewhere: drawn, not selectable."""

    name: str
    x: float
    y: float
    source: str
    note: str = ""


@dataclass(frozen=True)
class Baseline:
    """A horizontal line, such as bicubic interpolation."""

    name: str
    y: float


@dataclass(frozen=True)
class Axis:
    """What an axis shows: `title` reads `NAME, UNIT [details]`."""

    title: str
    """Such as `Latency, ms per 1280×720 frame`."""
    origin: str
    """How its numbers came about: estimated, counted, measured."""
    digits: int = 2
    """Decimals shown of y."""

    def to_json(self) -> dict[str, Any]:
        """Return the fields, `name` and `unit`. Raises `ValueError` for a title without unit."""
        name, comma, rest = self.title.partition(", ")
        if not (name and comma and rest):
            raise ValueError(f"Axis title {self.title!r}: expected 'NAME, UNIT [details]'.")
        return {**asdict(self), "name": name, "unit": rest.split()[0]}


@dataclass(frozen=True)
class FrontData:
    """The value of a `FrontPlot`."""

    points: tuple[Point, ...]
    x: Axis
    y: Axis
    note: str
    """One line below the plot; without points the sentence shown in its place."""
    published: tuple[PublishedPoint, ...] = ()
    baseline: Baseline | None = None
    tuned: tuple[TunedPoint, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return points column by column.

        Raises `ValueError` where an id is empty or occurs twice.
        """
        ids = {point.id for point in (*self.points, *self.tuned)} - {NONE}
        if len(ids) != len(self.points) + len(self.tuned):
            raise ValueError("Points of a front: expected different ids, none empty.")
        return {
            "points": _columns(Point, self.points),
            "tuned": _columns(TunedPoint, self.tuned),
            "published": _columns(PublishedPoint, self.published),
            "baseline": asdict(self.baseline) if self.baseline else None,
            "x": self.x.to_json(),
            "y": self.y.to_json(),
            "note": self.note,
        }


def _columns(kind: type[Any], rows: Sequence[Any]) -> dict[str, list[Any]]:
    return {field.name: [getattr(row, field.name) for row in rows] for field in fields(kind)}


class FrontPlot(gr.HTML):
    """Plot and searchable table of a `FrontData`.

    Fires `select` with the chosen id as `evt.value`, which the handler must check like any input
    and give back (`gr.update(selected=...)`). Listen with `trigger_mode="always_last"`.
    Properties to update: `value`, `selected` and `best` (an id or `NONE`), `picked` (ids), `budget`
    (in units of x, or `NO_BUDGET`).
    """

    def __init__(
        self,
        value: FrontData | None = None,
        *,
        elem_id: str,
        selected: str = NONE,
        picked: Sequence[str] = (),
        budget: float = NO_BUDGET,
        best: str = NONE,
        render: bool = True,
    ) -> None:
        # On an update Gradio builds the component anew, without value and with `render=False`,
        # and reads its properties as attributes.
        self.selected, self.picked = selected, list(picked)
        self.budget, self.best = budget, best
        super().__init__(
            value=value,
            selected=selected,
            picked=self.picked,
            budget=budget,
            best=best,
            html_template=_TEMPLATE,
            css_template=source.css("front_plot"),
            js_on_load=source.js("front_plot", PLOTLY_URL=plotly_url()),
            apply_default_css=False,
            elem_id=elem_id,
            render=render,
        )

    def postprocess(self, value: Any) -> str | None:
        """Turn `FrontData | None` into JSON text.

        The page copies properties deeply on every event. That takes 200 ms for the columns of 2,000
        points and nothing for a string.
        """
        return json.dumps(value.to_json(), allow_nan=False) if value else None


@cache
def plotly_url() -> str:
    """Return the address of plotly.js relative to the page.

    From the first call on Gradio serves the file. The address is not for `head=`: Gradio would
    wait for its 4.8 MB before it runs our script, and without them it would never run.
    """
    path = (Path(plotly.__file__).parent / "package_data" / "plotly.min.js").resolve()
    gr.set_static_paths(path)
    return f"gradio_api/file={quote(path.as_posix())}"
