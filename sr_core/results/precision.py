"""Result of `bench precision`: how fast training is in fp32 and in bf16. It is not stored."""

from __future__ import annotations

from pydantic import Field

from sr_core.results.record import Count, Date, Positive, Record, Text


class StepTime(Record):
    """Median times of the forward and backward pass of one kind of training."""

    network: Text
    fp32_ms: Positive
    bf16_ms: Positive


class PrecisionBench(Record):
    """Times with what they depend on."""

    processor: Text
    device: Text
    cores: Count
    """At the disposal of the process (`machine.cores`)."""
    threads: Count
    """Of torch on the processor."""
    torch: Text
    runs: Count
    """Per network and precision, after one that does not count."""
    date: Date
    auto: Text
    """What `--precision auto` takes here for the first network, and why."""
    rows: tuple[StepTime, ...] = Field(min_length=1)
