"""A search in a worker process, watched through its events: start, pause, resume, cancel.

No Gradio. The worker is the command line's own `search --events`; it ends by itself when its
standard input ends, so that it never outlives the server.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal
from uuid import uuid4

from sr_core.errors import SearchError
from sr_core.files import REPOSITORY
from sr_core.machine import cores
from sr_core.options import words
from sr_core.search.database import sqlite_url
from sr_core.search.events import Event, Failure, Start, Trial, parse_event
from sr_core.search.settings import SearchArgs

Phase = Literal[
    "starting", "running", "pausing", "paused", "finished", "cancelling", "cancelled", "failed",
    "loaded",
]  # fmt: skip
ACTIVE: frozenset[Phase] = frozenset({"starting", "running", "pausing", "cancelling"})
"""A worker is running."""
WORKER = (sys.executable, "-m", "sr_core")
THREADS = min(2, cores())
"""Of a worker; there is one worker per as many cores at most."""
LIMIT_S = 600.0
"""Running time of a search, pauses left out."""
MIN_TRIALS, MAX_TRIALS = 10, 1000
_NICENESS = 10
_RECENT = 40
"""Trials that the speed is the mean of."""
_GRACE_S = 10.0
"""For the trial that runs when a search is cancelled or its time is up."""


@dataclass(frozen=True)
class Settings(SearchArgs):
    """Settings that a visitor asks for. The worker checks what only it can know."""

    def __post_init__(self) -> None:
        """Raise `SearchError` for numbers of trials or seeds beyond the page's limits."""
        if not MIN_TRIALS <= self.trials <= MAX_TRIALS:
            raise SearchError(
                f"{self.trials} trials are not possible here: expected {MIN_TRIALS} to "
                f"{MAX_TRIALS}; the command line takes more."
            )
        if not 0 <= self.seed < 2**31:
            raise SearchError(f"The seed {self.seed} is not a whole number of 0 to {2**31 - 1}.")
        super().__post_init__()


@dataclass(frozen=True)
class Snapshot:
    """A search at one moment."""

    phase: Phase
    start: Start | None = None
    """None until the worker has read its data."""
    trials: tuple[Trial, ...] = ()
    total: int = 0
    """Trials that were asked for."""
    message: str = ""
    """Why it ended early, in a sentence."""
    evaluated_per_s: float | None = None
    """Of the last trials; None while it does not run."""
    eta_s: float | None = None

    @property
    def version(self) -> tuple[Phase, int]:
        """A value that differs between snapshots whose points or buttons differ."""
        return self.phase, len(self.trials)


