"""The database of a shared study: opening it, SQLite's rules, and its errors as sentences."""

from __future__ import annotations

import logging
import random
import time
import warnings
from collections.abc import Generator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import unquote, unquote_plus

import optuna
import sqlalchemy
from filelock import FileLock
from optuna.exceptions import ExperimentalWarning, StorageInternalError
from optuna.storages import RDBStorage, RetryHeartbeatStaleTrialCallback
from sqlalchemy import event
from sqlalchemy.exc import ArgumentError, OperationalError, SQLAlchemyError

from sr_core.errors import SearchError

HEARTBEAT_S = 10
"""A worker says that it is alive this often."""
GRACE_S = 60
"""A worker that has been silent for this long counts as dead."""
PATIENCE_S = 300
"""So long another program may hold a SQLite file."""
_LOOK_S = 2
"""Between two looks at whether it still does."""
MAX_RETRIES = 2
"""Of one trial: a network that kills its workers is given up."""
_HARMLESS = ("host", "hostaddr", "port", "sslmode", "timeout", "connect_timeout")
"""Parameters of a URL whose values may be repeated in messages; all others count as secrets."""
_WAITING = {"sqlite": {"timeout": 60}, "postgresql": {"connect_timeout": 15}}
"""Kind of database -> seconds until its driver gives up: a file in use, a silent computer."""


_LOCK_ID = 7_869_703
"""Of PostgreSQL's advisory lock; any number."""
_ATTEMPTS = 8
_BACK_OFF_S = 0.3
_MADE_BY_OTHERS = ("already exists", "unique constraint", "duplicate", "database is locked")
"""What databases say of tables and rows that another process makes at the same time."""
_log = logging.getLogger(__name__)


def sqlite_url(path: Path) -> str:
    """Return the URL of a database file, with quotes for what a URL gives a meaning (%, ?, ...)."""
    return sqlalchemy.URL.create("sqlite", database=str(path)).render_as_string()


def open_database(url: str) -> RDBStorage:
    """Connect, with Optuna's tables made. Raises `SearchError` if that cannot be."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)  # lost trials are reported by us
    try:
        with database_errors(url):
            address = _parse(url)
            sqlite = address.get_backend_name() == "sqlite"
            if sqlite and address.database in (None, "", ":memory:"):
                raise SearchError(
                    f"--storage {safe_url(url)}: a database in memory cannot be shared; expected "
                    "a file, sqlite:///STUDIES.db."
                )
            return _connect(url, address)
    except ImportError as error:
        raise SearchError(
            f"The database driver of {safe_url(url)} is not installed ({error}): for PostgreSQL, "
            '`pip install "psycopg[binary]"` and write postgresql+psycopg://...'
        ) from None
    except (ValueError, TypeError):  # of a parameter; the message may repeat its value
        raise SearchError(
            f"--storage {safe_url(url)} is no database URL that its driver takes: check what "
            "follows the `?`."
        ) from None
    except RuntimeError as error:
        raise SearchError(
            f"--storage {safe_url(url)} is of another version of Optuna ({error})."
        ) from None


def _connect(url: str, address: sqlalchemy.URL) -> RDBStorage:
    """Connect and make the tables, alone where that can be had.

    Where it cannot, two processes may both be making them: the second one looks again.
    """
    connection = _WAITING.get(address.get_backend_name(), {})
    with _alone(address, connection), warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        for attempt in range(_ATTEMPTS):
            try:
                storage = _Storage(
                    url.replace("{", "{{").replace("}", "}}"),  # Optuna formats it
                    engine_kwargs={"connect_args": connection},
                    heartbeat_interval=HEARTBEAT_S,
                    grace_period=GRACE_S,
                    heartbeat_stale_trial_callback=RetryHeartbeatStaleTrialCallback(MAX_RETRIES),
                )
                if storage.engine.name == "sqlite":
                    _serialise(storage.engine)
            except SQLAlchemyError as error:
                told = str(error).lower()
                if attempt == _ATTEMPTS - 1 or not any(word in told for word in _MADE_BY_OTHERS):
                    raise
                time.sleep(random.uniform(0, _BACK_OFF_S))
            else:
                return storage
    raise AssertionError  # the last attempt returns or raises


@contextmanager
def _alone(address: sqlalchemy.URL, connection: dict[str, int]) -> Generator[None]:
    """Keep other processes from making the tables meanwhile: a lock of SQLite's file or server."""
    with ExitStack() as stack:
        if address.get_backend_name() == "sqlite":
            lock = Path(f"{address.database}.lock")
            # Without a folder, or in a read-only one, SQLite will say what is wrong.
            with suppress(OSError):
                if lock.parent.is_dir():
                    stack.enter_context(FileLock(lock, timeout=_WAITING["sqlite"]["timeout"]))
                    stack.callback(_forget, lock)
        elif address.get_backend_name() == "postgresql":
            engine = sqlalchemy.create_engine(address, connect_args=connection)
            stack.callback(engine.dispose)
            stack.enter_context(engine.connect()).execute(
                sqlalchemy.select(sqlalchemy.func.pg_advisory_lock(_LOCK_ID))
            )
        yield


