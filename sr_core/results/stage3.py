"""How the ratios of a network came about, and what each layer's ratio costs it."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from sr_core.results.record import Finite, Natural, Positive, Record, Text

Method = Literal["regulariser", "sensitivity", "one ratio"]


class Point(Record):
    """One layer at one ratio, all others as in the network."""

    ratio: float = Field(ge=0, lt=1)
    ms: Positive | None = None
    """Of a frame, estimated; None: not noted, as any device's estimate is at hand."""
    psnr_y_db: Positive
    """On the validation crops, with the supernet's weights."""


class Curve(Record):
    """What the ratio of one layer costs in quality and saves in time."""

    layer: Text
    points: tuple[Point, ...]
    """By rising ratio."""


class Refresh(Record):
    """State of the regulariser when its penalties were set anew."""

    step: Natural
    ms: Positive
    """Of what would be left, estimated: without the groups that have shrunk."""
    strength: Finite
    ratios: dict[str, float]
    """Layer -> share of its groups that have shrunk, as a ratio."""
    penalties: dict[str, Finite]
    """Layer -> mean penalty of its groups."""


class Stage3(Record):
    """One run of stage 3, or the curves of a network whose ratios were given."""

    method: Method | None
    """None: the ratios were given."""
    device: Text | None = None
    """Profile that milliseconds are estimated on."""
    threads: Natural | None = None
    budget_ms: Positive | None = None
    validation_crops_sha256: Text
    curves: tuple[Curve, ...] = ()
    refreshes: tuple[Refresh, ...] = ()
