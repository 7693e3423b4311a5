"""The compiled kernel: its functions by ctypes, and which of the shipped files fits this computer.

A library that was not used on this computer before is first tried in a process of its own: a
crash or a wrong result there is a sentence here, not the end of the app.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sr_core.engine.build import file_name, own_path, target_here
from sr_core.engine.pack import VERSION
from sr_core.errors import EngineError
from sr_core.files import REPOSITORY, sha256, write_atomic
from sr_core.machine import processor, user_data

Bytes = NDArray[np.uint8]
FAULTS = (
    "", "its size is wrong", "it does not start like one", "it is of another version",
    "its checksum is wrong", "its header is wrong", "a buffer is out of range",
    "a step is out of range", "an operation is out of range", "a list is out of range",
    "a group is out of range", "a position is out of range", "the tile is out of range",
)  # fmt: skip
"""What the kernel's fault numbers mean."""
_ALIGNMENT = 64
_SELF_TEST_SECONDS = 60
_PEAK_ROUNDS = 3_000_000


class TileArea(ctypes.Structure):
    """`Tile` of kernel.c: the size of the image, and rows and columns of it to upscale."""

    _fields_ = tuple((name, ctypes.c_int32) for name in ("height", "width", "y0", "y1", "x0", "x1"))
    height: int
    width: int
    y0: int
    y1: int
    x0: int
    x1: int


