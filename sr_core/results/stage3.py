"""How the ratios of a network came about, and what each layer's ratio costs it."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from sr_core.results.record import Finite, Natural, Positive, Record, Text

Method = Literal["gradual", "regulariser", "sensitivity", "one ratio"]
"""How ratios were found: by what groups are worth to the loss while training, by the reweighted
regulariser, by each layer's curve, or one for all."""


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
    """State of the training when groups went, or when the regulariser's penalties were set anew."""

    step: Natural
    ms: Positive
    """Of what is left, estimated; with the regulariser: without the groups that have shrunk."""
    strength: Finite | None = None
    """Of the regulariser."""
    ratios: dict[str, float]
    """Layer -> share of its groups that went or have shrunk, as a ratio."""
    penalties: dict[str, Finite] = Field(default_factory=dict[str, Finite])
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
