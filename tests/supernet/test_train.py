from __future__ import annotations

import csv
import errno
import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest

pytest.importorskip("torch")
import torch
from PIL import Image
from safetensors.numpy import load_file, save_file

from sr_core.errors import CatalogueError, DatasetError, InvalidCandidate, TrainingError
from sr_core.files import sha256
from sr_core.machine import processor
from sr_core.network.blocks import Block
from sr_core.network.candidate import TAIL_SCHEMES, Candidate, uniform
from sr_core.network.colour import CHANNELS, Colour
from sr_core.network.extract import extract
from sr_core.network.presets import presets
from sr_core.network.weights import SupernetSpec, read_descriptor, read_supernet
from sr_core.quality.benchmark import network_upscale
from sr_core.quality.datasets import TrainingPatches, validation_crops
from sr_core.quality.metrics import psnr_y
from sr_core.runtime.upscale import Upscaler
from sr_core.supernet import train as training
from sr_core.supernet.module import Supernet
from sr_core.supernet.settings import TrainArgs
from sr_core.supernet.train import SupernetTask, train
from sr_core.training.settings import Progress

PROBES = training.PROBES
CHECKPOINT, WEIGHTS = "checkpoint.safetensors", "supernet.safetensors"
pytestmark = pytest.mark.usefixtures("one_thread")
SUFFIXES = {".csv", ".png", ".json", ".safetensors"}


def settings(photos: Path, out: Path, **changes: Any) -> TrainArgs:
    small: dict[str, Any] = {
        "scale": 2, "width": 16, "cells": 2, "steps": 4, "patch": 8, "batch": 2,
        "warmup": 2, "validate_every": 2, "precision": "fp32",
    }  # fmt: skip
    return TrainArgs(photos / "train", photos / "val", out, **(small | changes))


def nothing(_: Progress) -> None:
    """Reports to nobody."""


