"""`bench workers`: trials a second of one study with one and with two worker processes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from typing import IO

from optuna.trial import TrialState

from sr_core.bench.samplers import conditions
from sr_core.catalogue.store import Catalogue
from sr_core.errors import MeasurementError, SearchError
from sr_core.files import REPOSITORY
from sr_core.options import words
from sr_core.results.samplers import WorkerBench, WorkerRow
from sr_core.search.database import sqlite_url
from sr_core.search.events import Failure, parse_event
from sr_core.search.settings import SearchArgs
from sr_core.search.setup import prepare
from sr_core.search.storage import SharedStudy

WORKERS = (1, 2)
MIN_TRIALS = 10
_NAME = "bench"


def bench_workers(
    catalogue: Catalogue, args: SearchArgs, report: Callable[[WorkerRow], object] = lambda _: None
) -> WorkerBench:
    """Run the same search by each number of `WORKERS`, on one thread each, on SQLite.

    `args` has scale, images, objective, sampler and trials. Raises `MeasurementError` if there are
    less than `MIN_TRIALS`, or if a worker fails.
    """
    if args.trials < MIN_TRIALS:
        raise MeasurementError(f"--trials {args.trials}: expected at least {MIN_TRIALS}.")
    rows: list[WorkerRow] = []
    about = conditions(prepare(catalogue, args))
    with TemporaryDirectory() as folder:
        for workers in WORKERS:
            url = sqlite_url(Path(folder, f"{workers}.db"))
            study_args = replace(args, storage=url, study=_NAME)
            study = prepare(catalogue, study_args).study
            if study:
                study.close()
            _work(catalogue.root, replace(study_args, worker=True, threads=1), workers)
            rows.append(WorkerRow(workers=workers, trials_per_s=_rate(url)))
            report(rows[-1])
    return WorkerBench(
        **about, storage="SQLite", sampler=args.sampler, trials=args.trials,
        rows=tuple(rows),
    )  # fmt: skip


def _work(root: Path, args: SearchArgs, workers: int) -> None:
    """Run this many workers to the end."""
    command = [
        sys.executable, "-m", "sr_core", "--root", str(root), "search", *words(args), "--events",
    ]  # fmt: skip
    with ExitStack() as stack:
        running = [stack.enter_context(_worker(command)) for _ in range(workers)]
        for process, output in running:
            if process.wait():
                output.seek(0)
                raise MeasurementError(f"A worker failed: {_reason(output.read())}")


@contextmanager
def _worker(command: list[str]) -> Generator[tuple[subprocess.Popen[bytes], IO[bytes]]]:
    """Start a process. Yields it and the file that it prints to.

    It ends with us, whose pipe it reads, or with the context.
    """
    with (
        TemporaryFile() as output,
        subprocess.Popen(
            command, cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=output, stderr=subprocess.STDOUT
        ) as process,
    ):
        try:
            yield process, output
        finally:
            process.kill()  # the end of the context waits for it


def _reason(output: bytes) -> str:
    """Return the sentence of a worker that failed."""
    last = output.decode(errors="replace").strip().rpartition("\n")[2]
    try:
        event = parse_event(last)
    except SearchError:
        return last
    return event.message if isinstance(event, Failure) else last


def _rate(url: str) -> float:
    """Return the trials a second between the end of the first fifth and the end of all."""
    study = SharedStudy.join(url, _NAME)
    trials = [trial for trial in study.trials() if trial.state == TrialState.COMPLETE]
    study.close()
    ends = sorted(trial.datetime_complete for trial in trials if trial.datetime_complete)
    first = len(ends) // 5
    return (len(ends) - 1 - first) / (ends[-1] - ends[first]).total_seconds()
