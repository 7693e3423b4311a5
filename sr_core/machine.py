"""This computer: processor and code for records, the user's folder, the memory allocator."""

from __future__ import annotations

import ctypes
import os
import platform
import subprocess
from pathlib import Path

from platformdirs import user_data_dir

_CPUINFO = Path("/proc/cpuinfo")
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3
"""Parameters of glibc's `mallopt` (malloc.h)."""


def user_data() -> Path:
    """Return the folder of this computer's own measurements: the user's, or $UPFRONT_DATA."""
    return Path(os.environ.get("UPFRONT_DATA") or user_data_dir("upfront", appauthor=False))


def processor() -> str:
    """Return the processor's name, as far as the system tells it, else its architecture."""
    return _cpu_line("model name") or platform.processor() or platform.machine()


def cpu_flags() -> frozenset[str]:
    """Return the processor's instruction sets, in Linux's names, empty where it does not tell."""
    return frozenset((_cpu_line("flags") or _cpu_line("Features")).split())


def _cpu_line(name: str) -> str:
    """Return the first value of a line of /proc/cpuinfo, empty if there is none."""
    try:
        lines = _CPUINFO.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:  # not Linux
        return ""
    values = (line.partition(":")[2].strip() for line in lines if line.startswith(name))
    return next(values, "")


def commit() -> str:
    """Return the code's git commit, with `+changes` if files differ, `unknown` without git."""
    here = Path(__file__).parent

    def git(*words: str) -> str:
        process = subprocess.run(
            ["git", *words], cwd=here, capture_output=True, text=True, errors="replace", check=True
        )
        return process.stdout.strip()

    try:
        return git("rev-parse", "HEAD") + ("+changes" if git("status", "--porcelain", ".") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def keep_freed_memory() -> bool:
    """Let this process keep the memory that it frees, to its end.

    Returns whether the system can.

    A training step allocates the same large tensors again and again. By default glibc hands them
    back to Linux, which clears every page anew (bf16, ten 3x3 convolutions of 32 channels, 10
    patches of 32: 260,000 page faults in 150 steps, and a fifth more time).
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    settings = {_MMAP_THRESHOLD: 2**30, _TRIM_THRESHOLD: 2**31 - 1, _TOP_PAD: 2**28}
    return sum(mallopt(name, size) for name, size in settings.items()) == len(settings)
