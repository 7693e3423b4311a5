from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, NoReturn

import jsonschema
import numpy as np
import pytest
from PIL import Image

from sr_core.bench import session as bench
from sr_core.catalogue.publish import ImageSet
from sr_core.catalogue.store import Catalogue
from sr_core.cli import main as cli
from sr_core.cli import train as cli_train
from sr_core.cli.main import main
from sr_core.engine.library import Library
from sr_core.errors import CatalogueError, InvalidCandidate
from sr_core.files import REPOSITORY
from sr_core.network.candidate import Family, uniform
from sr_core.quality.benchmark import Score
from sr_core.quality.datasets import validation_crops
from sr_core.report import pages
from sr_core.report.facts import training_facts
from sr_core.report.tables import results_table
from sr_core.runtime.upscale import Upscaler
from tests import tiny

COMMANDS = {
    "models", "describe", "upscale", "evaluate", "verify", "train", "publish", "bench", "table",
    "measure", "devices", "estimate", "galaxy", "search", "front", "engine", "prune", "finetune",
    "publish-final", "publish-rival", "moments",
}  # fmt: skip
NUMBER, TEXT = {"type": "number"}, {"type": "string"}
COUNT = {"type": "integer", "minimum": 0}
SHARE = {"type": "number", "minimum": 0, "maximum": 1}
SSIM = {"type": "number", "minimum": -1, "maximum": 1}
MODEL_ID = {"type": "string", "pattern": "^[0-9a-f]{10}-[0-9a-f]{8}$"}