class Library:
    """The functions of a loaded kernel. The kernel keeps no state, so threads may share it."""

    def __init__(self, path: Path) -> None:
        """Load `path`. Raises `EngineError` if it is no library of this version."""
        self.path = path
        try:
            self._c = _declared(ctypes.CDLL(str(path)))
        except (OSError, AttributeError) as error:
            raise EngineError(f"The library cannot be loaded ({error}).") from None
        self.lanes, version, more_vectors, _ = self._c.sr_facts().to_bytes(4, "little")
        """Floats in a vector."""
        self.chunk_columns = (4 + more_vectors) * self.lanes
        """Columns that the kernel computes at once."""
        if version != VERSION:
            raise EngineError(
                f"The library reads version {version} of packed networks, not {VERSION}."
            )

    def checked(self, blob: bytes) -> Bytes:
        """Check all of a blob, and return it in aligned memory. `EngineError` names the fault."""
        memory = aligned_bytes(max(len(blob), 1))[: len(blob)]
        memory[:] = np.frombuffer(blob, dtype=np.uint8)
        self._demand(self._c.sr_check(memory.ctypes.data, memory.nbytes), "the packed network")
        return memory

    def tile_plan(self, blob: Bytes, columns: int) -> Bytes:
        """Return the kernel's plan for tiles of up to `columns` columns, margins included.

        `blob` comes from `checked` and must outlive the plan.
        """
        memory = aligned_bytes(self._c.sr_plan_bytes(blob.ctypes.data, blob.nbytes))
        fault = self._c.sr_plan(blob.ctypes.data, blob.nbytes, columns, memory.ctypes.data)
        self._demand(fault, f"a tile of {columns} columns")
        return memory

    def arena_bytes(self, plan: Bytes) -> int:
        """Return the size of the memory that one running tile needs."""
        return self._c.sr_arena_bytes(plan.ctypes.data)

    def run(
        self,
        plan: Bytes,
        arena: Bytes,
        lr: NDArray[np.float32],
        sr: NDArray[np.float32 | np.uint8],
        tile: TileArea,
    ) -> None:
        """Upscale one tile: contiguous `lr` (C, H, W) into `sr` (C, s H, s W).

        Into uint8 (s H, s W, C) the result is rounded.
        """
        function = self._c.sr_run_bytes if sr.dtype == np.uint8 else self._c.sr_run
        fault = function(
            plan.ctypes.data, arena.ctypes.data, lr.ctypes.data, sr.ctypes.data, ctypes.byref(tile)
        )
        self._demand(fault, "the image")

    def run_timed(
        self,
        plan: Bytes,
        arena: Bytes,
        lr: NDArray[np.float32],
        sr: NDArray[np.float32],
        tile: TileArea,
        ticks: NDArray[np.int64],
    ) -> None:
        """As `run`, and add to `ticks` what each operation took, in ticks of a steady clock.

        `ticks` has a value for each operation of the packed network.
        """
        places = (array.ctypes.data for array in (plan, arena, lr, sr))
        self._demand(
            self._c.sr_run_timed(*places, ctypes.byref(tile), ticks.ctypes.data), "the image"
        )

    def peak_flops(self) -> float:
        """Measure the floating-point operations per second of one core at multiply-adds alone."""
        self._c.sr_peak(_PEAK_ROUNDS // 8, 1e-9)
        start = time.perf_counter()
        self._c.sr_peak(_PEAK_ROUNDS, 1e-9)
        return _PEAK_ROUNDS * 32 * self.lanes / (time.perf_counter() - start)

    def _demand(self, fault: int, what: str) -> None:
        if fault:
            raise EngineError(f"The engine refuses {what}: {FAULTS[fault]}.")


def find(folder: Path, checksums: Mapping[str, str]) -> Library:
    """Load the library for this computer: one built here, else the shipped one that fits.

    Args:
        folder: where the shipped libraries are.
        checksums: file name -> SHA-256 of the shipped libraries.

    Raises:
        EngineError: there is none, it is damaged, or it fails its self-test.
    """
    path = own_path()
    if not path.is_file():
        path = folder / file_name(target_here())
        if not path.is_file():
            raise EngineError(
                f"{path.name} is missing: restore it, or run `python -m sr_core engine build`."
            )
        if _sha256(path) != checksums.get(path.name):
            raise EngineError(
                f"{path.name} does not match its checksum: restore it, or run "
                "`python -m sr_core engine build`."
            )
    _self_test_once(path)
    return Library(path)


def self_test(path: Path) -> str:
    """Run a small network in a process of its own. Returns what went wrong, if anything."""
    command = [sys.executable, "-m", "sr_core.engine.self_test", str(path.resolve())]
    try:
        process = subprocess.run(
            command, cwd=REPOSITORY, capture_output=True, text=True, errors="replace",
            timeout=_SELF_TEST_SECONDS, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return f"its self-test took more than {_SELF_TEST_SECONDS} s"
    except OSError as error:
        return f"its self-test cannot start ({error})"
    if process.returncode < 0:
        return f"its self-test ended with {signal.Signals(-process.returncode).name}"
    if process.returncode > 0:
        reason = process.stderr.strip().rpartition("\n")[2].rstrip(".")
        return reason or f"its self-test ended with exit code {process.returncode}"
    return ""


def _self_test_once(path: Path) -> None:
    """Self-test a library that did not pass yet on this processor."""
    record = user_data() / "engine" / "passed.json"
    key = f"{_sha256(path)} on {processor()}"
    try:
        entries = json.loads(record.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        entries = []
    if isinstance(entries, list) and key in entries:
        return
    if fault := self_test(path):
        raise EngineError(
            f"{path.name} does not work on this computer ({fault}): run `python -m sr_core engine "
            "build`."
        )
    with contextlib.suppress(OSError):  # then the next start tests again
        write_atomic(record, json.dumps([key]) + "\n")


def _sha256(path: Path) -> str:
    try:
        return sha256(path)
    except OSError as error:
        raise EngineError(f"{path.name} cannot be read ({error}): restore it.") from None


def aligned_bytes(size: int) -> Bytes:
    """Return fresh bytes whose address is a multiple of 64."""
    raw = np.empty(size + _ALIGNMENT, dtype=np.uint8)
    start = -raw.ctypes.data % _ALIGNMENT
    return raw[start : start + size]


def _declared(c: ctypes.CDLL) -> ctypes.CDLL:
    pointer, long, integer = ctypes.c_void_p, ctypes.c_int64, ctypes.c_int32
    tile = ctypes.POINTER(TileArea)
    for name, result, arguments in (
        ("sr_check", integer, [pointer, long]),
        ("sr_plan_bytes", long, [pointer, long]),
        ("sr_plan", integer, [pointer, long, integer, pointer]),
        ("sr_arena_bytes", long, [pointer]),
        ("sr_run", integer, [pointer, pointer, pointer, pointer, tile]),
        ("sr_run_bytes", integer, [pointer, pointer, pointer, pointer, tile]),
        ("sr_run_timed", integer, [pointer, pointer, pointer, pointer, tile, pointer]),
        ("sr_facts", integer, []),
        ("sr_peak", ctypes.c_float, [long, ctypes.c_float]),
    ):
        function = getattr(c, name)
        function.restype, function.argtypes = result, arguments
    return c
