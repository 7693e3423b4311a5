"""Accuracy that others published, quoted with its source: shown beside ours, never mixed in."""

from __future__ import annotations

from typing import Annotated

from pydantic import ConfigDict, Field

from sr_core.results.record import Record, Text

Figure = Annotated[float, Field(gt=0, allow_inf_nan=False)]
"""With all digits of its source."""


class PublishedModel(Record):
    """One model of somebody else, on the luma protocol of `quality.metrics`."""

    model_config = ConfigDict(strict=False)

    name: Text
    scale: int
    params_k: Figure
    macs_g: Figure
    """10^9 multiply-accumulates for a 1280x720 output."""
    psnr_y_db: dict[str, Figure]
    """Image set -> dB."""
    source: Text
    note: str
    """What of it is derived, guessed or second-hand; may be empty."""
