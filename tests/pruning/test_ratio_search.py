"""Stage 3 end to end on tiny networks: the budget is met, and runs go on where they stopped."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
import torch

from sr_core.catalogue.final import read_final, tensors_of
from sr_core.errors import TrainingError
from sr_core.latency.estimate import estimate
from sr_core.network.blocks import Scheme
from sr_core.network.candidate import Candidate, uniform
from sr_core.network.extract import extract
from sr_core.network.notation import from_text, to_text
from sr_core.pruning import ratio_search
from sr_core.pruning.budget import Budget, importance, with_ratios
from sr_core.pruning.ratio_search import EPSILON, prune, squared_norms
from sr_core.pruning.settings import STAGE3, PruneArgs
from sr_core.quality.datasets import TrainingPatches
from sr_core.results.record import read_record
from sr_core.results.stage3 import Stage3
from sr_core.training.loop import Batch
from sr_core.training.settings import Progress
from tests import tiny
from tests.search.profiles import on_engine

pytestmark = pytest.mark.usefixtures("one_thread")
SUPERNET = tiny.supernet(4, cells=2)
SCHEMES: tuple[Scheme, ...] = ("channel", "block", "pattern", "unstructured")
ENGINE = on_engine()
MIXED = from_text("x4c16_wc50b30p70_rc25u60_tb40")


def price(candidate: Candidate) -> float:
    return estimate(ENGINE, candidate, threads=2).total_ms


def middle(candidate: Candidate) -> float:
    """A budget half-way between the whole network and the one with 90 % removed."""
    most = {name: 0.9 for name, _ in candidate.layers()}
    return (price(with_ratios(candidate, {})) + price(with_ratios(candidate, most))) / 2


def settings(photos: Path, out: Path, candidate: Candidate, **changes: Any) -> PruneArgs:
    small: dict[str, Any] = {
        "steps": 6, "finetune_steps": 3, "patch": 8, "batch": 2, "warmup": 1,
        "validate_every": 3, "lr": 1e-3, "device": "engine", "budget_ms": middle(candidate),
        "candidate": to_text(candidate), "ema": 0.5, "precision": "fp32",
    }  # fmt: skip
    return PruneArgs(photos / "train", photos / "val", out, **(small | changes))


def run(args: PruneArgs, candidate: Candidate = MIXED) -> Path:
    return prune(args, candidate, price, SUPERNET, lambda _: None)


@pytest.fixture(scope="module")
def finished(photos: Path, one_thread: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The final model of an uninterrupted run on `MIXED`; only to be read."""
    return run(settings(photos, tmp_path_factory.mktemp("run"), MIXED))


@pytest.mark.parametrize("scheme", SCHEMES)
def test_norms_are_those_of_the_groups(scheme: Scheme, rng: np.random.Generator) -> None:
    """Importance sums magnitudes of the same groups, so of 0/1 weights both count them."""
    weight = (rng.random((8, 6, 3, 3)) < 0.4).astype(np.float32)
    norms = squared_norms(torch.from_numpy(weight), scheme, torch.zeros(8))
    assert norms.shape == importance(weight, scheme).shape
    if scheme != "pattern":
        assert (norms.numpy() == importance(weight, scheme)).all()
    fed = torch.arange(8.0)
    more = squared_norms(torch.from_numpy(weight), scheme, fed) - norms
    assert (more == fed).all() if scheme == "channel" else (more == 0).all()


@pytest.fixture
def task(photos: Path, tmp_path: Path) -> Any:
    whole = extract(SUPERNET, with_ratios(MIXED, {}))
    args = settings(photos, tmp_path, MIXED)
    budget = Budget.of(MIXED, tensors_of(whole), price, args.budget_ms)
    return ratio_search._RegularisedTask(args, budget, whole, SUPERNET)  # pyright: ignore[reportPrivateUsage]


def test_penalties_are_the_inverse_of_squared_norms(task: Any) -> None:
    task.refresh()
    name = "cells.1.residual.conv2"
    weight = task.module.get_parameter(f"{name}.weight").detach()
    relative = (weight**2).flatten() / (weight**2).mean()
    penalty = task.module.get_buffer(f"{name}.penalty")
    torch.testing.assert_close(penalty, 1 / (relative + EPSILON))
    # Each group pays about its milliseconds, whatever its size, and nothing once it is gone.
    prunable_ms = price(with_ratios(MIXED, {})) - price(
        with_ratios(MIXED, {n: 0.95 for n, _ in MIXED.layers()})
    )
    assert 0.5 * prunable_ms < task.regulariser().item() < 1.5 * prunable_ms
    with torch.no_grad():
        for parameter in task.module.parameters():
            parameter.zero_()
    task.refresh()
    assert task.regulariser().item() == 0


