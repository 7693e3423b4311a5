"""`bench rivals`: whom each rival meets, what is timed, stored, printed and verified."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sr_core.bench import rivals as bench_rivals
from sr_core.bench import sitting
from sr_core.bench.rivals import Job, candidates, match
from sr_core.catalogue.final import write_final
from sr_core.catalogue.fronts import Front, write_front
from sr_core.catalogue.store import Catalogue
from sr_core.catalogue.verify import verify
from sr_core.errors import CatalogueError
from sr_core.latency.prices import price
from sr_core.network.candidate import Family
from sr_core.report.tables import rivals_table
from tests import app_root
from tests.catalogue.test_final import DESCRIBED
from tests.catalogue.test_fronts import header
from tests.cli.test_main import Shell
from tests.needs import engine
from tests.rivals.stored import install
from tests.tiny import write_manifest

CROPS = header().crops.sha256
FINAL = "x4-fine"
TINY = Job(sitting_s=0, rounds=1, output=(64, 48))


@pytest.fixture
def root(tiny_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small front and a final model above it; three rivals: below the front's best, below the
    final model, above all of ours."""
    made = app_root.write(tmp_path / "root", tiny_root)
    engine(Catalogue(made))
    install(made, "ecbsr-m4c16", 4, 29.3, tmp_path, CROPS)
    install(made, "sesr-m5", 4, 29.8, tmp_path, CROPS)
    install(made, "sesr-m11", 4, 90.0, tmp_path, CROPS)
    path = made / "rivals/ecbsr-m4c16-x4.json"
    described = json.loads(path.read_text())
    described["quality"].append(described["quality"][0] | {"image_set": "BSD100", "psnr_y": 27.25})
    path.write_text(json.dumps(described))
    network = Catalogue(made).network(app_root.networks()[1])
    scores = {"once_for_all": 29.0, "fine_tuned": 29.9}
    runs = [{"command": "finetune", "from_step": 0, "to_step": n} for n in (20, 10)]
    described = DESCRIBED | {"name": FINAL, "validation_psnr_y_db": scores, "training": runs}
    (made / "models").mkdir()
    write_final(made / f"models/{FINAL}.safetensors", network, described)
    write_manifest(made)
    monkeypatch.setattr(bench_rivals, "JOB", TINY)
    monkeypatch.setattr(sitting, "PAUSE_S", 1e-3)
    return made


