"""Fine-tuning one network: masks stay, weights move, interrupted runs go on as if they were not."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
from safetensors.numpy import load_file

from sr_core.catalogue.final import read_final
from sr_core.errors import TrainingError
from sr_core.network.extract import extract
from sr_core.network.notation import from_text, to_text
from sr_core.pruning.finetune import Start, finetune
from sr_core.pruning.module import Network
from sr_core.pruning.settings import FinetuneArgs
from sr_core.quality.benchmark import score_crops
from sr_core.quality.datasets import TrainingPatches, validation_crops
from sr_core.runtime.upscale import Upscaler
from sr_core.training.settings import Progress
from tests import tiny

pytestmark = pytest.mark.usefixtures("one_thread")
SUPERNET = tiny.supernet(2)
CANDIDATE = from_text("x2c16_wc50b30p70_rc25u60_tb40")
BEFORE = extract(SUPERNET, CANDIDATE)
START = Start(BEFORE, SUPERNET.sha256)


def settings(photos: Path, out: Path, **changes: Any) -> FinetuneArgs:
    small: dict[str, Any] = {
        "steps": 6, "patch": 8, "batch": 2, "warmup": 2, "validate_every": 3, "lr": 1e-3,
        "model": to_text(CANDIDATE), "precision": "fp32",
    }  # fmt: skip
    return FinetuneArgs(photos / "train", photos / "val", out, **(small | changes))


def nothing(_: Progress) -> None:
    """Reports to nobody."""


@pytest.fixture(scope="module")
def finished(photos: Path, one_thread: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The final model of an uninterrupted run; only to be read."""
    return finetune(settings(photos, tmp_path_factory.mktemp("run")), START, SUPERNET, nothing)


def test_masks_stay_and_all_kept_weights_move(finished: Path) -> None:
    after = read_final(finished).network
    for one, two in zip(BEFORE.layers, after.layers, strict=True):
        assert (one.mask == two.mask).all(), one.name
        assert (two.weight[~two.mask] == 0).all()
        moved = (one.weight != two.weight)[one.mask].mean()
        assert moved > 0.9, one.name


def test_descriptor_compares_with_the_weights_before(finished: Path, photos: Path) -> None:
    described = read_final(finished).descriptor
    crops = validation_crops(photos / "val", 2)
    before = score_crops(Upscaler(BEFORE, threads=1).run, crops, scale=2)
    after = score_crops(Upscaler(read_final(finished).network, threads=1).run, crops, scale=2)
    expected = {"once_for_all": before, "fine_tuned": after}
    assert described.validation_psnr_y_db == pytest.approx(expected, abs=1e-3)
    assert described.supernet_sha256 == SUPERNET.sha256
    assert described.data_sha256 == TrainingPatches(photos / "train", 2, 8).checksum
    assert described.reproduction.startswith(
        "python -m sr_core finetune --data DATA/train --val DATA/val --out RUN --steps 6 "
    )
    assert f"--model {to_text(CANDIDATE)}" in described.reproduction
    (record,) = described.training
    assert (record["from_step"], record["to_step"]) == (0, 6)
    assert str(photos) not in described.model_dump_json()


def test_it_learns(photos: Path, tmp_path: Path) -> None:
    reports: list[Progress] = []
    args = settings(photos, tmp_path, steps=60, validate_every=20, lr=3e-3, batch=4, ema=0.5)
    finetune(args, START, SUPERNET, reports.append)
    losses = [progress.readings["loss_l1"] for progress in reports]
    assert losses[-1] < 0.6 * losses[0]
    scores = read_final(tmp_path / "final.safetensors").descriptor.validation_psnr_y_db
    assert scores["fine_tuned"] > scores["once_for_all"] + 2


