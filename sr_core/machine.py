"""This computer: processor, cores and code, the user's folder, the memory allocator."""

from __future__ import annotations

import ctypes
import math
import os
import platform
import subprocess
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from platformdirs import user_data_dir

_CPUINFO = Path("/proc/cpuinfo")
_OWN_CGROUPS, _CGROUPS = Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3
"""Parameters of glibc's `mallopt` (malloc.h)."""


def user_data() -> Path:
    """Return the folder of this computer's own measurements: the user's, or $UPFRONT_DATA."""
    return Path(os.environ.get("UPFRONT_DATA") or user_data_dir("upfront", appauthor=False))


def processor() -> str:
    """Return the processor's name, as far as the system tells it, else its architecture.

    Virtual machines tell a mere brand, `AMD EPYC`, which Zen 3 and Zen 5 share. The numbers of
    its family and model tell them apart.
    """
    name, family, model = (_cpu_line(line) for line in ("model name", "cpu family", "model"))
    if name and family and model and not any(letter.isdigit() for letter in name):
        return f"{name} (family {family}, model {model})"
    return name or platform.processor() or platform.machine()


def cpu_flags() -> frozenset[str]:
    """Return the processor's instruction sets, in Linux's names, empty where it does not tell."""
    return frozenset((_cpu_line("flags") or _cpu_line("Features")).split())


def cores() -> int:
    """Count the cores at this process's disposal: at least 1.

    These are the cores it may run on (affinity), or fewer where its container has a quota. A
    quota of 1.5 cores counts as 1: two threads would use it up before the period's end, and then
    both would stand still in the middle of a frame.
    """
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, math.floor(min([allowed or 1, *_quotas()])))


def _quotas() -> Iterator[float]:
    """Yield the quotas, in cores, of this process's control groups and of those around them."""
    for line in _text(_OWN_CGROUPS).splitlines():
        _, colon, rest = line.partition(":")  # of "1:cpu,cpuacct:/group", or "0::/group"
        controllers, _, path = rest.partition(":")
        if not colon:
            continue
        if not controllers:  # version 2; `unified` where version 1 is mounted beside it
            mounts, quota = (_CGROUPS, _CGROUPS / "unified"), _quota_2
        elif "cpu" in controllers.split(","):
            mounts, quota = (_CGROUPS / controllers, _CGROUPS / "cpu"), _quota_1
        else:
            continue
        # In a container the path may be the host's: then only the mount's own root is there.
        own = PurePosixPath(path.lstrip("/"))
        groups = [mount / group for mount in mounts for group in (own, *own.parents)]
        yield from filter(None, map(quota, groups))


def _quota_2(group: Path) -> float | None:
    return _ratio(*_text(group / "cpu.max").split())


def _quota_1(group: Path) -> float | None:
    return _ratio(_text(group / "cpu.cfs_quota_us"), _text(group / "cpu.cfs_period_us"))


def _ratio(quota: str = "", period: str = "", *_: str) -> float | None:
    """Return quota over period, None if there is no quota: `max`, -1 or no such file."""
    try:
        share = int(quota) / int(period)
    except (ValueError, ZeroDivisionError):
        return None
    return share if share > 0 else None


def _text(path: Path) -> str:
    """Read a file of the system's, empty if it cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _cpu_line(name: str) -> str:
    """Return the first value of a line of /proc/cpuinfo, empty if there is none."""
    lines = _text(_CPUINFO).splitlines()  # none where it is not Linux
    pairs = (line.partition(":") for line in lines)
    return next((value.strip() for key, _, value in pairs if key.strip() == name), "")


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
