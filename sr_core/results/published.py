"""Accuracy that others published, quoted with its source: shown beside ours, never mixed in."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from sr_core.errors import CatalogueError

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class PublishedModel(BaseModel):
    """One model of somebody else, on the luma protocol of `quality.metrics`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1)
    scale: int
    params_k: Positive
    macs_g: Positive
    """10^9 multiply-accumulates for a 1280x720 output."""
    psnr_y_db: dict[str, Positive]
    """Image set -> dB."""
    source: str = Field(min_length=1)
    note: str
    """What of it is derived, guessed or second-hand; may be empty."""


_ROWS = TypeAdapter(list[PublishedModel])


def read_published(path: Path) -> list[PublishedModel]:
    """The rows of a JSON file; `CatalogueError` names the first thing that is wrong."""
    try:
        return _ROWS.validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise CatalogueError(
            f"{path.name} is damaged ({where}: {first['msg']}): restore it from the repository."
        ) from None
    except OSError as error:
        raise CatalogueError(f"{path.name} cannot be read ({error}): restore it.") from None