@pytest.fixture
def shell(root: Path, capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(root, capsys)


def test_each_rival_meets_the_fastest_of_its_quality(root: Path) -> None:
    catalogue = Catalogue(root)
    rivals, ours = catalogue.rivals(4), candidates(catalogue, 4, CROPS)
    assert [rival.arch.name for rival in rivals] == ["ecbsr-m4c16", "sesr-m5", "sesr-m11"]
    assert len(ours) == len(app_root.networks()) + 1
    good = [i for i, one in enumerate(ours) if one.psnr_db >= 29.3]
    assert 2 < len(good) < len(ours)
    total_ms = [float(i == good[0]) + 1 - 0.5 * (i == good[1]) for i in range(len(ours))]
    total_ms[ours.index(min(ours, key=lambda one: one.psnr_db))] = 0.1  # fastest, but worse
    assert ours[-1].name == FINAL
    assert match(rivals, ours, total_ms) == [good[1], len(ours) - 1, -1]


def test_bsd100_is_reported_where_it_was_measured(root: Path) -> None:
    front = Catalogue(root).front(Family(4))
    assert front is not None
    write_front(root, Front(
        front.header.model_copy(update={"image_sets": {"Set5": "3" * 64, "BSD100": "4" * 64}}),
        front.with_results(2, {"BSD100": (26.5, 0.7)}).rows,
    ))  # fmt: skip
    write_manifest(root)
    ours = candidates(Catalogue(root), 4, CROPS)
    assert [one.bsd100_db for one in ours[:4]] == [None, None, 26.5, None]
    assert ours[-1].bsd100_db is None  # a final model without results


def test_networks_of_other_crops_are_no_match(root: Path) -> None:
    assert candidates(Catalogue(root), 4, "9" * 64) == []


def test_results_are_stored_printed_and_verified(shell: Shell, root: Path) -> None:
    shell("bench", "rivals", "--store")
    catalogue = Catalogue(root)
    assert not any("rivals" in problem for problem in verify(catalogue))
    bench = catalogue.rival_bench
    assert bench is not None
    low, middle, high = catalogue.rivals(4)
    assert bench.unmatched == (high.id,)
    assert bench.rival_steps == {low.id: 7, middle.id: 7, high.id: 7}
    assert bench.supernet_steps == {"x4": 7}
    assert bench.fine_tuning_steps == {FINAL: 30}
    threads = sorted({row.threads for row in bench.rows})
    kinds = [(row.rival, row.network == row.rival, row.runtime) for row in bench.rows]
    assert kinds == len(threads) * [
        (low.id, True, "onnx"), (low.id, True, "sparse"), (low.id, False, "sparse"),
        (middle.id, True, "onnx"), (middle.id, True, "sparse"), (middle.id, False, "sparse"),
        (high.id, True, "onnx"), (high.id, True, "sparse"),
    ]  # fmt: skip
    assert {r.bsd100_psnr_y_db for r in bench.rows if r.network == low.id} == {27.25}
    assert {r.bsd100_psnr_y_db for r in bench.rows if r.network == middle.id} == {None}
    for row in bench.rows:
        reference = next(
            r for r in bench.rows
            if (r.rival, r.threads, r.runtime) == (row.rival, row.threads, "onnx")
        )  # fmt: skip
        assert row.speed_up == pytest.approx(reference.median_ms / row.median_ms, rel=1e-3)
        assert row.psnr_y_db >= reference.psnr_y_db
        assert row.p10_ms <= row.median_ms <= row.p90_ms
    assert sum(row.network == FINAL for row in bench.rows) == len(threads)
    table = rivals_table(bench)
    assert len(table.splitlines()) == 2 + 8
    assert "on which ours were chosen" in table
    assert "| 29.30 | 27.25 |" in table
    assert "| 29.80 | not measured |" in table
    assert table in shell("table")
    text = shell("bench", "rivals", "--scale", 4)
    assert f"Rivals that none of ours reaches: {high.id}." in text
    assert json.loads(shell("bench", "rivals", "--json"))["device"] == app_root.ENGINE


def test_the_shipped_times_are_of_the_fastest_that_are_shipped() -> None:
    """A new final model may be the better match: then `bench rivals --store` is to be run again."""
    catalogue = Catalogue()
    bench = catalogue.rival_bench
    assert bench is not None
    rivals = catalogue.rivals(4)
    ours = candidates(catalogue, 4, rivals[0].descriptor.validation_crops_sha256)
    profile, threads = catalogue.device(bench.device), max(row.threads for row in bench.rows)
    total_ms = price([one.candidate for one in ours], profile, threads=threads).total_ms
    timed = {row.rival: row.network for row in bench.rows if row.network != row.rival}
    matches = zip(rivals, match(rivals, ours, total_ms.tolist()), strict=True)
    assert timed == {rival.id: ours[i].name for rival, i in matches if i >= 0}


def test_times_of_other_weights_are_found(shell: Shell, root: Path) -> None:
    shell("bench", "rivals", "--store")
    path = root / "results/rivals.json"
    data = json.loads(path.read_text())
    ours = next(row for row in data["rows"] if row["network"] != row["rival"])
    ours["model_id"] = "0123456789-01234567"
    path.write_text(json.dumps(data))
    write_manifest(root)
    (problem,) = [text for text in verify(Catalogue(root)) if "rivals" in text]
    assert f"results/rivals.json is of {ours['network']} with other weights" in problem
    path.write_text("{}")
    write_manifest(root)
    with pytest.raises(CatalogueError, match="bench rivals --store"):
        _ = Catalogue(root).rival_bench


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--scale", 2), "There is no rival to time"),
        (("--scale", 4, "--store"), "Only full results are stored"),
    ],
)
def test_what_cannot_be_timed_is_said(
    shell: Shell, words: tuple[object, ...], message: str
) -> None:
    assert message in shell.error("bench", "rivals", *words)


def test_rivals_of_other_crops_are_refused(shell: Shell, root: Path, tmp_path: Path) -> None:
    install(root, "fsrcnn", 4, 29.0, tmp_path, "9" * 64)
    write_manifest(root)
    assert "were not scored on the same validation crops" in shell.error("bench", "rivals")
