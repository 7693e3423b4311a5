"""The stored front of a family: every network that was ever evaluated, and how it came about.

    fronts/x4.parquet   one row per network: text, quality, which run and trial found it
    fronts/x4.json      weights, crops, image sets and the runs, with their hypervolume curves
    fronts/x4-luma.*    those of another family

The name says "front", but dominated networks are kept: which ones are on the front depends on the
device. Latency is not stored, it is computed anew for any device (`latency.prices`).
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field

from sr_core.catalogue.writer import write_file
from sr_core.errors import CatalogueError, InvalidCandidate
from sr_core.network.candidate import Candidate, Family
from sr_core.network.colour import Colour
from sr_core.network.notation import from_text, to_text
from sr_core.quality.datasets import BENCHMARKS
from sr_core.quality.metrics import PROTOCOL
from sr_core.results.quality import MAX_PSNR_DB
from sr_core.results.record import (
    Finite,
    Natural,
    Record,
    Seconds,
    Sha256,
    Text,
    read_record,
    to_json,
)

_REQUIRED: dict[str, pa.DataType] = {
    "id": pa.string(),
    "network": pa.string(),
    "psnr_y_db": pa.float64(),
    "ssim_y": pa.float64(),
    "run": pa.int64(),
    "trial": pa.int64(),
    "evaluation_s": pa.float64(),
}
_REPORTED = {f"{m}_{name.lower()}": name for name in BENCHMARKS for m in ("psnr_y", "ssim_y")}
"""Nullable column -> image set."""
SCHEMA = pa.schema(
    [pa.field(name, kind, nullable=False) for name, kind in _REQUIRED.items()]
    + [pa.field(name, pa.float64()) for name in _REPORTED]
)
_LIMITS = {
    "psnr_y": (0.0, float(MAX_PSNR_DB)), "ssim_y": (-1.0, 1.0), "evaluation_s": (0.0, np.inf),
    "trial": (0, np.inf),
}  # fmt: skip
"""Start of a column's name -> lowest and highest value."""


class Crops(Record):
    """The validation crops that all PSNR-Y and SSIM-Y of the search are measured on."""

    sha256: Sha256
    n: int = Field(ge=1)
    bicubic_psnr_y_db: Finite
    """Of the baseline: what a network has to beat to count in a hypervolume."""


class Curve(Record):
    """Hypervolume of a run's own trials over time, in the objective's unit times dB."""

    reference_cost: Finite
    reference_psnr_y_db: Finite
    points: list[tuple[Natural, Natural, Finite]]
    """(trials, evaluations, hypervolume) whenever it grew, and at the end."""


class Run(Record):
    """One call of `search`, or a study that several processes worked on.

    A shared study has `started`, `commit`, `processor`, `versions` and `threads` of the process
    that appended it.
    """

    started: Text
    """UTC."""
    command: Text
    commit: Text
    sampler: Text
    objective: Text
    """Device id, or `macs`."""
    unit: Text
    budget_ms: Seconds | None
    seed: int
    trials: Natural
    evaluated: Natural
    """Trials that were not known before."""
    proposal_s: Seconds
    evaluation_s: Seconds
    hypervolume: Curve
    processor: Text
    versions: dict[str, str]
    threads: int = Field(ge=1)
    """Crops evaluated at the same time."""


class Header(Record):
    """What the rows have in common."""

    scale: int
    colour: Colour = "rgb"
    weights_sha256: Sha256
    protocol: Text
    crops: Crops
    image_sets: dict[str, Sha256] = Field(default_factory=dict)
    """Benchmark name -> checksum of the images its columns were measured on."""
    runs: list[Run] = Field(default_factory=list[Run])

    @property
    def family(self) -> Family:
        """The networks among which the rows are."""
        return Family(self.scale, self.colour)