def test_layers_are_held_in_their_own_units(task: Any) -> None:
    """The parameters are of one size in all layers, the network is the same."""
    whole = extract(SUPERNET, with_ratios(MIXED, {}))
    sizes = [
        task.module.get_parameter(f"{name}.weight").detach().square().mean().sqrt().item()
        for name in task.schemes
    ]
    assert sizes == pytest.approx([ratio_search.TYPICAL] * len(sizes), rel=1e-5)
    for one, two in zip(whole.layers, task.module.extracted().layers, strict=True):
        np.testing.assert_allclose(two.weight, one.weight, rtol=1e-5, err_msg=one.name)


def batch(step: int) -> Batch:
    rng = np.random.default_rng(step)
    lr, hr = (torch.from_numpy(rng.random((2, 3, s, s), dtype=np.float32)) for s in (8, 32))
    return Batch(step, lr, hr, rng, half=False)


def test_strength_grows_until_the_budget_is_met_and_then_eases(task: Any) -> None:
    """Refreshed every 3rd step; penalties stay between."""
    first = task.backward(batch(0))
    assert first["strength"] * first["regulariser_ms"] == pytest.approx(
        ratio_search.FIRST_SHARE * first["loss_l1"], rel=1e-4
    )
    assert first["shrunk_ms"] > task.budget.budget_ms
    name = "tail"
    before = task.module.get_buffer(f"{name}.penalty").clone()
    with torch.no_grad():
        task.module.get_parameter(f"{name}.weight").mul_(2)
    assert task.backward(batch(1))["strength"] == first["strength"]
    assert (task.module.get_buffer(f"{name}.penalty") == before).all()
    grown = task.backward(batch(3))["strength"]
    assert grown > first["strength"]
    assert (task.module.get_buffer(f"{name}.penalty") < before).all()
    with torch.no_grad():  # now most groups are gone
        for layer in task.schemes:
            task.module.get_parameter(f"{layer}.weight")[:, 1:] *= 1e-4
            task.module.get_parameter(f"{layer}.weight")[4:] *= 1e-4
    eased = task.backward(batch(6))
    assert eased["shrunk_ms"] <= task.budget.budget_ms
    assert eased["strength"] < grown


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_budget_is_met_with_different_ratios(
    scheme: Scheme, photos: Path, tmp_path: Path
) -> None:
    wish = uniform(scale=4, width=16, blocks=("wide", "residual"), scheme=scheme, ratio=0.6)
    args = settings(photos, tmp_path, wish, steps=2, finetune_steps=1)
    found = read_final(run(args, wish)).candidate
    assert price(found) <= args.budget_ms
    ratios = {p.ratio for _, p in found.layers() if p.scheme != "dense"}
    assert len(ratios) > 1
    assert {p.scheme for _, p in found.layers()} <= {scheme, "block", "dense"}
    assert Candidate.loads((tmp_path / "candidate.json").read_text()) == found


