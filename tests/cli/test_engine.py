"""`engine build`, `engine status`."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import jsonschema
import pytest

from sr_core.catalogue.store import Catalogue
from sr_core.catalogue.verify import verify
from sr_core.cli.main import main
from sr_core.engine import build
from sr_core.engine.build import TARGETS, file_name, own_path, target_here
from sr_core.errors import EngineError
from tests.cli.test_main import Shell, record
from tests.engine.conftest import SHIPPED
from tests.needs import COMPILER, SHIPPED_ENGINE, ZIGLANG, lacking
from tests.tiny import write_manifest

STATUS = record(
    library={"type": ["string", "null"]},
    built_here={"type": ["boolean", "null"]},
    runtime={"type": ["string", "null"]},
    floats_per_vector={"enum": [4, 8, 16, None]},
    problem={"type": "string"},
)


@pytest.fixture
def root(own_root: Path, user_data: Path) -> Path:
    """A precomputed folder with the engine, and an empty data folder."""
    shutil.copytree(SHIPPED, own_root / "engine")
    write_manifest(own_root)
    return own_root


@pytest.fixture
def shell(root: Path, capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(root, capsys)


@pytest.fixture
def shipped(root: Path) -> Path:
    """The library for this computer."""
    try:
        return root / "engine" / file_name(target_here())
    except EngineError as error:
        lacking(SHIPPED_ENGINE, error)


def test_status(shell: Shell, shipped: Path) -> None:
    status = json.loads(shell("engine", "status", "--json"))
    jsonschema.validate(status, STATUS)
    assert (status["library"], status["built_here"]) == (str(shipped), False)
    text = shell("engine", "status")
    assert text.startswith(f"{status['runtime']}: {status['floats_per_vector']} floats in a vec")
    assert f"self-test passed\n{shipped} (shipped)\n" in text


def test_status_without_a_library(
    root: Path, shipped: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shipped.unlink()
    assert main(["--root", str(root), "engine", "status"]) == 1
    expected = f"ONNX Runtime computes instead. {Catalogue(root).engine_problem}\n"
    assert capsys.readouterr().out == expected
    assert main(["--root", str(root), "engine", "status", "--json"]) == 1
    status = json.loads(capsys.readouterr().out)
    jsonschema.validate(status, STATUS)
    assert status["library"] is None
    assert status["problem"].startswith(f"{shipped.name} is missing: ")


def test_status_tests_anew(
    root: Path,
    shipped: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A library that once passed and does not any more."""

    def fails(_: Path) -> str:
        return "its self-test ended with SIGILL"

    assert Catalogue(root).engine is not None
    monkeypatch.setattr("sr_core.cli.engine.self_test", fails)
    assert main(["--root", str(root), "engine", "status"]) == 1
    said = capsys.readouterr().out
    assert f"{shipped.name} does not work on this computer (its self-test ended with SIG" in said


def test_build_here(shell: Shell) -> None:
    if not build.compilers():
        lacking(COMPILER)
    assert shell("engine", "build").startswith(f"{own_path()}: UpFront engine, ")
    assert f"\n{own_path()} (built here)\n" in shell("engine", "status")


def test_build_here_keeps_nothing_that_fails(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(_: Path) -> str:
        return "a result differs by 1 from ONNX Runtime's"

    monkeypatch.setattr("sr_core.cli.engine.self_test", fails)
    assert "does not work (a result differs by 1 from" in shell.error("engine", "build")
    assert not own_path().exists()


def test_a_library_that_cannot_be_compiled_changes_nothing(
    shell: Shell, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {path.name: path.read_bytes() for path in (root / "engine").iterdir()}

    def half(folder: Path) -> list[Path]:
        (folder / "upfront-half.so").write_bytes(b"new")
        raise EngineError("zig cannot compile the kernel (no space).")

    monkeypatch.setattr("sr_core.cli.engine.build_shipped", half)
    assert "cannot compile the kernel" in shell.error("engine", "build", "--shipped")
    assert {path.name: path.read_bytes() for path in (root / "engine").iterdir()} == before
    assert verify(Catalogue(root)) == []


def test_shipped_libraries_are_sealed_with_the_folder(
    shell: Shell, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = file_name(TARGETS[0])

    def compiled(folder: Path) -> list[Path]:
        assert verify(Catalogue(root)) == []  # sound while the compiler works
        (folder / name).write_bytes(b"new")
        return [folder / name]

    monkeypatch.setattr("sr_core.cli.engine.build_shipped", compiled)
    assert shell("engine", "build", "--shipped") == f"{root / 'engine' / name}\n"
    assert (root / "engine" / name).read_bytes() == b"new"
    assert verify(Catalogue(root)) == []


def test_build_shipped(shell: Shell, root: Path) -> None:
    """All three libraries, listed in the manifest."""
    shutil.rmtree(root / "engine")
    try:
        lines = shell("engine", "build", "--shipped").splitlines()
    except AssertionError as error:  # another zig
        lacking(ZIGLANG, error)
    assert lines == [str(root / "engine" / file_name(target)) for target in TARGETS]
    assert verify(Catalogue(root)) == []
