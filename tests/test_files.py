from __future__ import annotations

import codecs
import contextlib
import errno
import hashlib
import os
import re
import socket
import stat
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, NoReturn

import pytest

from sr_core.errors import SearchError, UpFrontError
from sr_core.files import (
    as_utf8,
    check_target,
    is_same_file,
    kept,
    read_utf8,
    sha256,
    write_atomic,
    write_or_keep,
)


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


@pytest.mark.parametrize("letters", [241, 250, 255])
@pytest.mark.parametrize("letter", ["a", "é", "♥"])
def test_a_name_may_be_as_long_as_the_file_system_allows(
    tmp_path: Path, letter: str, letters: int
) -> None:
    """255 bytes; a temporary name made of it would be longer."""
    path = tmp_path / (letter * (letters // len(letter.encode())))
    check_target(path, UpFrontError)
    write_atomic(path, "new")
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_path_that_can_be_written_is_left_alone(tmp_path: Path) -> None:
    path, link = tmp_path / "file.json", tmp_path / "link.json"
    path.write_text("old")
    before = path.stat()
    link.symlink_to(tmp_path / "nothing.json")
    for one in (path, link, tmp_path / "new/x/y.json", Path(os.devnull)):
        check_target(one, UpFrontError)
    assert (path.read_text(), path.stat().st_mtime_ns) == ("old", before.st_mtime_ns)
    assert set(tmp_path.iterdir()) == {path, link}


def _folder(path: Path) -> Path:
    path.mkdir()
    return path


def _below_a_file(path: Path) -> Path:
    path.touch()
    return path / "file.json"


def _circle(path: Path) -> Path:
    path.symlink_to(path)
    return path


def _named(*names: str) -> Callable[[Path], Path]:
    return lambda path: path.parent.joinpath(*names)


def _socket(path: Path) -> Path:
    with contextlib.chdir(path.parent), socket.socket(socket.AF_UNIX) as server:
        server.bind(path.name)  # the whole path may be longer than a socket's can be
    return path


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (_folder, "is a folder: give the name of a file"),
        (_below_a_file, "Not a directory"),
        (_circle, r"Cannot write .*\(Too many levels of symbolic links\): give a path"),
        (_socket, "Cannot write"),
        (_named("a" * 256), "File name too long"),
        (_named("♥" * 86), "File name too long"),
        (_named("new", "a" * 256, "file.json"), "File name too long"),
        (_named("new", "a" * 256), "File name too long"),
    ],
)
def test_a_path_that_cannot_be_written_is_refused_before_the_work(
    tmp_path: Path, make: Callable[[Path], Path], message: str
) -> None:
    path = make(tmp_path / "taken")
    there = sorted(tmp_path.iterdir())
    with pytest.raises(SearchError, match=message):
        check_target(path, SearchError)
    assert sorted(tmp_path.iterdir()) == there
    with pytest.raises(OSError, match=r"taken|a{256}|♥{86}"):
        write_atomic(path, "new")
    assert not list(tmp_path.rglob("*.tmp"))


@pytest.mark.parametrize("mode", ["r+b", "xb"])
def test_what_is_read_only_is_found_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    """A file (whatever its folder allows), or a disk."""
    path, plain = tmp_path / "file.json", Path.open
    path.write_text("old")

    def denied(self: Path, how: str) -> IO[Any]:
        if mode == how:
            raise PermissionError(errno.EACCES, "Permission denied", str(self))
        return plain(self, how)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", denied)
        with pytest.raises(
            SearchError, match=r"Cannot write .*file\.json \(Permission denied\): g"
        ):
            check_target(path, SearchError)
        with pytest.raises(PermissionError):
            write_atomic(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_pipe_and_a_device_are_written_to_not_replaced(tmp_path: Path) -> None:
    pipe, got = tmp_path / "pipe", list[bytes]()
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: got.append(pipe.read_bytes()))
    reader.start()
    check_target(pipe, SearchError)
    write_atomic(pipe, "new")
    reader.join()
    write_atomic(Path(os.devnull), "new")
    assert got == [b"new"]
    assert stat.S_ISCHR(Path(os.devnull).stat().st_mode)
    assert list(tmp_path.iterdir()) == [pipe]


def test_a_result_that_cannot_be_written_in_the_end_is_kept(
    tmp_path: Path, user_data: Path, full: set[Path]
) -> None:
    path = tmp_path / "file.json"
    check_target(path, SearchError)
    full.add(path)
    with pytest.raises(SearchError, match=r"Cannot write .*\(No space left on device\)") as caught:
        write_or_keep(path, "new", SearchError)
    (kept,) = (user_data / "kept").iterdir()
    assert f"kept in {kept}: move it" in str(caught.value)
    assert (kept.read_text(), kept.suffix) == ("new", ".json")


def test_a_result_is_kept_in_the_temporary_folder_if_the_users_is_full_too(
    tmp_path: Path, user_data: Path, full: set[Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    full.add(user_data)
    (place,) = re.findall(r"kept in (.*\.json):", kept(".json", "new"))
    assert Path(place).read_text() == "new"
    full.add(tmp_path)
    assert kept(".json", "new").startswith("It could not be kept elsewhere")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32", "utf-16-be"])
def test_text_with_a_byte_order_mark_is_read(tmp_path: Path, encoding: str) -> None:
    mark = codecs.BOM_UTF16_BE if encoding == "utf-16-be" else b""
    (tmp_path / "file.txt").write_bytes(mark + "naïve".encode(encoding))
    assert read_utf8(tmp_path / "file.txt").decode() == "naïve"


def test_what_is_no_text_comes_back_as_it_is() -> None:
    for data in (b"", b"\xff", b"\xff\xfe\xd8", b"\xef\xbb\xbf\xff"):
        assert as_utf8(data) == data


def test_one_file_is_recognised_by_all_its_names(tmp_path: Path) -> None:
    path = tmp_path / "file.png"
    path.touch()
    (tmp_path / "link.png").symlink_to(path)
    (tmp_path / "hard.png").hardlink_to(path)
    (tmp_path / "other.png").touch()
    names = ("file.png", "./file.png", "link.png", "hard.png", "other.png", "nothing.png")
    same = [is_same_file(path, tmp_path / name) for name in names]
    assert same == [True, True, True, True, False, False]


def test_a_folder_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    with pytest.raises(OSError, match="taken"):
        write_atomic(tmp_path / "taken", "new")
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]
