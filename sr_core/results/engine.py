"""Results of `bench engine`: our engine beside ONNX Runtime, and the targets set for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from sr_core.results.record import (
    Count,
    Date,
    Drift,
    Positive,
    Record,
    Runtime,
    Sha256,
    Text,
    short,
)

Variant = Literal["dense", "channel", "block", "pattern", "unstructured", "aligned", "int8"]
"""A pruning scheme; `aligned`: another dense network, with all widths multiples of 16, which is
what ONNX Runtime computes in; `int8`: the dense network with 8-bit weights and activations."""
Measure = Literal["ratio_vs_ort_dense", "share_of_peak", "cost_per_mac_vs_dense"]


_SAME_DENSITY = 0.01


class EngineRow(Record):
    """Time of one frame of one network of wide cells, whose head, tail and input skip are dense."""

    channels: Count
    """Of the network that was pruned, or replaced by another."""
    cells: Count
    scale: Count
    scheme: Variant
    density: Positive
    """Weights of the cells, as a share of the dense network's (above 1: a larger network)."""
    threads: Count
    median_ms: Positive
    p10_ms: Positive
    p90_ms: Positive
    n: Count
    """Timed runs."""
    macs_g: Positive
    """10^9 multiply-accumulates of a frame, kept weights only."""
    ratio_vs_ort_dense: Positive
    """Times as fast as ONNX Runtime on the dense network: ratio of medians."""
    runtime: Runtime
    gflops: Positive
    """10^9 multiplications and additions of kept weights per second."""
    share_of_peak: Positive | None
    """`gflops` over that of a loop of multiply-adds in fp32; None for int8, whose peak is
    another."""
    cost_per_mac_vs_dense: Positive
    """Time per kept multiply-accumulate over that of the dense network in the same runtime."""


class Sitting(Record):
    """Conditions of the runs of one network and number of threads."""

    channels: Count
    cells: Count
    scale: Count
    threads: Count
    rounds: Count
    peak_gflops_per_core: Positive
    """Of multiply-adds in fp32, as many threads at once; median over the rounds."""
    drift: Annotated[Drift, AfterValidator(short)]
    """Change of ONNX Runtime's time of the dense network, first to second half of the rounds."""


class FrameTime(Record):
    """Time of one photograph through the whole upscaler: reading pixels, tiles, rounding."""

    model: Text
    runtime: Runtime
    threads: Count
    median_ms: Positive
    p10_ms: Positive
    p90_ms: Positive
    n: Count


class EngineBench(Record):
    """All of one run of `bench engine`."""

    processor: Text
    cores: Count
    """At the disposal of the process (`machine.cores`)."""
    runtimes: dict[Runtime, Text]
    """Names and versions."""
    library: Text
    """File of the engine."""
    library_sha256: Sha256
    precision: Text
    output: tuple[Count, Count]
    """Width and height of the frame; batch 1."""
    date: Date
    pause_ms: Positive
    """Before each visit to a network, so that no thread of the one before still spins."""
    warm_ups: Count
    """Runs at the start of a visit that do not count."""
    runs_per_visit: Count
    """Runs after them that do."""
    sittings: tuple[Sitting, ...]
    rows: tuple[EngineRow, ...] = Field(min_length=1)
    frames: tuple[FrameTime, ...]


@dataclass(frozen=True)
class Target:
    """What our engine should reach on x4 with 8 cells and two threads."""

    channels: int
    scheme: Variant
    density: float | None
    """None: at every density that was timed."""
    measure: Measure
    limit: float

    def value(self, rows: Sequence[EngineRow]) -> float | None:
        """Return the worst measured value, None if it was not measured."""
        values = [
            value
            for row in rows
            if (row.runtime, row.channels, row.scheme) == ("sparse", self.channels, self.scheme)
            and (row.cells, row.scale, row.threads) == (8, 4, 2)
            and (self.density is None or abs(row.density - self.density) < _SAME_DENSITY)
            and (value := getattr(row, self.measure)) is not None
        ]
        return (max if self.at_most else min)(values, default=None)

    def is_reached(self, rows: Sequence[EngineRow]) -> bool | None:
        """Return whether the value keeps the limit, None if it was not measured."""
        value = self.value(rows)
        if value is None:
            return None
        return value <= self.limit if self.at_most else value >= self.limit

    @property
    def at_most(self) -> bool:
        """Whether lower is better."""
        return self.measure == "cost_per_mac_vs_dense"


TARGETS = (
    Target(24, "dense", 1.0, "ratio_vs_ort_dense", 2.0),
    Target(24, "block", 0.5, "ratio_vs_ort_dense", 3.4),
    Target(24, "block", 0.25, "ratio_vs_ort_dense", 5.0),
    Target(24, "unstructured", 0.25, "ratio_vs_ort_dense", 2.7),
    Target(16, "block", 0.25, "ratio_vs_ort_dense", 3.0),
    Target(24, "block", None, "cost_per_mac_vs_dense", 1.1),
    Target(24, "dense", 1.0, "share_of_peak", 0.75),
)
