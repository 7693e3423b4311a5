"""Results of `bench samplers` and `bench workers`: who proposes best, and how workers add up."""

from __future__ import annotations

from statistics import median
from typing import Annotated, Literal

from pydantic import Field

from sr_core.results.record import (
    Colour,
    Count,
    Date,
    Natural,
    Positive,
    Record,
    Seconds,
    Sha256,
    Text,
)

Hypervolume = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class _Bench(Record):
    processor: Text
    cores: Count
    """At the disposal of the process (`machine.cores`)."""
    commit: Text
    date: Date
    versions: dict[str, str]
    scale: Count
    colour: Colour = "rgb"
    objective: Text
    """Device id, or `macs`."""
    weights_sha256: Sha256
    crops_sha256: Sha256
    crops: Text
    """In words."""


class SamplerRun(Record):
    """One sampler with one seed."""

    sampler: Text
    seed: Natural
    trials: Count
    """Proposals, also of networks that it had proposed before."""
    evaluated: Count
    proposal_s: Seconds
    evaluation_s: Seconds
    """What evaluating its networks takes, also of those that another run had evaluated."""
    hypervolume: list[Hypervolume] = Field(min_length=1)
    """After each evaluation, in the unit times dB."""


class SamplerBench(_Bench):
    """All of one run of `bench samplers`."""

    unit: Literal["ms", "GMACs"]
    budget_ms: Positive | None
    reference_cost: Positive
    reference_psnr_y_db: Positive
    """Of bicubic."""
    evaluations: Count
    """Different networks that each run evaluates."""
    start: Count
    """Networks (the presets) that all runs evaluate first."""
    runs: tuple[SamplerRun, ...] = Field(min_length=1)

    def final(self, sampler: str) -> tuple[float, float, float]:
        """Return the lowest, median and highest hypervolume at the end, over the seeds."""
        ends = [run.hypervolume[-1] for run in self.runs if run.sampler == sampler]
        return min(ends), median(ends), max(ends)


class WorkerRow(Record):
    """One number of worker processes, each on one thread."""

    workers: Count
    trials_per_s: Positive
    """Over the last four fifths of the trials: all workers have started by then."""


class WorkerBench(_Bench):
    """All of one run of `bench workers`."""

    storage: Text
    sampler: Text
    trials: Count
    rows: tuple[WorkerRow, ...] = Field(min_length=2)

    @property
    def speed_up(self) -> float:
        """Trials per second of the most workers over those of one."""
        return self.rows[-1].trials_per_s / self.rows[0].trials_per_s
