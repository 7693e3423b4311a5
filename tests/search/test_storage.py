"""Studies in a database: made, resumed, refused."""

from __future__ import annotations

import re
import sqlite3
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.study import StudyDirection
from optuna.trial import TrialState
from sqlalchemy.exc import SQLAlchemyError

from sr_core.catalogue.store import Catalogue
from sr_core.catalogue.verify import verify
from sr_core.errors import SearchError
from sr_core.network.candidate import Candidate, Family
from sr_core.search.database import MAX_RETRIES, database_errors, open_database
from sr_core.search.evaluate import Evaluation, Evaluator
from sr_core.search.result import read_result
from sr_core.search.settings import SearchArgs
from sr_core.search.setup import prepare
from sr_core.search.storage import SharedStudy
from sr_core.search.study import search
from tests import tiny
from tests.search.helpers import quality
from tests.search.profiles import device, install
from tests.tiny import write_manifest


@pytest.fixture
def root(own_root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tiny precomputed folder with one device and made-up quality."""
    install(own_root, device("phone"))
    write_manifest(own_root)
    monkeypatch.setattr(Evaluator, "evaluate", evaluate)
    return own_root


def evaluate(_: Evaluator, candidate: Candidate) -> Evaluation:
    return Evaluation(quality(candidate), 0.5, 0.05)


@pytest.fixture
def args(tmp_path: Path) -> SearchArgs:
    return SearchArgs(
        scale=4, objective="phone", sampler="nsga2", trials=8, storage=f"sqlite:///{tmp_path}/s.db",
        study="mine", out=tmp_path / "result.json", engine="onnx", threads=1,
    )  # fmt: skip


def test_a_study_is_made_worked_on_and_written(root: Path, args: SearchArgs) -> None:
    result = search(Catalogue(root), args)
    assert args.out is not None
    assert read_result(args.out.read_bytes(), "result.json") == result
    assert [trial.number for trial in result.trials] == list(range(8))
    assert "--storage" not in result.run.command  # it repeats the search anywhere
    assert str(root) not in result.run.command
    assert not (root / "fronts").exists()
    alone = search(Catalogue(root), replace(args, storage=None))
    assert [t.network for t in alone.trials] == [t.network for t in result.trials]


@pytest.mark.parametrize(("sampler", "total"), [("nsga2", 10), ("bayes", 34), ("presets", 14)])
def test_a_stopped_study_is_resumed(root: Path, args: SearchArgs, sampler: str, total: int) -> None:
    args = replace(args, sampler=sampler, trials=total)
    stops = iter([False] * (total - 5))
    first = search(Catalogue(root), args, should_stop=lambda: next(stops, True))
    assert len(first.trials) == total - 5
    assert args.out is not None
    assert read_result(args.out.read_bytes(), "part").trials == first.trials
    result = search(Catalogue(root), replace(args, resume=True))
    assert (result.start.finished_before, len(result.trials)) == (total - 5, total)
    assert result.trials[:-5] == first.trials
    evaluated = [trial.network for trial in result.trials if not trial.known]
    assert len(evaluated) == len(set(evaluated)) == result.run.evaluated


def test_a_complete_study_becomes_one_run_of_the_front(
    root: Path, photos: Path, args: SearchArgs
) -> None:
    args = replace(args, val=photos / "val", out=None)
    search(Catalogue(root), args)
    search(Catalogue(root), replace(args, resume=True))
    front = Catalogue(root).front(Family(4))
    assert front is not None
    (run,) = front.header.runs
    assert (run.trials, run.evaluated) == (8, len(front.rows))
    assert verify(Catalogue(root)) == []


def test_an_interrupted_trial_is_not_counted(
    root: Path, args: SearchArgs, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = iter(range(5))

    def once(evaluator: Evaluator, candidate: Candidate) -> Evaluation:
        if next(left, None) is None:
            raise KeyboardInterrupt
        return evaluate(evaluator, candidate)

    monkeypatch.setattr(Evaluator, "evaluate", once)
    with pytest.raises(KeyboardInterrupt):
        search(Catalogue(root), args)
    monkeypatch.setattr(Evaluator, "evaluate", evaluate)
    result = search(Catalogue(root), replace(args, resume=True))
    assert len(result.trials) == 8
    assert 5 not in {trial.number for trial in result.trials}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, "There is a study mine already in sqlite.*: go on with it by --resume, or give anoth"),
        ({"resume": True, "trials": 9}, r"other settings \(--trials 8, not 9\): repeat those of"),
        ({"resume": True, "budget_ms": 7.0}, r"\(--budget-ms None, not 7\.0\)"),
        (
            {"resume": True, "schemes": ("dense", "block")},
            r"--schemes dense,channel,.*, not dense,",
        ),
        ({"resume": True, "study": "other"}, "There is no study other in sqlite"),
        ({"worker": True, "out": None, "scale": 2}, r"\(--scale 4, not 2\)"),
        ({"worker": True, "out": None, "study": "other"}, "There is no study other in sqlite"),
    ],
)
def test_what_does_not_fit_a_study_is_refused(
    root: Path, args: SearchArgs, changes: dict[str, object], message: str
) -> None:
    search(Catalogue(root), args)
    before = Path(str(args.storage).removeprefix("sqlite:///")).read_bytes()
    with pytest.raises(SearchError, match=message):
        search(Catalogue(root), replace(args, **changes))
    assert Path(str(args.storage).removeprefix("sqlite:///")).read_bytes() == before


def test_other_crops_or_weights_are_refused(root: Path, photos: Path, args: SearchArgs) -> None:
    search(Catalogue(root), args)
    worker = replace(args, worker=True, scale=None, out=None)
    with pytest.raises(
        SearchError, match=r"other crops \(12 crops of 192×192 .*\): give the --val"
    ):
        search(Catalogue(root), replace(worker, val=photos / "val"))
    tiny.save_supernet(root / "supernets/x4.safetensors", 4, seed=9)
    write_manifest(root)
    with pytest.raises(SearchError, match=r"is of other weights \([0-9a-f]{8}, here [0-9a-f]{8}\)"):
        search(Catalogue(root), worker)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("nonsense", "is no database URL"),
        ("fridge://x/y", "is no database URL .*fridge"),
        ("sqlite://", "a database in memory cannot be shared"),
        ("sqlite:////nowhere/s.db", "unable to open database file"),
        ("sqlite:////dev", "cannot be opened .*: give a file in a folder that can be written to"),
        ("", "is no database URL"),
        ("{}", "is no database URL"),
        ("s.db", "is no database URL"),
        ("postgres://x/y", "is no database URL .*postgres"),
        ("sqlite+fridge:///s.db", r"is no database URL .*sqlite\.fridge"),
        ("mysql+pymysql://me:{secret}%@x/{y}", r"driver of mysql\+pymysql://me:\*\*\*@x/%7By%7D"),
        ("mysql+pymysql://me:secret@x/y", r"driver of mysql\+pymysql://me:\*\*\*@x/y is not inst"),
        ("mysql+pymysql://me:s%40cret@x/y?password=s%40cret", r"//me:\*\*\*@x/y is not inst"),
        ("mysql+pymysql://x/y?ssl_password=secret", r"driver of mysql\+pymysql://x/y is not inst"),
        ("mysql+pymysql://me:se@secret@x/y", r"is no database URL \(write an @ in the password as"),
        ("postgresql+psycopg://me:secret@x:abc/y", r"\(not a URL\) is no database URL"),
        ("sqlite:///s.db?timeout=secret", "sqlite:///s.db is no database URL that its driver"),
        (
            "postgresql+psycopg://me:secret@127.0.0.1:1/y?password=secret",
            r"cannot be used \(.*refused.*\): check the address and that the database runs",
        ),
    ],
)
def test_a_storage_that_cannot_be_used_is_a_sentence(url: str, message: str) -> None:
    if "psycopg" in url:
        pytest.importorskip("psycopg")
    with pytest.raises(SearchError, match=message) as caught:
        SharedStudy.join(url, "mine")
    assert not re.search("secret|s%40cret|s@cret", str(caught.value))


@pytest.mark.parametrize(
    ("url", "told", "shown"),
    [
        ("postgresql://u:a@h/db", "no host", "postgresql://u:***@h/db cannot be used (no host): "),
        ("postgresql://u:a@h/db", "bad host", "postgresql://u:***@h/db cannot be used: check "),
        ("postgresql://u@h/db?password=p%40s", "password=p%40s?", "//u@h/db cannot be used: "),
        ("postgresql://u@h/db?host=x", "no x", "//u@h/db cannot be used (no x): "),
    ],
)
def test_what_a_driver_says_is_repeated_unless_it_holds_a_secret(
    url: str, told: str, shown: str
) -> None:
    with pytest.raises(SearchError) as caught, database_errors(url):
        raise SQLAlchemyError(told)
    assert shown in str(caught.value)


@pytest.mark.parametrize("name", ["{}.db", "{SCHEMA_VERSION}.db", "100%.db", "a b.db", "\udcff.db"])
def test_a_database_may_have_any_name(tmp_path: Path, name: str) -> None:
    with pytest.raises(SearchError, match="There is no study mine in"):
        SharedStudy.join(f"sqlite:///{tmp_path}/{name}", "mine")
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_no_folder_is_made_for_a_database(tmp_path: Path) -> None:
    with pytest.raises(SearchError, match="unable to open database file"):
        SharedStudy.join(f"sqlite:///{tmp_path}/nowhere/s.db", "mine")
    assert list(tmp_path.iterdir()) == []


def test_a_read_only_database_is_a_sentence(tmp_path: Path) -> None:
    open_database(f"sqlite:///{tmp_path}/s.db").engine.dispose()
    url = f"sqlite:///file:{tmp_path}/s.db?mode=ro&uri=true"
    storage = open_database(url)
    with pytest.raises(SearchError, match=r"is read-only .*: give a file"), database_errors(url):
        optuna.create_study(storage=storage)
    storage.engine.dispose()


@pytest.fixture
def held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[sqlite3.Connection]:
    """s.db, in whose middle of a transaction another program is."""
    monkeypatch.setattr("sr_core.search.database._LOOK_S", 0.01)
    open_database(f"sqlite:///{tmp_path}/s.db").engine.dispose()
    other = sqlite3.connect(tmp_path / "s.db", isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    yield other
    other.close()


def test_a_database_that_is_in_use_for_long_is_a_sentence(
    held: sqlite3.Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sr_core.search.database.PATIENCE_S", 0.05)
    with pytest.raises(SearchError, match=r"s\.db is in use by another program: end that, then go"):
        SharedStudy.join(f"sqlite:///{tmp_path}/s.db", "mine")


def test_a_database_that_is_in_use_for_a_while_is_waited_for(
    held: sqlite3.Connection, tmp_path: Path
) -> None:
    later = threading.Timer(0.2, held.rollback)
    later.start()
    with pytest.raises(SearchError, match="There is no study mine"):
        SharedStudy.join(f"sqlite:///{tmp_path}/s.db", "mine")
    later.join()


def test_a_sign_of_life_that_cannot_be_given_is_one_line_in_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    storage = open_database(f"sqlite:///{tmp_path}/s.db")
    trial = storage.create_new_trial(storage.create_new_study([StudyDirection.MINIMIZE]))
    with monkeypatch.context() as patch:
        patch.setattr("sr_core.search.database.PATIENCE_S", 0.0)
        patch.setattr("sr_core.search.database._LOOK_S", 0.01)
        storage.engine.dispose()
        with sqlite3.connect(tmp_path / "s.db", isolation_level=None) as other:
            other.execute("BEGIN IMMEDIATE")
            for _ in range(3):
                storage.record_heartbeat(trial)
        other.close()
    (record,) = caplog.records
    assert record.getMessage().startswith("The study's database does not answer")
    assert record.exc_info is None
    storage.record_heartbeat(trial)
    storage.engine.dispose()


def test_a_study_in_the_making_is_waited_for(
    root: Path, args: SearchArgs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = prepare(Catalogue(root), args).study
    assert study is not None
    described = study.settings.model_dump(mode="json")
    url = f"sqlite:///{tmp_path}/young.db"
    storage = optuna.storages.RDBStorage(url)
    young = optuna.create_study(storage=storage, study_name="young")
    later = threading.Timer(0.2, young.set_user_attr, ("upfront", described))
    later.start()
    joined = SharedStudy.join(url, "young")
    assert joined.settings == study.settings
    later.join()
    for one in (joined, study):
        one.close()
    storage.engine.dispose()


def test_a_worker_may_die_before_its_first_sign_of_life(
    root: Path, args: SearchArgs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sr_core.search.database.GRACE_S", 1)
    monkeypatch.setattr("sr_core.search.storage.GRACE_S", 0.5)
    first = search(Catalogue(root), args, should_stop=lambda: True)
    assert args.storage is not None
    storage = optuna.storages.RDBStorage(args.storage)  # one without heartbeats
    optuna.load_study(storage=storage, study_name=args.name).ask()
    storage.engine.dispose()
    result = search(Catalogue(root), replace(args, resume=True))
    assert (len(first.trials), len(result.trials)) == (0, 8)


def test_a_trial_that_kills_its_workers_is_given_up(tmp_path: Path) -> None:
    storage = open_database(f"sqlite:///{tmp_path}/s.db")
    study, again = (
        optuna.create_study(storage=storage),
        storage.get_heartbeat_stale_trial_callback(),
    )
    assert again is not None
    study.add_trial(optuna.create_trial(state=TrialState.WAITING))
    for _ in range(4):
        again(study, study.trials[-1])
    assert len(study.trials) == 1 + MAX_RETRIES == 3
    storage.engine.dispose()


def test_damage_is_a_sentence(
    root: Path, args: SearchArgs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = tmp_path / "text.db"
    text.write_text("This is no database, " * 100)
    with pytest.raises(SearchError, match=r"is damaged or no database \(file is not a database\)"):
        SharedStudy.join(f"sqlite:///{text}", "mine")

    url = f"sqlite:///{tmp_path}/foreign.db"
    storage = optuna.storages.RDBStorage(url)
    optuna.create_study(storage=storage, study_name="theirs")
    storage.engine.dispose()
    monkeypatch.setattr("sr_core.search.storage._MAKING_S", 0.02)
    with pytest.raises(SearchError, match=r"Study theirs is being made, or its start was int"):
        SharedStudy.join(url, "theirs")

    search(Catalogue(root), args)
    with sqlite3.connect(tmp_path / "s.db") as database:
        database.execute("UPDATE trial_user_attributes SET value_json = '{\"known\": 3}'"
                         " WHERE key = 'result'")  # fmt: skip
    database.close()
    with pytest.raises(SearchError, match="Study mine is damaged"):
        search(Catalogue(root), replace(args, resume=True))


@pytest.fixture
def study(root: Path, args: SearchArgs) -> Iterator[SharedStudy]:
    """A new study of eight trials."""
    made = prepare(Catalogue(root), args).study
    assert made is not None
    yield made
    made.close()


@pytest.mark.parametrize("told", [False, True])
def test_a_trial_that_others_took_for_dead_is_theirs(
    study: SharedStudy, args: SearchArgs, told: bool
) -> None:
    """Whether we notice as we note something on it, or only as we give its result."""
    assert args.storage is not None
    storage = optuna.storages.RDBStorage(args.storage)
    others = optuna.load_study(storage=storage, study_name=study.name)

    def work(trial: optuna.Trial) -> tuple[float, float]:
        others.tell(trial.number, state=TrialState.FAIL)
        if told:
            trial.set_user_attr("network", "x4c16_2w")
        return 1.0, 30.0

    study.run_one(work)
    assert [trial.state for trial in study.trials()] == [TrialState.FAIL]
    storage.engine.dispose()


@pytest.mark.parametrize("lost", [False, True])
def test_an_error_of_the_work_comes_through(
    study: SharedStudy, args: SearchArgs, lost: bool
) -> None:
    """Also if others took the trial for dead."""
    assert args.storage is not None
    storage = optuna.storages.RDBStorage(args.storage)
    others = optuna.load_study(storage=storage, study_name=study.name)

    def work(trial: optuna.Trial) -> tuple[float, float]:
        if lost:
            others.tell(trial.number, state=TrialState.FAIL)
        raise ValueError("no such crop")

    with pytest.raises(ValueError, match="no such crop"):
        study.run_one(work)
    assert [trial.state for trial in study.trials()] == [TrialState.FAIL]
    storage.engine.dispose()


@pytest.mark.parametrize("when", ["before_trial", "after_trial"])
def test_another_error_of_optuna_comes_through(
    study: SharedStudy, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise ValueError("no such distribution")

    monkeypatch.setattr(optuna.samplers.RandomSampler, when, refuse)
    with pytest.raises(ValueError, match="no such distribution"):
        study.run_one(lambda _: (1.0, 30.0))


def test_a_study_made_before_the_options_came_from_its_settings_is_gone_on_with(
    root: Path, args: SearchArgs, study: SharedStudy, tmp_path: Path
) -> None:
    told = study.settings.model_dump(mode="json")
    own = ("weights_sha256", "protocol", "crops", "profile", "reference_cost", "start")
    old: dict[str, Any] = {name: told[name] for name in own} | {
        "scale": 4, "sampler": "nsga2", "objective": "phone", "budget_ms": None, "trials": 8,
        "seed": 0, "schemes": ["dense", "channel", "block", "pattern", "unstructured"],
        "ratio_per_layer_kind": False,
        "command": "python -m sr_core search --scale 4 --sampler nsga2 --objective phone "
        "--trials 8 --seed 0 --engine onnx --out RESULT.json",
    }  # fmt: skip
    now = {"colour": "rgb", "blocks": ["wide", "residual"], "widths": [16]}
    assert told == old | now | {"skip_schemes": ["dense"]}
    url = f"sqlite:///{tmp_path}/old.db"
    storage = optuna.storages.RDBStorage(url)
    made = optuna.create_study(
        storage=storage, study_name="mine", directions=["minimize", "maximize"]
    )
    made.set_user_attr("upfront", old)
    storage.engine.dispose()
    result = search(Catalogue(root), replace(args, storage=url, resume=True))
    assert (len(result.trials), result.run.command) == (8, old["command"])
