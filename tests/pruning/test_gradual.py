"""Stage 3 by gradual pruning: groups go by their worth, the budget is met, runs go on exactly."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
import torch

from sr_core.catalogue.final import read_final, read_tuned_final, tensors_of
from sr_core.errors import TrainingError
from sr_core.network.blocks import Scheme
from sr_core.network.candidate import Candidate
from sr_core.network.extract import extract
from sr_core.network.masks import layer_mask
from sr_core.network.notation import from_text
from sr_core.pruning import refreshes
from sr_core.pruning.budget import (
    Budget,
    given_channels,
    importance,
    pruned_layers,
    with_ratios,
)
from sr_core.pruning.gradual import REFRESHES, GradualTask, group_sums, spread
from sr_core.pruning.ratio_search import prune
from sr_core.pruning.settings import STAGE3, PruneArgs
from sr_core.results.record import read_record
from sr_core.results.stage3 import Stage3
from sr_core.training.settings import Progress
from tests.pruning.test_ratio_search import SCHEMES, SUPERNET, batch, price, settings

pytestmark = pytest.mark.usefixtures("one_thread")
MIXED = from_text("x4c16_wb40b30p70_ru25u60_tb40")
"""Every scheme but `channel`."""


def gradual(photos: Path, out: Path, **changes: Any) -> PruneArgs:
    return settings(photos, out, MIXED, gradual=True, **changes)


def run(args: PruneArgs, candidate: Candidate = MIXED) -> Path:
    return prune(args, candidate, price, SUPERNET, lambda _: None)


@pytest.fixture(scope="module")
def finished(photos: Path, one_thread: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The final model of an uninterrupted run; only to be read."""
    return run(gradual(photos, tmp_path_factory.mktemp("gradual")))


@pytest.fixture
def task(photos: Path, tmp_path: Path) -> GradualTask:
    whole = extract(SUPERNET, with_ratios(MIXED, {}))
    args = gradual(photos, tmp_path, steps=100)
    budget = Budget.of(MIXED, tensors_of(whole), price, args.budget_ms)
    return GradualTask(args, budget, whole, SUPERNET)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_sums_and_their_groups_are_two_ways(scheme: Scheme, rng: np.random.Generator) -> None:
    values = torch.from_numpy(rng.random((8, 6, 3, 3), dtype=np.float32))
    sums = group_sums(values, scheme)
    assert sums.shape == importance(values.numpy(), scheme).shape
    assert sums.sum().item() == pytest.approx(values.sum().item(), rel=1e-5)
    ones = torch.zeros(len(sums))
    ones[1] = 1
    one = spread(ones, scheme, values.shape)
    assert group_sums(one, scheme).nonzero().flatten().tolist() == [1]
    assert (values * one).sum().item() == pytest.approx(sums[1].item(), rel=1e-5)


def test_groups_of_least_worth_for_their_time_go_first(task: GradualTask) -> None:
    """Where all of a layer is worth nothing, nothing else goes before it."""
    for name in task.schemes:
        task.module.get_buffer(f"{name}.worth").fill_(1.0)
    cheap = "cells.1.residual.conv2"
    worth = task.module.get_buffer(f"{cheap}.worth")
    worth.copy_(torch.arange(len(worth)) * 1e-9)
    task.refresh(1)
    ratios = {name: task.module.get_buffer(f"{name}.ratio").item() for name in task.schemes}
    assert ratios.pop(cheap) > 0
    assert all(ratio == dict(with_ratios(MIXED, {}).layers())[n].ratio for n, ratio in
               ratios.items())  # fmt: skip
    mask = group_sums(task.module.get_buffer(f"{cheap}.mask"), task.schemes[cheap])
    gone = int((mask == 0).sum())
    assert 0 < gone < len(mask)
    assert (mask[:gone] == 0).all()  # those of least worth


def test_worth_is_the_squared_change_of_the_loss(task: GradualTask) -> None:
    task.module.zero_grad()
    task.backward(batch(0))
    name = "tail"
    weight = task.module.get_parameter(f"{name}.weight")
    assert weight.grad is not None
    change = group_sums(weight.detach() * weight.grad, task.schemes[name]).square()
    torch.testing.assert_close(task.module.get_buffer(f"{name}.worth"), 0.01 * change)