def record(**properties: Any) -> dict[str, Any]:
    """Schema of an object with exactly these properties."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


QUALITY = {
    f"{metric}_{image_set}": schema
    for image_set in ("set5", "set14", "bsd100")
    for metric, schema in (("psnr_y", NUMBER), ("ssim_y", SSIM))
}
COST = dict.fromkeys(("params_kept", "params_dense", "macs_kept", "macs_dense"), COUNT)
SCHEMAS: dict[str, dict[str, Any]] = {
    "models": {
        "type": "array",
        "minItems": 20,
        "items": record(
            id=MODEL_ID, name=TEXT, title=TEXT, kind={"enum": ["supernet", "final"]},
            scale={"enum": [2, 4]}, colour={"enum": ["rgb", "luma"]},
            params_kept=COUNT, params_dense=COUNT,
            macs_kept_g=NUMBER, macs_dense_g=NUMBER, **QUALITY,
        )
        | {"patternProperties": {"^psnr_rgb_": NUMBER}},
    },
    "describe": record(
        id={"type": "string", "pattern": "^[0-9a-f]{10}$"},
        layers={
            "type": "array",
            "minItems": 3,
            "items": record(
                name=TEXT, role={"enum": ["head", "cell", "tail", "input_skip"]},
                kernel={"enum": [1, 3, 5]}, in_channels=COUNT, out_channels=COUNT,
                dense_in_channels=COUNT, dense_out_channels=COUNT, height=COUNT, width=COUNT,
                scheme={"enum": ["dense", "channel", "block", "pattern", "unstructured"]},
                ratio=SHARE, weights_kept=COUNT, weights_dense=COUNT, macs_kept=COUNT,
                macs_dense=COUNT, bytes_moved=COUNT,
            ),
        },
        **COST,
    ),
    "evaluate": record(
        model=MODEL_ID, protocol={"const": "y-shave-v1"}, psnr_y=NUMBER, ssim_y=SSIM, n=COUNT,
        psnr_rgb=NUMBER,
    ),
    "verify": record(ok={"type": "boolean"}, problems={"type": "array", "items": TEXT}),
    "bench": record(
        processor=TEXT, runtime={"type": "string", "pattern": r"^ONNX Runtime \d"},
        precision={"const": "fp32"}, threads={"type": "integer", "minimum": 1},
        warm_up_rounds={"const": 1}, date={"type": "string", "pattern": r"^\d{4}-\d\d-\d\d$"},
        models={
            "type": "array",
            "minItems": 20,
            "items": record(
                model=TEXT, runs=COUNT, extract_ms=NUMBER, build_ms=NUMBER, session_ms=NUMBER,
                total_ms=NUMBER, total_p10_ms=NUMBER, total_p90_ms=NUMBER,
            ),
        },
    ),
    "train": record(
        step=COUNT, steps=COUNT, loss_anchor=NUMBER, loss_candidate=NUMBER, lr=NUMBER,
        steps_per_s=NUMBER, eta_s=NUMBER,
        psnr_db={"type": "object", "minProperties": 5, "additionalProperties": NUMBER},
    ),
}  # fmt: skip


class Shell:
    """Runs commands in this process on one precomputed folder."""

    def __init__(self, root: Path, capture: pytest.CaptureFixture[str]) -> None:
        self._root, self._capture = root, capture

    def __call__(self, *words: object) -> str:
        """The standard output of a command that succeeds."""
        code = main(["--root", str(self._root), *map(str, words)])
        captured = self._capture.readouterr()
        assert code == 0, captured.err
        return captured.out

    def json(self, command: str, *words: object) -> Any:
        """The JSON of a command, checked against its schema."""
        data = json.loads(self(command, *words, "--json"))
        jsonschema.validate(data, SCHEMAS[command])
        return data

    def error(self, *words: object) -> str:
        """The message of a command that fails: one line, no traceback, nothing printed.

        Warnings may come first, one line each.
        """
        assert main(["--root", str(self._root), *map(str, words)]) == 1
        captured = self._capture.readouterr()
        assert captured.out == ""
        warnings, _, message = captured.err.rpartition("error: ")
        assert all(line.startswith("warning: ") for line in warnings.splitlines())
        assert re.fullmatch(r".+\.\n", message)
        return f"error: {message}"


@pytest.fixture
def shell(tiny_root: Path, capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(tiny_root, capsys)


@pytest.fixture
def own_shell(own_root: Path, capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(own_root, capsys)


def test_models_as_json_and_as_text(shell: Shell, tiny_root: Path) -> None:
    rows, text = shell.json("models"), shell("models")
    assert rows == [model.summary() for model in Catalogue(tiny_root).models()]
    for row in rows:
        params = rf"{row['params_kept']:,} of +{row['params_dense']:,}"
        macs = rf"{row['macs_kept_g']:.2f} of +{row['macs_dense_g']:.2f}"
        start = rf"^{row['name']} +{row['id']} +{row['kind']}"
        line = rf"{start} +{params} +{macs} +{row['psnr_y_set5']:.2f}$"
        assert re.search(line, text, re.M), line


def test_models_without_results_say_so(own_shell: Shell, own_root: Path) -> None:
    (own_root / "results/quality.json").unlink()
    assert "psnr_y_set5" not in json.loads(own_shell("models", "--json"))[0]
    assert "not measured" in own_shell("models")


def test_describe_lists_every_layer(shell: Shell) -> None:
    row = next(row for row in shell.json("models") if row["name"] == "x4-wide-block50")
    for reference in ("x4-wide-block50", row["id"]):
        described = shell.json("describe", "--model", reference)
        layers = described["layers"]
        assert described["id"] == row["id"].split("-")[0]
        assert described["params_kept"] == row["params_kept"]
        assert described["macs_kept"] == sum(layer["macs_kept"] for layer in layers)
        assert {layer["scheme"] for layer in layers} == {"dense", "block"}
    text = shell("describe", "--model", "x4-wide-block50")
    assert all(re.search(rf"^{re.escape(layer['name'])} .* {layer['scheme']} ", text, re.M)
               for layer in layers)  # fmt: skip
    assert f"kept {row['params_kept']:,} of {row['params_dense']:,} parameters" in text


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_describe_takes_a_candidate_file(shell: Shell, tmp_path: Path, encoding: str) -> None:
    """As editors save it: those of Windows put a byte-order mark first."""
    candidate = uniform(scale=2, width=16, blocks=("wide", "skip"), scheme="channel", ratio=0.5)
    (tmp_path / "own.json").write_text(json.dumps(candidate.to_json()), encoding)
    described = shell.json("describe", "--model", tmp_path / "own.json")
    assert described["id"] == candidate.id
    assert described["params_kept"] < described["params_dense"]


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ((), "x4-wide"),
        (("--scale", 2), "x2-wide"),
        (("--model", "x2-residual"), "x2-residual"),
        (("--model", "x4-wide-pattern75", "--scale", 4), "x4-wide-pattern75"),
    ],
)
def test_upscale_writes_what_the_library_computes(
    shell: Shell, tiny_root: Path, tmp_path: Path, options: tuple[object, ...], name: str
) -> None:
    image, target = tiny.drawn(23, 17), tmp_path / "out.png"
    image.save(tmp_path / "in.png")
    text = shell("upscale", tmp_path / "in.png", target, *options)
    catalogue = Catalogue(tiny_root)
    model = next(model for model in catalogue.models() if model.name == name)
    expected = Upscaler(catalogue.network(model.candidate)).upscale(image)
    with Image.open(target) as saved:
        assert np.abs(np.asarray(saved, dtype=int) - np.asarray(expected)).max() <= 1
    runtime = Upscaler(catalogue.network(model.candidate)).runtime
    size = f"{expected.width}x{expected.height}"
    assert text == f"{target}: {size}, model {model.id}, {runtime}\n"


def test_upscale_says_when_there_is_no_engine(
    tiny_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It falls back to ONNX Runtime, which may also be asked for."""
    tiny.drawn(23, 17).save(tmp_path / "in.png")
    words = ["--root", str(tiny_root), "upscale", str(tmp_path / "in.png"), str(tmp_path / "o.png")]
    assert main(words) == 0
    warning = capsys.readouterr().err
    assert re.search(r"^warning: ONNX Runtime computes instead\. .+\.$", warning, re.M)
    assert main([*words, "--engine", "onnx"]) == 0
    assert "warning" not in capsys.readouterr().err