@dataclass(frozen=True)
class Front:
    """Rows (columns of `SCHEMA`) with their header. A front is never changed in place."""

    header: Header
    rows: pd.DataFrame

    @cached_property
    def candidates(self) -> list[Candidate]:
        """The networks, aligned with the rows."""
        return [from_text(text) for text in self.rows["network"]]

    def with_run(self, run: Run, rows: list[dict[str, Any]], earlier: Run | None = None) -> Front:
        """Return this front and `rows` of one more run (columns of `SCHEMA` but `run`).

        `earlier` is the run as it was stored before, if it was. `run` takes its place.
        """
        runs = list(self.header.runs)
        index = runs.index(earlier) if earlier in runs else len(runs)
        runs[index : index + 1] = [run]
        header = self.header.model_copy(update={"runs": runs})
        new = _frame([{"run": index, **one} for one in rows])
        return Front(header, pd.concat([self.rows, new], ignore_index=True))

    def with_results(self, index: int, results: Mapping[str, tuple[float, float]]) -> Front:
        """Return this front with results of the row `index` on benchmarks.

        `results` holds (PSNR-Y, SSIM-Y) by the name of the image set.
        """
        rows = self.rows.copy()
        for name, scores in results.items():
            rows.loc[index, [f"psnr_y_{name.lower()}", f"ssim_y_{name.lower()}"]] = scores
        return replace(self, rows=rows)


def empty_front(header: Header) -> Front:
    """Make a front without rows."""
    return Front(header, _frame([]))


def front_paths(root: Path, family: Family) -> tuple[Path, Path]:
    """Return the Parquet and the JSON file of a family."""
    return root / f"fronts/{family.name}.parquet", root / f"fronts/{family.name}.json"


def write_front(root: Path, front: Front) -> None:
    """Replace the two files, each whole or not at all."""
    table, header = front_paths(root, front.header.family)
    data = io.BytesIO()
    rows = pa.Table.from_pandas(front.rows, schema=SCHEMA, preserve_index=False)
    pq.write_table(rows.replace_schema_metadata(None), data)
    write_file(header, to_json(front.header))  # first: it may name a run without rows
    write_file(table, data.getvalue())


def read_front(root: Path, family: Family) -> Front:
    """Read and check both files. `CatalogueError` names the first thing that is wrong."""
    table, json_path = front_paths(root, family)
    header = read_record(json_path, Header, remake=_remake(json_path.stem))
    front = Front(header, _read_rows(table))
    if (got := front.header.family) != family:
        raise _damage(json_path, f"it is of {got.name}")
    if front.header.protocol != PROTOCOL:
        raise _damage(json_path, f"it follows another protocol than {PROTOCOL}")
    if fault := _first_fault(front):
        raise _damage(table, fault)
    return front


def _read_rows(path: Path) -> pd.DataFrame:
    try:
        table = pq.read_table(io.BytesIO(path.read_bytes()))
    except (OSError, pa.ArrowException) as error:
        raise _damage(path, str(error).partition("\n")[0]) from None
    if not table.schema.remove_metadata().equals(SCHEMA):
        raise _damage(path, f"expected the columns {', '.join(SCHEMA.names)} and their types")
    return table.to_pandas()


def _first_fault(front: Front) -> str:
    """Say what is wrong with the rows, "" if nothing is."""
    rows, header = front.rows, front.header
    if rows["id"].duplicated().any():
        return "an id appears twice"
    for text, identity in zip(rows["network"], rows["id"], strict=True):
        try:
            candidate = from_text(text)
        except InvalidCandidate as error:
            return str(error).removesuffix(".")
        if (
            candidate.id != identity
            or candidate.family != header.family
            or to_text(candidate) != text
        ):
            return f"id {identity} is not that of the {header.family.name} network {text}"
    if not rows["run"].between(0, len(header.runs) - 1).all():
        return f"a row names none of the {len(header.runs)} runs"
    for name in SCHEMA.names:
        low, high = next((v for key, v in _LIMITS.items() if name.startswith(key)), (None, None))
        values = rows[name].dropna() if name in _REPORTED else rows[name]
        if low is not None and not (values.between(low, high) & (values < np.inf)).all():
            return f"{name} should be a number of {low:g} to {high:g}"
        if name in _REPORTED and len(values) and _REPORTED[name] not in header.image_sets:
            return f"{name} has no checksum of its images"
    return ""


def _frame(rows: list[dict[str, Any]]) -> pd.DataFrame:
    return pa.Table.from_pylist(rows, schema=SCHEMA).to_pandas()


def _damage(path: Path, fault: str) -> CatalogueError:
    return CatalogueError(f"fronts/{path.name} cannot be used ({fault}): {_remake(path.stem)}.")


def _remake(family: str) -> str:
    return f"restore it from the repository, or delete fronts/{family}.* and search again"