def test_what_went_stays_away(task: GradualTask) -> None:
    before = {name: task.module.get_buffer(f"{name}.mask").clone() for name in task.schemes}
    for step in (50, 100):
        for name in task.schemes:
            torch.nn.init.uniform_(task.module.get_buffer(f"{name}.worth"))
        task.refresh(step)
        for name, mask in before.items():
            now = task.module.get_buffer(f"{name}.mask")
            assert (now <= mask).all()
            mask.copy_(now)
    assert price(task.candidate) <= task.budget.budget_ms
    assert [row.step for row in refreshes.read(task.args.out)] == [50, 100]


def test_the_budget_is_met_and_told(finished: Path, photos: Path) -> None:
    final, args = read_tuned_final(finished), gradual(photos, finished.parent)
    assert price(final.candidate) <= args.budget_ms
    assert final.candidate == Candidate.loads((finished.parent / "candidate.json").read_text())
    for layer in final.network.layers:
        kept = layer_mask(layer.weight, layer.pruning)
        assert (layer.mask == kept).all()
    record = read_record(finished.parent / STAGE3, Stage3, remake="")
    assert record.method == "gradual"
    assert len(record.refreshes) == min(REFRESHES, args.steps)
    took_ms = [row.ms for row in record.refreshes]
    assert took_ms == sorted(took_ms, reverse=True)
    assert took_ms[-1] <= args.budget_ms
    assert record.refreshes[-1].penalties == {}
    ratios = dict(final.candidate.layers())
    for name, ratio in record.refreshes[-1].ratios.items():
        assert ratios[name].ratio == pytest.approx(ratio, abs=1e-4)


def test_a_resumed_run_is_the_uninterrupted_one(
    finished: Path, photos: Path, tmp_path: Path
) -> None:
    class Stop(Exception):
        pass

    def stop(progress: Progress) -> None:
        if progress.step == 3:
            raise Stop

    args = gradual(photos, tmp_path)
    with pytest.raises(Stop):
        prune(args, MIXED, price, SUPERNET, stop)
    scores = read_final(tmp_path / "final.safetensors").descriptor.validation_psnr_y_db
    assert "once_for_all" not in scores  # so it is no final model yet
    again = run(gradual(photos, tmp_path, resume=True))
    one, two = read_final(finished), read_final(again)
    assert one.id == two.id
    assert one.descriptor.validation_psnr_y_db == two.descriptor.validation_psnr_y_db
    assert (tmp_path / STAGE3).read_text() == (finished.parent / STAGE3).read_text()


def test_channels_go_at_the_start_as_many_as_given(photos: Path, tmp_path: Path) -> None:
    channels = from_text("x4c16_wc50b30p70_rc25b60_tb40")
    given = given_channels(channels)
    most = {**given, **dict.fromkeys(pruned_layers(channels, given), 0.95)}
    whole_ms, least_ms = (price(with_ratios(channels, ratios)) for ratios in (given, most))
    args = settings(photos, tmp_path, channels, gradual=True, budget_ms=(whole_ms + least_ms) / 2)
    final = read_tuned_final(run(args, channels))
    assert price(final.candidate) <= args.budget_ms
    ratios = {name: pruning.ratio for name, pruning in final.candidate.layers()}
    assert (ratios["cells.0.wide.expand"], ratios["cells.1.residual.conv1"]) == (0.5, 0.25)
    assert final.network.cells[0][0].weight.shape == (48, 16, 1, 1)
    record = read_record(tmp_path / STAGE3, Stage3, remake="")
    assert set(record.refreshes[-1].ratios) == {
        "cells.0.wide.linear", "cells.0.wide.conv", "cells.1.residual.conv2", "tail"
    }  # fmt: skip


def test_what_leaves_nothing_to_prune_and_a_teacher_are_refused(
    photos: Path, tmp_path: Path
) -> None:
    channels = from_text("x4c16_wc50dd_r")
    args = settings(photos, tmp_path / "run", MIXED, gradual=True)
    with pytest.raises(TrainingError, match="prunes no layer but by channels"):
        run(args, channels)
    with pytest.raises(TrainingError, match="nothing removed, channels as given: give less"):
        run(replace(args, budget_ms=99), from_text("x4c16_wc50b30p70_r"))
    with pytest.raises(TrainingError, match="no teacher"):
        gradual(photos, tmp_path, distill=0.1)
    with pytest.raises(TrainingError, match="three ways"):
        gradual(photos, tmp_path, uniform=True)
    assert not (tmp_path / "run").exists()
