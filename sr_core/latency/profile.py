"""What one device costs: coefficients of a latency model, where they come from, what they cover.

A profile is one device + processor + runtime + precision, never "a phone". The files are JSON in
`precomputed/devices/`; the profile of the computer at hand lies in the user's data folder.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from sr_core.errors import LatencyError
from sr_core.network.blocks import trainable
from sr_core.results.record import (
    Count,
    Date,
    Record,
    Runtime,
    Sha256,
    Text,
    read_record,
    to_json,
)

Basis = Literal[
    "measured here", "measured elsewhere", "measured with an earlier engine", "calibrated",
    "extrapolated", "assumed",
]  # fmt: skip
"""How well a millisecond is founded, from the best to the weakest:

- measured here, measured elsewhere: the model was fitted to timings made on this computer, or on
  the named one;
- measured with an earlier engine: the sparse engine has been built anew since, and may be faster;
- calibrated: fitted to figures that others published for this device;
- extrapolated: the same coefficients outside what they were fitted to;
- assumed: rests on an assumption that nobody has measured on this device.
"""
BASES: tuple[Basis, ...] = (
    "measured here", "measured elsewhere", "measured with an earlier engine", "calibrated",
    "extrapolated", "assumed",
)  # fmt: skip
_EARLIER_FACTOR = 1.75
"""Widens the interval of a profile of an earlier engine: our allowance. Its largest change so far
made dense networks 1.74 times as fast (AVX2, one thread, from 0.69 to 1.20 times ONNX Runtime)."""
Kind = Literal["conv1x1", "conv3x3", "conv5x5"]
NonNegative = Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)]
"""The upper limit keeps every sum finite."""
_MAX_FACTOR = 100.0
Factor = Annotated[float, Field(ge=1, le=_MAX_FACTOR, allow_inf_nan=False)]


def parts() -> tuple[str, ...]:
    """Return all parts of networks: their blocks, and what is around the cells."""
    return ("head", *trainable(), "tail", "input_skip", "chroma")


def _check_part(name: str) -> str:
    if name not in parts():
        raise ValueError(f"there is no part {name!r}, expected one of {', '.join(parts())}")
    return name


Part = Annotated[str, AfterValidator(_check_part)]
"""A block, or `head`, `tail`, `input_skip` or `chroma`."""


def _check_order(limits: tuple[float, float]) -> tuple[float, float]:
    if limits[0] > limits[1]:
        raise ValueError(f"the lowest, {limits[0]}, is above the highest, {limits[1]}")
    return limits


Range = Annotated[tuple[NonNegative, NonNegative], AfterValidator(_check_order)]
"""Lowest and highest."""


class Costs(Record):
    """Coefficients of one kind of convolution. Its time is their sum, each times its work."""

    launch_ms: NonNegative = 0.0
    """Per layer and frame."""
    ms_per_gmac: NonNegative = 0.0
    """Per 10^9 multiply-accumulates."""
    ms_per_mpx: NonNegative = 0.0
    """Per 10^6 LR pixels."""
    ms_per_mpx_in: NonNegative = 0.0
    """Per 10^6 LR pixels and input channel: reading."""
    ms_per_mpx_out: NonNegative = 0.0
    """Per 10^6 LR pixels and output channel: writing."""
    ms_per_gmac_single: NonNegative = 0.0
    """Per 10^9 multiply-accumulates of output channels that share no positions with others
    (sparse engine: unstructured layers)."""
    ms_per_mpx_in_far: NonNegative = 0.0
    """Per 10^6 LR pixels and input channel, as far as the engine reads it from beyond the near
    cache."""


class Setting(Record):
    """Coefficients for one number of threads (None where the device has no such choice)."""

    threads: Count | None = None
    costs: dict[Kind, Costs]
    held_out: HeldOut | None = None

    @model_validator(mode="after")
    def _check_kinds(self) -> Setting:
        if missing := {"conv1x1", "conv3x3", "conv5x5"} - self.costs.keys():
            raise ValueError(f"costs of {', '.join(sorted(missing))} are missing")
        if self.costs["conv3x3"] == Costs():  # every network has them: its total is above 0
            raise ValueError("conv3x3 costs nothing")
        return self


class HeldOut(Record):
    """What the fit did on candidates it had not seen."""

    n: Count
    mape_percent: NonNegative
    """Mean absolute percentage error."""
    coverage: float = Field(ge=0, le=1)
    """Share of them inside their 90 % interval."""


class Scope(Record):
    """What the coefficients were fitted to. Anything else is extrapolated."""

    parts: tuple[Part, ...]
    channels: dict[Kind, tuple[Range, Range]]
    """Lowest and highest input channels, and output channels."""
    lr_mpx: Range
    """LR frame size in 10^6 pixels."""


class Spread(Record):
    """Factors f of the 90 % interval ms / f .. ms * f."""

    inside: Factor
    """A layer inside the scope."""
    outside: Factor
    """A layer outside the scope."""
    other_size: Factor
    """Times this, if the frame size is outside the scope."""
    source: Text
    """Where the factors come from."""


class SparsityAssumption(Record):
    """The share of arithmetic that fine-grained pruning saves of the MACs it removes.

    0 is as slow as dense. With 1 time follows the kept MACs. Nobody published it for the device,
    so `low` to `high` is part of every interval.
    """

    share: float = Field(ge=0, le=1)
    low: float = Field(ge=0, le=1)
    high: float = Field(ge=0, le=1)

    @model_validator(mode="after")
    def _check_low_to_high(self) -> SparsityAssumption:
        if not self.low <= self.share <= self.high:
            raise ValueError("expected low <= share <= high")
        return self


class EngineLibrary(Record):
    """The build of the sparse engine that was timed."""

    instructions: Text
    """Its instruction set."""
    sha256: Sha256
    """Of the file."""


class Anchor(Record):
    """Data a profile was fitted to."""

    what: Text
    n: Count
    source: Text
    error: str = ""
    """Error of the fit against these data, in words."""


class DeviceProfile(Record):
    """The latency model of one device."""

    id: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$")
    title: Text
    device: Text
    processor: Text
    runtime: Text
    runtime_id: Runtime | None = None
    """Which of our runtimes; None: another one, on a phone."""
    library: EngineLibrary | None = None
    """Of the sparse engine; None in other runtimes."""
    precision: Text
    date: Date
    basis: Literal[
        "measured here", "measured elsewhere", "measured with an earlier engine", "calibrated"
    ]
    """Of what is inside the scope."""
    channel_step: int = Field(ge=1, le=64)
    """The runtime computes whole steps of channels: 20 cost as much as 32 where the step is 16."""
    column_step: int = Field(default=1, ge=1, le=64)
    """Columns that the sparse engine computes in whole steps, as the fit found it."""
    near_mib: NonNegative = 0.0
    """MiB of the cache from which the sparse engine reads at full speed, as the fit found it."""
    settings: tuple[Setting, ...] = Field(min_length=1)
    """One per number of threads, the default one last."""
    scope: Scope
    spread: Spread
    sparsity: SparsityAssumption | None
    """None: nothing is assumed. The sparse engine's gain is measured; ONNX Runtime runs masked
    layers as dense ones, so they gain nothing."""
    anchors: tuple[Anchor, ...] = Field(min_length=1)
    caveats: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _check_threads(self) -> DeviceProfile:
        counts = [setting.threads for setting in self.settings]
        if len(set(counts)) < len(counts):
            raise ValueError("two settings have the same number of threads")
        return self

    @property
    def threads(self) -> list[int]:
        """Thread counts to choose from, empty if the device has no such choice."""
        return [s.threads for s in self.settings if s.threads is not None]

    def setting(self, threads: int | None) -> Setting:
        """Return the coefficients for `threads`. None takes the default."""
        if threads is None:
            return self.settings[-1]
        for setting in self.settings:
            if setting.threads == threads:
                return setting
        choices = ", ".join(map(str, self.threads)) or "no thread count"
        raise LatencyError(
            f"{self.title} has no coefficients for {threads} threads: expected {choices}."
        )


def of_earlier_engine(profile: DeviceProfile) -> DeviceProfile:
    """Return the profile of an engine that has changed since: another basis, a wider interval."""
    spread = profile.spread
    wider = {
        name: min(getattr(spread, name) * _EARLIER_FACTOR, _MAX_FACTOR)
        for name in ("inside", "outside")
    }
    source = (
        f"{spread.source}; all of it ×/÷ {_EARLIER_FACTOR} for the change of the engine, our "
        "allowance"
    )
    return profile.model_copy(
        update={
            "basis": "measured with an earlier engine",
            "spread": spread.model_copy(update={**wider, "source": source}),
        }
    )


def read_profile(path: Path) -> DeviceProfile:
    """Read a profile's JSON file. `LatencyError` names the first thing that is wrong."""
    return read_record(
        path, DeviceProfile, remake="restore or measure it again", error=LatencyError
    )


def profile_json(profile: DeviceProfile) -> str:
    """Return the text that `read_profile` reads."""
    return to_json(profile, exclude_defaults=True)
