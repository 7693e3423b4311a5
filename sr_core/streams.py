"""Standard output and error that survive any encoding, and being closed."""

from __future__ import annotations

import io
import os
import sys
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


def prepare_streams() -> None:
    """Make the standard streams of this process safe to use. Call it first.

    What an encoding cannot say is written as `\\u2665`. A stream that was closed leads nowhere.
    Warnings and progress are no reason to lose a job, so errors of standard error are ignored.
    """
    _open_closed()
    _tolerate(sys.stdout)
    if sys.stderr is sys.__stderr__ and not sys.stderr.closed:
        sys.stderr = _without_errors(sys.stderr)
    _tolerate(sys.stderr)


def _open_closed() -> None:
    """Replace streams that were closed when Python started: it has None for them.

    Their numbers are taken too, or the next file that is opened would get what a library prints.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            nowhere = os.open(os.devnull, os.O_RDWR)
            if not _is_open(number):
                os.dup2(nowhere, number)
            stream = os.fdopen(nowhere, "r" if name == "stdin" else "w", encoding="utf-8")
            setattr(sys, name, stream)


def _is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


def _tolerate(stream: TextIO) -> None:
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="backslashreplace")


class _Forgiving(io.FileIO):
    """A file to which writing never fails."""

    def write(self, data: ReadableBuffer, /) -> int:
        """Write, or pretend to."""
        try:
            return super().write(data)
        except OSError:
            return memoryview(data).nbytes


def _without_errors(stream: TextIO) -> TextIO:
    raw = _Forgiving(stream.fileno(), "w", closefd=False)
    return io.TextIOWrapper(
        io.BufferedWriter(raw), encoding=stream.encoding, errors=stream.errors, line_buffering=True
    )
