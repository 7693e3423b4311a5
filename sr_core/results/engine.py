"""Results of `bench engine`: our engine beside others, and the targets for each instruction set."""

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

Contender = Literal["sparse", "onnx", "mnn"]
"""Our engine, ONNX Runtime, or MNN (`bench engine --peers`)."""

Variant = Literal["dense", "channel", "block", "pattern", "unstructured", "aligned", "int8"]
"""A pruning scheme; `aligned`: another dense network, with all widths multiples of 16, which is
what ONNX Runtime computes in; `int8`: the dense network with 8-bit weights and activations."""
Seen = Literal["rgb", "luma"]
"""What a network sees of the image."""
Depth = Literal["fp32", "8-bit"]
"""Of a result: as the network gives it, or rounded as images are."""
Measure = Literal["ratio_vs_ort_dense", "ratio_vs_mnn", "share_of_peak", "cost_per_mac_vs_dense"]


_SAME_DENSITY = 0.01


class EngineRow(Record):
    """Time of one frame of a network of equal cells, whose head, tail and input skip are dense."""

    channels: Count
    """Of the network that was pruned, or replaced by another."""
    cells: Count
    block: Text = "wide"
    """Of all cells."""
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
    runtime: Contender
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
    block: Text = "wide"
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


class OutputTime(Record):
    """Time of one frame in our engine by what becomes of it, or of memory alone: one thread."""

    channels: Count
    """This and the next three name the sitting in which it was timed."""
    cells: Count
    block: Text
    scale: Count
    scheme: Variant | None = None
    """None: nothing is computed. The LR frame is read, and a result of its size is written."""
    density: Positive | None = None
    colour: Seen = "rgb"
    """Image and result are RGB."""
    depth: Depth
    median_ms: Positive
    p10_ms: Positive
    p90_ms: Positive
    n: Count


class LayerTime(Record):
    """Where the time of a frame goes in our engine: one kind of operation, on one thread."""

    channels: Count
    cells: Count
    block: Text
    scale: Count
    scheme: Variant
    density: Positive
    colour: Seen = "rgb"
    kind: Text
    """`read`, `head`, `3x3` and the like (in cells), `tail`, `input skip`, `chroma`, `write`."""
    took_ms: Positive
    """Of the median frame in fp32, shared out by a clock that is read at each operation."""
    share_of_time: Positive
    macs_g: Positive | None
    """10^9 multiply-accumulates of kept weights; None for reading and writing."""
    share_of_peak: Positive | None
    """Of the multiply-adds that the core reached between the runs; None likewise."""


class EngineBench(Record):
    """All of one run of `bench engine`, which times one library."""

    processor: Text
    cores: Count
    """At the disposal of the process (`machine.cores`)."""
    runtimes: dict[Contender, Text]
    """Names and versions."""
    instructions: Text
    """The instruction set of the library."""
    better_instructions: tuple[Text, ...] = ()
    """Those that the processor has beyond it, which the other runtimes use."""
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
    outputs: tuple[OutputTime, ...] = ()
    """Also empty in records from before it was measured, like `layers`."""
    layers: tuple[LayerTime, ...] = ()

    @property
    def handicap(self) -> str:
        """Say that the others had better instructions than the library, "" if they had not."""
        if not self.better_instructions:
            return ""
        return (
            f"This processor has {' and '.join(self.better_instructions)} too, which the other "
            f"runtimes may use: beside them a library with {self.instructions} looks slower than "
            "on a processor that has no more."
        )


Network = tuple[int, int, str]
"""Channels, cells and block of a x4 network."""


@dataclass(frozen=True)
class Target:
    """What our engine should reach on a x4 network."""

    network: Network
    scheme: Variant
    density: float | None
    """None: at every density that was timed."""
    measure: Measure
    limit: float
    threads: int

    def value(self, rows: Sequence[EngineRow]) -> float | None:
        """Return the worst measured value, None if it was not measured."""
        values = [
            value
            for row in rows
            if row.runtime == "sparse" and self._is_of(row)
            if (value := self._value_of(row, rows)) is not None
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

    def _is_of(self, row: EngineRow) -> bool:
        return (
            (row.channels, row.cells, row.block) == self.network
            and (row.scale, row.threads, row.scheme) == (4, self.threads, self.scheme)
            and (self.density is None or abs(row.density - self.density) < _SAME_DENSITY)
        )

    def _value_of(self, row: EngineRow, rows: Sequence[EngineRow]) -> float | None:
        if self.measure == "ratio_vs_mnn":
            return ratio_vs_mnn(row, rows)
        return getattr(row, self.measure)


def ratio_vs_mnn(row: EngineRow, rows: Sequence[EngineRow]) -> float | None:
    """Return MNN's median for the same network and masks over this one, None without it."""
    for other in rows:
        if other.runtime == "mnn" and _same_network(row, other) and row.threads == other.threads:
            return other.median_ms / row.median_ms
    return None


def _same_network(one: EngineRow, other: EngineRow) -> bool:
    fields = ("channels", "cells", "block", "scale", "scheme", "density")
    return all(getattr(one, field) == getattr(other, field) for field in fields)


_WIDE_24: Network = (24, 8, "wide")
_RESIDUAL_16: Network = (16, 10, "residual")
TARGETS: dict[str, tuple[Target, ...]] = {
    "AVX-512": (
        Target(_WIDE_24, "dense", 1.0, "ratio_vs_ort_dense", 2.0, 2),
        Target(_WIDE_24, "block", 0.5, "ratio_vs_ort_dense", 3.4, 2),
        Target(_WIDE_24, "block", 0.25, "ratio_vs_ort_dense", 5.0, 2),
        Target(_WIDE_24, "unstructured", 0.25, "ratio_vs_ort_dense", 2.7, 2),
        Target((16, 8, "wide"), "block", 0.25, "ratio_vs_ort_dense", 3.0, 2),
        Target(_WIDE_24, "block", None, "cost_per_mac_vs_dense", 1.1, 2),
        Target(_WIDE_24, "dense", 1.0, "share_of_peak", 0.75, 2),
    ),
    "AVX2": (
        Target(_WIDE_24, "dense", 1.0, "ratio_vs_ort_dense", 1.2, 1),
        Target(_RESIDUAL_16, "dense", 1.0, "ratio_vs_ort_dense", 1.15, 1),
        Target(_WIDE_24, "block", 0.25, "ratio_vs_ort_dense", 3.2, 1),
        Target(_RESIDUAL_16, "block", 0.25, "ratio_vs_ort_dense", 2.6, 1),
        Target(_WIDE_24, "unstructured", 0.25, "ratio_vs_ort_dense", 2.0, 1),
        Target(_RESIDUAL_16, "unstructured", 0.25, "ratio_vs_ort_dense", 2.0, 1),
        Target(_WIDE_24, "dense", 1.0, "share_of_peak", 0.8, 1),
        Target(_WIDE_24, "block", 0.25, "ratio_vs_mnn", 2.5, 1),
        Target(_RESIDUAL_16, "block", 0.25, "ratio_vs_mnn", 2.0, 1),
    ),
}
"""By instruction set. Others have no targets."""
