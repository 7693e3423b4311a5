"""`train --arch` and `publish-rival`, on drawn images and in a few steps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

from sr_core.catalogue.publish_rival import runner
from sr_core.catalogue.store import Catalogue
from sr_core.catalogue.verify import verify
from sr_core.catalogue.writer import LICENCE
from sr_core.quality.benchmark import score_crops
from sr_core.quality.datasets import validation_crops
from sr_core.rivals.settings import RivalArgs
from sr_core.rivals.train import train
from sr_core.rivals.weights import read_rival
from sr_core.training.settings import Progress
from tests import tiny
from tests.cli.test_main import Shell
from tests.tiny import write_manifest

pytestmark = pytest.mark.usefixtures("one_thread")
NAME = "ecbsr-m4c16-x4.safetensors"


def settings(photos: Path, out: Path, **more: object) -> RivalArgs:
    small = {"steps": 4, "patch": 6, "batch": 2, "warmup": 1, "validate_every": 2}
    places = {"data": photos / "train", "val": photos / "val", "out": out}
    values = {**places, "precision": "fp32", **small, **more}
    return RivalArgs(**values)  # pyright: ignore[reportArgumentType]


@pytest.fixture
def shell(own_root: Path, capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(own_root, capsys)


@pytest.fixture(scope="module")
def run(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run folder; only to be read."""
    return train(settings(photos, tmp_path_factory.mktemp("run")), lambda _: None).parent


def test_a_run_leaves_folded_weights_and_their_story(run: Path, photos: Path) -> None:
    rival = read_rival(run / NAME)
    command = rival.descriptor.training[0]["command"]
    assert command.startswith("python -m sr_core train --data DATA/train --val DATA/val --out RUN")
    assert "--arch ecbsr-m4c16 --scale 4" in command
    assert (run / "log.csv").read_text().startswith("step,loss_l1,")
    crops = validation_crops(photos / "val", 4)
    assert rival.descriptor.validation_crops_sha256 == crops.checksum
    # The stored network is the one that the loop scored: EMA, folded.
    psnr_db = score_crops(runner(rival.network, None), crops, scale=4)
    assert psnr_db == pytest.approx(rival.validation_psnr_db, abs=1e-4)


def test_as_published_it_is_trained_and_run_in_luma(photos: Path, tmp_path: Path) -> None:
    path = train(settings(photos, tmp_path, published=True), lambda _: None)
    rival = read_rival(path)
    assert rival.id.startswith("ecbsr-m4c16-published-x4-")
    assert (rival.descriptor.published, rival.network.colour) == (True, "luma")
    assert "--published" in rival.descriptor.training[0]["command"]
    psnr_db = score_crops(runner(rival.network, None), validation_crops(photos / "val", 4), scale=4)
    assert psnr_db == pytest.approx(rival.validation_psnr_db, abs=1e-3)


def test_a_resumed_run_ends_like_an_uninterrupted_one(
    run: Path, photos: Path, tmp_path: Path
) -> None:
    def stop(_: Progress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(settings(photos, tmp_path), stop)
    train(settings(photos, tmp_path, resume=True), lambda _: None)
    assert (tmp_path / NAME).read_bytes() == (run / NAME).read_bytes()


def test_published_with_what_was_measured(
    run: Path, photos: Path, tmp_path: Path, own_root: Path, shell: Shell
) -> None:
    benchmark = tiny.save_benchmark(tmp_path / "benchmark", 4)
    words = ("publish-rival", run, "--benchmark", benchmark, "--val", photos / "val")
    printed = shell(*words)
    catalogue = Catalogue(own_root)
    (rival,) = catalogue.rivals(4)
    assert catalogue.rivals(2) == []
    assert verify(catalogue) == []
    assert {q.image_set: q.n for q in rival.quality} == {"Set5": 2, "Set14": 1, "BSD100": 1}
    assert rival.descriptor.licence == LICENCE
    assert f"{rival.id}: validation {rival.validation_psnr_db:.3f} dB" in printed
    assert np.isclose(
        rival.validation_psnr_db, read_rival(run / NAME).validation_psnr_db, atol=1e-4
    )


def test_what_is_not_published_or_was_changed_is_found(own_root: Path, run: Path) -> None:
    from sr_core.catalogue.writer import install_rival

    install_rival(own_root, run / NAME, read_rival(run / NAME).descriptor)
    assert any("not listed" in problem for problem in verify(Catalogue(own_root)))
    write_manifest(own_root)
    problems = verify(Catalogue(own_root))
    assert len(problems) == 1
    assert "has no results or licence: use `publish-rival`." in problems[0]


def test_publishing_needs_one_rival(shell: Shell, tmp_path: Path) -> None:
    words = ("publish-rival", tmp_path, "--benchmark", tmp_path, "--val", tmp_path)
    assert "holds 0 trained rivals" in shell.error(*words)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--arch", "vdsr"), "There is no architecture 'vdsr': expected one of fsrcnn"),
        (("--arch", "fsrcnn", "--width", 16), "--width is a setting of the supernet"),
        (("--arch", "fsrcnn", "--scale", 3), "--scale 3: expected one of"),
        (("--arch", "fsrcnn", "--init-from", "a"), "--init-from does not go with --arch"),
    ],
    ids=str,
)
def test_wrong_settings_are_refused(
    shell: Shell, tmp_path: Path, words: tuple[object, ...], message: str
) -> None:
    places = ("--data", tmp_path, "--val", tmp_path, "--out", tmp_path)
    assert message in shell.error("train", *places, *words)
