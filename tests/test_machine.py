from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

import pytest

from sr_core import machine
from sr_core.files import REPOSITORY


def test_processor_is_named_as_the_system_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = tmp_path / "cpuinfo"
    monkeypatch.setattr(machine, "_CPUINFO", info)
    info.write_text("processor\t: 0\nmodel name\t: Any CPU @ 2.0: GHz\nmodel name\t: Second\n")
    assert machine.processor() == "Any CPU @ 2.0: GHz"


@pytest.mark.parametrize(("family", "model"), [(25, 1), (26, 2)])
def test_a_brand_alone_is_told_apart_by_its_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, family: int, model: int
) -> None:
    lines = f"cpu family\t: {family}\nmodel\t\t: {model}\nmodel name\t: AMD EPYC\n"
    (tmp_path / "cpuinfo").write_text(lines)
    monkeypatch.setattr(machine, "_CPUINFO", tmp_path / "cpuinfo")
    assert machine.processor() == f"AMD EPYC (family {family}, model {model})"


@pytest.mark.parametrize("name", ["Silicon M9", ""])
def test_processor_without_cpuinfo_or_without_a_name_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Not on Linux; or on ARM, where there is no model name."""
    monkeypatch.setattr(platform, "processor", lambda: name)
    monkeypatch.setattr(machine, "_CPUINFO", tmp_path / "cpuinfo")
    assert machine.processor() == (name or platform.machine())
    (tmp_path / "cpuinfo").write_text("processor: 0\n")
    assert machine.processor() == (name or platform.machine())


def test_commit_is_that_of_the_code_or_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    assert re.fullmatch(r"[0-9a-f]{40}(\+changes)?|unknown", machine.commit())

    def no_git(*_: object, **__: object) -> NoReturn:
        raise FileNotFoundError("git")

    monkeypatch.setattr(machine.subprocess, "run", no_git)
    assert machine.commit() == "unknown"


def eight_cores(_: int) -> set[int]:
    return set(range(8))


def one_host(monkeypatch: pytest.MonkeyPatch, root: Path, own: str, files: dict[str, str]) -> None:
    """A host of eight cores with control groups as in these files; `own` is /proc/self/cgroup."""
    monkeypatch.setattr(os, "sched_getaffinity", eight_cores, raising=False)
    (root / "own").write_text(own)
    for name, text in files.items():
        (root / "mounted" / name).parent.mkdir(parents=True, exist_ok=True)
        (root / "mounted" / name).write_text(text)
    monkeypatch.setattr(machine, "_OWN_CGROUPS", root / "own")
    monkeypatch.setattr(machine, "_CGROUPS", root / "mounted")


CPU_1 = "11:memory:/a\n3:cpu,cpuacct:/a/b\n1:cpuset:/\n0::/\n"


@pytest.mark.parametrize(
    ("own", "files", "expected"),
    [
        ("0::/\n", {}, 8),
        ("", {"cpu.max": "200000 100000\n"}, 8),
        ("0::/\n", {"cpu.max": "max 100000\n"}, 8),
        ("0::/\n", {"cpu.max": "200000 100000\n"}, 2),
        ("0::/\n", {"cpu.max": "150000 100000\n"}, 1),
        ("0::/\n", {"cpu.max": "399999 100000\n"}, 3),
        ("0::/\n", {"cpu.max": "20000 100000\n"}, 1),
        ("0::/\n", {"cpu.max": "5000000 100000\n"}, 8),
        ("0::/\n", {"unified/cpu.max": "200000 100000\n"}, 2),
        ("0::/a/b\n", {"a/b/cpu.max": "max 100000\n", "a/cpu.max": "300000 100000\n"}, 3),
        ("0::/a/b\n", {"a/b/cpu.max": "500000 100000\n", "a/cpu.max": "300000 100000\n"}, 3),
        ("0::/a/b\n", {"a/b/cpu.max": "100000 50000\n", "a/cpu.max": "300000 100000\n"}, 2),
        ("0::/a/b\n", {"c/cpu.max": "100000 100000\n"}, 8),
        # The host's path, in a container that sees only its own group.
        ("0::/system.slice/docker-1:2.scope\n", {"cpu.max": "400000 100000\n"}, 4),
        ("0::/../../x\n", {"cpu.max": "400000 100000\n"}, 4),
        ("0::/\n", {"cpu.max": "what is this\n"}, 8),
        ("0::/\n", {"cpu.max": ""}, 8),
        ("0::/\n", {"cpu.max": "100000 0\n"}, 8),
        ("no such format\n", {"cpu.max": "100000 100000\n"}, 8),
        (CPU_1, {"cpu,cpuacct/a/b/cpu.cfs_quota_us": "-1\n",
                 "cpu,cpuacct/a/b/cpu.cfs_period_us": "100000\n"}, 8),
        (CPU_1, {"cpu,cpuacct/a/b/cpu.cfs_quota_us": "250000\n",
                 "cpu,cpuacct/a/b/cpu.cfs_period_us": "100000\n"}, 2),
        (CPU_1, {"cpu/a/cpu.cfs_quota_us": "50000\n", "cpu/a/cpu.cfs_period_us": "10000\n"}, 5),
        (CPU_1, {"cpu/cpu.cfs_quota_us": "50000\n"}, 8),
        (CPU_1, {"cpuset/cpu.cfs_quota_us": "50000\n", "memory/a/cpu.cfs_period_us": "1"}, 8),
    ],
)  # fmt: skip
def test_cores_are_counted_within_a_quota(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own: str, files: dict[str, str], expected: int
) -> None:
    one_host(monkeypatch, tmp_path, own, files)
    assert machine.cores() == expected


def test_without_a_readable_quota_or_an_affinity_all_cores_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one_host(monkeypatch, tmp_path, "0::/\n", {})
    (tmp_path / "mounted/cpu.max").mkdir(parents=True)  # a file of nobody's that can be read
    monkeypatch.delattr(os, "sched_getaffinity")  # macOS, Windows
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    assert machine.cores() == 6
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert machine.cores() == 1


_ON_ONE_CORE = """
import os
os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])
import sr_core
from sr_core.machine import cores
print(cores(), os.environ.get("OPENBLAS_NUM_THREADS"))
"""


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system has no affinity")
def test_a_process_on_one_core_counts_one() -> None:
    ours = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS")
    free = {name: value for name, value in os.environ.items() if name not in ours}
    for asked, threads in (({}, "1"), ({"OMP_NUM_THREADS": "4"}, "None")):
        done = subprocess.run(
            [sys.executable, "-c", _ON_ONE_CORE], capture_output=True, text=True, check=True,
            env=free | asked,
        )  # fmt: skip
        assert done.stdout == f"1 {threads}\n"


def test_every_onnx_session_says_its_threads() -> None:
    """ONNX Runtime's own default is a thread per physical core of the host."""
    for path in (REPOSITORY / "sr_core").rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        sessions = text.count("ort.InferenceSession(")
        assert text.count(".intra_op_num_threads = ") == sessions, path


_FAULTS = """
import resource, sys
import numpy as np
from sr_core.machine import keep_freed_memory

if sys.argv[1] == "keep":
    assert keep_freed_memory()
np.ones(10_000_000)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    np.ones(10_000_000)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be told to")
def test_freed_memory_is_not_fetched_anew() -> None:
    """Of the pages that 80 MB take five times over, none."""

    def faults(how: str) -> int:
        done = subprocess.run(
            [sys.executable, "-c", _FAULTS, how], capture_output=True, text=True, check=True
        )
        return int(done.stdout)

    assert faults("keep") * 10 < faults("as it is")


def test_without_glibc_memory_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    assert not machine.keep_freed_memory()