@pytest.fixture(scope="module", autouse=True)
def few_probes() -> Iterator[None]:
    """Validation takes most of the time of runs as short as these."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "PROBES", ("residual", "wide-block50"))
        yield


@pytest.fixture(scope="module")
def finished(
    photos: Path, one_thread: None, few_probes: None, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, list[Progress]]:
    """The folder of an uninterrupted run, and what it reported; only to be read."""
    out, reports = tmp_path_factory.mktemp("runs") / "whole", list[Progress]()
    assert train(settings(photos, out), reports.append) == out / WEIGHTS
    return out, reports


def test_run_folder_is_complete_and_holds_no_pickle(finished: tuple[Path, list[Progress]]) -> None:
    out, _ = finished
    names = {path.name for path in out.iterdir()}
    assert names == {"log.csv", "curve.png", CHECKPOINT, WEIGHTS, "supernet.json"}
    assert {path.suffix for path in out.iterdir()} == SUFFIXES
    with Image.open(out / "curve.png") as picture:
        assert len(set(np.asarray(picture.convert("L")).ravel().tolist())) > 10


def test_log_and_reports_agree(finished: tuple[Path, list[Progress]]) -> None:
    out, reports = finished
    with (out / "log.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["step"]) for row in rows] == [p.step for p in reports] == [2, 4]
    for row, progress in zip(rows, reports, strict=True):
        assert progress.steps == 4
        logged = {k.removeprefix("psnr_"): float(v) for k, v in row.items() if "psnr_" in k}
        assert logged == pytest.approx(progress.psnr_db, abs=1e-3)
        assert float(row["loss_anchor"]) == pytest.approx(
            progress.readings["loss_anchor"], rel=1e-4
        )
        assert float(row["loss_candidate"]) == pytest.approx(
            progress.readings["loss_candidate"], rel=1e-4
        )
    assert set(reports[0].psnr_db) == {"residual", "wide-block50"}
    assert reports[1].eta_s == 0 < reports[0].eta_s


def test_validation_scores_are_those_of_the_stored_weights(
    finished: tuple[Path, list[Progress]], photos: Path
) -> None:
    """Measured again from the file, with the runtime people use."""
    out, reports = finished
    stored, crops = read_supernet(out / WEIGHTS), validation_crops(photos / "val", 2)
    listed = {preset.name: preset.candidate for preset in presets(SupernetSpec(2, 16, 2))}
    for name, psnr_db in reports[-1].psnr_db.items():
        upscale = network_upscale(
            Upscaler(extract(stored, listed[f"x2-{name}"]), threads=1).upscale
        )
        pairs = zip(crops.lr, crops.hr, strict=True)
        again = np.mean([psnr_y(upscale(lr), hr, shave=2) for lr, hr in pairs])
        assert psnr_db == pytest.approx(again, abs=0.01), name


def test_descriptor_says_how_the_weights_came_about(
    finished: tuple[Path, list[Progress]], photos: Path
) -> None:
    out, reports = finished
    text = (out / "supernet.json").read_text()
    described = json.loads(text)
    assert described["spec"] == {
        "scale": 2, "width": 16, "cells": 2, "skip_schemes": list(TAIL_SCHEMES),
    }  # fmt: skip
    assert described["weights_sha256"] == sha256(out / WEIGHTS)
    assert described["data_sha256"] == TrainingPatches(photos / "train", 2, 8).checksum
    assert described["validation_crops_sha256"] == validation_crops(photos / "val", 2).checksum
    assert described["validation_psnr_y_db"] == reports[-1].psnr_db
    (record,) = described["training"]
    assert (record["continues"], record["from_step"], record["to_step"]) == ("nothing", 0, 4)
    assert record["settings"]["patch"] == 8
    assert "--steps 4 --patch 8 --batch 2" in record["command"]
    assert record["commit"]
    assert record["processor"] == processor()
    assert torch.cuda.is_available() or record["device"] == "CPU"
    assert record["torch"] == torch.__version__
    assert record["data_sha256"] == described["data_sha256"]
    assert record["validation_crops_sha256"] == described["validation_crops_sha256"]
    assert str(photos) not in text
    assert str(out) not in text


def test_stored_weights_are_a_readable_supernet(finished: tuple[Path, list[Progress]]) -> None:
    stored = read_supernet(finished[0] / WEIGHTS)
    assert stored.spec == SupernetSpec(2, 16, 2, skip_schemes=TAIL_SCHEMES)


def test_stored_weights_are_the_moving_average(finished: tuple[Path, list[Progress]]) -> None:
    stored, state = (load_file(finished[0] / name) for name in (WEIGHTS, CHECKPOINT))
    for name, tensor in stored.items():
        assert (tensor == state[f"ema.{name}"]).all(), name
    assert any((tensor != state[f"net.{name}"]).any() for name, tensor in stored.items())


def test_validation_does_not_touch_training(
    finished: tuple[Path, list[Progress]], photos: Path, tmp_path: Path
) -> None:
    train(settings(photos, tmp_path, validate_every=4), nothing)
    same_result(finished[0], tmp_path)


def test_every_step_sees_new_patches(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[bytes] = []
    draw = TrainingPatches.batch

    def watched(patches: TrainingPatches, rng: np.random.Generator, size: int) -> Any:
        lr, hr = draw(patches, rng, size)
        seen.append(lr.tobytes())
        return lr, hr

    monkeypatch.setattr(TrainingPatches, "batch", watched)
    train(settings(photos, tmp_path, validate_every=4), nothing)
    assert len(set(seen)) == 4


def test_anchor_and_candidate_are_both_trained(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One is all wide and the other all residual here, so each shows in its own weights."""

    def always(block: Block) -> Callable[..., Candidate]:
        return lambda *_, **__: uniform(scale=2, width=16, blocks=(block, block))

    monkeypatch.setattr(training, "sample_anchor", always("wide"))
    monkeypatch.setattr(training, "sample_candidate", always("residual"))
    train(settings(photos, tmp_path, steps=1), nothing)
    state = load_file(tmp_path / CHECKPOINT)
    for name, start in Supernet(SupernetSpec(2, 16, 2), seed=0).named_parameters():
        assert (state[f"net.{name}"] != start.detach().numpy()).any(), name


