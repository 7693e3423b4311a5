"""Small charts as HTML and SVG, without script: they follow the theme and the page's width.

Each is an image to a screen reader, with a sentence; the table beside it has the numbers.
"""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Look = Literal["before", "after", "other"]
"""A hollow circle, an orange square, a blue circle."""
_MARGIN = 0.06
"""Of the range, left and right of the outermost marks."""
_SHAPES: dict[Look, str] = {
    "before": "<circle class='before' cx='{x}' cy='10' r='5'><title>{text}</title></circle>",
    "after": "<rect class='after' x='{x}' y='5' width='10' height='10' transform='translate(-5)'>"
    "<title>{text}</title></rect>",
    "other": "<circle class='other' cx='{x}' cy='10' r='5'><title>{text}</title></circle>",
}
_WIDTH, _HEIGHT = 600, 200
"""Of curves, in their own units."""
_MOST_STEPS = 150


@dataclass(frozen=True)
class Mark:
    """One value in a row of `dots`."""

    value: float
    look: Look
    text: str
    """The value with its unit."""


@dataclass(frozen=True)
class Curve:
    """One method in `curves`: for each x its lowest, middle and highest value over the seeds."""

    name: str
    low: NDArray[np.float64]
    middle: NDArray[np.float64]
    high: NDArray[np.float64]


def dots(
    rows: Sequence[tuple[str, Sequence[Mark]]], legend: Mapping[Look, str], axis: str, about: str
) -> str:
    """Draw a line of marks per row on one common scale. `axis` names it, with its unit."""
    low, high = _ends([mark.value for _, marks in rows for mark in marks])

    def place(value: float) -> str:
        return f"{100 * (value - low) / (high - low):.2f}%"

    body = "".join(
        f"<div class='label'>{html.escape(label)}</div>{_track(marks, place)}"
        for label, marks in rows
    )
    ends = f"<div></div><div class='ends'><span>{low:.10g}</span><span>{high:.10g}</span></div>"
    keys = "".join(
        f"<span><svg width='20' height='20' aria-hidden='true'>"
        f"{_SHAPES[look].format(x='50%', text='')}</svg>{html.escape(name)}</span>"
        for look, name in legend.items()
    )
    return (
        f"<figure class='dots'><figcaption>{html.escape(axis)} {keys}</figcaption>"
        f"<div class='rows' role='img' aria-label='{html.escape(about)}'>{body}{ends}</div>"
        "</figure>"
    )


def _ends(values: Sequence[float]) -> tuple[float, float]:
    """Return round numbers outside of all values, with a margin."""
    low, high = min(values), max(values)
    pad = _MARGIN * (high - low) or 1.0
    step = 10.0 ** math.floor(math.log10(high - low + 2 * pad)) / 2
    return step * math.floor((low - pad) / step), step * math.ceil((high + pad) / step)


def _track(marks: Sequence[Mark], place: Callable[[float], str]) -> str:
    values = [mark.value for mark in marks]
    shapes = "".join(
        _SHAPES[mark.look].format(x=place(mark.value), text=html.escape(mark.text))
        for mark in marks
    )
    return (
        f"<svg width='100%' height='20'><line x1='{place(min(values))}' "
        f"x2='{place(max(values))}' y1='10' y2='10'/>{shapes}</svg>"
    )


def curves(methods: Sequence[Curve], first: int, axes: tuple[str, str], about: str) -> str:
    """Draw lines with bands from x = `first` on, x counted from 1.

    `axes` names x and y with their units.
    """
    start = first - 1
    low = min(float(curve.low[start:].min()) for curve in methods)
    high = max(float(curve.high.max()) for curve in methods)
    longest = max(curve.middle.size for curve in methods)
    shapes = "".join(
        _curve(curve, index, (start, longest - 1), (low, high if high > low else low + 1))
        for index, curve in enumerate(methods)
    )
    keys = "".join(
        f"<span><svg width='30' height='12' aria-hidden='true'><path class='line c{index}' "
        f"d='M0,6H30'/></svg>{html.escape(curve.name)}</span>"
        for index, curve in enumerate(methods)
    )
    return (
        f"<figure class='curves'><figcaption>{html.escape(axes[1])} {keys}</figcaption>"
        f"<div class='plot'><div class='y'><span>{high:.4g}</span><span>{low:.4g}</span></div>"
        f"<svg viewBox='0 0 {_WIDTH} {_HEIGHT}' preserveAspectRatio='none' role='img' "
        f"aria-label='{html.escape(about)}'>{shapes}</svg><div></div><div class='ends'>"
        f"<span>{first}</span><span>{html.escape(axes[0])}</span><span>{longest}</span></div>"
        "</div></figure>"
    )


def _curve(curve: Curve, index: int, x_range: tuple[int, int], y_range: tuple[float, float]) -> str:
    (first, last), (low, high) = x_range, y_range
    end = curve.middle.size - 1
    steps = np.unique(np.linspace(min(first, end), end, _MOST_STEPS).astype(int))
    x = _WIDTH * (steps - first) / max(last - first, 1)

    def points(values: NDArray[np.float64]) -> list[str]:
        y = _HEIGHT * (high - values[steps]) / (high - low)
        return [f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True)]

    band = "L".join([*points(curve.high), *reversed(points(curve.low))])
    line = "L".join(points(curve.middle))
    return f"<path class='band c{index}' d='M{band}Z'/><path class='line c{index}' d='M{line}'/>"
