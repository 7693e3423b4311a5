"""Results of models on image sets: the rows of results/quality.json and of descriptors."""

from __future__ import annotations

from pydantic import Field

from sr_core.results.record import Count, Record, Sha256, Text

MAX_PSNR_DB = 200
"""Above any PSNR of 8-bit images that differ at all (a mean over a set is far below)."""


class Quality(Record):
    """A measured result of one model on one image set."""

    model_id: Text
    image_set: Text
    image_set_sha256: Sha256
    protocol: Text
    n: Count
    """Images."""
    psnr_y: float = Field(ge=0, le=MAX_PSNR_DB, allow_inf_nan=False)
    """dB, mean over the images."""
    ssim_y: float = Field(ge=-1, le=1, allow_inf_nan=False)
    psnr_rgb: float | None = Field(default=None, ge=0, le=MAX_PSNR_DB, allow_inf_nan=False)
    """dB over all three channels, mean over the images. The first results do not have it."""
