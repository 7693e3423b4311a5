"""What the Markdown pages and the requirements say is what the code and the stored results say."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from sr_core.catalogue.store import Catalogue
from sr_core.catalogue.verify import verify
from sr_core.cli.main import _parser  # pyright: ignore[reportPrivateUsage]
from sr_core.files import PRECOMPUTED, REPOSITORY
from sr_core.report.pages import END, START, blocks, fill
from tests.docs_claims import CLAIMS

REQUIREMENTS = sorted(REPOSITORY.glob("requirements*.txt"))
DOCS = sorted((REPOSITORY / "docs").glob("*.md"))
PAGES = [REPOSITORY / "README.md", REPOSITORY / "CONTRIBUTING.md", *DOCS]
MOST_WORDS = 38
"""In a sentence."""


def read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def name(path: Path) -> str:
    return path.relative_to(REPOSITORY).as_posix()


pages = pytest.mark.parametrize("path", PAGES, ids=name)


@pytest.fixture(scope="module")
def stored() -> Catalogue:
    return Catalogue()


@pytest.mark.parametrize("file", ["manifest.json", "results/quality.json"])
def test_the_catalogue_is_shipped(file: str) -> None:
    assert (PRECOMPUTED / file).is_file()


def test_published_folder_is_intact() -> None:
    assert verify(Catalogue()) == []


def test_the_pages_are_found() -> None:
    expected = {"engine", "log", "measuring", "method", "results", "usage"}
    assert {path.stem for path in DOCS} >= expected


def test_pages_show_the_stored_results(stored: Catalogue) -> None:
    """`python -m sr_core table --write docs/results.md ...` writes them."""
    found, shown = blocks(stored), set[str]()
    for path in PAGES:
        page = read(path)
        assert fill(page, found, path.name) == page, f"{path.name} is out of date"
        shown |= set(START.findall(page))
    assert shown == found.keys()


@pytest.mark.parametrize(
    ("page", "text", "holds"), CLAIMS, ids=[f"{page}: {text}" for page, text, _ in CLAIMS]
)
def test_what_a_page_says_of_the_results_holds(
    stored: Catalogue, page: str, text: str, holds: object
) -> None:
    assert text in " ".join(read(REPOSITORY / page).split()), f"{page} no longer says: {text}"
    assert callable(holds)
    assert holds(stored) is True, f"{page}: {text!r} is no longer true"


def prose(text: str) -> str:
    """Without front matter, code, generated blocks, tables, headings and images."""
    text = re.sub(r"\A---\n.*?\n---\n", "", text, flags=re.S)
    text = re.sub(rf"{START.pattern}.*?{END}", "", text, flags=re.S)
    text = re.sub(r"^```.*?^```", "", text, flags=re.S | re.M)
    return re.sub(r"^(\s*\||#|!\[).*$", "", text, flags=re.M)


def unchecked_numbers(text: str) -> list[str]:
    """Measured numbers in paragraphs (lists with what leads to them) that do not say that they
    are not stored: they belong into a generated block."""
    joined = re.sub(r"\n\n(?=- )", "\n", prose(text))
    found: list[str] = []
    for paragraph in re.split(r"\n\n+", joined):
        if "not stored" not in paragraph:
            shown = re.sub(r"`.*?`", "", paragraph)
            found += re.findall(r"\d+\.\d+ (?:dB|ms|s|%|times|K|GMACs)|\d+ (?:dB|MB|KB)\b", shown)
    return found


@pytest.mark.parametrize("path", [p for p in PAGES if p.stem != "log"], ids=name)
def test_a_measured_number_is_generated_or_said_to_be_not_stored(path: Path) -> None:
    assert unchecked_numbers(read(path)) == []


def decimals(text: str) -> set[str]:
    return set(re.findall(r"\d+\.\d+", text))


def test_the_log_quotes_the_files_that_it_links() -> None:
    """In sections that begin `From [...`: nothing but what these files say."""
    sections = [
        part for part in read(REPOSITORY / "docs/log.md").split("\n## ") if "\nFrom [" in part
    ]
    assert len(sections) >= 3
    for section in sections:
        links = re.findall(r"\]\(\.\./(precomputed/[^)]+)\)", section)
        source = "\n".join(read(REPOSITORY / link) for link in links)
        assert decimals(section) <= decimals(source), section.partition("\n")[0]


def placeholders(text: str) -> set[str]:
    """Words in CAPITALS_WITH_UNDERSCORE that no code mentions: text that was to be filled in."""
    sources = [*(REPOSITORY / "sr_core").rglob("*.py"), REPOSITORY / "Makefile"]
    code = "\n".join(read(path) for path in sources)
    words = set(re.findall(r"\b[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+\b", text))
    return {word for word in words if not re.search(rf"\b{word}\b", code)}


def anchors(path: Path) -> set[str]:
    """Of the headings of a page, as GitHub names them."""
    titles = re.findall(
        r"^#+ (.+)$", re.sub(r"^```.*?^```", "", read(path), flags=re.S | re.M), re.M
    )
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def broken_targets(text: str, page: Path) -> set[str]:
    """Targets of links and images inside the repository that are not there."""
    targets = re.findall(r"\]\(\s*<?([^)>\s]+)", text) + re.findall(r"(?:src|href)=\"(.+?)\"", text)
    broken: set[str] = set()
    for target in targets:
        file, _, anchor = target.partition("#")
        path = page.parent / file if file else page
        if re.match(r"\w+:", target):
            continue
        if not path.exists() or (path.suffix == ".md" and anchor and anchor not in anchors(path)):
            broken.add(target)
    return broken


@pages
def test_page_has_no_placeholder_and_no_broken_link(path: Path) -> None:
    assert placeholders(read(path)) == set()
    assert broken_targets(read(path), path) == set()


def test_placeholders_and_broken_links_are_found() -> None:
    assert placeholders("A TRAINING_PARAGRAPH, GRADIO_SERVER_NAME, PSNR") == {"TRAINING_PARAGRAPH"}
    text = (
        "[a](../LICENSE) [b](https://x.org/no) ![c](../assets/no.png 'c') [d](#no) [f](#glossary) "
        '[e](results.md#rivals) [e](results.md#none) <img src="no">'
    )
    expected = {"../assets/no.png", "#no", "results.md#none", "no"}
    assert broken_targets(text, REPOSITORY / "docs/method.md") == expected


def commands(text: str) -> list[list[str]]:
    """Command lines of the sh code blocks, and ours between backticks, as words."""
    code = "\n".join(re.findall(r"^```sh\n(.*?)^```", text, flags=re.S | re.M))
    inline = re.findall(r"(?<!`)`(python -m sr_core [^`]+)`", text)
    lines = [*code.replace("\\\n", " ").splitlines(), *inline]
    return [words for line in lines if (words := shlex.split(line, comments=True))]


def refused(words: list[str]) -> bool:
    """Whether a command of ours or a target of make is not understood; others are not judged."""
    match words:
        case ["python", "-m", "sr_core", *rest]:
            try:
                _parser().parse_args(rest)
            except SystemExit as end:
                return end.code != 0  # 0: --help
        case ["make", target]:
            return not re.search(rf"^{target}:", read(REPOSITORY / "Makefile"), flags=re.M)
        case _:
            pass
    return False


@pages
def test_commands_on_a_page_are_understood(path: Path) -> None:
    assert [words for words in commands(read(path)) if refused(words)] == []


def test_commands_are_found_and_judged() -> None:
    text = "```sh\npython -m sr_core models \\\n --json # all\nmake fly\n```\n`python -m sr_core x`"
    assert commands(text) == [
        ["python", "-m", "sr_core", "models", "--json"],
        ["make", "fly"],
        ["python", "-m", "sr_core", "x"],
    ]
    assert [refused(words) for words in commands(text)] == [False, True, True]
    assert not refused(["python", "-m", "sr_core", "search", "--help"])
    assert refused(["python", "-m", "sr_core", "upscale", "--no-such-option"])
    assert sum(len(commands(read(path))) for path in DOCS) > 30


def long_sentences(text: str) -> list[str]:
    """Sentences of more than `MOST_WORDS` words; a line of a list begins a new one."""
    parts = re.split(r"\n\n+|\n\s*(?:-|\d+\.) ", prose(text))
    found: list[str] = []
    for part in parts:
        sentences = re.split(r"(?<=[.?!:])\s+(?=[^a-z])", part)
        found += [" ".join(s.split()) for s in sentences if len(s.split()) > MOST_WORDS]
    return found


@pages
def test_sentences_are_short(path: Path) -> None:
    assert long_sentences(read(path)) == []


def test_long_sentences_are_found() -> None:
    long = "Word " * MOST_WORDS + "end."
    assert long_sentences(f"Short. {long} Short.\n\n# {long}\n| {long} |\n") == [long]


def test_unchecked_numbers_are_found() -> None:
    text = "It has 3.5 dB.\n\nIt took 2.5 ms (not stored).\n\nNot stored:\n\n- 2.0 s\n\n`1.0 ms`"
    assert unchecked_numbers(text) == ["3.5 dB", "2.0 s"]


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
        bounds = sorted(bound.operator for bound in Requirement(requirement).specifier)
        assert bounds in (["=="], ["<", ">="]), line
