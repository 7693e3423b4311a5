"""What README.md and the requirements say is what the code says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sr_core.catalogue.result_tables import readme_tables
from sr_core.catalogue.store import Catalogue
from sr_core.catalogue.verify import verify
from sr_core.files import PRECOMPUTED, REPOSITORY

REQUIREMENTS = sorted(REPOSITORY.glob("requirements*.txt"))


README = (REPOSITORY / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["manifest.json", "results/quality.json"])
def test_the_catalogue_is_shipped(name: str) -> None:
    assert (PRECOMPUTED / name).is_file()


def test_readme_shows_the_stored_results() -> None:
    """`python -m sr_core table` prints the tables to paste."""
    tables = list(readme_tables(Catalogue()))
    assert len(tables) == len({table.splitlines()[0] for table in tables}) > 2
    for table in tables:
        assert shown_table(table) == table


def shown_table(table: str) -> str:
    """The table of README.md that has the same header."""
    header, lines = table.splitlines()[0], README.splitlines()
    assert header in lines, f"README.md has no table with the header {header}"
    shown = lines[lines.index(header) :]
    end = next((i for i, line in enumerate(shown) if not line.startswith("|")), len(shown))
    return "\n".join(shown[:end])


def test_published_folder_is_intact() -> None:
    assert verify(Catalogue()) == []


def placeholders(text: str) -> set[str]:
    """Words in CAPITALS_WITH_UNDERSCORE that no code mentions: text that was to be filled in."""
    sources = [*(REPOSITORY / "sr_core").rglob("*.py"), REPOSITORY / "Makefile"]
    code = "\n".join(path.read_text(encoding="utf-8") for path in sources)
    words = set(re.findall(r"\b[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+\b", text))
    return {word for word in words if not re.search(rf"\b{word}\b", code)}


def broken_targets(text: str) -> set[str]:
    """Relative targets of links and images that are not in the repository."""
    targets = re.findall(r"\]\(\s*<?([^)>\s]+)", text) + re.findall(r"(?:src|href)=\"(.+?)\"", text)
    inside = {target.partition("#")[0] for target in targets if not re.match(r"\w+:", target)}
    return {target for target in inside if not (REPOSITORY / target).exists()}


def test_readme_has_no_placeholder() -> None:
    assert placeholders(README) == set()


def test_readme_has_no_broken_link() -> None:
    assert broken_targets(README) == set()


def test_placeholders_and_broken_links_are_found() -> None:
    assert placeholders("A TRAINING_PARAGRAPH, GRADIO_SERVER_NAME, PSNR") == {"TRAINING_PARAGRAPH"}
    text = "[a](LICENSE) [b](https://x.org/no) ![c](assets/no.png 'c') [d](#top) <img src=\"no\">"
    assert broken_targets(text) == {"assets/no.png", "no"}


def test_requirements_are_found() -> None:
    assert {"requirements.txt", "requirements-dev.txt"} <= {path.name for path in REQUIREMENTS}


@pytest.mark.parametrize("path", REQUIREMENTS, ids=lambda path: path.name)
def test_every_requirement_is_bounded_and_has_a_reason(path: Path) -> None:
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    packages = [line for line in lines if not line.startswith(("#", "-r "))]
    assert packages
    for line in packages:
        requirement, _, reason = line.partition(" # ")
        assert len(reason.split()) >= 2, f"{path.name}: {line!r} has no reason"
        assert re.fullmatch(r"[\w.\-\[\]]+(==[\w.]+|>=[\w.]+,<[\w.]+) *", requirement), line
