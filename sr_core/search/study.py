"""Stage 2: propose a candidate, price it, score it on the crops, remember it."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress

from sr_core.catalogue.fronts import Crops, Front, Header, Run, empty_front, write_front
from sr_core.catalogue.store import Catalogue
from sr_core.catalogue.writer import changing, check_writable, keeping
from sr_core.errors import CatalogueError, SearchError
from sr_core.files import check_target, is_stream, write_atomic
from sr_core.quality.metrics import PROTOCOL
from sr_core.results.record import to_json
from sr_core.search.evaluate import Scorer
from sr_core.search.events import End, Event
from sr_core.search.result import SearchResult, write_result
from sr_core.search.settings import SearchArgs
from sr_core.search.setup import Setup, prepare
from sr_core.search.tally import Tally
from sr_core.search.worker import Worker

SAVE_EVERY_S = 30.0


def search(
    catalogue: Catalogue,
    args: SearchArgs,
    report: Callable[[Event], object] = lambda _: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> SearchResult:
    """Run one search, or a part of a shared one, and `report` what happens as it happens.

    Networks in the store, or in the study, are not evaluated again: the sampler is told what is
    known. A search of its own saves its results every `SAVE_EVERY_S` seconds and when it ends, is
    interrupted or `should_stop` (which is asked after each trial). With `val` it is appended to
    the stored front, with `out` written to that file. A shared one is stored trial by trial, and
    appended to the front only when it is complete.

    Raises:
        SearchError: settings that leave no result, a front or study made with other crops or
            weights, a storage that cannot be used, a file that cannot be written (found before
            the search; if it happens later, the result is kept elsewhere).
        CatalogueError: a stored front that is damaged or of other weights.
        LatencyError: there is no such device.
    """
    start = time.monotonic()
    if args.val is None and args.storage is None and args.out is None:
        raise SearchError(
            "Without --val a search leaves the stored front alone: give --out FILE.json for its "
            "result, or a --storage."
        )
    if args.out:
        check_target(args.out, SearchError)
    if args.val and not args.worker:
        check_writable(catalogue.root, f"fronts/{args.family.name}.parquet")
    setup = prepare(catalogue, args)
    try:
        return _run(setup, start, report, should_stop)
    finally:
        if setup.study:
            setup.study.close()


def _run(
    setup: Setup, start: float, report: Callable[[Event], object], should_stop: Callable[[], bool]
) -> SearchResult:
    tally = Tally(setup.start, setup.facts)
    report(setup.start)
    if setup.study is None:
        _alone(setup, tally, report, should_stop)
    else:
        _together(setup, tally, report, should_stop)
    seconds = time.monotonic() - start
    report(
        End(
            trials=len(tally.trials), evaluated=tally.evaluated, hypervolume=tally.hypervolume,
            seconds=seconds,
        )
    )  # fmt: skip
    return _result(setup, tally)


def _alone(
    setup: Setup, tally: Tally, report: Callable[[Event], object], should_stop: Callable[[], bool]
) -> None:
    """Run a search of its own, in memory."""
    last_save, run = time.monotonic(), None
    scorer = Scorer(setup.evaluator.evaluate, setup.scores)
    try:
        while len(tally.trials) < setup.start.trials and not should_stop():
            start = time.perf_counter()
            candidate = setup.proposer.ask()
            proposal_s = time.perf_counter() - start
            score = scorer.score(candidate)
            cost = float(setup.aim.cost([candidate])[0])
            start = time.perf_counter()
            setup.proposer.tell(cost, score.psnr_y_db)
            proposal_s += time.perf_counter() - start
            report(tally.add(len(tally.trials), candidate, cost, score, proposal_s))
            if time.monotonic() - last_save > SAVE_EVERY_S:
                run = _save(setup, tally, run)
                last_save = time.monotonic()
    finally:
        if tally.trials:
            _finish(setup, tally, run)


def _together(
    setup: Setup, tally: Tally, report: Callable[[Event], object], should_stop: Callable[[], bool]
) -> None:
    """Work on a study that several processes share."""
    study, args = setup.study, setup.args
    if study is None:
        raise AssertionError
    scorer = Scorer(setup.evaluator.evaluate, setup.scores)
    Worker(study, setup.aim, setup.proposer, scorer, tally, report).run(should_stop)
    if args.out:  # also of a part: whoever stops it may want what there is
        write_result(args.out, _result(setup, tally))
    complete = len(tally.trials) >= setup.start.trials
    if complete and not args.worker and args.val:
        with changing(setup.root):
            if not study.is_stored:
                _append(setup, tally)
                study.mark_stored()


def _save(setup: Setup, tally: Tally, earlier: Run | None) -> Run | None:
    """Save the results so far, and return the run as it is stored now.

    `earlier` is the last such run. If a file cannot be written the search goes on: perhaps it can
    be in the end, and else `_finish` says so.
    """
    if setup.args.out and not is_stream(setup.args.out):  # a stream gets one result
        with suppress(OSError):
            write_atomic(setup.args.out, to_json(_result(setup, tally)))
    if setup.args.val:
        with suppress(CatalogueError), changing(setup.root):
            return _append(setup, tally, earlier)
    return earlier


def _finish(setup: Setup, tally: Tally, earlier: Run | None) -> None:
    """Save the results. What cannot be stored is kept elsewhere, and the error says where."""
    try:
        if setup.args.val:
            result = _result(setup, tally)
            with keeping(lambda: to_json(result)), changing(setup.root):
                _append(setup, tally, earlier)
    finally:
        if setup.args.out:
            write_result(setup.args.out, _result(setup, tally))


def _append(setup: Setup, tally: Tally, earlier: Run | None = None) -> Run:
    """Append to the front as it is now: other searches may have been stored in the meantime."""
    front, run = _front(setup), tally.run()
    rows = tally.rows(set(front.rows["id"]))
    write_front(setup.root, front.with_run(run, rows, earlier))
    return run


def _front(setup: Setup) -> Front:
    new = _new_front(setup)
    stored = Catalogue(setup.root).front(setup.start.family)
    if stored and (stored.header.weights_sha256, stored.header.crops.sha256) != (
        new.header.weights_sha256, new.header.crops.sha256
    ):  # fmt: skip
        raise SearchError(
            f"fronts/{setup.start.family.name}.json has become one of other weights or crops since "
            "this search started: search again."
        )
    return stored or new


def _new_front(setup: Setup) -> Front:
    crops = Crops(**setup.start.crops.model_dump(exclude={"about"}))
    header = Header(
        scale=setup.start.scale,
        colour=setup.start.colour,
        weights_sha256=setup.evaluator.supernet.sha256,
        protocol=PROTOCOL,
        crops=crops,
    )
    return empty_front(header)


def _result(setup: Setup, tally: Tally) -> SearchResult:
    return SearchResult(
        weights_sha256=setup.evaluator.supernet.sha256,
        protocol=PROTOCOL,
        start=setup.start,
        run=tally.run(),
        trials=tally.trials,
    )
