"""What README.md and the requirements say is what the code says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sr_core.quality.table import results_table
from sr_core.store import DEFAULT_ROOT, Catalogue

REPOSITORY = Path(__file__).parents[1]
REQUIREMENTS = sorted(REPOSITORY.glob("requirements*.txt"))


@pytest.mark.skipif(
    not (DEFAULT_ROOT / "results/quality.json").is_file(), reason="nothing is published yet"
)
def test_readme_shows_the_published_results() -> None:
    """`python -m sr_core table` prints the table to paste."""
    lines = (REPOSITORY / "README.md").read_text().splitlines()
    table = results_table(Catalogue()).splitlines()
    assert table[0] in lines, "README.md has no results table"
    start = lines.index(table[0])
    shown = lines[start:]
    end = next((i for i, line in enumerate(shown) if not line.startswith("|")), len(shown))
    assert shown[:end] == table


def test_published_folder_is_intact() -> None:
    if not (DEFAULT_ROOT / "manifest.json").is_file():
        pytest.skip("nothing is published yet")
    assert Catalogue().verify() == []


def test_requirements_are_found() -> None:
    assert {"requirements.txt", "requirements-dev.txt"} <= {path.name for path in REQUIREMENTS}


@pytest.mark.parametrize("path", REQUIREMENTS, ids=lambda path: path.name)
def test_every_requirement_is_bounded_and_has_a_reason(path: Path) -> None:
    lines = [line for line in path.read_text().splitlines() if line.strip()]
    packages = [line for line in lines if not line.startswith(("#", "-r "))]
    assert packages
    for line in packages:
        requirement, _, reason = line.partition(" # ")
        assert len(reason.split()) >= 2, f"{path.name}: {line!r} has no reason"
        assert re.fullmatch(r"[\w.\-\[\]]+(==[\w.]+|>=[\w.]+,<[\w.]+) *", requirement), line
