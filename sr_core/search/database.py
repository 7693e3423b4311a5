"""The database of a shared study: opening it, SQLite's rules, and its errors as sentences."""

from __future__ import annotations

import warnings
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote, unquote_plus

import optuna
import sqlalchemy
from optuna.exceptions import ExperimentalWarning, StorageInternalError
from optuna.storages import RDBStorage, RetryHeartbeatStaleTrialCallback
from sqlalchemy import event
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from sr_core.errors import SearchError

HEARTBEAT_S = 10
"""A worker says that it is alive this often."""
GRACE_S = 60
"""A worker that has been silent for this long counts as dead."""
MAX_RETRIES = 2
"""Of one trial: a network that kills its workers is given up."""
_HARMLESS = ("host", "hostaddr", "port", "sslmode", "timeout", "connect_timeout")
"""Parameters of a URL whose values may be repeated in messages; all others count as secrets."""
_WAITING = {"sqlite": {"timeout": 60}, "postgresql": {"connect_timeout": 15}}
"""Kind of database -> seconds until its driver gives up: a file in use, a silent computer."""


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
            return _connect(url, _WAITING.get(address.get_backend_name(), {}))
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


def _connect(url: str, connection: dict[str, int]) -> RDBStorage:
    """Connect and make the tables. Two processes may both be making them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        for last in (False, True):
            try:
                storage = RDBStorage(
                    url,
                    engine_kwargs={"connect_args": connection},
                    heartbeat_interval=HEARTBEAT_S,
                    grace_period=GRACE_S,
                    heartbeat_stale_trial_callback=RetryHeartbeatStaleTrialCallback(MAX_RETRIES),
                )
            except SQLAlchemyError as error:
                if last or "already exists" not in str(error):
                    raise
            else:
                if storage.engine.name == "sqlite":
                    _serialise(storage.engine)
                return storage
    raise AssertionError  # the second attempt returns or raises


def _serialise(engine: sqlalchemy.Engine) -> None:
    """Make SQLite lock when a transaction begins, not at its first write.

    Optuna reads a trial's state and then changes it. On SQLite two workers could otherwise both
    take one trial. A write-ahead log saves waiting for the disk. A crash loses nothing.
    """

    def connect(connection: Any, _record: object) -> None:
        connection.isolation_level = None  # the driver starts no transactions of its own
        for setting in ("journal_mode=WAL", "synchronous=NORMAL"):
            connection.execute(f"PRAGMA {setting}").close()

    def begin(connection: sqlalchemy.Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    event.listen(engine, "connect", connect)
    event.listen(engine, "begin", begin)
    engine.dispose()  # connections from before these rules


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
    if isinstance(error, ArgumentError):  # no URL, or of an unknown kind
        return f"{where} is no database URL{reason}: expected one like sqlite:///STUDIES.db."
    return f"{where} cannot be used{reason}: check the address and that the database runs."


def safe_url(url: str) -> str:
    """Return the URL without its password and parameters."""
    try:
        return _parse(url).set(query={}).render_as_string(hide_password=True)
    except SQLAlchemyError:
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
