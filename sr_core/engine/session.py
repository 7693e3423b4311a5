"""Run a packed network on images of any size: `Session(network).run(x)`, like ONNX Runtime's."""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sr_core.engine.library import Bytes, Library, TileArea, aligned_bytes
from sr_core.engine.pack import pack
from sr_core.errors import EngineError
from sr_core.machine import cores
from sr_core.network.colour import RGB
from sr_core.network.plain import Network, plain

ARENA_BYTES = 16 << 20
"""Most memory of a running tile. Wider images are cut into columns of tiles, whose edges cost more
time than an arena beyond the second-level cache (x2, 32 channels, 12 cells: 3.7 MB in one piece
are 10 % faster than in two)."""
_KEPT_LAYOUTS = 4
Images = NDArray[np.float32]


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

    def __init__(self, network: Network, library: Library, *, threads: int = 0) -> None:
        """Pack the network for `library`. `threads`: 0 takes one per core."""
        self.scale = plain(network).scale
        self.threads = threads or cores()
        self._library = library
        packed = pack(network)
        self._blob = library.checked(packed.blob)
        self._reach, self._ring_floats = packed.plan.reach, packed.plan.ring_floats()
        self._layouts: OrderedDict[int, _Layout] = OrderedDict()
        self._lock = threading.Lock()
        # The calling thread waits, so that all strips start alike.
        self._pool = ThreadPoolExecutor(self.threads) if self.threads > 1 else None

    def run(self, lr: Images, out: Images | None = None) -> Images:
        """Compute the network itself, not clipped.

        Args:
            lr: float32 (N, 3, H, W), RGB in 0..1; any H and W from 1.
            out: float32 (N, 3, s H, s W) to write to; None makes a new one.

        Raises:
            EngineError: an array of another kind.
        """
        shape = self._check(lr, out)
        lr = np.require(lr, requirements=["C", "A"])  # contiguous, at a multiple of 4 bytes
        sr = _empty(shape) if out is None else out
        height, width = lr.shape[2:]
        tiles = list(self._tiles(height, width))
        columns = max(min(t.x1 + self._reach, width) - max(t.x0 - self._reach, 0) for t in tiles)
        layout = self._layout(columns)
        jobs = [
            (image, result, tile) for image, result in zip(lr, sr, strict=True) for tile in tiles
        ]

        def job(work: tuple[Images, Images, TileArea]) -> None:
            with self._arena(layout) as arena:
                self._library.run(layout.tile_plan, arena, *work)

        if self._pool is None or len(jobs) == 1:
            for work in jobs:
                job(work)
        else:
            list(self._pool.map(job, jobs))
        return sr

    def _check(self, lr: Images, out: Images | None) -> tuple[int, ...]:
        if lr.ndim != 4 or lr.shape[1] != RGB or lr.dtype != np.float32 or not lr.size:
            raise EngineError(
                f"Got an input of shape {lr.shape} and type {lr.dtype}: expected float32 "
                "(N, 3, H, W)."
            )
        count, _, height, width = lr.shape
        shape = (count, RGB, height * self.scale, width * self.scale)
        if out is not None and (
            out.shape != shape or out.dtype != np.float32 or not out.flags.carray
        ):
            raise EngineError(
                f"Got an output of shape {out.shape} and type {out.dtype}: expected a contiguous, "
                f"aligned array of float32 {shape} that can be written."
            )
        return shape

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


def _empty(shape: tuple[int, ...]) -> Images:
    """Return fresh memory for a result."""
    # Aligned: whole lines of the cache can be written past it.
    return aligned_bytes(4 * math.prod(shape)).view(np.float32).reshape(shape)
