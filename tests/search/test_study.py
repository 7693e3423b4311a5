from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from sr_core.catalogue.fronts import Front
from sr_core.catalogue.store import Catalogue
from sr_core.catalogue.verify import verify
from sr_core.errors import CatalogueError, LatencyError, SearchError
from sr_core.network.candidate import Candidate, Family
from sr_core.network.weights import SupernetSpec
from sr_core.search import study
from sr_core.search.evaluate import Evaluation, Evaluator
from sr_core.search.events import Event, Start
from sr_core.search.front import hypervolume
from sr_core.search.objective import latency, objective
from sr_core.search.propose import SamplerProposer
from sr_core.search.result import read_result
from sr_core.search.settings import SearchArgs
from sr_core.search.space import Space
from sr_core.search.study import search
from tests import tiny
from tests.search.profiles import device, install
from tests.tiny import write_manifest


@pytest.fixture
def root(own_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tiny precomputed folder with one device, and no profile of this computer."""
    monkeypatch.setenv("UPFRONT_DATA", str(tmp_path / "data"))
    install(own_root, device("phone"))
    write_manifest(own_root)
    return own_root


@pytest.fixture
def evaluated(monkeypatch: pytest.MonkeyPatch) -> list[Candidate]:
    """Replaces evaluation by a formula; returns the list of what was evaluated."""
    asked: list[Candidate] = []

    def evaluate(_: Evaluator, candidate: Candidate) -> Evaluation:
        asked.append(candidate)
        return Evaluation(20 + int(candidate.id, 16) / 16**10, 0.8, 0.01)

    monkeypatch.setattr(Evaluator, "evaluate", evaluate)
    return asked


def settings(photos: Path, **changes: object) -> SearchArgs:
    chosen = {"scale": 4, "val": photos / "val", "sampler": "random", "trials": 12} | changes
    return SearchArgs(**chosen)  # pyright: ignore[reportArgumentType]


def searched(root: Path, args: SearchArgs) -> Front:
    """The stored front after a search."""
    search(Catalogue(root), args)
    front = Catalogue(root).front(Family(4))
    assert front is not None
    return front


@pytest.mark.parametrize(
    ("sampler", "aim"),
    [("random", "macs"), ("nsga2", "phone"), ("tpe", "phone"), ("bayes", "macs")],
)
def test_a_search_is_stored(root: Path, photos: Path, sampler: str, aim: str) -> None:
    reports: list[Event] = []
    args = settings(photos, sampler=sampler, objective=aim, trials=22, seed=3)
    result = search(Catalogue(root), args, reports.append)
    stored = Catalogue(root).front(Family(4))
    assert stored is not None
    assert stored.header.runs == [result.run]
    assert verify(Catalogue(root)) == []
    (run,) = stored.header.runs
    assert (run.sampler, run.objective, run.seed, run.trials) == (sampler, aim, 3, 22)
    assert run.unit == ("GMACs" if aim == "macs" else "ms")
    assert run.evaluated == len(stored.rows) == stored.rows["id"].nunique() <= 22
    assert run.evaluation_s == pytest.approx(stored.rows["evaluation_s"].sum())
    assert run.proposal_s > 0
    assert str(photos) not in run.command
    assert f"--sampler {sampler} --objective {aim} --trials 22 --seed 3" in run.command
    first, *trials, last = reports
    assert first == result.start
    assert trials == result.trials
    assert [one.trials for one in result.trials] == list(range(1, 23))
    assert (last.event, isinstance(first, Start) and first.trials) == ("end", 22)
    # The presets come first; the tiny supernet has 14 of them.
    presets = [model.candidate.id for model in Catalogue(root).models(Family(4))]
    assert stored.rows["id"][: len(presets)].tolist() == presets


def test_the_curve_is_the_hypervolume_of_the_trials(
    root: Path, photos: Path, evaluated: list[Candidate]
) -> None:
    front = searched(root, settings(photos, objective="phone", trials=30))
    curve = front.header.runs[0].hypervolume
    cost = objective(Catalogue(root), "phone").cost
    presets = [model.candidate for model in Catalogue(root).models(Family(4))]
    assert curve.reference_cost == pytest.approx(1.1 * cost(presets).max())
    assert curve.reference_psnr_y_db == front.header.crops.bicubic_psnr_y_db
    expected = hypervolume(
        cost(front.candidates),
        front.rows["psnr_y_db"],
        (curve.reference_cost, curve.reference_psnr_y_db),
    )
    assert curve.points[-1] == (30, len(evaluated), pytest.approx(expected))
    volumes = [volume for *_, volume in curve.points]
    assert volumes == sorted(volumes)


def test_known_networks_are_not_evaluated_again(
    root: Path, photos: Path, evaluated: list[Candidate]
) -> None:
    first = searched(root, settings(photos, sampler="presets"))
    assert len(first.rows) == len(evaluated) == len(Catalogue(root).models(Family(4)))
    again = searched(root, settings(photos, sampler="presets", objective="phone"))
    assert len(evaluated) == len(first.rows) == len(again.rows)
    assert [run.evaluated for run in again.header.runs] == [len(first.rows), 0]
    assert [run.trials for run in again.header.runs] == [len(first.rows)] * 2
    assert again.rows.equals(first.rows)
    more = searched(root, settings(photos, trials=40))
    assert more.rows[: len(first.rows)].equals(first.rows)
    assert len(evaluated) == len(more.rows) == len(set(evaluated))
    assert set(more.rows["run"]) == {0, 2}


def test_equal_seeds_give_equal_searches(
    root: Path, photos: Path, evaluated: list[Candidate]
) -> None:
    def networks(seed: int) -> list[str]:
        for path in (root / "fronts").glob("*"):
            path.unlink()
        args = settings(photos, sampler="nsga2", trials=80, seed=seed)
        return searched(root, args).rows["network"].tolist()

    assert networks(1) == networks(1) != networks(2)


def test_interruption_keeps_what_was_evaluated(
    root: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, left = Evaluator.evaluate, iter(range(5))

    def evaluate(evaluator: Evaluator, candidate: Candidate) -> Evaluation:
        if next(left, None) is None:
            raise KeyboardInterrupt
        return real(evaluator, candidate)

    monkeypatch.setattr(Evaluator, "evaluate", evaluate)
    with pytest.raises(KeyboardInterrupt):
        search(Catalogue(root), settings(photos))
    stored = Catalogue(root).front(Family(4))
    assert stored is not None
    assert len(stored.rows) == stored.header.runs[0].trials == 5
    assert verify(Catalogue(root)) == []
    monkeypatch.undo()
    assert len(searched(root, settings(photos)).rows) == 12


def test_an_interruption_before_the_first_result_leaves_nothing(
    root: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def evaluate(*_: object) -> Evaluation:
        raise KeyboardInterrupt

    monkeypatch.setattr(Evaluator, "evaluate", evaluate)
    with pytest.raises(KeyboardInterrupt):
        search(Catalogue(root), settings(photos))
    assert Catalogue(root).front(Family(4)) is None
    assert verify(Catalogue(root)) == []


@pytest.mark.usefixtures("evaluated")
def test_results_are_written_on_the_way(
    root: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []

    def write(_: Path, front: Front) -> None:
        sizes.append(len(front.rows))

    monkeypatch.setattr(study, "SAVE_EVERY_S", 0.0)
    monkeypatch.setattr(study, "write_front", write)
    search(Catalogue(root), settings(photos))
    assert sizes == [*range(1, 13), 12]


@pytest.mark.parametrize("place", ["out", "front"])
def test_a_place_that_cannot_be_written_is_found_before_the_search(
    root: Path, photos: Path, tmp_path: Path, evaluated: list[Candidate], place: str
) -> None:
    (tmp_path / "folder.json").mkdir()
    if place == "front":
        (root / "fronts").write_text("in the way")
    args = settings(photos, out=tmp_path / "folder.json" if place == "out" else None)
    expected = SearchError if place == "out" else CatalogueError
    with pytest.raises(expected, match=r"folder\.json is a folder|Cannot write .*Not a directory"):
        search(Catalogue(root), args)
    assert evaluated == []


@pytest.mark.parametrize("place", ["out", "front"])
@pytest.mark.usefixtures("evaluated")
def test_a_result_that_cannot_be_stored_in_the_end_is_kept(
    root: Path, photos: Path, tmp_path: Path, full: set[Path], place: str
) -> None:
    out = tmp_path / "result.json"

    def fill() -> bool:
        full.add(out if place == "out" else root)
        return False

    with pytest.raises((SearchError, CatalogueError), match="No space left on device") as caught:
        search(Catalogue(root), settings(photos, out=out), should_stop=fill)
    (place_kept,) = re.findall(r"kept in (.*\.json):", str(caught.value))
    assert len(read_result(Path(place_kept).read_bytes(), "kept").trials) == 12
    full.clear()
    front = Catalogue(root).front(Family(4))  # the other place has the result too
    assert (front is not None, out.exists()) == (place == "out", place == "front")


@pytest.mark.usefixtures("evaluated")
def test_a_disk_that_is_full_for_a_while_does_not_end_a_search(
    root: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, full: set[Path]
) -> None:
    monkeypatch.setattr(study, "SAVE_EVERY_S", 0.0)
    out, asked = tmp_path / "result.json", iter(range(100))

    def full_from_3_to_6() -> bool:
        full.clear()
        full.update([root, out] if 3 <= next(asked) <= 6 else [])
        return False

    args = settings(photos, out=out)
    result = search(Catalogue(root), args, should_stop=full_from_3_to_6)
    front = Catalogue(root).front(Family(4))
    assert front is not None
    assert (len(front.header.runs), len(front.rows)) == (1, result.run.evaluated)
    assert read_result(out.read_bytes(), "out") == result
    assert verify(Catalogue(root)) == []


@pytest.mark.usefixtures("evaluated")
def test_two_searches_at_a_time_are_both_stored(
    root: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One runs from start to end while the other has stored a part of its trials."""
    monkeypatch.setattr(study, "SAVE_EVERY_S", 0.0)
    asked = 0

    def other_at_6() -> bool:
        nonlocal asked
        asked += 1
        if asked == 6:
            search(Catalogue(root), settings(photos, seed=5, sampler="nsga2"))
        return False

    search(Catalogue(root), settings(photos), should_stop=other_at_6)
    front = Catalogue(root).front(Family(4))
    assert front is not None
    assert [(r.seed, r.trials) for r in front.header.runs] == [(0, 12), (5, 12)]
    own = front.rows[front.rows["run"] == 0]
    assert sorted(own["trial"])[:5] == [0, 1, 2, 3, 4]
    assert not front.rows["id"].duplicated().any()
    assert set(front.rows["run"]) == {0, 1}
    assert verify(Catalogue(root)) == []
    search(Catalogue(root), settings(photos))  # the same command again is a run of its own
    again = Catalogue(root).front(Family(4))
    assert again is not None
    assert len(again.header.runs) == 3


@pytest.mark.usefixtures("evaluated")
def test_a_front_of_other_crops_is_not_mixed_in(
    root: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(study, "SAVE_EVERY_S", 0.0)
    asked = 0

    def exchanged_at_4() -> bool:
        nonlocal asked
        asked += 1
        if asked == 4:
            path = root / "fronts/x4.json"
            header = json.loads(path.read_text())
            header["crops"]["sha256"] = "9" * 64
            path.write_text(json.dumps(header))
            write_manifest(root)
        return False

    with pytest.raises(SearchError, match="has become one of other weights or crops"):
        search(Catalogue(root), settings(photos), should_stop=exchanged_at_4)


def test_a_budget_is_a_constraint_and_bounds_the_hypervolume(
    root: Path, photos: Path, evaluated: list[Candidate]
) -> None:
    catalogue = Catalogue(root)
    cost = objective(catalogue, "phone").cost
    presets = [model.candidate for model in catalogue.models(Family(4))]
    budget = float(np.median(cost(presets)))
    args = settings(photos, objective="phone", sampler="nsga2", budget_ms=budget, trials=200)
    front = searched(root, args)
    run = front.header.runs[0]
    assert run.budget_ms == run.hypervolume.reference_cost == budget
    assert f"--budget-ms {budget:g}" in run.command
    assert max(cost(evaluated)) > budget
    # Later generations stay below it far more often than the random first one.
    first, last = evaluated[len(presets) : 50], evaluated[-30:]
    assert (cost(last) <= budget).mean() > (cost(first) <= budget).mean()


def test_the_sampler_is_told_what_is_infeasible() -> None:
    aim = latency(device("phone"), 5.0)
    sampled = SamplerProposer(Space(SupernetSpec(4, 16, 2)), "nsga2", 0, aim, (5.0, 25.0))
    for cost in (4.0, 6.0):
        sampled.ask()
        sampled.tell(cost, 30.0)
    trials = sampled._study.trials  # pyright: ignore[reportPrivateUsage]
    assert [trial.constraints for trial in trials] == [{"budget": -1.0}, {"budget": 1.0}]


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"trials": 0}, SearchError, "--trials 0: expected at least 1"),
        ({"threads": 0}, SearchError, "--threads 0: expected at least 1"),
        ({"objective": "fridge"}, LatencyError, "no device 'fridge': expected one of phone"),
        ({"budget_ms": 5.0}, SearchError, "needs a device as objective, not macs"),
        ({"objective": "phone", "budget_ms": 0.0}, SearchError, "must be above 0 ms"),
        ({"objective": "phone", "budget_ms": float("nan")}, SearchError, "must be above 0 ms"),
        (
            {"objective": "phone", "budget_ms": 1.0},
            SearchError,
            r"budget of 1 ms: the cheapest of the space, x4c16_2s_tu90, takes 3\.257 ms on phone",
        ),
        ({"sampler": "grid"}, SearchError, "no sampler grid: expected one of random, nsga2, tpe"),
        ({"schemes": ("blok",)}, SearchError, "there is no 'blok'; expected some of dense"),
        ({"resume": True}, SearchError, "--resume needs the --storage"),
        ({"worker": True}, SearchError, "--worker needs the --storage"),
        ({"val": None}, SearchError, "leaves the stored front alone: give --out"),
        ({"scale": None}, SearchError, "--scale is missing"),
        ({"study": "\udcff"}, SearchError, r"--study '\\udcff' is no text: give another name"),
    ],
)
def test_settings_that_make_no_sense_are_refused(
    root: Path, photos: Path, changes: dict[str, object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        search(Catalogue(root), settings(photos, **changes))
    assert not (root / "fronts").exists()


@pytest.mark.usefixtures("evaluated")
def test_other_crops_do_not_mix(root: Path, photos: Path, tmp_path: Path) -> None:
    search(Catalogue(root), settings(photos))
    for seed in range(2):
        tiny.save_drawn(tmp_path / f"other/{seed}.png", 200, 200, seed=50 + seed)
    with pytest.raises(SearchError, match="scored on other validation crops"):
        search(Catalogue(root), settings(photos, val=tmp_path / "other"))


@pytest.mark.usefixtures("evaluated")
def test_the_record_is_plain_json(root: Path, photos: Path) -> None:
    search(Catalogue(root), settings(photos))
    data = json.loads((root / "fronts/x4.json").read_text())
    assert data["scale"] == 4
    assert data["crops"]["n"] == 2
    assert {"python", "runtime", "optuna", "numpy"} == set(data["runs"][0]["versions"])
