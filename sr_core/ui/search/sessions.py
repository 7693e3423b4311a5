"""Who searches on this server: one search per visitor, and not too many at once. No Gradio."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Sequence
from pathlib import Path

from sr_core.errors import SearchError
from sr_core.machine import cores
from sr_core.ui.search.live import ACTIVE, WORKER, LiveSearch, Settings, Snapshot


class Searches:
    """The searches of all visitors of a server, by session. Thread-safe."""

    def __init__(
        self, root: Path, *, worker: Sequence[str] = WORKER, at_once: int | None = None
    ) -> None:
        self._root, self._worker = root, worker
        self._at_once = at_once or max(1, cores() // 2)
        self._lock = threading.Lock()
        self._of: dict[str, LiveSearch] = {}
        self._results: dict[str, Snapshot] = {}
        # As the server ends, at the latest: no worker and no file outlives it.
        weakref.finalize(self, _close, self._of)

    def start(self, session: str, settings: Settings) -> None:
        """Start a search in place of the visitor's last one.

        Raises `SearchError` if too many run.
        """
        with self._lock:
            self._demand_room()
            self._forget(session)
            self._of[session] = LiveSearch(settings, self._root, worker=self._worker)

    def pause_or_resume(self, session: str) -> None:
        """Pause or resume. Raises `SearchError` if too many others run."""
        with self._lock:
            if search := self._of.get(session):
                if search.snapshot().phase == "paused":
                    self._demand_room()
                    search.resume()
                else:
                    search.pause()

    def cancel(self, session: str) -> None:
        """Cancel the visitor's search."""
        with self._lock:
            if search := self._of.get(session):
                search.cancel()

    def show(self, session: str, result: Snapshot) -> None:
        """Put a result that was loaded in the place of the visitor's search."""
        with self._lock:
            self._forget(session)
            self._results[session] = result

    def snapshot(self, session: str) -> Snapshot | None:
        """Return the visitor's search, None without one."""
        with self._lock:
            search = self._of.get(session)
            return search.snapshot() if search else self._results.get(session)

    def result(self, session: str) -> Path | None:
        """Return the result file of the visitor's search, None while there is none."""
        with self._lock:
            search = self._of.get(session)
            return search.result() if search else None

    def end(self, session: str) -> None:
        """End the search of a visitor who has gone."""
        with self._lock:
            self._forget(session)

    def _forget(self, session: str) -> None:
        self._results.pop(session, None)
        if search := self._of.pop(session, None):
            search.close()

    def _demand_room(self) -> None:
        running = sum(search.snapshot().phase in ACTIVE for search in self._of.values())
        if running >= self._at_once:
            raise SearchError(
                f"This server is busy: {running} of at most {self._at_once} searches are running, "
                "so wait for one to end and press the button again."
            )


def _close(searches: dict[str, LiveSearch]) -> None:
    while searches:
        searches.popitem()[1].close()
