"""Building: the shipped libraries byte for byte, and one for this computer with any compiler."""

from __future__ import annotations

import os
import platform
import shutil
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import NoReturn

import pytest

from sr_core.engine import build as module
from sr_core.engine.build import (
    TARGETS,
    ZIG,
    build_here,
    build_shipped,
    file_name,
    own_path,
    target_here,
)
from sr_core.engine.library import Library
from sr_core.errors import EngineError
from sr_core.files import REPOSITORY
from tests.engine.conftest import SHIPPED
from tests.needs import GCC, ZIGLANG, lacking

TOOLS = os.environ["PATH"]
BINUTILS = ("as", "ld")
"""What gcc calls."""


def no_package(_: str) -> NoReturn:
    raise PackageNotFoundError


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, user_data: Path) -> Path:
    """A PATH of its own, empty, and no ziglang package."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setattr(module, "version", no_package)
    return folder


def offer_gcc(tools: Path) -> None:
    for name in ("gcc", *BINUTILS):
        found = shutil.which(name, path=TOOLS)
        if found is None:
            lacking(GCC, f"there is no {name}")
        (tools / name).symlink_to(found)


def offer_broken(tools: Path, name: str, said: str = "") -> None:
    (tools / name).write_text(f"#!/bin/sh\necho '{said}' >&2\nexit 3\n")
    (tools / name).chmod(0o755)


def test_shipped_libraries_are_what_the_pinned_zig_makes(tmp_path: Path) -> None:
    """After a change of kernel.c: `python -m sr_core engine build --shipped`."""
    try:
        built = build_shipped(tmp_path)
    except EngineError as error:
        lacking(ZIGLANG, error)
    assert [path.name for path in built] == [file_name(target) for target in TARGETS]
    for path in built:
        shipped = (SHIPPED / path.name).read_bytes()
        assert path.read_bytes() == shipped, f"{path.name}: run `engine build --shipped`"
        assert len(shipped) < 100_000


def test_the_pinned_zig_is_the_required_one() -> None:
    assert f"\nziglang=={ZIG} " in (REPOSITORY / "requirements-dev.txt").read_text()


@pytest.mark.parametrize("found", ["0.16.0", ""])
def test_shipped_libraries_need_the_pinned_zig(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, found: str
) -> None:
    def version(name: str) -> str:
        return found or no_package(name)

    monkeypatch.setattr(module, "version", version)
    with pytest.raises(EngineError, match=rf"ziglang {ZIG}, found {found or 'none'}: `pip inst"):
        build_shipped(tmp_path)
    assert not list(tmp_path.iterdir())


def test_with_gcc_alone(tools: Path) -> None:
    offer_gcc(tools)
    assert Library(build_here()).path == own_path()


def test_with_zig_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, user_data: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    if not module.compilers():
        lacking(ZIGLANG)
    assert Library(build_here()).path == own_path()


def test_without_any_compiler(tools: Path) -> None:
    with pytest.raises(EngineError, match=r"^No C compiler was found: install gcc or clang, or "):
        build_here()
    assert not own_path().exists()


def test_a_compiler_that_fails_leaves_it_to_the_next(tools: Path) -> None:
    offer_broken(tools, "zig")
    offer_broken(tools, "cc", "kernel.c:1: error: too old")
    with pytest.raises(EngineError, match=(
        r"^zig cannot compile the kernel \(exit code 3\)\. "
        r"cc cannot compile the kernel \(kernel\.c:1: error: too old\)\.$"
    )):  # fmt: skip
        build_here()
    offer_gcc(tools)
    assert build_here().is_file()


def test_a_compiler_that_never_ends(tools: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tools / "cc").write_text("#!/bin/sh\nwhile :; do :; done\n")
    (tools / "cc").chmod(0o755)
    monkeypatch.setattr(module, "_BUILD_SECONDS", 0.2)
    with pytest.raises(EngineError, match=r"^cc cannot compile the kernel \(.* timed out after"):
        build_here()


@pytest.mark.parametrize("machine", ["x86_64", "arm64", "aarch64"])
def test_native_code_on_every_architecture(
    tools: Path, monkeypatch: pytest.MonkeyPatch, machine: str
) -> None:
    """Compilers for Arm have another option for it."""
    monkeypatch.setattr(platform, "machine", lambda: machine)
    (tools / "cc").write_text('#!/bin/sh\necho "error: $1" >&2\nexit 1\n')
    (tools / "cc").chmod(0o755)
    option = "-march=native" if machine == "x86_64" else "-mcpu=native"
    with pytest.raises(EngineError, match=rf"error: {option}\)"):
        build_here()


V3 = {"avx2", "fma", "bmi1", "bmi2", "f16c", "movbe", "abm"}
V4 = {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"}


@pytest.mark.parametrize(
    ("system", "machine", "flags", "name"),
    [
        ("Linux", "x86_64", V3 | V4, "linux-x86_64-avx512"),
        ("Linux", "x86_64", V3 | V4 - {"avx512bw"}, "linux-x86_64-avx2"),
        ("Linux", "x86_64", V3, "linux-x86_64-avx2"),
        ("Linux", "aarch64", {"asimd"}, "linux-aarch64"),
    ],
)
def test_library_for_a_processor(
    monkeypatch: pytest.MonkeyPatch, system: str, machine: str, flags: set[str], name: str
) -> None:
    pretend(monkeypatch, system, machine, flags)
    assert target_here().name == name


@pytest.mark.parametrize(
    ("system", "machine", "flags", "where"),
    [
        ("Linux", "x86_64", V3 - {"fma"}, "Linux on x86_64 without AVX2"),
        ("Linux", "riscv64", set[str](), "Linux on riscv64"),
        ("Darwin", "x86_64", set[str](), "Darwin on x86_64"),
        ("Darwin", "arm64", set[str](), "Darwin on arm64"),
        ("Windows", "AMD64", set[str](), "Windows on AMD64"),
    ],
)
def test_no_library_for_a_computer(
    monkeypatch: pytest.MonkeyPatch, system: str, machine: str, flags: set[str], where: str
) -> None:
    pretend(monkeypatch, system, machine, flags)
    with pytest.raises(EngineError, match=rf"^No engine is shipped for {where}: `python -m sr_co"):
        target_here()


def pretend(monkeypatch: pytest.MonkeyPatch, system: str, machine: str, flags: set[str]) -> None:
    monkeypatch.setattr(platform, "system", lambda: system)
    monkeypatch.setattr(platform, "machine", lambda: machine)
    monkeypatch.setattr(module, "cpu_flags", lambda: frozenset(flags))
