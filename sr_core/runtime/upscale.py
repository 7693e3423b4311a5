"""Upscale images with a candidate, tile by tile, on the sparse engine or on ONNX Runtime.

Memory is bounded (measured on x4-wide and x4-residual of C = 32). An image takes 10 bytes per
input pixel and 4 per output pixel (5 with alpha, 1 grey, 2 of 16-bit grey). Beside it the engine
takes 0.15 GB for a tile of 512 pixels and rounding it; it keeps a few rows of each layer, at most
4 MB per thread. ONNX Runtime takes 0.17 and 0.1 GB for a tile of 256, given back after it, and
0.05 GB for rounding it. Filling what alpha hides takes 30 bytes per input pixel, given back before
the output is made. Saving takes the encoded file instead of the tile. The largest RGB input,
16 million pixels, peaks at 1.4 GB with Python and its libraries.

The tile of the engine is larger because its margins cost time: 1920x1080 takes 4.7 s in tiles of
256, 3.7 s in tiles of 512, 3.8 s in tiles of 1024 (x4-wide, two threads).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from PIL import Image

from sr_core.engine.library import Library
from sr_core.engine.session import Session
from sr_core.errors import Cancelled
from sr_core.machine import cores
from sr_core.network.extract import ExtractedNetwork
from sr_core.network.layers import halo
from sr_core.network.onnx_graph import INPUT, OUTPUT, build
from sr_core.runtime import image as images
from sr_core.runtime.alpha import Layer, filled
from sr_core.runtime.choice import runtime_name

_GIVE_BACK = ort.RunOptions()
_GIVE_BACK.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
"""Or every session keeps the activations of its largest tile for good."""
TILE, ENGINE_TILE = 256, 512
"""Side of a tile in LR pixels, halo not counted, on ONNX Runtime and on the engine."""

Run = Callable[[NDArray[np.float32]], NDArray[np.float32]]
Report = Callable[[int, int], None]
"""Called with (tiles done, tiles in all)."""


@dataclass(frozen=True)
class Tile:
    """Rows and columns of the LR image: those to read (with halo) and those to keep."""

    read: tuple[slice, slice]
    keep: tuple[slice, slice]


class Upscaler:
    """One network in one session. It is safe to use from several threads."""

    def __init__(
        self,
        network: ExtractedNetwork,
        library: Library | None = None,
        *,
        threads: int = 0,
        tile: int | None = None,
    ) -> None:
        """Prepare a session on the engine, or without a library on ONNX Runtime.

        Args:
            threads: 0 takes one per core (`machine.cores`).
            tile: side in LR pixels; None takes the runtime's usual one.
        """
        self.network = network
        self.scale = network.candidate.scale
        self.runtime = runtime_name(library)
        self._tile = tile or (ENGINE_TILE if library else TILE)
        self._halo = halo(network.candidate)
        self._run = (
            Session(network, library, threads=threads).run
            if library
            else _on_onnx(network, threads)
        )

    def run(self, lr: NDArray[np.float32]) -> NDArray[np.float32]:
        """Compute the network itself: (N, 3, H, W) in 0..1 -> (N, 3, s H, s W), not clipped."""
        return self._run(lr)

    def upscale(
        self,
        image: Image.Image,
        *,
        report: Report | None = None,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> Image.Image:
        """Return `image` at scale times the size.

        It stays of the same kind: colour, greyscale, alpha, 16-bit grey.

        Args:
            image: from `runtime.read.open_image`, or of any mode `runtime.image.split` takes.
            report: progress callback.
            should_stop: asked before each tile; true raises `Cancelled`.
        """
        planes = images.split(image)
        layer = _layer(planes)
        height, width = planes.pixels.shape[:2]
        layout = list(tiles(height, width, tile=self._tile, halo=self._halo))
        colours = images.result_mode(image).removesuffix("A")
        result = Image.new(colours, (width * self.scale, height * self.scale))
        for done, tile in enumerate(layout):
            if should_stop():
                raise Cancelled(f"Stopped after {done} of {len(layout)} tiles.")
            rows, columns = _scaled(tile.keep, self.scale)
            sr = images.quantise(self._run_tile(planes.pixels, layer, tile), planes.pixels)
            result.paste(Image.fromarray(sr), (columns.start, rows.start))
            if report:
                report(done + 1, len(layout))
        return images.join(result, planes)

    def _run_tile(
        self, pixels: images.Pixels, layer: Layer | None, tile: Tile
    ) -> NDArray[np.float32]:
        """Return the output (3, h, w) for `tile.keep`. The halo is run and cut off again."""
        seen = layer.seen if layer else pixels
        sr = self.run(images.network_input(seen[tile.read]))[0]
        if layer:
            sr = layer.corrected(sr, tile.read, self.scale)
        inner = tuple(
            slice(keep.start - read.start, keep.stop - read.start)
            for keep, read in zip(tile.keep, tile.read, strict=True)
        )
        return sr[:, *_scaled((inner[0], inner[1]), self.scale)]


def _layer(planes: images.Planes) -> Layer | None:
    if planes.alpha is None:
        return None
    colours, opacity = planes.pixels.astype(np.uint8, copy=False), np.asarray(planes.alpha)
    return Layer(colours, opacity, filled(colours, opacity))


def _on_onnx(network: ExtractedNetwork, threads: int) -> Run:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads or cores()  # its own default knows of no quota
    options.log_severity_level = 3
    options.enable_mem_pattern = False  # its plan per tile shape adds 60 %, gains no time
    session = ort.InferenceSession(
        build(network).SerializeToString(), options, providers=["CPUExecutionProvider"]
    )

    def run(lr: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray(session.run([OUTPUT], {INPUT: lr}, _GIVE_BACK)[0], dtype=np.float32)

    return run


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
