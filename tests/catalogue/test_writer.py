"""Writers of precomputed/ wait for one another, readers can ask for them."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from sr_core.catalogue.writer import changing, is_changing
from sr_core.errors import CatalogueError
from sr_core.files import sha256
from tests.tiny import write_manifest
from tests.waiting import PATIENCE_S

COUNT = """
import sys; from pathlib import Path; from sr_core.catalogue.writer import changing
file = Path(sys.argv[1]) / "count"
print(1, flush=True)
for _ in range(int(sys.argv[2])):
    with changing(file.parent):
        before = int(file.read_text())
        file.write_text(str(before + 1))
"""
STAY = """
import sys, time; from pathlib import Path; from sr_core.catalogue.writer import changing
with changing(Path(sys.argv[1])):
    print(1, flush=True)
    time.sleep(3600)
"""


def started(code: str, root: Path, *words: str) -> subprocess.Popen[bytes]:
    """A process of this code that has reached its print."""
    process = subprocess.Popen(
        [sys.executable, "-c", code, root, *words], stdout=subprocess.PIPE, bufsize=0
    )
    assert process.stdout is not None
    with process.stdout as ready:
        assert ready.readline() == b"1\n"
    return process


def sealed(root: Path) -> dict[str, str]:
    return json.loads((root / "manifest.json").read_text())


def test_another_process_waits(tmp_path: Path) -> None:
    (tmp_path / "count").write_text("1")
    with changing(tmp_path):
        other = started(COUNT, tmp_path, "1")
        time.sleep(0.2)
        assert other.poll() is None
        assert not (tmp_path / "manifest.json").exists()
        (tmp_path / "count").write_text("2")
    assert other.wait(PATIENCE_S) == 0
    assert (tmp_path / "count").read_text() == "3"
    assert sealed(tmp_path) == {"count": sha256(tmp_path / "count")}  # without the lock itself


def test_nothing_is_lost_of_what_two_processes_and_two_threads_write(tmp_path: Path) -> None:
    file = tmp_path / "count"
    file.write_text("0")

    def count() -> None:
        for _ in range(5):
            with changing(tmp_path):
                before = int(file.read_text())
                time.sleep(0.001)  # so that another thread would come in between
                file.write_text(str(before + 1))

    others = [started(COUNT, tmp_path, "5") for _ in range(2)]
    threads = [threading.Thread(target=count) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [other.wait(PATIENCE_S) for other in others] == [0, 0]
    assert file.read_text() == "20"
    assert sealed(tmp_path) == {"count": sha256(file)}


def test_a_failed_change_keeps_the_old_manifest(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1")
    write_manifest(tmp_path)
    before = sealed(tmp_path)

    def fail() -> None:
        with changing(tmp_path):
            (tmp_path / "a").write_text("2")
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert sealed(tmp_path) == before
    write_manifest(tmp_path)  # the lock is free again
    assert sealed(tmp_path) == {"a": sha256(tmp_path / "a")} != before


def test_a_change_inside_a_change_is_an_error_instead_of_waiting_for_ever(tmp_path: Path) -> None:
    with (
        pytest.raises(RuntimeError, match="Deadlock"),
        changing(tmp_path),
        changing(tmp_path / "." / "b" / ".."),
    ):
        pass
    assert not (tmp_path / "manifest.json").exists()
    assert not is_changing(tmp_path)


def test_a_killed_writer_blocks_nobody(tmp_path: Path) -> None:
    other = started(STAY, tmp_path)
    assert is_changing(tmp_path)
    other.kill()
    other.wait(PATIENCE_S)
    assert not is_changing(tmp_path)
    write_manifest(tmp_path)
    assert sealed(tmp_path) == {}


def test_who_asks_for_writers_leaves_no_trace(tmp_path: Path) -> None:
    assert not is_changing(tmp_path / "none")
    assert not is_changing(tmp_path)
    assert list(tmp_path.iterdir()) == []
    with changing(tmp_path):
        assert is_changing(tmp_path)
    assert not is_changing(tmp_path)


def test_a_lock_that_cannot_be_opened_may_be_held(tmp_path: Path) -> None:
    """As that of a folder that only another user may write."""
    (tmp_path / ".lock").mkdir()
    assert is_changing(tmp_path)
    with pytest.raises(CatalogueError, match=r"^Cannot write .*: check its permissions\.$"):
        write_manifest(tmp_path)


def test_a_folder_that_cannot_be_made_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CatalogueError, match=r"^Cannot write .*: check its permissions\.$"):
        write_manifest(tmp_path / "file" / "precomputed")
