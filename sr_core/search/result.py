"""A finished or stopped search as one portable file: what it was asked, and every trial."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from sr_core.catalogue.fronts import Run
from sr_core.errors import SearchError
from sr_core.files import as_utf8, write_or_keep
from sr_core.results.record import Record, Sha256, Text, fault, to_json
from sr_core.search.events import Start, Trial


class SearchResult(Record):
    """What `search --out` writes."""

    format: Literal["upfront-search-1"] = "upfront-search-1"
    weights_sha256: Sha256
    protocol: Text
    start: Start
    run: Run
    trials: list[Trial]
    """As they were reported: in the order in which they ended."""


def read_result(data: str | bytes, name: str) -> SearchResult:
    """Read the content of a file called `name`. `SearchError` names the first fault."""
    try:
        return SearchResult.model_validate_json(as_utf8(data) if isinstance(data, bytes) else data)
    except ValidationError as error:
        raise SearchError(
            f"{name} holds no search result ({fault(error)}): expected a file that "
            "`python -m sr_core search --out` wrote."
        ) from None


def write_result(path: Path, result: SearchResult) -> None:
    """Write the file whole or not at all.

    Raises `SearchError` if it cannot be written, which says where the result is kept instead.
    """
    write_or_keep(path, to_json(result), SearchError)
