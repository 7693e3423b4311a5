"""Which library is used, and that a bad one is a sentence and no crash."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import NoReturn

import pytest

from sr_core.engine import build
from sr_core.engine import library as module
from sr_core.engine.build import TARGETS, file_name, own_path
from sr_core.engine.library import Library, find, self_test
from sr_core.errors import EngineError
from sr_core.files import sha256
from tests.engine.conftest import SHIPPED
from tests.needs import COMPILER, SHIPPED_ENGINE, lacking

HINT = r"`python -m sr_core engine build`\."


@pytest.fixture
def folder(tmp_path: Path, user_data: Path) -> Path:
    """A folder with the shipped libraries; nothing was tested here before."""
    try:
        build.target_here()
    except EngineError as error:
        lacking(SHIPPED_ENGINE, error)
    return shutil.copytree(SHIPPED, tmp_path / "engine")


def shipped(folder: Path) -> Path:
    """The one for this computer."""
    return folder / file_name(build.target_here())


def found(folder: Path) -> Library:
    """With checksums that fit the files as they are."""
    return find(folder, {path.name: sha256(path) for path in folder.iterdir()})


def passes(_: Path) -> str:
    return ""


def not_called(_: Path) -> NoReturn:
    pytest.fail("it is tested once more")


def test_a_library_is_tested_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert found(folder).path == shipped(folder)
    monkeypatch.setattr(module, "self_test", not_called)
    assert found(folder).path == shipped(folder)


def test_another_file_or_processor_is_tested_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tested: list[Path] = []

    def counted(path: Path) -> str:
        tested.append(path)
        return ""

    monkeypatch.setattr(module, "self_test", counted)
    found(folder)
    with shipped(folder).open("ab") as file:
        file.write(b"\0")
    found(folder)
    monkeypatch.setattr(module, "processor", lambda: "another one")
    found(folder)
    assert len(tested) == 3


def test_nothing_is_remembered_where_nothing_can_be_written(
    folder: Path, user_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    user_data.write_text("no folder")
    monkeypatch.setattr(module, "self_test", passes)
    assert found(folder).path == shipped(folder)


def test_one_built_here_comes_first(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "self_test", passes)
    own_path().parent.mkdir(parents=True)
    shutil.copy(shipped(folder), own_path())
    assert found(folder).path == own_path()


def test_missing(folder: Path) -> None:
    shipped(folder).unlink()
    with pytest.raises(EngineError, match=rf"\.so is missing: restore it, or run {HINT}$"):
        found(folder)


def test_damaged(folder: Path) -> None:
    checksums = {path.name: sha256(path) for path in folder.iterdir()}
    data = bytearray(shipped(folder).read_bytes())
    data[len(data) // 2] ^= 1
    shipped(folder).write_bytes(data)
    for known in (checksums, {}):  # not listed is not trusted either
        with pytest.raises(EngineError, match=rf"does not match its checksum: restore it.* {HINT}"):
            find(folder, known)


def test_unreadable(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(_: Path) -> NoReturn:
        raise PermissionError(13, "Permission denied")

    checksums = {path.name: sha256(path) for path in folder.iterdir()}
    monkeypatch.setattr(module, "sha256", refuses)
    with pytest.raises(EngineError, match=r"cannot be read \(.*Permission denied\): restore it\.$"):
        find(folder, checksums)


def test_of_another_processor(folder: Path) -> None:
    """Its file has the name and checksum of the right one."""
    here = build.target_here()
    other = next(target for target in TARGETS if target.machine != here.machine)
    shutil.copy(folder / file_name(other), shipped(folder))
    with pytest.raises(EngineError, match=rf"does not work on this .* cannot be loaded .* {HINT}$"):
        found(folder)


def test_no_library_at_all(folder: Path) -> None:
    shipped(folder).write_text("text")
    with pytest.raises(EngineError, match=rf"does not work on this .* cannot be loaded .* {HINT}$"):
        found(folder)


def build_variant(folder: Path, function: str, body: str) -> None:
    """Build a library for this computer in which one function begins otherwise."""
    source = build.SOURCE.read_text()
    head = re.search(rf"^API [^;{{]*\b{function}\([^{{]*\) {{", source, re.MULTILINE)
    assert head, f"kernel.c has no {function}"
    changed = folder / "kernel.c"
    changed.write_text(f"{source[: head.end()]} {body} {source[head.end() :]}")
    if not build.compilers():
        lacking(COMPILER)
    module.write_atomic(own_path(), build.compiled((*build.compilers()[-1], *build.FLAGS), changed))


@pytest.mark.parametrize(
    ("function", "body", "fault"),
    [
        ("sr_run", "__builtin_trap();", "its self-test ended with SIG(ILL|TRAP)"),
        ("sr_check", "*(volatile int *)8 = 1;", "its self-test ended with SIGSEGV"),
        ("sr_run", "if (tile) return 0;", "a result differs by .* from ONNX Runtime's"),
        ("sr_check", "if (words) return 5;", "The engine refuses .*: its header is wrong"),
        ("sr_facts", "if (VL) return 1 << 8 | VL;", "The library reads version 1 of .*, not 2"),
    ],
    ids=["illegal", "crash", "wrong", "refuses", "version"],
)
def test_a_library_that_does_not_work(
    tmp_path: Path, user_data: Path, function: str, body: str, fault: str
) -> None:
    build_variant(tmp_path, function, body)
    with pytest.raises(EngineError, match=rf"^upfront-\w+\.so does not work .* \({fault}.*{HINT}$"):
        find(tmp_path, {})


def test_a_library_that_never_ends(
    tmp_path: Path, user_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build_variant(tmp_path, "sr_facts", 'for (;;) __asm__ volatile("");')
    monkeypatch.setattr(module, "_SELF_TEST_SECONDS", 1)
    with pytest.raises(EngineError, match=r"\(its self-test took more than 1 s\)"):
        find(tmp_path, {})


def test_a_self_test_without_a_word(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.sys, "executable", shutil.which("false"))
    assert self_test(tmp_path) == "its self-test ended with exit code 1"


def test_a_self_test_that_cannot_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.sys, "executable", str(tmp_path / "python"))
    assert self_test(tmp_path).startswith("its self-test cannot start (")


def test_peak_is_a_speed(library: Library) -> None:
    assert library.peak_flops() > 1e9