def test_upscale_and_evaluate_on_the_engine(
    tiny_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, library: Library,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setattr(Catalogue, "_engine", (library, ""))
    shell = Shell(tiny_root, capsys)
    tiny.drawn(40, 32).save(tmp_path / "in.png")
    assert ", UpFront engine, " in shell("upscale", tmp_path / "in.png", tmp_path / "o.png")
    psnr_db = [
        shell.json("evaluate", "--model", "x4-wide", "--hr", tmp_path, "--engine", engine)["psnr_y"]
        for engine in ("sparse", "onnx")
    ]
    assert psnr_db[0] == pytest.approx(psnr_db[1], abs=0.01)


def save_text(path: Path) -> Path:
    path.write_text("not an image")
    return path


@pytest.mark.parametrize(
    ("source", "target", "options", "message"),
    [
        ("in.png", "out.png", ("--model", "x4-huge"), "There is no model 'x4-huge'"),
        ("in.png", "out.png", ("--model", "gone.json"), "Cannot read gone.json"),
        ("in.png", "out.png", ("--scale", 3), "no x3 supernet here: expected x2, x4"),
        ("in.png", "out.png", ("--scale", 0), "no x0 supernet here"),
        ("in.png", "out.png", ("--model", "x4-wide", "--scale", 2), "by 4, not 2: leave out"),
        ("text.png", "out.png", (), "not a readable image"),
        ("gone.png", "out.png", (), "There is no file"),
        (".", "out.png", (), "is a folder"),
        ("in.png", "out.gif", (), "Cannot save out.gif: expected .png"),
        ("in.png", "out", (), "Cannot save out: expected .png"),
        ("in.png", "text.png/out.png", (), "Cannot save out.png"),
        ("in.png", "gone/out.png", (), "give a folder that exists"),
        ("clear.png", "out.jpg", (), "JPEG cannot hold the image's transparency"),
        ("long.png", "out.webp", (), "WEBP cannot hold 32x16384 pixels"),
        ("in.png", "folder.png", (), "folder.png is a folder: give the name of a file"),
        ("in.png", "in.png", (), "is the image itself, which would be replaced"),
        ("in.png", "folder.png/../in.png", (), "is the image itself"),
        ("in.png", "link.png", (), "is the image itself"),
        ("link.png", "in.png", (), "is the image itself"),
        ("in.png", "hard.png", (), "is the image itself"),
        ("in.png", "♥" * 84 + ".png", (), "File name too long"),
    ],
)
def test_upscale_refuses_before_the_work_and_writes_nothing(
    shell: Shell,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    source: str,
    target: str,
    options: tuple[object],
    message: str,
) -> None:
    def work(*_: object, **__: object) -> NoReturn:
        raise AssertionError("upscaled first")

    monkeypatch.setattr(Upscaler, "upscale", work)
    tiny.save_drawn(tmp_path / "in.png", 12, 12)
    tiny.save_drawn(tmp_path / "long.png", 8, 4096)
    tiny.drawn(12, 12).convert("RGBA").save(tmp_path / "clear.png")
    save_text(tmp_path / "text.png")
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "link.png").symlink_to(tmp_path / "in.png")
    (tmp_path / "hard.png").hardlink_to(tmp_path / "in.png")
    before = sorted(tmp_path.iterdir())
    assert message in shell.error("upscale", tmp_path / source, tmp_path / target, *options)
    assert sorted(tmp_path.iterdir()) == before


