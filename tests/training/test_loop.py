"""The loop with the smallest possible task; what it does for supernets is tested with them."""

from __future__ import annotations

import json
from collections.abc import Mapping
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
from sr_core.training import loop
from sr_core.training.settings import Progress

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
        with loop.autocast(batch.lr.device, batch.half):
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
    loop.run(settings(photos, tmp_path, fp32_last=1), task, [], reports.append)
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
