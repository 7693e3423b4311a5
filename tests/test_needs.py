"""What pytest says of tests that lack something."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from sr_core.files import REPOSITORY
from tests import needs

LACKING = """
import pytest
from tests import needs

@pytest.mark.parametrize("number", range(3))
def test_a(number):
    needs.lacking(needs.QEMU, f"detail {number}")

def test_b():
    needs.lacking(needs.IMAGES)

def test_c():
    pytest.importorskip("no_such_package")

def test_d():
    pass
"""


def outcome(folder: Path, monkeypatch: pytest.MonkeyPatch, *options: str) -> str:
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    (folder / "test_lacking.py").write_text(LACKING)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "tests.conftest", *options,
         "-c", REPOSITORY / "pyproject.toml", "--rootdir", folder, folder / "test_lacking.py"],
        capture_output=True, text=True, check=False, cwd=folder,
    )  # fmt: skip
    return done.stdout


def test_the_end_says_what_was_lacking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(needs.COMPLETE, raising=False)
    out = outcome(tmp_path, monkeypatch)
    _, _, said = out.partition("skipped: number of tests, what is lacking, how to get it")
    assert said.splitlines()[1:4] == [
        f"    3  {needs.QEMU.reason}",
        f"    1  {needs.IMAGES.reason}",
        "    1  no no_such_package: pip install -r requirements-dev.txt",
    ]
    assert "1 passed, 5 skipped" in out


def test_where_nothing_should_be_lacking_it_is_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """But not for what cannot be installed."""
    monkeypatch.setenv(needs.COMPLETE, "1")
    out = outcome(tmp_path, monkeypatch)
    assert f"{needs.QEMU.reason} detail 0" in out
    assert "3 failed, 1 passed, 2 skipped" in out