class LiveSearch:
    """One search, which may have several workers one after the other. Thread-safe."""

    def __init__(
        self,
        settings: Settings,
        root: Path,
        *,
        worker: Sequence[str] = WORKER,
        limit_s: float = LIMIT_S,
    ) -> None:
        """Start the first worker.

        Args:
            root: the precomputed folder.
            worker: command that `--root ROOT search ...` is appended to.
        """
        self._folder = tempfile.TemporaryDirectory(prefix="upfront-search-")
        self.folder = Path(self._folder.name)
        family = settings.family.name
        name = f"upfront-search-{family}-{settings.objective}-{settings.sampler}.json"
        self._result = self.folder / name
        self._settings = replace(
            settings, threads=THREADS, storage=sqlite_url(self.folder / "study.db"),
            study=f"live-{uuid4().hex[:12]}", out=self._result,
        )  # fmt: skip
        self._program = [*worker, "--root", str(root.resolve())]
        self._lock = threading.Lock()
        self._phase: Phase = "starting"
        self._start: Start | None = None
        self._trials: dict[int, Trial] = {}
        self._total = settings.trials
        self._message = ""
        self._to_replay = 0
        self._recent: deque[tuple[float, int, int]] = deque(maxlen=_RECENT)
        """(time, trials, evaluated) of new trials."""
        self._left_s = limit_s
        try:
            self._launch(resume=False)
        except SearchError:
            self._folder.cleanup()
            raise

    @property
    def pid(self) -> int:
        """Process id of the last worker."""
        return self._process.pid

    def snapshot(self) -> Snapshot:
        """Return how the search stands now."""
        with self._lock:
            trials = tuple(self._trials.values())
            speed, eta_s = self._speed() if self._phase == "running" else (None, None)
            return Snapshot(
                self._phase, self._start, trials, self._total, self._message, speed, eta_s
            )

    def result(self) -> Path | None:
        """Return the file of all trials, which a worker writes as it ends, None without one."""
        with self._lock:
            ready = self._phase not in ACTIVE and self._result.is_file()
            return self._result if ready else None

    def pause(self) -> None:
        """Let the worker end after its trial. Nothing happens unless it runs."""
        with self._lock:
            if self._phase in ("starting", "running"):
                self._phase = "pausing"
                self._process.stdin.close()  # pyright: ignore[reportOptionalMemberAccess]

    def resume(self) -> None:
        """Go on with a new worker. Nothing happens unless the search is paused.

        Raises `SearchError`, and stays paused, if no process can be started.
        """
        with self._lock:
            if self._phase == "paused":
                self._launch(resume=True)
                self._phase, self._message = "starting", ""

    def cancel(self) -> None:
        """End the worker after its trial, so that it writes the result, or after `_GRACE_S`."""
        with self._lock:
            if self._phase == "paused":
                self._phase = "cancelled"
            elif self._phase in ACTIVE and self._phase != "cancelling":
                self._phase = "cancelling"
                self._process.stdin.close()  # pyright: ignore[reportOptionalMemberAccess]
                threading.Thread(target=_end, args=[self._process], daemon=True).start()

    def close(self) -> None:
        """End the worker at once and remove the files."""
        with self._lock:
            if self._phase in ACTIVE or self._phase == "paused":
                self._phase = "cancelled"
                self._process.kill()
        self._follower.join()
        self._folder.cleanup()

    def _launch(self, *, resume: bool) -> None:
        options = words(replace(self._settings, resume=resume))
        try:
            process = subprocess.Popen(
                [*self._program, "search", *options, "--events"], cwd=REPOSITORY,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True,
            )  # fmt: skip
        except OSError as error:
            raise SearchError(f"The search cannot start ({error.strerror}).") from None
        self._process = process
        self._result.unlink(missing_ok=True)  # of its predecessor
        if hasattr(os, "setpriority"):  # not on Windows
            with contextlib.suppress(OSError):  # it has ended already
                os.setpriority(os.PRIO_PROCESS, self._process.pid, _NICENESS)
        self._follower = threading.Thread(target=self._follow, args=[self._process], daemon=True)
        self._follower.start()

    def _follow(self, process: subprocess.Popen[bytes]) -> None:
        """Take all events of a worker, and note how it ended, in a thread of its own."""
        start = time.monotonic()
        alarm = threading.Timer(self._left_s, self._time_is_up, [process])
        alarm.daemon = True
        alarm.start()
        failure = ""
        with process:
            assert process.stdout
            try:
                for text in process.stdout:
                    failure = self._take(parse_event(text)) or failure
            except SearchError as error:
                failure = str(error)
                process.kill()
        alarm.cancel()
        with self._lock:
            self._left_s -= time.monotonic() - start
            self._note_end(process.returncode, failure)

    def _take(self, event: Event) -> str:
        """Note an event. Returns the sentence of a failure."""
        with self._lock:
            if isinstance(event, Start):
                self._start, self._to_replay = event, event.finished_before
                self._recent.clear()
                self._phase = "running" if self._phase == "starting" else self._phase
            elif isinstance(event, Trial):
                self._trials[event.number] = event
                self._to_replay -= 1
                if self._to_replay < 0:
                    self._recent.append((time.monotonic(), event.trials, event.evaluated))
            return event.message if isinstance(event, Failure) else ""

    def _note_end(self, code: int, failure: str) -> None:
        count = len(self._trials)
        if self._phase in ("cancelling", "cancelled"):
            self._phase = "cancelled"
            return
        if failure:
            self._phase, self._message = "failed", failure
        elif count >= self._total:
            self._phase = "finished"
        elif self._left_s <= 0:
            self._phase = "finished"
            self._message = (
                f"The time limit for searches on this page ended it after {count} of {self._total} "
                "trials; the command below has none."
            )
        elif code == 0 and self._phase == "pausing":
            self._phase = "paused"
        else:
            self._phase = "paused" if count else "failed"
            again = "press Resume to go on from there" if count else "press Start to try again"
            self._message = (
                f"The search's process ended unexpectedly (exit code {code}) after {count} of "
                f"{self._total} trials: {again}."
            )

    def _time_is_up(self, process: subprocess.Popen[bytes]) -> None:
        self.pause()
        _end(process)

    def _speed(self) -> tuple[float | None, float | None]:
        """Return the networks evaluated per second, and the seconds to the end."""
        if len(self._recent) < 2:
            return None, None
        (start, first, before), (end, last, after) = self._recent[0], self._recent[-1]
        took_s = max(end - start, 1e-3)
        return (after - before) / took_s, (self._total - last) * took_s / (last - first)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill a worker whose standard input was closed, unless it ends within `_GRACE_S`."""
    try:
        process.wait(_GRACE_S)
    except subprocess.TimeoutExpired:
        process.kill()