def same_result(one: Path, two: Path) -> None:
    assert (one / WEIGHTS).read_bytes() == (two / WEIGHTS).read_bytes()
    first, second = (load_file(folder / CHECKPOINT) for folder in (one, two))
    assert first.keys() == second.keys()
    assert any(name.startswith("adam.exp_avg_sq.") for name in first)
    for name, tensor in first.items():
        assert tensor.tobytes() == second[name].tobytes(), name


def test_same_seed_same_weights_other_seed_other_weights(
    finished: tuple[Path, list[Progress]], photos: Path, tmp_path: Path
) -> None:
    train(settings(photos, tmp_path / "same"), nothing)
    same_result(finished[0], tmp_path / "same")
    train(settings(photos, tmp_path / "other", seed=1), nothing)
    assert (finished[0] / WEIGHTS).read_bytes() != (tmp_path / "other" / WEIGHTS).read_bytes()


def after(calls: int, function: Callable[..., Any]) -> Callable[..., Any]:
    """`function`, interrupted at the call after `calls` calls."""
    count = 0

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        nonlocal count
        count += 1
        if count > calls:
            raise KeyboardInterrupt
        return function(*args, **kwargs)

    return wrapped


def test_interrupted_between_steps_and_resumed_is_as_if_uninterrupted(
    finished: tuple[Path, list[Progress]],
    photos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Interrupted at step 3, which is one after a validation."""
    monkeypatch.setattr(TrainingPatches, "batch", after(3, TrainingPatches.batch))
    with pytest.raises(KeyboardInterrupt):
        train(settings(photos, tmp_path), nothing)
    monkeypatch.undo()
    train(settings(photos, tmp_path, resume=True), nothing)
    same_result(finished[0], tmp_path)
    history = json.loads((tmp_path / "supernet.json").read_text())["training"]
    steps = [(run["continues"], run["from_step"], run["to_step"]) for run in history]
    assert steps == [("nothing", 0, 2), ("checkpoint", 2, 4)]
    assert len((tmp_path / "log.csv").read_text().splitlines()) == 3


def test_muon_and_luma_resume_exactly_too(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One run with Muon on luma, and one that was interrupted."""
    whole, parts = (
        settings(photos, tmp_path / name, optimizer="muon", lr=2e-3, loss="y")
        for name in ("whole", "parts")
    )
    train(whole, nothing)
    monkeypatch.setattr(TrainingPatches, "batch", after(3, TrainingPatches.batch))
    with pytest.raises(KeyboardInterrupt):
        train(parts, nothing)
    monkeypatch.undo()
    train(replace(parts, resume=True), nothing)
    same_result(whole.out, parts.out)
    kept = load_file(parts.out / CHECKPOINT)
    assert "muon.momentum.head.weight" in kept
    assert "adam.exp_avg.input_skip.weight" in kept


@pytest.mark.parametrize("validations", [1, 2])
@pytest.mark.parametrize("place", ["score_crops", "write_supernet"])
def test_interrupted_in_a_validation_and_resumed_is_as_if_uninterrupted(
    finished: tuple[Path, list[Progress]],
    photos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    place: str,
    validations: int,
) -> None:
    """Validation runs on the averaged weights, which must not end up as the trained ones."""
    per_validation = len(finished[1][0].psnr_db) if place == "score_crops" else 1
    calls = validations * per_validation - 1
    monkeypatch.setattr(training, place, after(calls, getattr(training, place)))
    with pytest.raises(KeyboardInterrupt):
        train(settings(photos, tmp_path), nothing)
    monkeypatch.undo()
    train(settings(photos, tmp_path, resume=(tmp_path / CHECKPOINT).exists()), nothing)
    same_result(finished[0], tmp_path)
    assert (tmp_path / "supernet.json").is_file()


def test_finished_run_resumes_to_nothing_or_to_more_steps(
    finished: tuple[Path, list[Progress]], photos: Path, tmp_path: Path
) -> None:
    out = shutil.copytree(finished[0], tmp_path / "run")
    reports: list[Progress] = []
    lines: list[str] = []
    train(settings(photos, out, resume=True), reports.append, lines.append)
    assert reports == []
    assert lines == ["Precision: fp32 (as asked)."]
    lines.clear()
    train(settings(photos, out, resume=True, steps=6), reports.append, lines.append)
    assert [progress.step for progress in reports] == [6]
    assert lines[1:] == ["warning: Resuming at step 4 with changes: --steps 4 -> 6."]


def test_resuming_with_other_settings_or_data_is_allowed_but_not_silent(
    finished: tuple[Path, list[Progress]], photos: Path, tmp_path: Path
) -> None:
    out = shutil.copytree(finished[0], tmp_path / "run")
    fewer = shutil.copytree(photos, tmp_path / "photos")
    (fewer / "train/many/5.png").unlink()
    lines: list[str] = []
    args = settings(photos, out, resume=True, steps=6, lr=1e-4, source_weights={"few": 0.5})
    train(replace(args, data=fewer / "train"), nothing, lines.append)
    assert lines[1:] == [
        "warning: Resuming at step 4 with changes: --steps 4 -> 6, --lr 0.0008 -> 0.0001, "
        "--source-weights {} -> {'few': 0.5}, other training images."
    ]


def test_a_new_run_does_not_overwrite_a_checkpoint(
    finished: tuple[Path, list[Progress]], photos: Path
) -> None:
    before = {path.name: path.read_bytes() for path in finished[0].iterdir()}
    with pytest.raises(TrainingError, match=r"holds a checkpoint.*use --resume or another --out"):
        train(settings(photos, finished[0]), nothing)
    assert {path.name: path.read_bytes() for path in finished[0].iterdir()} == before


def test_init_from_takes_weights_and_history(
    finished: tuple[Path, list[Progress]], photos: Path, tmp_path: Path
) -> None:
    start = finished[0] / WEIGHTS
    # Steps too small to change a float32 leave the weights that were loaded.
    still = settings(photos, tmp_path, steps=1, lr=1e-30, init_from=start)
    train(still, nothing)
    loaded, stored = load_file(tmp_path / WEIGHTS), load_file(start)
    assert loaded.keys() == stored.keys()
    for name, tensor in loaded.items():
        np.testing.assert_allclose(tensor, stored[name], rtol=1e-6, atol=1e-25, err_msg=name)
    first, second = json.loads((tmp_path / "supernet.json").read_text())["training"]
    assert first == json.loads((finished[0] / "supernet.json").read_text())["training"][0]
    assert (second["continues"], second["from_step"], second["to_step"]) == ("weights", 0, 1)
    assert "--init-from WEIGHTS" in second["command"]


def test_in_bf16_the_loss_is_nearly_the_same(
    finished: tuple[Path, list[Progress]], photos: Path, tmp_path: Path
) -> None:
    reports: list[Progress] = []
    train(settings(photos, tmp_path, precision="bf16", steps=2), reports.append)
    fp32, bf16 = finished[1][0], reports[0]
    for name, loss in bf16.readings.items():
        assert loss == pytest.approx(fp32.readings[name], rel=0.05)
        assert loss != fp32.readings[name]
    assert bf16.psnr_db == pytest.approx(fp32.psnr_db, abs=0.5)


@pytest.mark.parametrize("colour", CHANNELS)
def test_probes_are_presets_of_a_full_supernet(
    colour: Colour, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "PROBES", PROBES)
    task = SupernetTask(TrainArgs(photos / "train", photos / "val", tmp_path, colour=colour))
    assert task.probes.keys() == set(PROBES)
    family = task.spec.family.name
    listed = {preset.name: preset.candidate for preset in presets(task.spec)}
    assert all(task.probes[name] == listed[f"{family}-{name}"] for name in PROBES)


def test_distillation_changes_the_candidates_not_their_loss(
    finished: tuple[Path, list[Progress]], photos: Path, tmp_path: Path
) -> None:
    reports: list[Progress] = []
    train(settings(photos, tmp_path, distill=1.0), reports.append)
    assert reports[0].readings["loss_anchor"] == pytest.approx(
        finished[1][0].readings["loss_anchor"], rel=0.05
    )
    assert reports[0].readings["loss_candidate"] == pytest.approx(
        finished[1][0].readings["loss_candidate"], rel=0.05
    )
    assert (tmp_path / WEIGHTS).read_bytes() != (finished[0] / WEIGHTS).read_bytes()


def test_training_lowers_the_loss(photos: Path, tmp_path: Path) -> None:
    reports: list[Progress] = []
    train(
        settings(photos, tmp_path, steps=40, validate_every=20, lr=2e-3, batch=4, ema=0.5),
        reports.append,
    )
    assert reports[1].readings["loss_anchor"] < 0.9 * reports[0].readings["loss_anchor"]
    assert reports[1].readings["loss_candidate"] < 0.9 * reports[0].readings["loss_candidate"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": 0}, "--steps must be above 0"),
        ({"batch": -1}, "--batch must be above 0"),
        ({"lr": 0.0}, "--lr must be above 0"),
        ({"lr": float("nan")}, "--lr must be above 0"),
        ({"validate_every": 0}, "--validate-every must be above 0"),
        ({"ema": 1.0}, "--ema must be in 0 to below 1"),
        ({"resume": True, "init_from": Path("w.safetensors")}, "give one of them"),
    ],
)
def test_bad_settings_are_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(TrainingError, match=message):
        settings(tmp_path, tmp_path / "out", **changes)


