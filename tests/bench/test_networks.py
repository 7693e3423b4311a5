"""`bench networks` on tiny networks; how fast they are, this computer decides."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from sr_core.bench import networks
from sr_core.bench.sitting import Call
from sr_core.catalogue.store import Catalogue
from sr_core.files import PRECOMPUTED
from tests.cli.test_main import Shell
from tests.needs import engine
from tests.tiny import write_manifest


@pytest.fixture
def shell(own_root: Path, capsys: pytest.CaptureFixture[str]) -> Shell:
    shutil.copytree(PRECOMPUTED / "engine", own_root / "engine", dirs_exist_ok=True)
    write_manifest(own_root)
    engine(Catalogue(own_root))
    return Shell(own_root, capsys)


def test_networks_are_timed_in_turns(shell: Shell) -> None:
    found = json.loads(
        shell("bench", "networks", "x4-wide", "x4-residual", "--seconds", 0, "--threads", 1,
              "--json")
    )  # fmt: skip
    assert found["threads"] == 1
    assert found["runtime"].startswith("UpFront engine")
    first, second = found["networks"]
    assert [one["reference"] for one in (first, second)] == ["x4-wide", "x4-residual"]
    assert first["network"].startswith("x4c")
    assert first["ratio"] == 1
    assert second["ratio"] == pytest.approx(second["median_ms"] / first["median_ms"])
    assert first["p10_ms"] <= first["median_ms"] <= first["p90_ms"]


def test_the_text_has_a_line_for_each(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    def timed(calls: list[Call], seconds: float, rounds: int) -> list[list[float]]:
        assert (len(calls), seconds, rounds) == (2, 1.5, networks.ROUNDS)
        return [[4.0] * 6, [2.0, 2.0, 3.0, 3.0, 3.0, 9.0]]

    monkeypatch.setattr(networks, "interleaved", timed)
    head, *lines = shell(
        "bench", "networks", "x4-wide", "x4-residual", "--seconds", 1.5
    ).splitlines()
    assert "fp32, batch 1, output 1280x720" in head
    assert [line.split()[0] for line in lines] == ["4.00", "3.00"]
    assert [line.split()[-2:] for line in lines] == [["1.00x", "x4-wide"], ["0.75x", "x4-residual"]]


@pytest.mark.parametrize(
    "words", [("--threads", 0), ("--seconds", -1), ("--seconds", "nan"), ("--seconds", "inf")]
)
def test_no_threads_and_no_time_are_refused(shell: Shell, words: tuple[object, ...]) -> None:
    assert "expected at least 1 thread" in shell.error("bench", "networks", "x4-wide", *words)
    assert "There is no model" in shell.error("bench", "networks", "x4-nothing")
