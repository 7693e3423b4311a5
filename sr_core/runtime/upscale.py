"""Upscale images with a candidate, tile by tile, on the sparse engine or on ONNX Runtime.

Memory is bounded (measured on x4-wide and x4-residual of C = 32). An image takes 10 bytes per
input pixel and 4 per output pixel (5 with alpha, 1 grey, 2 of 16-bit grey). Beside it the engine
takes 0.1 GB for a tile of 1024 pixels that it rounds itself, and 0.15 GB for a tile of 512 pixels
in fp32 and rounding it; it keeps a few rows of each layer, at most 4 MB per thread. ONNX Runtime
takes 0.17 and 0.1 GB for a tile of 256, given back after it, and 0.05 GB for rounding it. Filling
what alpha hides takes 30 bytes per input pixel, given back before the output is made. Saving takes
the encoded file instead of the tile. The largest RGB input, 16 million pixels, peaks at 1.4 GB with
Python and its libraries.

The tile of the engine is larger because its margins cost time: 1920x1080 takes 4.7 s in tiles of
256, 3.7 s in tiles of 512, 3.8 s in tiles of 1024 (x4-wide, two threads).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from PIL import Image

from sr_core.engine.library import Library
from sr_core.engine.session import Session
from sr_core.errors import Cancelled
from sr_core.machine import cores
from sr_core.network.colour import RGB
from sr_core.network.extract import ExtractedNetwork
from sr_core.network.layers import halo
from sr_core.network.onnx_graph import INPUT, OUTPUT, build
from sr_core.runtime import image as images
from sr_core.runtime.alpha import Layer, filled
from sr_core.runtime.choice import runtime_name

_GIVE_BACK = ort.RunOptions()
_GIVE_BACK.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
"""Or every session keeps the activations of its largest tile for good."""
TILE, ENGINE_TILE, BYTES_TILE = 256, 512, 1024
"""Side of a tile in LR pixels, halo not counted: on ONNX Runtime, on the engine, and on the engine
where it rounds, so that a tile takes a quarter of the memory."""

Run = Callable[[NDArray[np.float32]], NDArray[np.float32]]
RunBytes = Callable[[NDArray[np.float32]], NDArray[np.uint8]]
Report = Callable[[int, int], None]
"""Called with (tiles done, tiles in all)."""


@dataclass(frozen=True)
class Tile:
    """Rows and columns of the LR image: those to read (with halo) and those to keep."""

    read: tuple[slice, slice]
    keep: tuple[slice, slice]

    @property
    def inner(self) -> tuple[slice, slice]:
        """The part to keep, counted from where `read` starts."""
        rows, columns = (
            slice(keep.start - read.start, keep.stop - read.start)
            for keep, read in zip(self.keep, self.read, strict=True)
        )
        return rows, columns


@dataclass(frozen=True)
class Form:
    """A network in a session, with what it takes and gives."""

    channels: int
    """Of the image: 3 of RGB, 1 of luma."""
    run: Run
    """(N, C, H, W) in 0..1 -> (N, C, s H, s W), not clipped."""
    run_bytes: RunBytes | None = None
    """The same to (N, s H, s W, C), rounded to 8 bits; None if only `image.rounded` can."""


class Upscaler:
    """One network, ready to run. It is safe to use from several threads."""

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
        self._library, self._threads = library, threads
        self._tile = tile
        self._halo = halo(network.candidate)  # no less than what bicubic chroma reads
        self._colours = self._form(rgb=True)

    @cached_property
    def _grey(self) -> Form:
        """The network for grey images: one that sees luma takes their plane as it is."""
        return self._colours if self.network.candidate.colour == "rgb" else self._form(rgb=False)

    def _form(self, *, rgb: bool) -> Form:
        if self._library:
            session = Session(self.network, self._library, threads=self._threads, rgb=rgb)
            return Form(session.channels, session.run, session.run_bytes)
        channels = RGB if rgb else self.network.candidate.channels
        return Form(channels, _on_onnx(self.network, self._threads, rgb=rgb))

    def run(self, lr: NDArray[np.float32]) -> NDArray[np.float32]:
        """Compute the network itself: (N, 3, H, W) in 0..1 -> (N, 3, s H, s W), not clipped.

        Of a network that sees luma, the chroma is interpolated (bicubic).
        """
        return self._colours.run(lr)

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
        layout = list(tiles(height, width, tile=self._side(planes), halo=self._halo))
        colours = images.result_mode(image).removesuffix("A")
        result = Image.new(colours, (width * self.scale, height * self.scale))
        for done, tile in enumerate(layout):
            if should_stop():
                raise Cancelled(f"Stopped after {done} of {len(layout)} tiles.")
            rows, columns = _scaled(tile.keep, self.scale)
            sr = self._run_tile(planes.pixels, layer, tile)
            result.paste(Image.fromarray(sr), (columns.start, rows.start))
            if report:
                report(done + 1, len(layout))
        return images.join(result, planes)

    def _side(self, planes: images.Planes) -> int:
        """Return the side of a tile in LR pixels."""
        usual = ENGINE_TILE if self._library else TILE
        rounds = planes.alpha is None and self._rounding(planes.pixels)
        return self._tile or (BYTES_TILE if rounds else usual)

    def _form_for(self, pixels: images.Pixels) -> Form:
        return self._colours if pixels.ndim == 3 else self._grey

    def _rounding(self, pixels: images.Pixels) -> RunBytes | None:
        """Return what gives the upscaled pixels at once, None if there is no such thing."""
        form = self._form_for(pixels)
        as_read = pixels.ndim == 3 or form.channels == 1  # else the mean of three is rounded
        return form.run_bytes if as_read and pixels.dtype == np.uint8 else None

    def _run_tile(self, pixels: images.Pixels, layer: Layer | None, tile: Tile) -> images.Pixels:
        """Return the pixels of `tile.keep`. The halo is run and cut off again."""
        form = self._form_for(pixels)
        seen = layer.seen if layer else pixels
        lr = images.network_input(seen[tile.read], form.channels)
        inner = _scaled(tile.inner, self.scale)
        if layer is None and (run := self._rounding(pixels)):
            sr = run(lr)[0][inner]
            return sr if pixels.ndim == 3 else sr[..., 0]
        sr = form.run(lr)[0]
        if layer:
            sr = layer.corrected(sr, tile.read, self.scale)
        return images.quantise(sr[:, *inner], pixels)


def _layer(planes: images.Planes) -> Layer | None:
    if planes.alpha is None:
        return None
    colours, opacity = planes.pixels.astype(np.uint8, copy=False), np.asarray(planes.alpha)
    return Layer(colours, opacity, filled(colours, opacity))


def _on_onnx(network: ExtractedNetwork, threads: int, *, rgb: bool) -> Run:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads or cores()  # its own default knows of no quota
    options.log_severity_level = 3
    options.enable_mem_pattern = False  # its plan per tile shape adds 60 %, gains no time
    session = ort.InferenceSession(
        build(network, rgb=rgb).SerializeToString(), options, providers=["CPUExecutionProvider"]
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