@pytest.mark.parametrize("changes", [{"scale": 3}, {"width": 20}, {"cells": 0}])
def test_size_outside_the_vocabulary_is_refused(tmp_path: Path, changes: dict[str, int]) -> None:
    with pytest.raises(InvalidCandidate, match="expected"):
        settings(tmp_path, tmp_path / "out", **changes)


def test_unusable_folders_are_refused(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    args = settings(photos, out)
    for changes, message in (
        ({"data": photos / "none"}, "none is not a folder"),
        ({"val": photos / "none"}, "none is not a folder"),
        ({"val": photos / "train"}, "smaller than a 192x192 validation crop"),
        ({"patch": 40}, "at least 80 pixels a side"),
    ):
        with pytest.raises(DatasetError, match=message):
            train(replace(args, **changes), nothing)
    assert not out.exists()


def test_missing_or_damaged_checkpoint_is_refused(photos: Path, tmp_path: Path) -> None:
    args = settings(photos, tmp_path / "out", resume=True)
    with pytest.raises(TrainingError, match=r"No checkpoint in .*leave out --resume"):
        train(args, nothing)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / CHECKPOINT).write_bytes(b"no safetensors")
    with pytest.raises(TrainingError, match=r"checkpoint .* does not fit this run"):
        train(args, nothing)
    save_file({"step": np.zeros(1)}, tmp_path / "out" / CHECKPOINT)
    with pytest.raises(TrainingError, match=r"checkpoint .* does not fit this run"):
        train(args, nothing)


