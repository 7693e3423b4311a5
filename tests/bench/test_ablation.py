"""`bench ablation`: what is compared, how widths are filled up, what is stored and printed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sr_core.bench import ablation as bench_ablation
from sr_core.bench import sitting
from sr_core.bench.ablation import Job, _common, widened  # pyright: ignore[reportPrivateUsage]
from sr_core.catalogue.final import read_final, write_final
from sr_core.catalogue.store import Catalogue
from sr_core.catalogue.writer import write_ablations
from sr_core.errors import CatalogueError, MeasurementError
from sr_core.network.candidate import Family
from sr_core.network.extract import extract
from sr_core.network.notation import from_text, to_text
from sr_core.report.pages import blocks
from sr_core.report.tables import ablation_table
from sr_core.results.ablations import Ablation
from sr_core.runtime.upscale import Upscaler
from tests import app_root, tiny
from tests.catalogue.test_final import DESCRIBED
from tests.cli.test_main import Shell
from tests.needs import engine
from tests.tiny import write_manifest

SHORTER = {"command": "finetune", "settings": {"seed": 1}, "from_step": 0, "to_step": 9}
FASTER = {"command": "b", "settings": {"seed": 1, "lr": 9.0}, "from_step": 0, "to_step": 70}


def in_precision(precision: str) -> dict[str, Any]:
    settings = {"seed": 1, "precision": precision}
    return {"command": "b", "settings": settings, "from_step": 0, "to_step": 140}


BLOCK, CHANNEL = from_text("x4c16_wb50b50b50_s"), from_text("x4c16_wc50c50d_s")


def run(folder: Path, text: str, seed: int, **changes: Any) -> str:
    candidate = from_text(text)
    record = {
        "command": "python -m sr_core finetune --model a", "settings": {"seed": seed},
        "from_step": 0, "to_step": 70,
    }  # fmt: skip
    folder.mkdir(parents=True)
    network = extract(tiny.supernet(candidate.scale, seed=seed), candidate)
    described = DESCRIBED | {"training": [record, record]} | changes
    write_final(folder / "final.safetensors", network, described)
    return str(folder)


@pytest.fixture
def root(tiny_root: Path, tmp_path: Path) -> Path:
    made = app_root.write(tmp_path / "root", tiny_root)
    engine(Catalogue(made))
    return made


@pytest.fixture
def shell(root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Shell:
    monkeypatch.setattr(sitting, "PAUSE_S", 1e-3)

    def quick(*what: Any) -> Job:
        return replace(Job(*what), sitting_s=0, rounds=1, output=(64, 48))

    monkeypatch.setattr(bench_ablation, "Job", quick)
    return Shell(root, capsys)


@pytest.mark.parametrize("candidate", [BLOCK, CHANNEL, from_text("x2c24_wc50dd_rc25b30_tb40")])
def test_filled_widths_are_of_16_and_the_same_function(candidate: Any) -> None:
    network = extract(tiny.supernet(candidate.scale, 24, 2), candidate)
    filled = widened(network)
    inner = [layer.weight.shape for layer in filled.layers[1:-2]]
    assert all(size % 16 == 0 for shape in inner for size in shape[:2])
    image = np.random.default_rng(0).random((1, 3, 9, 11), dtype=np.float32)
    difference = Upscaler(filled).run(image) - Upscaler(network).run(image)
    assert np.abs(difference).max() < 1e-5


def test_families_are_compared_stored_and_replaced(
    shell: Shell, root: Path, tmp_path: Path
) -> None:
    benchmark = tiny.save_benchmark(tmp_path / "benchmark", 4)
    runs = [
        f"{label}={run(tmp_path / f'{label}{seed}', to_text(candidate), seed)}"
        for label, candidate in (("block", BLOCK), ("channel", CHANNEL))
        for seed in (1, 2)
    ]
    text = shell("bench", "ablation", "schemes", *runs, "--benchmark", benchmark, "--store")
    (stored,) = Catalogue(root).ablations
    assert stored.labels == ["block", "channel"]
    assert [(r.seed, r.steps) for r in stored.of("block")] == [(1, 140), (2, 140)]
    assert len(stored.timed) == 2  # seeds share a network, and its time
    assert [time.runtime for time in stored.timed[0].times] == list(bench_ablation.RUNTIMES)
    first, second = (r.psnr_y_db["Set5"] for r in stored.of("block"))
    assert first != second
    table = ablation_table(stored)
    assert table in text
    assert f"{(first + second) / 2:.2f} ({min(first, second):.2f} to" in table
    assert "`x4c16_wb50b50b50_s`" in table
    assert stored.supernet_sha256 == DESCRIBED["supernet_sha256"]
    shell("bench", "ablation", "ratios", runs[0], "--benchmark", benchmark, "--store")
    shell("bench", "ablation", "schemes", runs[1], "--benchmark", benchmark, "--store")
    questions = [(a.question, len(a.trained)) for a in Catalogue(root).ablations]
    assert questions == [("ratios", 1), ("schemes", 1)]


def test_each_budget_has_a_place_of_its_own(shell: Shell, root: Path, tmp_path: Path) -> None:
    benchmark = tiny.save_benchmark(tmp_path / "benchmark", 4)
    for name, budget_ms in (("a", 9.0), ("b", 4.5), ("c", 9.0)):
        record = {
            "command": "prune", "settings": {"seed": 1, "budget_ms": budget_ms},
            "from_step": 0, "to_step": 70,
        }  # fmt: skip
        folder = run(tmp_path / name, to_text(BLOCK), 1, training=[record])
        shell(
            "bench", "ablation", "ratios", f"{name}={folder}", "--benchmark", benchmark, "--store"
        )
    stored = Catalogue(root).ablations
    assert [(one.budget_ms, one.labels) for one in stored] == [(4.5, ["b"]), (9.0, ["c"])]
    assert "| ratios, ×4, 4.5 ms |" in blocks(Catalogue(root))["ratios-x4-4.5ms"]


def test_what_cannot_be_compared_is_refused(shell: Shell, tmp_path: Path) -> None:
    four = run(tmp_path / "four", to_text(BLOCK), 1)
    two = run(tmp_path / "two", "x2c16_wb50b50b50_s", 1)
    command, options = ("bench", "ablation", "schemes"), ("--benchmark", tmp_path)
    assert "they differ in their scale (or" in shell.error(
        *command, f"a={four}", f"b={two}", *options
    )
    assert "LABEL=RUN" in shell.error(*command, "a", *options)
    missing = shell.error(*command, f"a={tmp_path / 'none'}", *options)
    assert "final.json is missing" in missing


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"supernet_sha256": "3" * 64}, "supernet"),
        ({"data_sha256": "3" * 64}, "training images"),
        ({"training": [SHORTER]}, "number of steps"),
        ({"training": [FASTER, FASTER]}, "settings"),
        ({"training": [in_precision("fp32")]}, "settings"),
    ],
)
def test_runs_of_other_origin_are_not_compared(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    folders = [
        run(tmp_path / "a", to_text(BLOCK), 1),
        run(tmp_path / "b", to_text(CHANNEL), 1, **changes),
    ]
    runs = [(folder, read_final(Path(folder) / "final.safetensors")) for folder in folders]
    with pytest.raises(MeasurementError, match=rf"differ in their {message} \(or"):
        _common(runs)


def test_runs_from_before_there_was_a_choice_are_in_bf16(tmp_path: Path) -> None:
    folders = [
        run(tmp_path / "a", to_text(BLOCK), 1),
        run(tmp_path / "b", to_text(BLOCK), 1, training=[in_precision("bf16")]),
    ]
    runs = [(folder, read_final(Path(folder) / "final.safetensors")) for folder in folders]
    assert _common(runs)[0] == Family(4)


def test_families_have_as_many_runs_and_seeds(tmp_path: Path) -> None:
    one, two = (
        read_final(Path(run(tmp_path / f"{seed}", to_text(BLOCK), seed)) / "final.safetensors")
        for seed in (1, 2)
    )
    assert _common([("a", one), ("a", two), ("b", two), ("b", one)])[0] == Family(4)
    with pytest.raises(MeasurementError, match="number of runs per family, number of seeds"):
        _common([("a", one), ("b", one), ("b", two)])
    with pytest.raises(MeasurementError, match=r"differ in their number of seeds per family \(or"):
        _common([("a", one), ("a", two), ("b", one), ("b", one)])


def test_the_first_phase_of_stage_3_is_no_final_model(shell: Shell, tmp_path: Path) -> None:
    scores = {"whole": 28.0, "pruned": 27.0}
    folder = run(tmp_path / "regularised", to_text(BLOCK), 1, validation_psnr_y_db=scores)
    options = ("--benchmark", tmp_path / "none")
    assert "was not fine-tuned" in shell.error(
        "bench", "ablation", "schemes", f"a={folder}", *options
    )
    weights = Path(folder) / "final.safetensors"
    assert "was not fine-tuned" in shell.error("publish-final", weights, "--name", "a", *options)


def test_damaged_results_are_found_before_measuring(
    shell: Shell, root: Path, tmp_path: Path
) -> None:
    (root / "results/ablations.json").write_text("[{}]")
    write_manifest(root)
    words = ("bench", "ablation", "schemes", f"a={tmp_path / 'none'}", "--benchmark", tmp_path)
    assert "ablations.json is damaged" in shell.error(*words, "--store")


def test_what_others_stored_in_the_meantime_stays(
    shell: Shell, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = tiny.save_benchmark(tmp_path / "benchmark", 4)
    words = [f"a={run(tmp_path / 'a', to_text(BLOCK), 1)}", "--benchmark", images, "--store"]
    measure = bench_ablation.bench_ablation

    def slow(*args: Any, **options: Any) -> Ablation:
        found = measure(*args, **options)
        write_ablations(root, [found.model_copy(update={"question": "ratios"})])
        write_manifest(root)
        return found

    monkeypatch.setattr(bench_ablation, "bench_ablation", slow)
    shell("bench", "ablation", "schemes", *words)
    assert [a.question for a in Catalogue(root).ablations] == ["ratios", "schemes"]


def test_a_damaged_file_is_named(own_root: Path) -> None:
    (own_root / "results").mkdir(exist_ok=True)
    (own_root / "results/ablations.json").write_text('[{"question": "why"}]')
    write_manifest(own_root)
    with pytest.raises(CatalogueError, match=r"ablations.json is damaged \(row 1, question"):
        _ = Catalogue(own_root).ablations