def test_interrupted_and_resumed_is_as_if_uninterrupted(
    finished: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw, calls = TrainingPatches.batch, [0]

    def watched(patches: TrainingPatches, rng: np.random.Generator, size: int) -> Any:
        calls[0] += 1
        if calls[0] > 4:
            raise KeyboardInterrupt
        return draw(patches, rng, size)

    monkeypatch.setattr(TrainingPatches, "batch", watched)
    with pytest.raises(KeyboardInterrupt):
        finetune(settings(photos, tmp_path), START, SUPERNET, nothing)
    monkeypatch.undo()
    path = finetune(settings(photos, tmp_path, resume=True), START, SUPERNET, nothing)
    assert path.read_bytes() == finished.read_bytes()
    described, whole = (read_final(p).descriptor for p in (path, finished))
    assert described.validation_psnr_y_db == whole.validation_psnr_y_db
    assert described.reproduction == whole.reproduction
    first, second = (load_file(p.with_name("checkpoint.safetensors")) for p in (path, finished))
    assert all(value.tobytes() == second[name].tobytes() for name, value in first.items())
    assert first.keys() == second.keys()


def test_another_network_does_not_resume(finished: Path, photos: Path, tmp_path: Path) -> None:
    out = shutil.copytree(finished.parent, tmp_path / "run")
    other = Start(extract(SUPERNET, from_text("x2c16_wc50b30p75_rc25u60_tb40")), SUPERNET.sha256)
    with pytest.raises(TrainingError, match=r"holds a run of x2c16_wc50b30p70_.* another --out"):
        finetune(settings(photos, out, resume=True, steps=9), other, SUPERNET, nothing)


def test_another_supernet_does_not_resume(finished: Path, photos: Path, tmp_path: Path) -> None:
    other = tiny.supernet(2, seed=5)
    start = Start(extract(other, CANDIDATE), other.sha256)
    out = shutil.copytree(finished.parent, tmp_path / "run")
    args = settings(photos, out, resume=True, steps=9)
    with pytest.raises(TrainingError, match=r"began with another supernet .* another --out"):
        finetune(args, start, other, nothing)
    # A run that went on from a final model does not need the supernet, but for its teacher.
    later = tmp_path / "later"
    args = settings(photos, later, steps=1, validate_every=1, init_from=finished)
    finetune(args, Start.of_final(read_final(finished)), SUPERNET, nothing)
    args = settings(photos, later, resume=True, steps=2, validate_every=1)
    with pytest.raises(TrainingError, match="began with another supernet"):
        finetune(replace(args, distill=1.0), start, other, nothing)
    again = read_final(finetune(args, start, other, nothing)).descriptor
    assert again.supernet_sha256 == SUPERNET.sha256


def test_a_final_model_goes_on_with_its_history(
    finished: Path, photos: Path, tmp_path: Path
) -> None:
    args = settings(photos, tmp_path, steps=1, lr=1e-30, init_from=finished)
    path = finetune(args, Start.of_final(read_final(finished)), SUPERNET, nothing)
    for name, tensor in load_file(path).items():
        np.testing.assert_allclose(tensor, load_file(finished)[name], rtol=1e-6, err_msg=name)
    earlier, described = (read_final(p).descriptor for p in (finished, path))
    assert described.training[0] == earlier.training[0]
    assert described.training[1]["continues"] == "weights"
    assert described.reproduction.count(" && ") == 1
    assert "--init-from FINAL" in described.reproduction
    before = earlier.validation_psnr_y_db["once_for_all"]
    assert described.validation_psnr_y_db["once_for_all"] == before


def test_the_teacher_draws_the_network_towards_its_output(
    finished: Path, photos: Path, tmp_path: Path
) -> None:
    """With a weight that drowns the images, the distance to the teacher must shrink."""
    args = settings(photos, tmp_path, steps=30, validate_every=30, ema=0.5, lr=3e-3, distill=100.0)
    path = finetune(args, START, SUPERNET, nothing)
    crops = validation_crops(photos / "val", 2)
    lr = np.ascontiguousarray(crops.lr.transpose(0, 3, 1, 2), dtype=np.float32) / np.float32(255)
    anchor = Network(extract(SUPERNET, from_text("x2c16_2w"))).run(lr)
    before, after = (Network(n).run(lr) for n in (BEFORE, read_final(path).network))
    assert np.abs(after - anchor).mean() < 0.5 * np.abs(before - anchor).mean()
    assert path.read_bytes() != finished.read_bytes()


def test_bad_settings_are_refused(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="--distill must be 0 or above"):
        settings(photos, tmp_path, distill=-1.0)
    with pytest.raises(TrainingError, match="--steps must be above 0"):
        settings(photos, tmp_path, steps=0)
    for seed in (-1, 2**32):
        with pytest.raises(TrainingError, match=f"--seed {seed}: expected 0 to 4294967295"):
            settings(photos, tmp_path, seed=seed)
    assert settings(photos, tmp_path, seed=2**32 - 1).seed == 2**32 - 1
    args = settings(photos, tmp_path, fp32_last=6)
    assert replace(args, resume=True).fp32_last == 6


def test_luma_with_a_pruned_input_skip_is_tuned_as_it_runs(photos: Path, tmp_path: Path) -> None:
    """The skip's mask stays, and scores are those of the RGB image that `Upscaler` makes."""
    supernet = tiny.supernet(2, colour="luma")
    candidate = from_text("x2c16y_wb50b50b50_r_tb40_ib80")
    before = extract(supernet, candidate)
    args = settings(photos, tmp_path, model=to_text(candidate), loss="y")
    final = read_final(finetune(args, Start(before, supernet.sha256), supernet, nothing))
    skip, old = final.network.input_skip, before.input_skip
    np.testing.assert_array_equal(skip.mask, old.mask)
    assert (skip.weight != old.weight)[old.mask].mean() > 0.9
    crops = validation_crops(photos / "val", 2)
    score = score_crops(Upscaler(final.network, threads=1).run, crops, scale=2)
    assert final.descriptor.validation_psnr_y_db["fine_tuned"] == pytest.approx(score, abs=1e-3)