@pytest.mark.parametrize("changes", [{"scale": 4}, {"width": 24}, {"cells": 3}, {"cells": 1}])
def test_checkpoint_of_another_size_is_refused(
    finished: tuple[Path, list[Progress]], photos: Path, tmp_path: Path, changes: dict[str, int]
) -> None:
    out = shutil.copytree(finished[0], tmp_path / "run")
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    with pytest.raises(TrainingError, match=r"does not fit this run .*settings it was made with"):
        train(settings(photos, out, resume=True, steps=6, **changes), nothing)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


@pytest.mark.parametrize("changes", [{"scale": 4}, {"width": 24}, {"cells": 3}])
def test_initial_weights_of_another_size_are_refused(
    finished: tuple[Path, list[Progress]], photos: Path, tmp_path: Path, changes: dict[str, int]
) -> None:
    args = settings(photos, tmp_path / "out", init_from=finished[0] / WEIGHTS, **changes)
    with pytest.raises(TrainingError, match=r"--init-from holds .*, this run is "):
        train(args, nothing)


def test_missing_initial_weights_are_refused(photos: Path, tmp_path: Path) -> None:
    args = settings(photos, tmp_path / "out", init_from=tmp_path / "none.safetensors")
    with pytest.raises(CatalogueError, match=r"none\.json is missing"):
        train(args, nothing)


