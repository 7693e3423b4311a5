"""Writing files whole or not at all, and their checksums."""

from __future__ import annotations

import hashlib
import os
import secrets
import stat
from pathlib import Path


def write_atomic(path: Path, data: bytes | str) -> None:
    """Write `data` to a temporary file beside `path`, then rename it over `path`.

    A file that is replaced keeps its permissions, a new one gets those of the umask; a symbolic
    link stays, and what it points to is written. Raises `OSError` (disk full, no permission)
    with `path` as it was before and no leftovers.
    """
    raw = data.encode() if isinstance(data, str) else data
    target = path.resolve()
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    try:
        with temporary.open("xb") as file:  # unlike mkstemp, open applies the umask
            file.write(raw)
            file.flush()
            os.fsync(file.fileno())
        if target.exists():
            temporary.chmod(stat.S_IMODE(target.stat().st_mode))
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def sha256(path: Path) -> str:
    """Hex SHA-256 of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
