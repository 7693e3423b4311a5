"""Worker processes for tests, and a PostgreSQL server of one's own."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from sr_core.catalogue.store import Catalogue
from sr_core.network.candidate import Candidate
from sr_core.search import database
from sr_core.search.evaluate import Evaluation, Evaluator
from sr_core.search.settings import SearchArgs
from sr_core.search.study import search

PASSWORD = "open-sesame"


def quality(candidate: Candidate) -> float:
    """A made-up PSNR of 20 to 40 dB, the same in every process."""
    return 20 + 20 * int(candidate.id, 16) / 16**10


def work(root: Path, url: str, study: str, log: Path, hang_at: int | None) -> None:
    """A worker that logs what it evaluates; its evaluation `hang_at` takes for ever."""
    database.HEARTBEAT_S, database.GRACE_S = 1, 4
    done = 0

    def evaluate(self: Evaluator, candidate: Candidate) -> Evaluation:
        nonlocal done
        with log.open("a") as file:
            file.write(f"{candidate.id}\n")
        time.sleep(3600 if done == hang_at else 0.05)
        done += 1
        return Evaluation(quality(candidate), 0.5, 0.05)

    Evaluator.evaluate = evaluate
    args = SearchArgs(storage=url, study=study, worker=True, threads=1)
    search(Catalogue(root, use_engine=False), args)


def postgres_binaries() -> Path | None:
    """Folder of Debian's newest PostgreSQL server; None if there is none."""
    return max(Path("/usr/lib/postgresql").glob("*/bin"), default=None)


@contextmanager
def postgres(binaries: Path) -> Generator[str]:
    """URL of a new, empty server on a socket of its own, with password `PASSWORD`."""
    folder = Path(tempfile.mkdtemp(prefix="upfront-"))
    names = {user.pw_name for user in pwd.getpwall()}
    # PostgreSQL refuses to run as root.
    user = None if os.getuid() else next(n for n in ("postgres", "nobody") if n in names)

    def run(*words: str | Path) -> None:
        subprocess.run(
            [*map(str, words)], user=user, group=user and pwd.getpwnam(user).pw_gid, check=True,
            cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip

    try:
        (folder / "password").write_text(PASSWORD)
        for path in (folder, folder / "password"):
            if user:
                shutil.chown(path, user)
        data = folder / "data"
        run(
            binaries / "initdb", "-D", data, "-U", "upfront", "-A", "scram-sha-256", "--no-sync",
            "--pwfile", folder / "password",
        )  # fmt: skip
        options = f"-F -k {folder} -c listen_addresses="
        run(binaries / "pg_ctl", "-D", data, "-w", "-l", folder / "log", "-o", options, "start")
        try:
            yield f"postgresql+psycopg://upfront:{PASSWORD}@/postgres?host={folder}"
        finally:
            run(binaries / "pg_ctl", "-D", data, "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder)
