from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest

from sr_core.files import sha256, write_atomic


@pytest.mark.parametrize("data", [b"\x00\xff", "naïve"])
def test_writes_and_replaces(tmp_path: Path, data: bytes | str) -> None:
    path = tmp_path / "new" / "file.bin"
    write_atomic(path, b"old")
    write_atomic(path, data)
    raw = data.encode() if isinstance(data, str) else data
    assert path.read_bytes() == raw
    assert list(path.parent.iterdir()) == [path]
    assert sha256(path) == hashlib.sha256(raw).hexdigest()


@pytest.fixture(params=[0o022, 0o077])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def test_a_new_file_gets_the_permissions_of_the_umask(tmp_path: Path, umask: int) -> None:
    write_atomic(tmp_path / "file.json", "new")
    assert (tmp_path / "file.json").stat().st_mode & 0o777 == 0o666 & ~umask


@pytest.mark.parametrize("mode", [0o600, 0o664])
def test_a_replaced_file_keeps_its_permissions(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "file.json"
    path.touch()
    path.chmod(mode)
    write_atomic(path, "new")
    assert path.stat().st_mode & 0o777 == mode


@pytest.mark.parametrize("there", [True, False])
def test_a_symbolic_link_is_written_through(tmp_path: Path, there: bool) -> None:
    link, target = tmp_path / "link.json", tmp_path / "folder/target.json"
    if there:
        write_atomic(target, "old")
    link.symlink_to(target)
    write_atomic(link, "new")
    assert link.is_symlink()
    assert target.read_text() == "new"
    assert list(target.parent.iterdir()) == [target]


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_full_disk_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def full(*_: object) -> NoReturn:
        raise OSError(errno.ENOSPC, "No space left on device")

    path = tmp_path / "file.json"
    path.write_text("old")
    with monkeypatch.context() as patch:
        patch.setattr(os, step, full)
        with pytest.raises(OSError, match="No space left"):
            write_atomic(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_interruption_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> NoReturn:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", interrupted)
        with pytest.raises(KeyboardInterrupt):
            write_atomic(tmp_path / "file.json", "new")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    with pytest.raises(OSError, match="taken"):
        write_atomic(tmp_path / "taken", "new")
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]
