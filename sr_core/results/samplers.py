"""Results of `bench samplers` and `bench workers`: who proposes best, and how workers add up."""

from __future__ import annotations

from pathlib import Path
from statistics import median
from typing import Annotated, Literal, TypeVar

from pydantic import Field, ValidationError

from sr_core.errors import CatalogueError
from sr_core.results.record import Count, Positive, Record, Text

Natural = Annotated[int, Field(ge=0)]
Finite = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class _Bench(Record):
    processor: Text
    cores: Count
    commit: Text
    date: str = Field(pattern=r"^\d{4}-\d{2}-\d{2}$")
    versions: dict[str, str]
    scale: Count
    objective: Text
    """Device id, or `macs`."""
    weights_sha256: str = Field(pattern="^[0-9a-f]{64}$")
    crops_sha256: str = Field(pattern="^[0-9a-f]{64}$")
    crops: Text
    """In words."""


class SamplerRun(Record):
    """One sampler with one seed."""

    sampler: Text
    seed: Natural
    trials: Count
    """Proposals, also of networks that it had proposed before."""
    evaluated: Count
    proposal_s: Finite
    evaluation_s: Finite
    """What evaluating its networks takes, also of those that another run had evaluated."""
    hypervolume: list[Finite] = Field(min_length=1)
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
        """Lowest, median and highest hypervolume at the end, over the seeds."""
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
        """Of the most workers over one."""
        return self.rows[-1].trials_per_s / self.rows[0].trials_per_s


Bench = TypeVar("Bench", SamplerBench, WorkerBench)


def read_bench(path: Path, kind: type[Bench]) -> Bench:
    """What `to_json` wrote; `CatalogueError` names the first thing that is wrong."""
    try:
        return kind.model_validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise CatalogueError(
            f"{path.name} is damaged ({where}: {first['msg']}): restore it from the repository, "
            f"or run `python -m sr_core bench {path.stem} --store`."
        ) from None
    except OSError as error:
        raise CatalogueError(f"{path.name} cannot be read ({error}): restore it.") from None


def to_json(bench: SamplerBench | WorkerBench) -> str:
    """What `read_bench` reads."""
    return bench.model_dump_json(indent=1) + "\n"
