"""Names and ids of weights that were replaced, each with the name of what took their place.

models/replaced.json   {"old name or id": "name of the successor"}
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from sr_core.catalogue.writer import write_file
from sr_core.errors import InvalidCandidate
from sr_core.results.record import read_record

REPLACED = "models/replaced.json"


def read_replaced(root: Path) -> dict[str, str]:
    """Return old name or id -> name of the successor. Empty without the file."""
    path = root / REPLACED
    if not path.is_file():
        return {}
    return read_record(path, dict[str, str], remake="restore it from the repository")


def write_replaced(root: Path, new: Mapping[str, str], names: Iterable[str]) -> None:
    """Record more replaced names and ids. A successor that is replaced itself is followed.

    `names` are in use now, so that none of them counts as replaced.
    """
    known = {**read_replaced(root), **new}
    used = set(names)
    entries = {old: _last(known, old, used) for old in known if old not in used}
    if entries:
        write_file(root / REPLACED, json.dumps(dict(sorted(entries.items())), indent=1) + "\n")


def _last(known: Mapping[str, str], old: str, used: set[str]) -> str:
    """Follow the successors of `old` up to one that is in use, or is not replaced."""
    name, seen = known[old], {old}
    while name in known and name not in used and name not in seen:
        seen.add(name)
        name = known[name]
    return name


def successor(reference: str, name: str) -> InvalidCandidate:
    """Return the error for a name or id whose weights were replaced."""
    return InvalidCandidate(f"The weights of {reference} were replaced: use {name} instead.")
