"""What some tests need and not every computer has: one reason for each, and how to get it.

A test that lacks something calls `lacking`, for a Python package `pytest.importorskip`. At the end
of the run pytest lists what was lacking (`tests/conftest.py`).
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NoReturn

import pytest

from sr_core.catalogue.store import Catalogue
from sr_core.engine.library import Library

COMPLETE = "UPFRONT_COMPLETE_TESTS"
"""Set where everything that can be installed should be: what is lacking is a failure."""


@dataclass(frozen=True)
class Need:
    """Something outside the repository."""

    name: str
    remedy: str
    installable: bool = True

    @property
    def reason(self) -> str:
        """Return why a test is skipped."""
        return f"no {self.name}: {self.remedy}"


_DEV = "pip install -r requirements-dev.txt"
CHROMIUM = Need("Chromium", "install Debian's chromium, or set CHROMIUM to its path")
POSTGRESQL = Need("PostgreSQL server", "install Debian's postgresql")
QEMU = Need("emulator for Arm", "install Debian's qemu-user-static")
ARM_LIBC = Need("C library for Arm", "install Debian's libc6-arm64-cross")
GCC = Need("gcc", "install Debian's gcc and libc6-dev")
ZIGLANG = Need("zig of the pinned version", _DEV)
COMPILER = Need("C compiler", f"install gcc, or {_DEV}")
ENGINE = Need("engine that works on this processor", "`python -m sr_core engine build`")
SHIPPED_ENGINE = Need(
    "shipped engine for this processor", "run on x86-64 with AVX2, or on 64-bit Arm Linux"
)
IMAGES = Need(
    "benchmark images",
    "they are not ours to ship; set UPFRONT_SHARED to a folder with data/benchmark",
    installable=False,
)


def lacking(need: Need, detail: object = "") -> NoReturn:
    """Skip a test, or fail it where nothing should be lacking. `detail` says how one found out."""
    if need.installable and os.environ.get(COMPLETE):
        pytest.fail(f"{need.reason} {detail}".strip())
    pytest.skip(need.reason)


def engine(catalogue: Catalogue) -> Library:
    """Return the catalogue's engine, or skip the test."""
    return catalogue.engine or lacking(ENGINE, catalogue.engine_problem)


def summary(skipped: Iterable[pytest.TestReport | pytest.CollectReport]) -> Iterator[str]:
    """Yield a line for each reason, the most frequent one first.

    A file that lacks something at its top counts as one test.
    """
    reasons = Counter(_reason(report) for report in skipped)
    for reason, count in reasons.most_common():
        yield f"{count:>5}  {reason}"


def _reason(report: pytest.TestReport | pytest.CollectReport) -> str:
    text = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    if missing := re.search("could not import '(\\w+)", text):  # of pytest.importorskip
        return Need(missing[1], _DEV).reason
    return text.removeprefix("Skipped: ")
