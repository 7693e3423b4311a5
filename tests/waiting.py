"""Waiting for another thread or process, longer than the busiest computer takes."""

from __future__ import annotations

import time
from collections.abc import Callable

PATIENCE_S = 300
"""After it a test fails: what it waits for will not come."""


def until(is_so: Callable[[], bool], what: object = "it") -> None:
    """Return as soon as something is so."""
    end = time.monotonic() + PATIENCE_S
    while not is_so():
        assert time.monotonic() < end, f"waited {PATIENCE_S} s for {what}"
        time.sleep(0.02)
