"""The loop with the smallest possible task; what it does for supernets is tested with them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
import torch
from safetensors.numpy import load_file
from torch import nn
from torch.nn import functional as F

from sr_core.errors import TrainingError
from sr_core.quality.datasets import ValidationCrops
from sr_core.supernet.settings import TrainArgs
from sr_core.training import loop, precision
from sr_core.training.settings import Progress, differences, settings_of

pytestmark = pytest.mark.usefixtures("one_thread")


class Task:
    """One convolution to x2; a buffer counts its batches."""

    scale = 2

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.module = nn.Conv2d(3, 12, 1)
        self.module.register_buffer("count", torch.zeros(()))
        self.seen: list[tuple[str, int, bool]] = []
        self.written: list[Mapping[str, Any]] = []

    def backward(self, batch: loop.Batch) -> dict[str, float]:
        self.seen.append(("train", batch.step, batch.half))
        self.module.get_buffer("count").add_(1)
        with precision.autocast(batch.lr.device, batch.half):
            output = F.pixel_shuffle(self.module(batch.lr), 2).float()
        loss = (output - batch.hr).abs().mean()
        loss.backward()
        return {"loss_l1": loss.item(), "other": float(batch.step)}

    def validate(self, crops: ValidationCrops, half: bool) -> dict[str, float]:
        self.seen.append(("validate", len(crops.hr), half))
        return {"it": 30.0}

    def write(self, ema: loop.Arrays, descriptor: Mapping[str, Any]) -> None:
        assert ema.keys() == {"weight", "bias"}
        self.written.append(json.loads(json.dumps(descriptor)))


def settings(photos: Path, out: Path, **changes: Any) -> TrainArgs:
    small: dict[str, Any] = {"steps": 4, "patch": 8, "batch": 2, "validate_every": 2}
    return TrainArgs(photos / "train", photos / "val", out, **(small | changes))


def test_the_last_steps_are_in_fp32(photos: Path, tmp_path: Path) -> None:
    task, reports = Task(), list[Progress]()
    args = settings(photos, tmp_path, precision="bf16", fp32_last=1)
    loop.run(args, task, [], reports.append)
    assert task.seen == [
        ("train", 0, True), ("train", 1, True), ("validate", 2, True),
        ("train", 2, True), ("train", 3, False), ("validate", 2, False),
    ]  # fmt: skip
    assert [progress.readings["other"] for progress in reports] == [0.5, 2.5]
    header = "step,loss_l1,other,lr,steps_per_s,psnr_it"
    assert (tmp_path / "log.csv").read_text().splitlines()[0] == header


def test_buffers_are_part_of_a_checkpoint(photos: Path, tmp_path: Path) -> None:
    loop.run(settings(photos, tmp_path), Task(), [], lambda _: None)
    again = Task()
    loop.run(settings(photos, tmp_path, steps=6, resume=True), again, [], lambda _: None)
    assert again.module.get_buffer("count").item() == 6
    assert load_file(tmp_path / "checkpoint.safetensors")["buffer.count"] == 6
    other = Task()
    other.module.register_buffer("more", torch.zeros(()))
    with pytest.raises(TrainingError, match="does not fit this run"):
        loop.run(settings(photos, tmp_path, steps=8, resume=True), other, [], lambda _: None)


def test_a_run_can_be_a_part_of_another_command(photos: Path, tmp_path: Path) -> None:
    task = Task()
    earlier = [{"command": "before"}]
    loop.run(settings(photos, tmp_path), task, earlier, lambda _: None, by="a whole")
    commands = [record["command"] for record in task.written[-1]["training"]]
    assert commands == ["before", "a whole"]
    assert earlier == [{"command": "before"}]


def test_the_precision_is_said_and_recorded(photos: Path, tmp_path: Path) -> None:
    task, lines = Task(), list[str]()
    loop.run(settings(photos, tmp_path, precision="fp32"), task, [], lambda _: None, lines.append)
    assert lines == ["Precision: fp32 (as asked)."]
    assert not any(half for *_, half in task.seen)
    record = task.written[-1]["training"][-1]
    assert (record["settings"]["precision"], record["precision_reason"]) == ("fp32", "as asked")


def unsure(monkeypatch: pytest.MonkeyPatch, faster: bool) -> None:
    """A processor that does not tell, and on which bf16 is faster or slower in a trial."""
    monkeypatch.setattr(precision, "cpu_flags", lambda: frozenset[str]())
    times = {"fp32": [2.0], "bf16": [1.0 if faster else 3.0]}

    def tried(step: precision.Step, *_: object) -> dict[str, list[float]]:
        step(True)
        step(False)
        return times

    monkeypatch.setattr(precision, "times_ms", tried)


def test_a_trial_leaves_the_run_as_it_was(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop.run(settings(photos, tmp_path / "asked", precision="fp32"), Task(), [], lambda _: None)
    unsure(monkeypatch, faster=False)
    task = Task()
    loop.run(settings(photos, tmp_path / "tried"), task, [], lambda _: None)
    assert task.seen[:2] == [("train", 1, True), ("train", 1, False)]
    record = task.written[-1]["training"][-1]
    assert record["settings"]["precision"] == "fp32"
    assert "--precision fp32" in record["command"]
    assert record["precision_reason"].endswith("a trial: 2 ms in fp32, 3 ms in bf16")
    asked, tried = (
        load_file(tmp_path / name / "checkpoint.safetensors") for name in ("asked", "tried")
    )
    assert {name: value.tobytes() for name, value in asked.items()} == {
        name: value.tobytes() for name, value in tried.items()
    }


def test_a_resumed_run_keeps_its_precision_on_the_same_hardware(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unsure(monkeypatch, faster=True)
    loop.run(settings(photos, tmp_path), Task(), [], lambda _: None)
    unsure(monkeypatch, faster=False)
    lines: list[str] = []
    task = Task()
    more = settings(photos, tmp_path, steps=6, resume=True)
    loop.run(more, task, [], lambda _: None, lines.append)
    assert lines[0] == "Precision: bf16 (as the run began)."
    assert ("train", 5, True) in task.seen

    monkeypatch.setattr(loop, "processor", lambda: "Another")
    lines.clear()
    loop.run(replace(more, steps=8), Task(), [], lambda _: None, lines.append)
    assert lines[0].startswith("Precision: fp32 (")
    assert lines[1] == (
        "warning: Resuming at step 6 with changes: --steps 6 -> 8, --precision bf16 -> fp32."
    )


def test_before_there_was_a_choice_all_runs_were_alike() -> None:
    old = {"precision": "bf16", "loss": "rgb", "optimizer": "adam"}
    assert settings_of({"settings": {"lr": 1}}) == {**old, "lr": 1}
    assert settings_of({"settings": {"precision": "fp32"}}) == {**old, "precision": "fp32"}
    data = {"data_sha256": "0", "validation_crops_sha256": "0"}
    now = {"settings": {"precision": "fp32"}, **data}
    assert differences({"settings": {}, **data}, now) == "--precision bf16 -> fp32"