def test_the_regulariser_shrinks_groups(photos: Path, tmp_path: Path) -> None:
    """After training under it the budget takes a lower threshold than before."""
    wish = uniform(scale=4, width=16, blocks=("wide", "residual"), scheme="block", ratio=0.6)
    args = settings(photos, tmp_path, wish, steps=40, validate_every=10, lr=3e-3, warmup=1)
    run(args, wish)
    whole = tensors_of(extract(SUPERNET, with_ratios(wish, {})))
    after = tensors_of(read_final(tmp_path / "regularised/final.safetensors").network)
    budget = Budget.of(wish, whole, price, args.budget_ms)
    shares = [budget.ms(budget.ratios(weights, 0.1)) for weights in (whole, after)]
    assert shares[1] < shares[0]
    with (tmp_path / "regularised/log.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {"strength", "shrunk_ms", "psnr_pruned", "psnr_whole"} <= rows[0].keys()
    assert float(rows[-1]["strength"]) > float(rows[0]["strength"])


def test_descriptor_has_one_command_for_both_phases(finished: Path) -> None:
    described = read_final(finished).descriptor
    assert [run["settings"]["steps"] for run in described.training] == [6, 3]
    assert described.reproduction.startswith("python -m sr_core prune --data DATA/train ")
    assert " && " not in described.reproduction
    for words in ("--steps 6", "--finetune-steps 3", f"--candidate {to_text(MIXED)}", "--device"):
        assert words in described.reproduction
    found = json.loads((finished.parent / "candidate.json").read_text())
    assert described.candidate == found


@pytest.mark.parametrize("calls", [4, 7])
def test_interrupted_in_either_phase_and_resumed_is_as_if_uninterrupted(
    finished: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, calls: int
) -> None:
    draw, count = TrainingPatches.batch, [0]

    def watched(patches: TrainingPatches, rng: np.random.Generator, size: int) -> Any:
        count[0] += 1
        if count[0] > calls:
            raise KeyboardInterrupt
        return draw(patches, rng, size)

    monkeypatch.setattr(TrainingPatches, "batch", watched)
    with pytest.raises(KeyboardInterrupt):
        run(settings(photos, tmp_path, MIXED))
    monkeypatch.undo()
    path = run(settings(photos, tmp_path, MIXED, resume=True))
    assert path.read_bytes() == finished.read_bytes()
    assert (tmp_path / STAGE3).read_bytes() == (finished.parent / STAGE3).read_bytes()
    first, second = (read_final(p).descriptor for p in (path, finished))
    assert first.reproduction == second.reproduction


def test_every_refresh_is_kept(finished: Path) -> None:
    record = read_record(finished.parent / STAGE3, Stage3, remake="")
    assert (record.method, record.device) == ("regulariser", "engine")
    assert [refresh.step for refresh in record.refreshes] == [0, 3]
    schemes = {name for name, p in MIXED.layers() if p.scheme != "dense"}
    for refresh in record.refreshes:
        assert refresh.ratios.keys() == refresh.penalties.keys() == schemes
        assert refresh.ms > 0
        assert (refresh.strength or 0) > 0


def test_ratios_by_sensitivity_meet_the_budget(photos: Path, tmp_path: Path) -> None:
    wish = from_text("x4c16_wc50b30p70_rc25u60_tb40_ib50")
    args = settings(photos, tmp_path, wish, sensitivity=True, validate_every=9)
    found = read_final(run(args, wish)).candidate
    assert price(found) <= args.budget_ms
    assert [p.scheme for _, p in found.layers() if p.scheme != "dense"]
    record = read_record(tmp_path / STAGE3, Stage3, remake="")
    assert record.method == "sensitivity"
    assert {curve.layer for curve in record.curves} == {
        name for name, p in wish.layers() if p.scheme != "dense"
    }
    with pytest.raises(TrainingError, match="give one of them"):
        settings(photos, tmp_path, wish, sensitivity=True, uniform=True)


@pytest.mark.parametrize("method", ["sensitivity", "uniform", "regulariser"])
def test_luma_networks_find_ratios_too(photos: Path, tmp_path: Path, method: str) -> None:
    wish = from_text("x4c16y_rb50b50_s_tb40_ib80")
    supernet = tiny.supernet(4, cells=2, colour="luma")
    flags = {} if method == "regulariser" else {method: True}
    args = settings(photos, tmp_path, wish, steps=2, finetune_steps=1, **flags)
    found = read_final(prune(args, wish, price, supernet, lambda _: None)).candidate
    assert found.colour == "luma"
    assert price(found) <= args.budget_ms
    if method != "sensitivity":  # no regulariser may shrink taps that have to sum to one
        assert found.input_skip == wish.input_skip


def test_another_supernet_does_not_resume(finished: Path, photos: Path, tmp_path: Path) -> None:
    out = shutil.copytree(finished.parent, tmp_path / "run")
    args, other = settings(photos, out, MIXED, resume=True), tiny.supernet(4, cells=2, seed=5)
    before = (out / "regularised/final.json").read_bytes()
    with pytest.raises(TrainingError, match=r"holds a run that began with another supernet"):
        prune(args, MIXED, price, other, lambda _: None)
    assert (out / "regularised/final.json").read_bytes() == before


def test_uniform_ratios_train_for_the_same_number_of_steps(photos: Path, tmp_path: Path) -> None:
    reports: list[Progress] = []
    args = settings(photos, tmp_path, MIXED, uniform=True, validate_every=9)
    found = read_final(prune(args, MIXED, price, SUPERNET, reports.append)).candidate
    assert [progress.step for progress in reports] == [9]
    assert price(found) <= args.budget_ms
    assert len({p.ratio for _, p in found.layers() if p.scheme != "dense"}) <= 2
    assert not (tmp_path / "regularised").exists()


def test_a_finished_run_is_not_overwritten(finished: Path, photos: Path) -> None:
    with pytest.raises(TrainingError, match="holds a checkpoint"):
        run(settings(photos, finished.parent, MIXED))


def test_impossible_budgets_leave_no_folder(photos: Path, tmp_path: Path) -> None:
    for budget_ms in (0.1, 1e6):
        with pytest.raises(TrainingError, match="A budget of"):
            run(settings(photos, tmp_path / "out", MIXED, budget_ms=budget_ms))
    with pytest.raises(TrainingError, match="--finetune-steps must be above 0"):
        settings(photos, tmp_path / "out", MIXED, finetune_steps=0)
    assert not (tmp_path / "out").exists()
