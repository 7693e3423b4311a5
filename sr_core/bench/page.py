"""How fast the page answers: the app in a process of its own, driven by headless Chromium.

Needs Playwright (requirements-dev.txt) and a Chromium; nothing here imports Gradio.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

from sr_core.errors import MeasurementError, RuntimeUnavailable
from sr_core.files import REPOSITORY
from sr_core.machine import processor

APP = REPOSITORY / "app.py"
_WAIT_S = 60
_COMPARED = "x4c32_12w+x4c32_12r+x4c32_12wb50b50b50+x4c24_12w"
_FLAGS = ("--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking")
# Moves the first slider that is not disabled, and waits until the total in the strip changes.
_MOVE = """async (ratio) => {
  const root = document.querySelector('#layers');
  const totals = root.querySelector('.totals'), before = totals.textContent;
  const slider = root.querySelector('input[type=range]:not([disabled])');
  slider.focus();
  const setter = Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, 'value').set;
  const start = performance.now();
  setter.call(slider, ratio);
  slider.dispatchEvent(new Event('input', { bubbles: true }));
  while (totals.textContent === before) {
    if (performance.now() - start > 10000) throw new Error('the total did not change');
    await new Promise(requestAnimationFrame);
  }
  return performance.now() - start;
}"""


@dataclass(frozen=True)
class PageBench:
    """Times of one server and one visitor: medians where there are several runs."""

    processor: str
    date: str
    ready_s: float
    """From starting `python app.py` to the first answer of /healthz."""
    usable_s: float
    """From opening the page to its card and table being there; median of `loads`."""
    loads: int
    slider_ms: float
    """From a slider's movement to the new total on the screen; median of `moves`."""
    moves: int
    apply_s: float
    """From pressing "Apply to all layers" to the new PSNR and picture; median of `applies`."""
    applies: int
    start_mb: float
    """Resident memory of the server after the first page."""
    peak_mb: float
    """Its highest resident memory, after a comparison of four networks on a 512x512 image."""


def bench_page(*, loads: int = 5, moves: int = 30, applies: int = 10) -> PageBench:
    """Start the app and measure it. Raises `RuntimeUnavailable` without Playwright or Chromium."""
    try:
        from playwright.sync_api import sync_playwright
    except ModuleNotFoundError:
        raise RuntimeUnavailable(
            "This needs Playwright: run `pip install -r requirements-dev.txt`."
        ) from None
    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium")
    if not chromium:
        raise RuntimeUnavailable("There is no Chromium: install it, or set CHROMIUM to its path.")
    with _server() as (url, pid, ready_s), sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=list(_FLAGS))
        tab = browser.new_page(viewport={"width": 1366, "height": 900})
        loads_s = [_open(tab, url) for _ in range(loads)]
        start_mb = _memory_mb(pid, "VmRSS")
        tab.goto(f"{url}?tab=prune&net=x4c32_12wb50b50b50")
        tab.locator("#quality .tile strong").first.wait_for(timeout=_WAIT_S * 1e3)
        tab.locator("#layers .totals strong").first.wait_for()
        moves_ms = [float(tab.evaluate(_MOVE, 20 + 2 * index)) for index in range(moves)]
        applies_s = [_apply(tab, 20 + 5 * index) for index in range(applies)]
        _compare(tab, url)
        browser.close()
        peak_mb = _memory_mb(pid, "VmHWM")
    return PageBench(
        processor(), datetime.now(UTC).strftime("%Y-%m-%d"), ready_s, median(loads_s), loads,
        median(moves_ms), moves, median(applies_s), applies, start_mb, peak_mb,
    )  # fmt: skip


@contextmanager
def _server() -> Generator[tuple[str, int, float]]:
    """Run the app. Yields its address, process id, and the seconds until it answered."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    start = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, str(APP), "--port", str(port)],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    url = f"http://127.0.0.1:{port}/"
    try:
        while not _answers(f"{url}healthz"):
            if process.poll() is not None or time.perf_counter() - start > _WAIT_S:
                raise MeasurementError("The app does not start: run `python app.py` to see why.")
            time.sleep(0.02)
        yield url, process.pid, time.perf_counter() - start
    finally:
        process.terminate()
        process.wait()


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=1) as answer:
            return answer.status == 200
    except OSError:
        return False


def _open(tab: Any, url: str) -> float:
    start = time.perf_counter()
    tab.goto(url)
    tab.locator("#card h3").wait_for()
    tab.locator("#front tbody button").first.wait_for()
    return time.perf_counter() - start


def _apply(tab: Any, percent: int) -> float:
    """Set "weights removed" and apply it. Returns the seconds until the new picture."""
    tab.locator("#ratio input[type=number]").fill(str(percent))
    tab.keyboard.press("Tab")
    tab.wait_for_timeout(300)
    before = tab.locator("#picture img").last.evaluate("(image) => image.src")
    start = time.perf_counter()
    tab.locator("#apply").click()
    tab.wait_for_function(
        "(old) => [...document.querySelectorAll('#picture img')].at(-1)?.src !== old", arg=before
    )
    return time.perf_counter() - start


def _compare(tab: Any, url: str) -> None:
    tab.goto(f"{url}?tab=compare&compare={_COMPARED}")
    tab.get_by_text("Astronaut").first.click()
    tab.wait_for_timeout(1000)
    tab.locator("#start").click()
    tab.locator("#grid figure").nth(5).wait_for(timeout=_WAIT_S * 1e3)


def _memory_mb(pid: int, field: str) -> float:
    """Read a field of /proc/PID/status in MB (Linux)."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) / 1e3 for line in lines if line.startswith(f"{field}:"))
