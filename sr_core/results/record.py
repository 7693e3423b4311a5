"""What the records of benchmarks have in common."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

Runtime = Literal["sparse", "onnx"]
"""Our engine, or ONNX Runtime."""


def short(value: float) -> float:
    return float(f"{value:.5g}")


Positive = Annotated[float, Field(gt=0, le=1e9, allow_inf_nan=False), AfterValidator(short)]
"""Kept with 5 digits."""
Count = Annotated[int, Field(ge=1, le=10**9)]
Text = Annotated[str, Field(min_length=1)]


class Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)