def _forget(lock: Path) -> None:
    """Remove the file of a lock. Who waits for it, or makes another one, finds all tables made."""
    with suppress(OSError):  # Windows keeps what is open
        lock.unlink()


class _Storage(RDBStorage):
    """Optuna's, but a worker that cannot say that it is alive goes on."""

    _is_unheard = False

    def record_heartbeat(self, trial_id: int) -> None:
        """Say that the worker of a trial is alive. If that fails, the log gets one sentence."""
        try:
            super().record_heartbeat(trial_id)
        except (SQLAlchemyError, StorageInternalError):
            if not self._is_unheard:
                _log.warning("The study's database does not answer: others may redo this trial.")
            self._is_unheard = True


def _serialise(engine: sqlalchemy.Engine) -> None:
    """Make SQLite lock when a transaction begins, not at its first write.

    Optuna reads a trial's state and then changes it. On SQLite two workers could otherwise both
    take one trial. A write-ahead log saves waiting for the disk. A crash loses nothing.
    """

    def connect(connection: Any, _record: object) -> None:
        connection.isolation_level = None  # the driver starts no transactions of its own
        for setting in ("journal_mode=WAL", "synchronous=NORMAL"):
            connection.execute(f"PRAGMA {setting}").close()
        # So that waiting can be interrupted; `begin` goes on with it.
        connection.execute(f"PRAGMA busy_timeout={1000 * _LOOK_S:.0f}").close()

    event.listen(engine, "connect", connect)
    event.listen(engine, "begin", _begin)
    engine.dispose()  # connections from before these rules
    engine.connect().close()  # turns the log on while no one else is there


def _begin(connection: sqlalchemy.Connection) -> None:
    """Begin a transaction, as soon as no other program has the file."""
    end = time.monotonic() + PATIENCE_S
    while True:
        try:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        except OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > end:
                raise
        else:
            return


@contextmanager
def database_errors(url: str) -> Generator[None]:
    """Turn errors of the database or its URL into a sentence without the password."""
    try:
        yield
    except (SQLAlchemyError, StorageInternalError) as error:
        cause = error.__cause__ if isinstance(error, StorageInternalError) else error
        raise SearchError(_sentence(url, cause or error)) from None


def _sentence(url: str, error: BaseException) -> str:
    cause = " ".join(str(getattr(error, "orig", None) or error).split()).strip().rstrip(".")
    reason = "" if _tells_secret(url, cause) else f" ({cause})"
    where = f"--storage {safe_url(url)}"
    if "password authentication failed" in cause or "no password supplied" in cause:
        return f"{where}: the database refuses the user or password; check both."
    if "not a database" in cause or "malformed" in cause or "no such table" in cause:
        return f"{where} is damaged or no database{reason}: restore it or give another one."
    if "unable to open database" in cause:
        return f"{where} cannot be opened{reason}: give a file in a folder that can be written to."
    if "database is locked" in cause:
        return f"{where} is in use by another program: end that, then go on by --resume."
    if "readonly" in cause or "read-only" in cause:
        return f"{where} is read-only{reason}: give a file in a folder that can be written to."
    if isinstance(error, ArgumentError):  # no URL, or of an unknown kind
        return f"{where} is no database URL{reason}: expected one like sqlite:///STUDIES.db."
    return f"{where} cannot be used{reason}: check the address and that the database runs."


def safe_url(url: str) -> str:
    """Return the URL without its password and parameters."""
    try:
        return _parse(url).set(query={}).render_as_string(hide_password=True)
    except (SQLAlchemyError, UnicodeError):  # a file name may be no text
        return "(not a URL)"


def _parse(url: str) -> sqlalchemy.URL:
    """Parse the URL. Raises `ArgumentError`, without the text, if it is none."""
    try:
        address = sqlalchemy.make_url(url)
    except (ValueError, ArgumentError):  # of a port that is no number, too
        raise ArgumentError("no KIND://USER:PASSWORD@HOST:PORT/NAME") from None
    readable = f"{address.host}{address.database}" if address.password else ""
    if "@" in readable:  # the password was cut there, and its rest would be shown
        raise ArgumentError("write an @ in the password as %40")
    return address


def _tells_secret(url: str, text: str) -> bool:
    """Return whether a text holds the URL or a secret of it, encoded or not."""
    try:
        address = _parse(url)
    except SQLAlchemyError:
        return url in text
    query = address.normalized_query.items()
    values = (value for key, texts in query if key not in _HARMLESS for value in texts)
    texts = (text, unquote(text), unquote_plus(text))
    return any(
        secret in one for secret in (url, address.password, *values) if secret for one in texts
    )