def test_a_reader_of_reports_that_left_is_no_full_disk(photos: Path, tmp_path: Path) -> None:
    """`train | head -1`"""

    def gone(_: Progress) -> NoReturn:
        raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        train(settings(photos, tmp_path, steps=1), gone)


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_full_disk_leaves_the_earlier_checkpoint(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    before: dict[str, bytes] = {}

    def full(*_: object) -> NoReturn:
        raise OSError(errno.ENOSPC, "No space left on device")

    def fill_the_disk(_: Progress) -> None:
        before.update((path.name, path.read_bytes()) for path in tmp_path.iterdir())
        monkeypatch.setattr(os, step, full)

    with pytest.raises(TrainingError, match=r"No space left.*free some space and use --resume"):
        train(settings(photos, tmp_path), fill_the_disk)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    monkeypatch.undo()
    train(settings(photos, tmp_path, resume=True), nothing)


def test_a_file_in_place_of_the_run_folder_is_refused(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("taken")
    with pytest.raises(TrainingError, match=r"Cannot write .*out/checkpoint.* \(Not a directory\)"):
        train(settings(photos / "nothing here", tmp_path / "out"), nothing)


def test_a_state_that_cannot_be_written_is_kept_and_gone_on_with(
    photos: Path, tmp_path: Path, user_data: Path, full: set[Path]
) -> None:
    """Also that of the last step, after which nothing is left to train."""
    whole, run = tmp_path / "whole", tmp_path / "run"
    train(settings(photos, whole, steps=2, validate_every=2), nothing)
    args = settings(photos, run, steps=2, validate_every=2)
    full.add(run)
    with pytest.raises(TrainingError, match="No space left") as caught:
        train(args, nothing)
    full.clear()
    (state,) = (user_data / "kept").iterdir()
    assert f"kept in {state}: move it to {run / CHECKPOINT}." in str(caught.value)
    state.rename(run / CHECKPOINT)
    train(replace(args, resume=True), nothing)
    weights = "supernet.safetensors"
    assert (run / weights).read_bytes() == (whole / weights).read_bytes()
    assert read_descriptor(run / weights)["training"][-1]["to_step"] == 2


def test_a_run_does_not_overwrite_the_weights_that_it_starts_from(
    photos: Path, tmp_path: Path
) -> None:
    weights = train(settings(photos, tmp_path, steps=1), nothing)
    (tmp_path / CHECKPOINT).unlink()
    before = weights.read_bytes()
    with pytest.raises(TrainingError, match="holds the weights to start from, which the run would"):
        train(settings(photos, tmp_path, init_from=weights), nothing)
    assert weights.read_bytes() == before


def test_diverged_run_stops_and_keeps_its_checkpoint(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def diverge(optimizer: torch.optim.Adam) -> None:
        optimizer.param_groups[0]["params"][0].data.fill_(torch.nan)

    def spoil(_: Progress) -> None:
        monkeypatch.setattr(torch.optim.Adam, "step", diverge)

    with pytest.raises(TrainingError, match=r"not finite at step 4.*lower --lr"):
        train(settings(photos, tmp_path), spoil)
    for name, tensor in load_file(tmp_path / CHECKPOINT).items():
        assert np.isfinite(tensor).all(), name


def test_a_menu_grows_from_weights_of_fewer_blocks(photos: Path, tmp_path: Path) -> None:
    """What was trained is kept, new blocks and widths start anew; nothing shrinks."""
    first = train(settings(photos, tmp_path / "a", blocks="residual"), nothing)
    more = settings(
        photos, tmp_path / "b", init_from=first, blocks="wide,residual", widths="8,16", lr=1e-9
    )
    grown, before = read_supernet(train(more, nothing)), read_supernet(first)
    assert grown.spec.blocks == ("wide", "residual")
    assert grown.spec.widths == (8, 16)
    for name, tensor in before.tensors.items():
        np.testing.assert_allclose(grown.tensors[name], tensor, atol=1e-5, err_msg=name)
    assert len(read_descriptor(tmp_path / "b" / WEIGHTS)["training"]) == 2
    fewer = settings(photos, tmp_path / "c", init_from=tmp_path / "b" / WEIGHTS, blocks="wide")
    with pytest.raises(TrainingError, match=r"--init-from holds"):
        train(fewer, nothing)