def test_another_colour_than_the_models_is_a_wrong_candidate(tiny_root: Path) -> None:
    with pytest.raises(InvalidCandidate, match="sees rgb, not luma: leave out --colour"):
        cli._network(Catalogue(tiny_root), "x4-wide", 4, "luma")  # pyright: ignore[reportPrivateUsage]
    with pytest.raises(CatalogueError, match="no x4-luma supernet here: expected x2, x4"):
        cli._network(Catalogue(tiny_root), None, 4, "luma")  # pyright: ignore[reportPrivateUsage]


def test_another_scale_than_the_models_is_a_wrong_candidate(tiny_root: Path) -> None:
    with pytest.raises(InvalidCandidate, match="leave out --scale"):
        cli._network(Catalogue(tiny_root), "x4-wide", 2, None)  # pyright: ignore[reportPrivateUsage]


def test_the_search_time_score_is_the_mean_psnr_of_fixed_crops(
    shell: Shell, photos: Path, tmp_path: Path
) -> None:
    row = json.loads(
        shell("evaluate", "--model", "x4-wide", "--hr", photos / "val", "--crops", "--json")
    )
    crops = validation_crops(photos / "val", 4)
    assert (row["crops_sha256"], row["n"]) == (crops.checksum, 2)
    for index, crop in enumerate(crops.hr):
        Image.fromarray(crop).save(tmp_path / f"{index}.png")
    whole = shell.json("evaluate", "--model", "x4-wide", "--hr", tmp_path)
    assert row["psnr_y"] == pytest.approx(whole["psnr_y"], abs=1e-9)
    assert "2 crops" in shell("evaluate", "--model", "x4-wide", "--hr", photos / "val", "--crops")


