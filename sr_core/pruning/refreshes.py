"""The file in a run folder that tells, refresh by refresh, how ratios came about (no torch)."""

from __future__ import annotations

from pathlib import Path

from sr_core.files import write_atomic
from sr_core.results.record import read_record, to_json
from sr_core.results.stage3 import Refresh

FILE = "refreshes.json"


def read(folder: Path) -> tuple[Refresh, ...]:
    """Read the refreshes of a run, none if it has none or is of an earlier version."""
    path = folder / FILE
    return read_record(path, tuple[Refresh, ...], remake="prune again") if path.exists() else ()


def add(folder: Path, row: Refresh) -> None:
    """Add a refresh. A resumed run replaces those behind its start."""
    earlier = [one for one in read(folder) if one.step < row.step]
    write_atomic(folder / FILE, to_json([*earlier, row]))
