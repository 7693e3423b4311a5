from __future__ import annotations

import platform
import re
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

import pytest

from sr_core import machine


def test_processor_is_named_as_the_system_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = tmp_path / "cpuinfo"
    monkeypatch.setattr(machine, "_CPUINFO", info)
    info.write_text("processor\t: 0\nmodel name\t: Any CPU @ 2.0: GHz\nmodel name\t: Second\n")
    assert machine.processor() == "Any CPU @ 2.0: GHz"


@pytest.mark.parametrize("name", ["Silicon M9", ""])
def test_processor_without_cpuinfo_or_without_a_name_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Not on Linux; or on ARM, where there is no model name."""
    monkeypatch.setattr(platform, "processor", lambda: name)
    monkeypatch.setattr(machine, "_CPUINFO", tmp_path / "cpuinfo")
    assert machine.processor() == (name or platform.machine())
    (tmp_path / "cpuinfo").write_text("processor: 0\n")
    assert machine.processor() == (name or platform.machine())


def test_commit_is_that_of_the_code_or_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    assert re.fullmatch(r"[0-9a-f]{40}(\+changes)?|unknown", machine.commit())

    def no_git(*_: object, **__: object) -> NoReturn:
        raise FileNotFoundError("git")

    monkeypatch.setattr(machine.subprocess, "run", no_git)
    assert machine.commit() == "unknown"


_FAULTS = """
import resource, sys
import numpy as np
from sr_core.machine import keep_freed_memory

if sys.argv[1] == "keep":
    assert keep_freed_memory()
np.ones(10_000_000)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    np.ones(10_000_000)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be told to")
def test_freed_memory_is_not_fetched_anew() -> None:
    """Of the pages that 80 MB take five times over, none."""

    def faults(how: str) -> int:
        done = subprocess.run(
            [sys.executable, "-c", _FAULTS, how], capture_output=True, text=True, check=True
        )
        return int(done.stdout)

    assert faults("keep") * 10 < faults("as it is")


def test_without_glibc_memory_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    assert not machine.keep_freed_memory()