def test_the_psnr_of_equal_images_is_null_in_json(
    shell: Shell, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    equal = Score(psnr_y=float("inf"), ssim_y=1.0, n=1, psnr_rgb=float("inf"))

    def scored(*_: object, **__: object) -> Score:
        return equal

    monkeypatch.setattr("sr_core.quality.benchmark.score", scored)
    text = shell("evaluate", "--model", "x4-wide", "--hr", photos / "val", "--json")
    assert json.loads(text)["psnr_y"] is None


def test_bench_session_times_every_listed_model(shell: Shell, tiny_root: Path) -> None:
    bench = shell.json("bench", "session", "--runs", 1)
    rows = bench["models"]
    assert [row["model"] for row in rows] == [m.name for m in Catalogue(tiny_root).models()]
    for row in rows:
        parts = row["extract_ms"] + row["build_ms"] + row["session_ms"]
        assert row["total_ms"] == row["total_p10_ms"] == row["total_p90_ms"]
        assert row["total_ms"] == pytest.approx(parts)
        assert min(row["extract_ms"], row["build_ms"], row["session_ms"]) > 0
    first, second, *_ = shell("bench", "session", "--runs", 2).splitlines()
    assert first == (
        f"{bench['processor']}, {bench['runtime']}, fp32, threads: {bench['threads']}, "
        f"runs: 2 after 1 discarded, {bench['date']}"
    )
    assert "median ms" in second
    assert "at least 1" in shell.error("bench", "session", "--runs", 0)


def test_bench_session_discards_the_first_round_and_gives_the_spread(
    tiny_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = len(Catalogue(tiny_root).models())
    rounds = [[1.0, 0.0, 0.0]] * models + [[run / 1000, 0.0, 0.0] for run in range(11)
                                           for _ in range(models)]  # fmt: skip
    times = iter(rounds)

    def time_one(*_: object) -> list[float]:
        return next(times)

    monkeypatch.setattr(bench, "_time_one", time_one)
    measured = bench.bench_sessions(Catalogue(tiny_root), runs=11)
    for row in measured.models:
        assert row.runs == 11
        assert (row.total_p10_ms, row.total_ms, row.total_p90_ms) == pytest.approx((1, 5, 9))


def test_evaluate_with_and_without_lr_images(shell: Shell, tmp_path: Path) -> None:
    """LR images made by `downscale` are those that evaluate makes itself."""
    folder = tiny.save_benchmark(tmp_path, 4) / "Set5"
    given = shell.json("evaluate", "--model", "x4-wide", "--hr", folder / "HR",
                       "--lr", folder / "LRx4")  # fmt: skip
    made = shell.json("evaluate", "--model", "x4-wide", "--hr", folder / "HR")
    assert given == made
    assert given["n"] == 2
    assert 3 < given["psnr_y"] < 30
    text = shell("evaluate", "--model", "x4-wide", "--hr", folder / "HR")
    assert text == (
        f"PSNR-Y {given['psnr_y']:.3f} dB, SSIM-Y {given['ssim_y']:.4f}, PSNR-RGB "
        f"{given['psnr_rgb']:.3f} dB, mean of 2 images\n"
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--model", "x4-wide", "--hr", "none"), "none is not a folder"),
        (("--model", "x2-wide", "--hr", "Set5/HR", "--lr", "Set5/LRx4"), "is not x2 of LR"),
        (("--model", "x4-wide", "--hr", "small"), "small.png"),
    ],
)
def test_evaluate_refuses(
    shell: Shell,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    options: tuple[str, ...],
    message: str,
) -> None:
    tiny.save_benchmark(tmp_path, 4)
    tiny.save_drawn(tmp_path / "small/small.png", 16, 16)
    monkeypatch.chdir(tmp_path)
    assert message in shell.error("evaluate", *options)


def test_verify_of_a_sound_folder(shell: Shell) -> None:
    assert shell.json("verify") == {"ok": True, "problems": []}
    assert shell("verify") == "precomputed/ is intact.\n"


def test_verify_of_a_damaged_folder(own_root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (own_root / "results/quality.json").unlink()
    assert main(["--root", str(own_root), "verify"]) == 1
    assert capsys.readouterr().out == "results/quality.json is missing.\n"
    assert main(["--root", str(own_root), "verify", "--json"]) == 1
    data = json.loads(capsys.readouterr().out)
    jsonschema.validate(data, SCHEMAS["verify"])
    assert data == {"ok": False, "problems": ["results/quality.json is missing."]}


def test_commands_on_an_empty_folder_say_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shell = Shell(tmp_path, capsys)
    for words in (("models",), ("describe", "--model", "x4-wide"), ("table",)):
        assert "restore the folder from the repository, or train one" in shell.error(*words)


def test_publish_installs_measures_and_seals(
    own_shell: Shell, own_root: Path, tmp_path: Path
) -> None:
    before = {row["id"]: row for row in own_shell.json("models")}
    weights = tiny.save_supernet(tmp_path / "run/supernet.safetensors", 4, seed=9)
    (tmp_path / "run/log.csv").write_text("step\n1\n")
    benchmark = tiny.save_benchmark(tmp_path / "benchmark", 4)
    # Publishing again replaces the results and changes nothing.
    first, text = (own_shell("publish", weights, "--benchmark", benchmark) for _ in range(2))
    assert first == text
    assert own_shell.json("verify")["ok"]
    assert (own_root / "supernets/x4.csv").read_text() == "step\n1\n"
    assert len(Catalogue(own_root).quality) == 3 * (len(before) + 2)
    rows = own_shell.json("models")
    for row in rows:
        if row["scale"] == 2:
            assert row == before[row["id"]]
        else:
            assert row["id"] not in before
    for model in Catalogue(own_root).models(Family(4)):
        assert f"{model.name:24} Set5 {model.quality[0].psnr_y:.2f} dB" in text
    measured = own_shell.json("evaluate", "--model", "x4-residual", "--hr", benchmark / "Set5/HR",
                              "--lr", benchmark / "Set5/LRx4")  # fmt: skip
    row = next(row for row in rows if row["name"] == "x4-residual")
    assert row["psnr_rgb_set5"] == pytest.approx(measured["psnr_rgb"], abs=0.01)
    replaced = {row["id"]: row["name"] for row in before.values() if row["scale"] == 4}
    assert Catalogue(own_root).replaced == replaced
    gone, name = next(iter(replaced.items()))
    assert f"use {name} instead" in own_shell.error("describe", "--model", gone)
    assert row["psnr_y_set5"] == pytest.approx(measured["psnr_y"], abs=0.01)
    bicubic = {q.image_set: q for q in Catalogue(own_root).bicubic(4)}
    assert (bicubic["Set5"].n, bicubic["Set14"].n) == (2, 1)
    assert f"bicubic                  Set5 {bicubic['Set5'].psnr_y:.2f} dB" in text


def test_publish_checks_everything_before_it_replaces_anything(
    own_shell: Shell, tmp_path: Path
) -> None:
    weights = tiny.save_supernet(tmp_path / "run/supernet.safetensors", 4, seed=9)
    wrong_scale = tiny.save_benchmark(tmp_path / "x2", 2)
    for folder in (tmp_path / "none", wrong_scale):
        assert "expected Set5/HR and /LRx4" in own_shell.error(
            "publish", weights, "--benchmark", folder
        )
    gone = tmp_path / "gone.safetensors"
    assert "gone.json is missing" in own_shell.error("publish", gone, "--benchmark", wrong_scale)
    assert "give --benchmark, or --next" in own_shell.error("publish", weights)
    assert own_shell.json("verify")["ok"]


def test_weights_still_in_training_are_kept_but_not_listed(
    own_shell: Shell, own_root: Path, tmp_path: Path
) -> None:
    before = own_shell.json("models")
    weights = tiny.save_supernet(tmp_path / "run/supernet.safetensors", 4, seed=9)
    (tmp_path / "run/log.csv").write_text("step\n1\n")
    assert "not listed" in own_shell("publish", weights, "--next")
    kept = own_root / "supernets/next/x4.safetensors"
    assert kept.read_bytes() == weights.read_bytes()
    assert kept.with_suffix(".csv").read_text() == "step\n1\n"
    assert own_shell.json("models") == before
    assert own_shell.json("verify")["ok"]


def test_image_set_checksum_covers_the_images_that_were_used(tmp_path: Path) -> None:
    hr, lr = (tiny.save_benchmark(tmp_path, 4) / f"Set5/{name}" for name in ("HR", "LRx4"))
    (lr / "unused.txt").write_bytes(b"not one of them")
    given = ImageSet.of("Set5", hr, lr, 4)
    made = ImageSet.of("Set5", hr, None, 4)
    assert given == ImageSet.of("Set5", hr, lr, 4)
    tiny.save_drawn(lr / "a.png", 12, 10, seed=99)
    other_lr = ImageSet.of("Set5", hr, lr, 4)
    assert ImageSet.of("Set5", hr, None, 4) == made
    tiny.save_drawn(hr / "a.png", 49, 42, seed=99)
    other_hr = ImageSet.of("Set5", hr, lr, 4)
    assert len({s.sha256 for s in (given, made, other_lr, other_hr)}) == 4


def test_publish_misses_an_lr_image_before_it_replaces_anything(
    own_shell: Shell, own_root: Path, tmp_path: Path
) -> None:
    weights = tiny.save_supernet(tmp_path / "run/supernet.safetensors", 4, seed=9)
    before = (own_root / "supernets/x4.safetensors").read_bytes()
    benchmark = tiny.save_benchmark(tmp_path / "benchmark", 4)
    (benchmark / "Set5/LRx4/b.png").unlink()
    message = own_shell.error("publish", weights, "--benchmark", benchmark)
    assert "has no LR image of b.png: " in message
    assert (own_root / "supernets/x4.safetensors").read_bytes() == before


def test_table_is_what_the_pages_show(shell: Shell, tiny_root: Path) -> None:
    text = shell("table")
    table = results_table(Catalogue(tiny_root))
    assert text == f"{table}\n\n{training_facts(Catalogue(tiny_root))}\n"
    assert len(table.splitlines()) == 2 + 2 + len(Catalogue(tiny_root).models())
    assert "| bicubic x4 | - | - |" in text
    row = Catalogue(tiny_root).models(Family(2))[0].summary()
    params, macs = f"{row['params_kept'] / 1e3:.0f} K", f"{row['macs_kept_g']:.1f}"
    line = f"| `x2-wide` | {params} of {params} | {macs} of {macs} | 20.00 / 0.5000 |"
    assert line in text
    kept = re.findall(r"`x2-wide-block50` \| (\d+) K of (\d+) K \| ([\d.]+) of ([\d.]+) ", text)
    ((params_kept, params_dense, macs_kept, macs_dense),) = kept
    assert (params_dense, macs_dense) == (params.split()[0], macs)
    assert int(params_kept) < int(params_dense)
    assert float(macs_kept) < float(macs_dense)


def test_table_writes_the_blocks_of_pages(shell: Shell, tiny_root: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# A\n\n<!-- stored: once-for-all -->\nold\n<!-- end -->\n\nB\n")
    assert shell("table", "--write", page) == ""
    table = results_table(Catalogue(tiny_root))
    assert page.read_text() == (
        f"# A\n\n<!-- stored: once-for-all -->\n{table}\n<!-- end -->\n\nB\n"
    )


def test_table_looks_at_the_pages_before_it_makes_them(
    shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def work(_: Catalogue) -> NoReturn:
        raise AssertionError("made first")

    monkeypatch.setattr(pages, "blocks", work)
    assert "is a folder: give the name of a file" in shell.error("table", "--write", tmp_path)


def test_table_writes_no_page_if_one_is_faulty(shell: Shell, tmp_path: Path) -> None:
    good, bad = tmp_path / "good.md", tmp_path / "bad.md"
    good.write_text("<!-- stored: once-for-all -->\nold\n<!-- end -->\n")
    before = good.read_text()
    for text, fault in (
        ("<!-- stored: once-for-all -->\nno end\n", "'once-for-all' has no end: add the line"),
        ("<!-- stored: samplers -->\n<!-- end -->\n", "bad.md has a block 'samplers' that is not"),
        ("<!-- stored:\n<!-- end -->\n", "expected one of once-for-all, training-facts"),
        (
            "<!-- stored: once-for-all -->\n<!-- stored: training-facts -->\n<!-- end -->\n",
            "'once-for-all' has no end",
        ),
    ):
        bad.write_text(text)
        assert fault in shell.error("table", "--write", good, bad)
        assert (good.read_text(), bad.read_text()) == (before, text)
    assert "Cannot read" in shell.error("table", "--write", good, tmp_path / "none.md")
    assert good.read_text() == before


def train_words(photos: Path, out: Path, *more: object) -> list[object]:
    return [
        "train", "--data", photos / "train", "--val", photos / "val", "--out", out,
        "--width", 16, "--cells", 2, "--steps", 2, "--patch", 8, "--batch", 2, "--warmup", 1,
        "--validate-every", 1, "--precision", "fp32", *more,
    ]  # fmt: skip


_WITHOUT_TORCH = """
import json
import sys
sys.modules["torch"] = None  # its import fails, as where it is not installed
from sr_core.cli.main import main
for words in json.loads(sys.argv[1]):
    print(main(words))
"""


def test_what_trains_says_how_to_get_torch(tiny_root: Path, photos: Path, tmp_path: Path) -> None:
    words = train_words(photos, tmp_path / "run")
    common, model = words[1:7], "x4c16_2w"
    commands = [
        words, [*words[:7], "--arch", "fsrcnn"], ["finetune", "--model", model, *common],
        ["prune", "--candidate", model, *common, "--budget-ms", "5", "--device", "any"],
        ["bench", "precision"],
    ]  # fmt: skip
    texts = [["--root", str(tiny_root), *map(str, command)] for command in commands]
    done = subprocess.run(
        [sys.executable, "-c", _WITHOUT_TORCH, json.dumps(texts)],
        capture_output=True, text=True, check=True, cwd=REPOSITORY,
    )  # fmt: skip
    sentence = (
        "error: Training needs torch, which is not installed: run `make train-tools`, or "
        "`pip install -r requirements.txt`."
    )
    assert done.stderr.splitlines() == [sentence] * len(commands)
    assert done.stdout.split() == ["1"] * len(commands)
    assert not (tmp_path / "run").exists()


@pytest.mark.usefixtures("one_thread")
def test_a_training_process_keeps_its_memory_and_to_its_cores(
    shell: Shell, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch = pytest.importorskip("torch")
    torch.set_num_threads(3)
    monkeypatch.setattr(cli_train, "cores", lambda: 2)
    told: list[str] = []
    monkeypatch.setattr(cli_train, "keep_freed_memory", lambda: told.append("keep"))
    shell.error(*train_words(photos, tmp_path / "run", "--resume"))
    assert told == ["keep"]
    assert torch.get_num_threads() == 2
    torch.set_num_threads(1)


@pytest.mark.usefixtures("one_thread")
def test_from_photos_to_an_upscaled_image(
    own_shell: Shell,
    own_root: Path,
    photos: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Train, publish, list, upscale, all by command."""
    run = tmp_path / "run"
    words = train_words(photos, run, "--source-weights", "few=0.5", "many=2", "--json")
    lines = [json.loads(line) for line in own_shell(*words).splitlines()]
    for line in lines:
        jsonschema.validate(line, SCHEMAS["train"])
    assert [line["step"] for line in lines] == [1, 2]
    assert "holds a checkpoint" in own_shell.error(*words)
    resuming = train_words(photos, run, "--resume", "--steps", 3)
    assert main(["--root", str(own_root), *map(str, resuming)]) == 0
    resumed, warned = capsys.readouterr()
    assert re.match(r"step 3/3  loss \d.* steps/s  ETA 0 min  PSNR-Y dB: wide \d", resumed)
    changes = "--steps 2 -> 3, --source-weights {'few': 0.5, 'many': 2.0} -> {}"
    assert f"\nwarning: Resuming at step 2 with changes: {changes}.\n" in warned
    assert warned.startswith("Precision: ")
    own_shell("publish", run / "supernet.safetensors",
              "--benchmark", tiny.save_benchmark(tmp_path / "benchmark", 4),
              "--val", photos / "val")  # fmt: skip
    row = next(r for r in json.loads(own_shell("models", "--json")) if r["name"] == "x4-wide")
    assert row["psnr_y_val"] > 10
    source = tiny.save_drawn(tmp_path / "in.png", 20, 15)
    text = own_shell("upscale", source, tmp_path / "out.png")
    assert f"80x60, model {row['id']}, " in text
    assert own_shell.json("verify")["ok"]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--steps", 0), "--steps must be above 0"),
        (("--patch", 40), "at least 160 pixels a side"),
        (("--data", "none"), "none is not a folder"),
        (("--source-weights", "few"), "--source-weights 'few': expected NAME=FACTOR"),
        (("--resume",), "No checkpoint in"),
        (("--resume", "--init-from", "w.safetensors"), "give one of them"),
        (("--scale", 3), "expected a scale of"),
    ],
)
@pytest.mark.usefixtures("one_thread")
def test_training_refuses(
    shell: Shell, photos: Path, tmp_path: Path, more: tuple[object, ...], message: str
) -> None:
    assert message in shell.error(*train_words(photos, tmp_path / "run", *more))
    assert not (tmp_path / "run").exists()


def test_interruption_is_reported(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(_: Catalogue) -> NoReturn:
        raise KeyboardInterrupt

    monkeypatch.setattr("sr_core.cli.main.verify", interrupted)
    assert main(["verify"]) == 130
    assert capsys.readouterr().err == "Stopped.\n"


@pytest.mark.parametrize(
    ("failure", "message"),
    [
        (OSError(28, "No space left on device", "x.png"), "No space left on device: 'x.png'"),
        (MemoryError(), "The memory is used up"),
    ],
)
def test_what_the_system_refuses_is_one_sentence(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, failure: BaseException, message: str
) -> None:
    def refuse(_: Catalogue) -> NoReturn:
        raise failure

    monkeypatch.setattr("sr_core.cli.main.verify", refuse)
    assert message in shell.error("verify")


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("words", [("models", "--json"), ("describe", "--help")])
def test_a_reader_that_leaves_ends_it_quietly(
    tiny_root: Path, words: tuple[str, ...], unbuffered: str
) -> None:
    """`models | head -1`"""
    with subprocess.Popen(
        [sys.executable, "-m", "sr_core", "--root", tiny_root, *words],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=REPOSITORY,
        env=os.environ | {"PYTHONUNBUFFERED": unbuffered},
    ) as running:  # fmt: skip
        assert running.stdout is not None
        assert running.stderr is not None
        running.stdout.close()
        assert running.stderr.read() == b""
    # argparse itself ignores a failing write, which only an unbuffered one is.
    assert running.returncode == (0 if unbuffered and "--help" in words else 141)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has this full disk")
def test_output_to_a_full_disk_is_one_sentence(tiny_root: Path) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "sr_core", "--root", tiny_root, "models"],
            stdout=full, stderr=subprocess.PIPE, text=True, check=False, cwd=REPOSITORY,
        )  # fmt: skip
    assert done.returncode == 1
    assert re.fullmatch(r"error: .*No space left.*\.\n", done.stderr)


def test_help_lists_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    assert set(re.findall(r"^    ([\w-]+)(?: |$)", capsys.readouterr().out, re.M)) == COMMANDS


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main([command, "--help"])
    assert f"usage: python -m sr_core {command}" in capsys.readouterr().out


@pytest.mark.parametrize("words", [[], ["fly"], ["upscale", "in.png"], ["describe"]])
def test_wrong_usage_exits_with_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(words)
    assert "usage: python -m sr_core" in capsys.readouterr().err


def test_runs_as_a_module(tiny_root: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "sr_core", "--root", tiny_root, "describe", "--model", "x9"],
        capture_output=True, text=True, check=False, cwd=REPOSITORY,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("error: There is no model 'x9'")
