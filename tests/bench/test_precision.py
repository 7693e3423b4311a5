"""`bench precision` on small networks; how fast they are, this computer decides."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import pytest

pytest.importorskip("torch")

from sr_core.bench import precision as bench
from sr_core.pruning.settings import FinetuneArgs
from sr_core.results.precision import PrecisionBench
from sr_core.rivals.settings import RivalArgs
from sr_core.supernet.settings import TrainArgs
from sr_core.training import precision
from tests.cli.test_main import Shell

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def shell(
    tiny_root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Shell:
    small = partial(TrainArgs, width=16, cells=2, patch=8, batch=2)
    monkeypatch.setattr(bench, "TrainArgs", small)
    monkeypatch.setattr(bench, "FinetuneArgs", partial(FinetuneArgs, patch=8, batch=2))
    monkeypatch.setattr(bench, "RivalArgs", partial(RivalArgs, patch=8, batch=2))
    monkeypatch.setattr(bench, "_CELLS", 2)
    return Shell(tiny_root, capsys)


def test_every_kind_of_training_is_timed_in_both_precisions(shell: Shell) -> None:
    data = json.loads(shell("bench", "precision", "--runs", 1, "--json"))
    found = PrecisionBench.model_validate(data | {"rows": tuple(data["rows"])}, strict=False)
    assert [row.network.split(",")[0] for row in found.rows] == [
        "supernet", "one network", "rival ecbsr-m4c16", "10 convolutions 3x3",
    ]  # fmt: skip
    assert (found.threads, found.runs) == (1, 1)
    assert found.auto.startswith(("fp32 (", "bf16 ("))


def test_the_table_has_a_row_for_each(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    def timed(step: precision.Step, runs: int) -> dict[str, list[float]]:
        return {"fp32": [20.0] * runs, "bf16": [30.0, 50.0, 900.0]}

    monkeypatch.setattr(precision, "times_ms", timed)
    monkeypatch.setattr(precision, "cpu_flags", lambda: frozenset({"sse2"}))
    first, second, head, *rows, last = shell("bench", "precision", "--runs", 3).splitlines()
    assert "torch" in first
    assert second.startswith("median of 3 forward and backward passes")
    assert head.split() == ["training", "fp32,", "ms", "bf16,", "ms", "bf16", "/", "fp32"]
    assert [row.split()[-3:] for row in rows] == [["20.0", "50.0", "2.50"]] * 4
    assert last.startswith("--precision auto takes ")


def test_no_runs_are_refused(shell: Shell) -> None:
    assert "--runs 0: expected at least 1" in shell.error("bench", "precision", "--runs", 0)
