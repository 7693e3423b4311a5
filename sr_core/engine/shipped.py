"""The shipped libraries by their instruction sets, and one of them by name, to be timed."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from itertools import takewhile
from pathlib import Path

from sr_core.engine.build import TARGETS, Target, file_name, own_path
from sr_core.engine.library import Library, self_test
from sr_core.errors import EngineError
from sr_core.files import sha256
from sr_core.machine import cpu_flags

OWN = "own"
"""Stands for the library that `engine build` made on this computer."""
INSTRUCTIONS: dict[str, str] = {"avx512": "AVX-512", "avx2": "AVX2", "aarch64": "NEON"}
"""Name of an option -> name of the instruction set, the best first."""


def instruction_set(target: Target) -> str:
    """Return the name that people use of a target's instruction set."""
    return INSTRUCTIONS[_option(target)]


def better_instructions(instructions: str) -> tuple[str, ...]:
    """Return the instruction sets that this processor has and that are better than those."""
    machine, flags = platform.machine(), cpu_flags()
    here = {
        instruction_set(target)
        for target in TARGETS
        if target.machine == machine and target.needs <= flags
    }
    better = takewhile(lambda name: name != instructions, INSTRUCTIONS.values())
    return tuple(name for name in better if name in here)


def shipped_sha256(instructions: str, checksums: Mapping[str, str]) -> set[str]:
    """Return the SHA-256 of all shipped libraries of an instruction set.

    `checksums`: file name -> SHA-256 of the shipped libraries.
    """
    names = {file_name(target) for target in TARGETS if instruction_set(target) == instructions}
    return {digest for name, digest in checksums.items() if name in names}


def load(option: str, folder: Path, checksums: Mapping[str, str]) -> Library:
    """Load a shipped library, whether or not it is the best one for this computer.

    Args:
        option: one of `INSTRUCTIONS`, or `OWN`.
        folder: where the shipped libraries are.
        checksums: file name -> SHA-256 of the shipped libraries.

    Raises:
        EngineError: it does not run here, is missing or damaged, or fails its self-test.
    """
    path = _own() if option == OWN else _shipped(option, folder, checksums)
    if fault := self_test(path):
        raise EngineError(f"{path.name} does not work on this computer ({fault}).")
    return Library(path)


def _own() -> Path:
    path = own_path()
    if not path.is_file():
        raise EngineError(
            "No library was built on this computer: run `python -m sr_core engine build`."
        )
    return path


def _shipped(option: str, folder: Path, checksums: Mapping[str, str]) -> Path:
    system, machine = platform.system(), platform.machine()
    fitting = [
        target
        for target in TARGETS
        if _option(target) == option and target.machine == machine and system == "Linux"
    ]
    if not fitting:
        raise EngineError(
            f"No library with {INSTRUCTIONS[option]} is shipped for {system} on {machine}: "
            "run this on a computer that has it."
        )
    target = fitting[0]
    if missing := target.needs - cpu_flags():
        raise EngineError(
            f"This processor has no {INSTRUCTIONS[option]} (it lacks "
            f"{', '.join(sorted(missing))}): run this on a computer that has it."
        )
    path = folder / file_name(target)
    if not path.is_file():
        raise EngineError(f"{path.name} is missing: restore it.")
    if sha256(path) != checksums.get(path.name):
        raise EngineError(f"{path.name} does not match its checksum: restore it.")
    return path


def _option(target: Target) -> str:
    return target.name.rpartition("-")[2]
