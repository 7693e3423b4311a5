from __future__ import annotations

import platform
from pathlib import Path

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
