"""Commands on luma networks beside those of RGB."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from sr_core.catalogue.store import Catalogue
from sr_core.network.candidate import Family
from tests import tiny
from tests.cli.test_main import Shell
from tests.search.profiles import device, install

TEXT = "x4c8y_r_s_ib80"


@pytest.fixture
def root(own_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """RGB x2 and x4, luma x4, and one device."""
    monkeypatch.setenv("UPFRONT_DATA", str(tmp_path / "data"))
    install(own_root, device("phone"))
    tiny.add_luma(own_root)
    return own_root


@pytest.fixture
def shell(root: Path, capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(root, capsys)


def test_models_are_listed_with_their_colour(shell: Shell) -> None:
    colours = {row["name"]: row["colour"] for row in json.loads(shell("models", "--json"))}
    assert (colours["x4-wide"], colours["x4-luma-residual"]) == ("rgb", "luma")
    assert shell.json("verify")["ok"]


def test_a_luma_network_is_described_and_evaluated(shell: Shell, tmp_path: Path) -> None:
    assert "x4 luma, 8 channels" in shell("describe", "--model", TEXT)
    hr = tiny.save_benchmark(tmp_path, 4) / "Set5/HR"
    row = shell.json("evaluate", "--model", TEXT, "--hr", hr)
    assert row["psnr_rgb"] != row["psnr_y"]


def test_upscale_takes_a_family(shell: Shell, tmp_path: Path) -> None:
    source, out = tiny.save_drawn(tmp_path / "in.png", 12, 10), tmp_path / "out.png"
    told = shell("upscale", source, out, "--colour", "luma")
    model = Catalogue(tmp_path / "precomputed").models(Family(4, "luma"))[0]
    assert model.id in told
    with Image.open(out) as image:
        assert (image.size, image.mode) == ((48, 40), "RGB")
    error = shell.error("upscale", source, out, "--scale", 2, "--colour", "luma")
    assert "There is no x2-luma supernet here: expected x2, x4, x4-luma." in error
    error = shell.error("upscale", source, out, "--model", "x4-wide", "--colour", "luma")
    assert "Model x4-wide sees rgb, not luma: leave out --colour." in error


def test_from_search_to_front(shell: Shell, root: Path, photos: Path, tmp_path: Path) -> None:
    family = ("--scale", 4, "--colour", "luma")
    error = shell.error("front", *family)
    assert "no x4-luma front" in error
    assert "--scale 4 --colour luma --val" in error
    assert "3 networks stored" in shell(
        "search", *family, "--val", photos / "val", "--sampler", "random", "--trials", 3
    )
    assert (root / "fronts/x4-luma.parquet").is_file()
    assert "x4c" in shell("front", *family)
    assert "no x4 front" in shell.error("front", "--scale", 4)
    images = tiny.save_benchmark(tmp_path / "images", 4)
    assert "measured on Set5" in shell("search", *family, "--benchmark", images)
    assert "no x2-luma supernet" in shell.error("front", "--scale", 2, "--colour", "luma")
