"""Writing files whole or not at all, their checksums, and reading tensors with clear errors."""

from __future__ import annotations

import hashlib
import os
import secrets
import stat
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load

from sr_core.errors import CatalogueError

REPOSITORY = Path(__file__).parents[1]
"""Root of the checkout: what `app.py`, `assets/` and `precomputed/` lie in."""
PRECOMPUTED = REPOSITORY / "precomputed"
"""Weights, fronts, devices and results that the project ships."""


def write_atomic(path: Path, data: bytes | str) -> None:
    """Write `data` to a temporary file beside `path`, then rename it over `path`.

    A file that is replaced keeps its permissions. A new one gets those of the umask. A symbolic
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
    """Return the hex SHA-256 of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_tensors(
    path: Path, expected_sha256: object, *, remake: str
) -> tuple[dict[str, NDArray[np.float32]], str]:
    """Return the tensors of a safetensors file, and its SHA-256.

    The descriptor must have recorded `expected_sha256`. `remake` says what else than restoring
    helps if the file is missing.
    """
    try:
        data = path.read_bytes()
        tensors = load(data)
    except FileNotFoundError:
        raise CatalogueError(f"{path.name} is missing: restore it or {remake}.") from None
    except (OSError, SafetensorError) as error:
        raise CatalogueError(f"{path.name} is damaged ({error}): restore the file.") from None
    digest = hashlib.sha256(data).hexdigest()
    if digest != expected_sha256:
        raise CatalogueError(
            f"{path.name} is not the file that {path.stem}.json describes: restore both."
        )
    return tensors, digest
