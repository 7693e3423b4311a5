"""Writing files whole or not at all, their checksums, and reading tensors with clear errors."""

from __future__ import annotations

import codecs
import errno
import hashlib
import os
import secrets
import stat
import tempfile
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load

from sr_core.errors import CatalogueError, UpFrontError
from sr_core.machine import user_data

REPOSITORY = Path(__file__).parents[1]
"""Root of the checkout: what `app.py`, `assets/` and `precomputed/` lie in."""
PRECOMPUTED = REPOSITORY / "precomputed"
"""Weights, fronts, devices and results that the project ships."""


def write_atomic(path: Path, data: bytes | str) -> None:
    """Write `data` to a temporary file beside `path`, then rename it over `path`.

    Text is written as UTF-8. Missing folders are made. A file that is replaced keeps its
    permissions, a new one gets those of the umask. A symbolic link stays, and what it points to is
    written. A device or pipe is written to as it is. Raises `OSError` (disk full, no permission, a
    read-only file) with `path` as it was before and no leftovers.
    """
    raw = data.encode() if isinstance(data, str) else data
    if is_stream(path):
        path.write_bytes(raw)
        return
    target = _replaceable(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = _beside(target)
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


def check_target(path: Path, error: type[UpFrontError]) -> None:
    """Raise `error`, in a sentence, if `write_atomic` could not write `path` now.

    For the start of work whose result goes there. Folders may be missing; nothing is left behind.
    """
    if is_stream(path):
        return
    try:
        target = _replaceable(path)
        folder = next(parent for parent in target.parents if parent.exists())
        for name in target.relative_to(folder).parts:
            with suppress(FileNotFoundError):
                (folder / name).lstat()  # fails if the name is too long
        temporary = _beside(folder / target.name)
        with temporary.open("xb"):  # permissions say nothing of a read-only disk
            pass
        temporary.unlink()
    except IsADirectoryError:
        raise error(f"{path} is a folder: give the name of a file.") from None
    except OSError as wrong:
        raise error(
            f"Cannot write {path} ({reason(wrong)}): give a path that can be written to."
        ) from None


def write_or_keep(path: Path, data: bytes | str, error: type[UpFrontError]) -> None:
    """Write the result of long work as `write_atomic` does.

    If that fails all the same, keep it in another file, and raise `error`, which says where.
    """
    try:
        write_atomic(path, data)
    except OSError as wrong:
        raise error(f"Cannot write {path} ({reason(wrong)}). {kept(path.suffix, data)}") from wrong


def kept(suffix: str, data: bytes | str, *, then: str = "move it from there") -> str:
    """Keep a result that could not go where it should.

    Returns a sentence that says where, and what to do `then`.
    """
    for folder in (lambda: user_data() / "kept", lambda: Path(tempfile.mkdtemp(prefix="upfront-"))):
        try:
            path = folder() / f"{secrets.token_hex(4)}{suffix}"
            write_atomic(path, data)
        except OSError:
            continue
        return f"The result is kept in {path}: {then}."
    return "It could not be kept elsewhere either: free some space first."


def reason(error: OSError) -> str:
    """Return what the system says, without the path."""
    return error.strerror or str(error)


def is_stream(path: Path) -> bool:
    """Tell whether a path is a device or pipe, like /dev/null: written to, never replaced."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    return stat.S_ISCHR(mode) or stat.S_ISFIFO(mode)


def is_same_file(one: Path, other: Path) -> bool:
    """Tell whether two paths are one file, by whatever names or links."""
    try:
        return one.samefile(other)
    except OSError:  # one is not there
        return False


def _replaceable(path: Path) -> Path:
    """Return the file that `path` leads to. Raises `OSError` if it must not be replaced."""
    try:
        target = path.resolve()
    except RuntimeError:  # until Python 3.13, of links that go in circles
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path)) from None
    with suppress(FileNotFoundError), target.open("r+b") as file:  # fails if it is read-only
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(errno.EINVAL, "it is no ordinary file", str(path))
    return target


def _beside(target: Path) -> Path:
    """Return a new name in the same folder. It is short: the target's own may have no room."""
    return target.with_name(f".{secrets.token_hex(4)}.tmp")


def read_utf8(path: Path) -> bytes:
    """Return the content of a text file as UTF-8 without a byte-order mark. Raises `OSError`."""
    return as_utf8(path.read_bytes())


def as_utf8(data: bytes) -> bytes:
    """Return text that people may have edited as UTF-8 without a byte-order mark.

    With such a mark it may be UTF-8, UTF-16 or UTF-32, as Windows' editors write them. What is
    none of these comes back as it is, for the parser to refuse.
    """
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            with suppress(UnicodeDecodeError):
                return data.removeprefix(mark).decode(encoding).encode()
    return data


_MARKS = (  # UTF-32 first: its mark begins with that of UTF-16
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


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
