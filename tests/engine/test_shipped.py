"""Choosing a shipped library by its instruction set, also where it cannot run."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from sr_core.engine import shipped as module
from sr_core.engine.build import TARGETS, Target, file_name, own_path, target_here
from sr_core.engine.library import Library
from sr_core.engine.shipped import INSTRUCTIONS, OWN, instruction_set, load, shipped_sha256
from sr_core.errors import EngineError
from sr_core.files import PRECOMPUTED, sha256

FOLDER = PRECOMPUTED / "engine"
CHECKSUMS = {path.name: sha256(path) for path in FOLDER.glob("*.so")}


def passes(_: Path) -> str:
    return ""


def crashes(_: Path) -> str:
    return "it ended with SIGILL"


def on(patch: pytest.MonkeyPatch, target: Target, flags: frozenset[str] | None = None) -> None:
    """Pretend to be a computer that `target` is for, whose libraries all pass their self-test."""
    patch.setattr(module.platform, "system", lambda: "Linux")
    patch.setattr(module.platform, "machine", lambda: target.machine)
    patch.setattr(module, "cpu_flags", lambda: target.needs if flags is None else flags)
    patch.setattr(module, "self_test", passes)
    patch.setattr(module, "Library", Path)


def test_every_target_has_a_name() -> None:
    assert [instruction_set(target) for target in TARGETS] == list(INSTRUCTIONS.values())
    for target in TARGETS:
        assert shipped_sha256(instruction_set(target), CHECKSUMS) == {CHECKSUMS[file_name(target)]}
    assert shipped_sha256("AVX9", CHECKSUMS) == set()


def test_a_library_that_is_not_the_best_one_is_loaded_too(monkeypatch: pytest.MonkeyPatch) -> None:
    best, other, _ = TARGETS
    on(monkeypatch, best)
    assert load("avx512", FOLDER, CHECKSUMS) == FOLDER / file_name(best)
    assert load("avx2", FOLDER, CHECKSUMS) == FOLDER / file_name(other)


def test_the_one_for_this_computer_really_loads(library: Library) -> None:
    option = next(o for o, name in INSTRUCTIONS.items() if name == instruction_set(target_here()))
    assert load(option, FOLDER, CHECKSUMS).lanes in {4, 8, 16}


def test_what_a_processor_has_beyond_a_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.platform, "machine", lambda: "x86_64")
    flags = {flag for target in TARGETS if target.machine == "x86_64" for flag in target.needs}
    monkeypatch.setattr(module, "cpu_flags", lambda: flags)
    assert module.better_instructions("AVX2") == ("AVX-512",)
    assert module.better_instructions("AVX-512") == ()
    assert module.better_instructions("128-bit vectors") == ("AVX-512", "AVX2")
    monkeypatch.setattr(module, "cpu_flags", lambda: {f for f in flags if "avx512" not in f})
    assert module.better_instructions("AVX2") == ()


def test_a_processor_that_lacks_it_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    on(monkeypatch, TARGETS[0], TARGETS[1].needs)
    with pytest.raises(EngineError, match=r"^This processor has no AVX-512 \(it lacks avx512bw, "):
        load("avx512", FOLDER, CHECKSUMS)
    with pytest.raises(EngineError, match=r"^No library with NEON is shipped for Linux on x86_64"):
        load("aarch64", FOLDER, CHECKSUMS)
    monkeypatch.setattr(module.platform, "system", lambda: "Darwin")
    with pytest.raises(EngineError, match="AVX2 is shipped for Darwin on x86_64: run this on"):
        load("avx2", FOLDER, CHECKSUMS)


def test_missing_and_damaged(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    target = TARGETS[1]
    on(monkeypatch, target)
    with pytest.raises(EngineError, match=rf"^{file_name(target)} is missing: restore it\.$"):
        load("avx2", tmp_path, CHECKSUMS)
    shutil.copy(FOLDER / file_name(target), tmp_path)
    with pytest.raises(EngineError, match="does not match its checksum: restore it"):
        load("avx2", tmp_path, {})
    monkeypatch.setattr(module, "self_test", crashes)
    with pytest.raises(EngineError, match=r"does not work on this computer \(it ended with SIG"):
        load("avx2", tmp_path, CHECKSUMS)


def test_the_one_built_here(monkeypatch: pytest.MonkeyPatch, user_data: Path) -> None:
    on(monkeypatch, TARGETS[0])
    with pytest.raises(EngineError, match=r"No library was built on this computer: run `python -m"):
        load(OWN, FOLDER, CHECKSUMS)
    own_path().parent.mkdir(parents=True, exist_ok=True)
    own_path().write_bytes(b"built")
    assert load(OWN, FOLDER, CHECKSUMS) == own_path()
