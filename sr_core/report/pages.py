"""Stored results in README.md and docs/: each block of a page between two comments is generated.

<!-- stored: final-models -->
(what `blocks` has under this name)
<!-- end -->
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from sr_core.catalogue.store import Catalogue
from sr_core.errors import CatalogueError
from sr_core.files import write_atomic
from sr_core.network.candidate import Family
from sr_core.report import engine, facts, tables

START = re.compile(r"<!-- stored: (\S+) -->")
END = "<!-- end -->"


def blocks(catalogue: Catalogue) -> dict[str, str]:
    """Return the Markdown of all that is stored, by name: tables, and sentences about them."""
    return {name: text for name, text in _blocks(catalogue) if text}


def _blocks(catalogue: Catalogue) -> Iterator[tuple[str, str]]:
    if catalogue.finals():
        yield "readme-models", tables.readme_table(catalogue)
    yield "readme-findings", facts.findings(catalogue)
    yield "once-for-all", tables.results_table(catalogue)
    yield "training-facts", facts.training_facts(catalogue)
    if catalogue.finals():
        yield "final-models", tables.finals_table(catalogue)
        yield "final-changes", tables.changes_table(catalogue)
    if catalogue.published_models:
        yield "published", tables.published_table(catalogue)
        yield "published-facts", facts.published_facts(catalogue)
    for ablation in catalogue.ablations:
        name = f"{ablation.question}-{Family(ablation.scale, ablation.colour).name}"
        if ablation.budget_ms is not None:
            name += f"-{ablation.budget_ms:g}ms"
        yield name, tables.ablation_table(ablation)
        yield f"{name}-facts", facts.ablation_facts(ablation)
    if bench := catalogue.rival_bench:
        rivals = [rival for scale in catalogue.scales for rival in catalogue.rivals(scale)]
        yield "rivals", tables.rivals_table(bench)
        yield "rivals-facts", facts.rival_facts(bench, rivals, catalogue)
    if benches := catalogue.engine_benches:
        yield "engine", engine.comparison_table(benches)
        yield "engine-tables", engine.tables(benches)
        yield "engine-facts", engine.facts(catalogue, benches)
    yield "front-facts", facts.front_facts(catalogue)
    for family in catalogue.families:
        yield f"budgets-{family.name}", tables.budgets_table(catalogue, family)
    if catalogue.sampler_bench:
        yield "samplers", tables.samplers_table(catalogue.sampler_bench)
    if catalogue.worker_bench:
        yield "workers-facts", facts.worker_facts(catalogue.worker_bench)
    if tables.shipped_devices(catalogue):
        yield "profiles", tables.profiles_table(catalogue)


def fill(page: str, texts: Mapping[str, str], where: str) -> str:
    """Return `page` with its blocks as `texts` has them. `where` names it in an error.

    Raises `CatalogueError` if a block is not known or has no end.
    """
    first, *parts = re.split("(?=<!-- stored:)", page)
    return first + "".join(_fill_block(part, texts, where) for part in parts)


def _fill_block(part: str, texts: Mapping[str, str], where: str) -> str:
    """Fill a part of a page that starts with the first comment of a block."""
    start = START.match(part)
    name = start[1] if start else part.partition("\n")[0]
    if not start or name not in texts:
        raise CatalogueError(
            f"{where} has a block {name!r} that is not stored: expected one of {', '.join(texts)}."
        )
    _, end, rest = part.partition(END)
    if not end:
        raise CatalogueError(f"{where}: the block {name!r} has no end: add the line {END}.")
    return f"{start[0]}\n{texts[name]}\n{END}{rest}"


def write_pages(paths: Sequence[Path], texts: Mapping[str, str]) -> None:
    """Fill the blocks of Markdown files. None is written if one has a fault."""
    pages: dict[Path, str] = {}
    for path in paths:
        try:
            pages[path] = fill(path.read_text(encoding="utf-8-sig"), texts, path.name)
        except (OSError, UnicodeDecodeError) as error:
            raise CatalogueError(f"Cannot read {path} ({error}): give Markdown files.") from None
    for path, text in pages.items():
        write_atomic(path, text)
