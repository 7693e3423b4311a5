"""Fixtures of the page's tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from sr_core.catalogue.store import Catalogue
from tests import app_root
from tests.ui.findings import made_up as made_up_findings
from tests.ui.search import made_up as made_up_search


@pytest.fixture(autouse=True)
def _engine_passed_its_test(monkeypatch: pytest.MonkeyPatch) -> None:  # pyright: ignore[reportUnusedFunction]
    """Every test has a user folder of its own, in which no self-test is remembered."""
    monkeypatch.setattr("sr_core.engine.library.self_test", lambda path: "")  # pyright: ignore


@pytest.fixture(scope="session")
def page_root(tiny_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with devices and a front; only to be read."""
    return app_root.write(tmp_path_factory.mktemp("page") / "precomputed", tiny_root)


@pytest.fixture(scope="session")
def findings_root(tiny_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with final models and stored comparisons."""
    root = app_root.write(tmp_path_factory.mktemp("findings") / "precomputed", tiny_root)
    return made_up_findings.add(root)


@pytest.fixture
def catalogue(page_root: Path) -> Catalogue:
    return Catalogue(page_root)


@pytest.fixture(scope="session")
def worker(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    """The command of a fake search worker."""
    return made_up_search.worker(tmp_path_factory.mktemp("events"))
