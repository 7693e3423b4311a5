"""Several processes on one study, one of which dies."""

from __future__ import annotations

import multiprocessing
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy
from optuna.trial import TrialState

from sr_core.catalogue.store import Catalogue
from sr_core.errors import SearchError
from sr_core.search.database import open_database
from sr_core.search.settings import SearchArgs
from sr_core.search.setup import prepare
from sr_core.search.storage import SharedStudy
from sr_core.search.study import search
from tests.needs import POSTGRESQL, lacking
from tests.search import helpers
from tests.search.profiles import device, install
from tests.tiny import write_manifest
from tests.waiting import PATIENCE_S, until

TRIALS = 40


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """URL of a PostgreSQL server."""
    binaries = helpers.postgres_binaries()
    if binaries is None:
        lacking(POSTGRESQL)
    pytest.importorskip("psycopg")
    with helpers.postgres(binaries) as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/studies.db"
    return request.getfixturevalue("server")


@pytest.fixture
def new_url(request: pytest.FixtureRequest, url: str) -> str:
    """A database without tables."""
    if url.startswith("sqlite"):
        return url
    engine = sqlalchemy.create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql("CREATE DATABASE fresh")
    engine.dispose()
    return url.replace("/postgres?", "/fresh?")


def test_all_who_start_together_on_a_new_database_can_use_it(new_url: str) -> None:
    together = threading.Barrier(6)

    def start(_: int) -> str:
        together.wait()
        storage = open_database(new_url)
        version = storage.get_current_version()
        storage.engine.dispose()
        return version

    with ThreadPoolExecutor(together.parties) as pool:
        (version,) = set(pool.map(start, range(together.parties)))
    assert version


def started(root: Path, url: str) -> SearchArgs:
    """A new study that nobody works on yet."""
    install(root, device("phone"))
    write_manifest(root)
    args = SearchArgs(
        scale=4, objective="phone", budget_ms=9, trials=TRIALS, storage=url, study="shared",
        threads=1, engine="onnx",
    )  # fmt: skip
    study = prepare(Catalogue(root), args).study
    assert study is not None
    study.close()
    return args


def test_a_study_outlives_a_worker(own_root: Path, tmp_path: Path, url: str) -> None:
    args, log = started(own_root, url), tmp_path / "log"
    log.touch()
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.search.helpers", "sklearn"])
    workers = [
        context.Process(target=helpers.work, args=(own_root, url, "shared", log, hang_at))
        for hang_at in (0, None, None, None)
    ]
    victim, *others = workers
    victim.start()
    study = SharedStudy.join(url, "shared")
    try:
        until(lambda: bool(log.read_text()))  # it has a trial, on which it will hang
        for worker in others:
            worker.start()
        until(lambda: len(log.read_text().split()) > TRIALS // 4)
        victim.kill()
        for worker in others:
            worker.join(PATIENCE_S)
            assert worker.exitcode == 0
    finally:
        for worker in workers:
            if worker.pid:
                worker.kill()
    victim.join()
    assert victim.exitcode == -9
    trials = study.trials()
    study.close()
    states = Counter(trial.state for trial in trials)
    assert states[TrialState.COMPLETE] == TRIALS
    assert states.keys() <= {TrialState.COMPLETE, TrialState.FAIL, TrialState.PRUNED}
    (lost,) = (trial for trial in trials if trial.state == TrialState.FAIL)
    (again,) = (trial for trial in trials if "failed_trial" in trial.system_attrs)
    assert again.user_attrs["network"] == lost.user_attrs["network"]
    assert (again.state, again.system_attrs["failed_trial"]) == (TrialState.COMPLETE, lost.number)
    evaluated = Counter(log.read_text().split())
    assert [n for n in evaluated.values() if n > 1] == [2]  # that of the victim

    result = search(Catalogue(own_root), replace(args, resume=True))
    assert sorted(one.number for one in result.trials) == [
        trial.number for trial in trials if trial.state == TrialState.COMPLETE
    ]
    assert len(evaluated) == result.run.evaluated == len({t.network for t in result.trials})
    assert len(log.read_text().split()) == evaluated.total()


def test_a_wrong_password_is_not_repeated(server: str) -> None:
    with pytest.raises(SearchError, match="refuses the user or password; check both") as caught:
        SharedStudy.join(server.replace(helpers.PASSWORD, "guessed"), "shared")
    assert "guessed" not in str(caught.value)
    assert "upfront:***@" in str(caught.value)


def test_a_database_that_is_not_there_is_a_sentence(server: str) -> None:
    with pytest.raises(SearchError, match=r"cannot be used \(.*nowhere.*\): check the address"):
        SharedStudy.join(server.replace("/postgres?", "/nowhere?"), "shared")
