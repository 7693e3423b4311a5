from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from sr_core.runtime import choice
from sr_core.runtime.choice import runtime_name, runtime_version


def engine(path: Path, content: bytes = b"made up", lanes: int = 16) -> Any:
    path.write_bytes(content)
    return SimpleNamespace(path=path, lanes=lanes)


@pytest.mark.parametrize(
    ("lanes", "machine", "name"),
    [
        (16, "x86_64", "AVX-512"),
        (8, "x86_64", "AVX2"),
        (4, "aarch64", "NEON"),
        (4, "x86_64", "128-bit vectors"),
    ],
)
def test_the_engine_is_named_after_its_instructions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lanes: int, machine: str, name: str
) -> None:
    monkeypatch.setattr(choice.platform, "machine", lambda: machine)
    assert runtime_name(engine(tmp_path / "engine.so", lanes=lanes)) == f"UpFront engine, {name}"


def test_the_version_changes_with_the_library(tmp_path: Path) -> None:
    before = runtime_version(engine(tmp_path / "engine.so"))
    assert before == runtime_version(engine(tmp_path / "copy.so"))
    assert before != runtime_version(engine(tmp_path / "engine.so", b"faster"))
    assert before.startswith(f"UpFront engine {choice.VERSION}, AVX-512, library ")


def test_without_a_library_it_is_onnx_runtime(monkeypatch: pytest.MonkeyPatch) -> None:
    assert runtime_name(None) == runtime_version(None)
    assert runtime_name(None).startswith("ONNX Runtime 1.")

    def unknown(_: str) -> str:
        raise choice.PackageNotFoundError

    monkeypatch.setattr(choice, "version", unknown)
    assert runtime_name(None) == "ONNX Runtime"
