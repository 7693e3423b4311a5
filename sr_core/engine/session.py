"""Run a packed network on images of any size: `Session(network).run(x)`, like ONNX Runtime's."""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from sr_core.engine.library import Bytes, Library, TileArea, aligned_bytes
from sr_core.engine.pack import pack
from sr_core.errors import EngineError
from sr_core.machine import cores
from sr_core.network.plain import Network, plain

ARENA_BYTES = 16 << 20
"""Most memory of a running tile. Wider images are cut into columns of tiles, whose edges cost more
time than an arena beyond the second-level cache (x2, 32 channels, 12 cells: 3.7 MB in one piece
are 10 % faster than in two)."""
_KEPT_LAYOUTS = 4
Images = NDArray[np.float32]
Pixels = NDArray[np.uint8]
Value = TypeVar("Value", np.float32, np.uint8)
_Job = tuple[Images, NDArray[Value], TileArea]
"""An image, its result, and the part of it to upscale."""


@dataclass(frozen=True)
class _Layout:
    """The network prepared for tiles of up to so many columns, and arenas that lie idle."""

    tile_plan: Bytes
    arena_bytes: int
    idle: list[Bytes]


class Session:
    """One network on the engine. It is safe to use from several threads at once.

    Results do not depend on the number of threads, bit for bit.
    """

    def __init__(
        self, network: Network, library: Library, *, threads: int = 0, rgb: bool = False
    ) -> None:
        """Pack the network for `library`.

        Args:
            threads: 0 takes one per core.
            rgb: RGB in and out, also of a luma network, whose chroma is upscaled beside it.
        """
        self.scale = plain(network).scale
        self.threads = threads or cores()
        self._library = library
        packed = pack(network, rgb=rgb)
        self.channels = packed.plan.planes
        """Of images and results: 3 of RGB, 1 of luma."""
        self.parts = packed.parts
        """The operations, in their order."""
        self._blob = library.checked(packed.blob)
        self._reach, self._ring_floats = packed.plan.reach, packed.plan.ring_floats()
        self._layouts: OrderedDict[int, _Layout] = OrderedDict()
        self._lock = threading.Lock()
        # The calling thread waits, so that all strips start alike.
        self._pool = ThreadPoolExecutor(self.threads) if self.threads > 1 else None

    def run(self, lr: Images, out: Images | None = None) -> Images:
        """Compute the network itself, not clipped.

        Args:
            lr: float32 (N, C, H, W), RGB or luma in 0..1; any H and W from 1.
            out: float32 (N, C, s H, s W) to write to; None makes a new one.

        Raises:
            EngineError: an array of another kind.
        """
        count, height, width = self._check(lr)
        shape = (count, self.channels, height, width)
        sr = _empty(shape) if out is None else _checked(out, shape, np.float32)
        self._run(lr, sr)
        return sr

    def run_bytes(self, lr: Images, out: Pixels | None = None) -> Pixels:
        """Compute the network, clipped to 0..1 and rounded to 8 bits.

        Args:
            lr: as for `run`.
            out: uint8 (N, s H, s W, C) to write to; None makes a new one.

        Raises:
            EngineError: an array of another kind.
        """
        count, height, width = self._check(lr)
        shape = (count, height, width, self.channels)
        pixels = np.empty(shape, dtype=np.uint8) if out is None else _checked(out, shape, np.uint8)
        self._run(lr, pixels)
        return pixels

    def run_timed(self, lr: Images, ticks: NDArray[np.int64]) -> Images:
        """Compute as `run` does, on one thread, and add to `ticks` what each of `parts` took.

        The unit is that of a clock of the processor: it is good for shares. Looking at the clock
        takes some hundredths of the time.
        """
        count, height, width = self._check(lr)
        sr = _empty((count, self.channels, height, width))
        layout, jobs = self._prepare(lr, sr)
        with self._arena(layout) as arena:
            for image, result, tile in jobs:
                self._library.run_timed(layout.tile_plan, arena, image, result, tile, ticks)
        return sr

    def _prepare(self, lr: Images, sr: NDArray[Value]) -> tuple[_Layout, list[_Job[Value]]]:
        """Cut each of `lr` and its part of `sr` into tiles."""
        lr = np.require(lr, requirements=["C", "A"])  # contiguous, at a multiple of 4 bytes
        height, width = lr.shape[2:]
        tiles = list(self._tiles(height, width))
        columns = max(min(t.x1 + self._reach, width) - max(t.x0 - self._reach, 0) for t in tiles)
        jobs = [
            (image, result, tile) for image, result in zip(lr, sr, strict=True) for tile in tiles
        ]
        return self._layout(columns), jobs

    def _run(self, lr: Images, sr: NDArray[Value]) -> None:
        """Upscale each of `lr` into its part of `sr`, in tiles that run side by side."""
        layout, jobs = self._prepare(lr, sr)

        def job(work: _Job[Value]) -> None:
            with self._arena(layout) as arena:
                self._library.run(layout.tile_plan, arena, *work)

        if self._pool is None or len(jobs) == 1:
            for work in jobs:
                job(work)
        else:
            list(self._pool.map(job, jobs))

    def _check(self, lr: Images) -> tuple[int, int, int]:
        """Return the number of images, and height and width of the results."""
        if lr.ndim != 4 or lr.shape[1] != self.channels or lr.dtype != np.float32 or not lr.size:
            raise EngineError(
                f"Got an input of shape {lr.shape} and type {lr.dtype}: expected float32 "
                f"(N, {self.channels}, H, W)."
            )
        count, _, height, width = lr.shape
        return count, height * self.scale, width * self.scale

    def _tiles(self, height: int, width: int) -> Iterator[TileArea]:
        """Yield a strip of rows per thread, cut into columns where its memory gets too large."""
        most = max(ARENA_BYTES // (4 * self._ring_floats) - 2 * self._reach, 1)
        across = -(-width // most)
        down = min(self.threads, height)
        for i in range(down):
            y0, y1 = i * height // down, (i + 1) * height // down
            for j in range(across):
                yield TileArea(
                    height, width, y0, y1, j * width // across, (j + 1) * width // across
                )

    def _layout(self, columns: int) -> _Layout:
        with self._lock:
            if columns not in self._layouts:
                tile_plan = self._library.tile_plan(self._blob, columns)
                arena_bytes = self._library.arena_bytes(tile_plan)
                self._layouts[columns] = _Layout(tile_plan, arena_bytes, [])
            self._layouts.move_to_end(columns)
            while len(self._layouts) > _KEPT_LAYOUTS:
                self._layouts.popitem(last=False)
            return self._layouts[columns]

    @contextmanager
    def _arena(self, layout: _Layout) -> Generator[Bytes]:
        """Lend one tile's memory to one call, and keep it for the next."""
        with self._lock:
            arena = layout.idle.pop() if layout.idle else None
        if arena is None:
            arena = aligned_bytes(layout.arena_bytes)
            arena[:] = 0
        try:
            yield arena
        finally:
            with self._lock:
                if len(layout.idle) < self.threads:
                    layout.idle.append(arena)


def _checked(out: NDArray[Value], shape: tuple[int, ...], dtype: type[Value]) -> NDArray[Value]:
    """Return an array of the caller's that a result can be written to."""
    if out.shape != shape or out.dtype != dtype or not out.flags.carray:
        raise EngineError(
            f"Got an output of shape {out.shape} and type {out.dtype}: expected a contiguous, "
            f"aligned array of {np.dtype(dtype)} {shape} that can be written."
        )
    return out


def _empty(shape: tuple[int, ...]) -> Images:
    """Return fresh memory for a result."""
    # Aligned: whole lines of the cache can be written past it.
    return aligned_bytes(4 * math.prod(shape)).view(np.float32).reshape(shape)
