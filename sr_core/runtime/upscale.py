"""Upscale images with a candidate on ONNX Runtime, tile by tile.

Memory is bounded (measured on x4-wide and x4-residual of C = 32, tiles of 256 pixels): running a
tile takes 0.17 and 0.1 GB, given back after it, rounding a tile 0.05 GB, an image 10 bytes per
input pixel and 4 per output pixel (5 with alpha, 1 grey, 2 of 16-bit grey). Saving takes the
encoded file instead of the tile. The largest RGB input, 16 million pixels, peaks at 1.4 GB with
Python and its libraries.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from PIL import Image

from sr_core.errors import Cancelled
from sr_core.layers import halo
from sr_core.runtime import image as images
from sr_core.runtime.onnx_graph import INPUT, OUTPUT, build
from sr_core.supernet.extract import ExtractedNetwork

_GIVE_BACK = ort.RunOptions()
_GIVE_BACK.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
"""Or every session keeps the activations of its largest tile for good."""
TILE = 256
"""Side of a tile in LR pixels, halo not counted."""

Report = Callable[[int, int], None]
"""Called with (tiles done, tiles in all)."""


@dataclass(frozen=True)
class Tile:
    """Rows and columns of the LR image: what is read (with halo) and what is kept."""

    read: tuple[slice, slice]
    keep: tuple[slice, slice]


class Upscaler:
    """One network in one ONNX Runtime session; safe to use from several threads."""

    def __init__(self, network: ExtractedNetwork, *, threads: int = 0, tile: int = TILE) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads  # 0: one per physical core
        options.log_severity_level = 3
        options.enable_mem_pattern = False  # its plan per tile shape adds 60 %, gains no time
        self.network = network
        self.scale = network.candidate.scale
        self._tile = tile
        self._halo = halo(network.candidate)
        self._session = ort.InferenceSession(
            build(network).SerializeToString(), options, providers=["CPUExecutionProvider"]
        )

    def run(self, lr: NDArray[np.float32]) -> NDArray[np.float32]:
        """The network itself: (N, 3, H, W) in 0..1 -> (N, 3, s H, s W), not clipped."""
        return np.asarray(self._session.run([OUTPUT], {INPUT: lr}, _GIVE_BACK)[0], dtype=np.float32)

    def upscale(
        self,
        image: Image.Image,
        *,
        report: Report | None = None,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> Image.Image:
        """`image` at scale times the size, same kind: colour, greyscale, alpha, 16-bit grey.

        Args:
            image: any mode `runtime.image.split` takes.
            report: progress callback.
            should_stop: asked before each tile; true raises `Cancelled`.
        """
        planes = images.split(image)
        height, width = planes.pixels.shape[:2]
        layout = list(tiles(height, width, tile=self._tile, halo=self._halo))
        colours = images.result_mode(image).removesuffix("A")
        result = Image.new(colours, (width * self.scale, height * self.scale))
        for done, tile in enumerate(layout):
            if should_stop():
                raise Cancelled(f"Stopped after {done} of {len(layout)} tiles.")
            rows, columns = _scaled(tile.keep, self.scale)
            sr = images.quantise(self._run_tile(planes.pixels, tile), planes.pixels)
            result.paste(Image.fromarray(sr), (columns.start, rows.start))
            if report:
                report(done + 1, len(layout))
        return images.join(result, planes)

    def _run_tile(self, pixels: images.Pixels, tile: Tile) -> NDArray[np.float32]:
        """Network output (3, h, w) for `tile.keep`: the halo is run and cut off again."""
        sr = self.run(images.network_input(pixels[tile.read]))[0]
        inner = tuple(
            slice(keep.start - read.start, keep.stop - read.start)
            for keep, read in zip(tile.keep, tile.read, strict=True)
        )
        return sr[:, *_scaled((inner[0], inner[1]), self.scale)]


def tiles(height: int, width: int, *, tile: int, halo: int) -> Iterator[Tile]:
    """Cut an image into tiles of at most `tile` x `tile`, each read with `halo` pixels around."""
    for rows in _spans(height, tile):
        for columns in _spans(width, tile):
            read = (_widened(rows, halo, height), _widened(columns, halo, width))
            yield Tile(read, (rows, columns))


def _spans(length: int, tile: int) -> list[slice]:
    # Equal spans rather than full ones and a thin rest: a thin tile is mostly halo.
    edges = np.linspace(0, length, -(-length // tile) + 1).round().astype(int).tolist()
    return [slice(a, b) for a, b in pairwise(edges)]


def _widened(span: slice, halo: int, length: int) -> slice:
    return slice(max(0, span.start - halo), min(length, span.stop + halo))


def _scaled(area: tuple[slice, slice], scale: int) -> tuple[slice, slice]:
    rows, columns = area
    return (
        slice(rows.start * scale, rows.stop * scale),
        slice(columns.start * scale, columns.stop * scale),
    )
