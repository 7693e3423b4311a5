"""Where the time of our engine goes: by kind of layer, and what memory alone takes.

Timed in the sitting of the networks that it is about, on one thread.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sr_core.bench.engine_nets import EQUAL_DENSITY, Entry, Net, cell_weights
from sr_core.bench.sitting import Call, summary
from sr_core.engine.library import Library
from sr_core.engine.session import Images, Session
from sr_core.network.colour import RGB, Colour
from sr_core.network.extract import ExtractedNetwork, extract
from sr_core.results.engine import Depth, LayerTime, OutputTime, Variant

_DEPTHS: tuple[Depth, Depth] = ("fp32", "8-bit")
_NEAR = 0.02
"""Densities that count as the same."""


@dataclass(frozen=True)
class _Watched:
    """A network in a session, and the ticks of each of its operations so far."""

    scheme: Variant
    density: float
    colour: Colour
    session: Session
    ticks: NDArray[np.int64]

    def calls(self, frame: Images) -> list[Call]:
        """Return one run each in fp32, in 8 bits, and with a clock for each operation."""
        run, run_bytes = self.session.run, self.session.run_bytes
        return [
            partial(run, frame), partial(run_bytes, frame),
            partial(self.session.run_timed, frame, self.ticks),
        ]  # fmt: skip


@dataclass
class Watch:
    """What is timed of one network beside the comparison."""

    net: Net
    frame: Images
    """(1, 3, H, W): the LR frame."""
    watched: list[_Watched] = field(default_factory=list[_Watched])

    @classmethod
    def of(cls, net: Net, lineup: Sequence[Entry], library: Library, frame: Images) -> Watch:
        """Watch the dense network, the one with blocks of `EQUAL_DENSITY`, and that of luma."""
        dense = lineup[0].network
        luma = extract(net.supernet("luma"), net.candidate("block", EQUAL_DENSITY, "luma"))
        networks: list[tuple[Variant, Colour, ExtractedNetwork]] = [("dense", "rgb", dense)]
        for entry in lineup:
            density = cell_weights(entry.network) / cell_weights(dense)
            if entry.scheme == "block" and abs(density - EQUAL_DENSITY) < _NEAR:
                networks.append(("block", "rgb", entry.network))
        networks.append(("block", "luma", luma))
        watch = cls(net, frame)
        for scheme, colour, network in networks:
            session = Session(network, library, threads=1, rgb=True)
            density = cell_weights(network) / cell_weights(dense)
            ticks = np.zeros(len(session.parts), dtype=np.int64)
            watch.watched.append(_Watched(scheme, density, colour, session, ticks))
        return watch

    def calls(self) -> list[Call]:
        """Return what is timed, in the order in which `results` takes the times."""
        floors = [_floor(self.frame, self.net.scale, depth) for depth in _DEPTHS]
        return [*floors, *(call for one in self.watched for call in one.calls(self.frame))]

    def results(
        self, times_ms: Sequence[Sequence[float]], peak_gflops: float
    ) -> tuple[list[OutputTime], list[LayerTime]]:
        """Make records of the times of `calls`, given the peak of one core."""
        taken = iter(times_ms)
        outputs = [
            OutputTime(**self._named(), depth=depth, **summary(next(taken))) for depth in _DEPTHS
        ]
        layers: list[LayerTime] = []
        for one in self.watched:
            named: dict[str, Any] = self._named() | {
                "scheme": one.scheme, "density": one.density, "colour": one.colour,
            }  # fmt: skip
            plain_ms, bytes_ms, _ = next(taken), next(taken), next(taken)
            for depth, ms in zip(_DEPTHS, (plain_ms, bytes_ms), strict=True):
                outputs.append(OutputTime(**named, depth=depth, **summary(ms)))
            layers += _layers(one, named, median(plain_ms), peak_gflops, self.frame)
        return outputs, layers

    def _named(self) -> dict[str, Any]:
        net = self.net
        return {
            "channels": net.channels, "cells": net.cells, "block": net.block, "scale": net.scale,
        }  # fmt: skip


def _floor(frame: Images, scale: int, depth: Depth) -> Callable[[], NDArray[Any]]:
    """Return a call that reads the LR frame and writes the result's, which is a new array."""
    count, _, height, width = frame.shape
    seen = np.empty_like(frame)
    shape = (count, RGB, height * scale, width * scale)
    dtype = np.float32 if depth == "fp32" else np.uint8

    def read_and_write() -> NDArray[Any]:
        np.copyto(seen, frame)
        return np.full(shape, 1, dtype=dtype)

    return read_and_write


def _layers(
    one: _Watched, named: dict[str, Any], median_ms: float, peak_gflops: float, frame: Images
) -> list[LayerTime]:
    """Share out the time of a run by the ticks of its operations. Nothing without a clock."""
    total = int(one.ticks.sum())
    pixels = frame[0, 0].size
    layers: list[LayerTime] = []
    parts = list(zip(one.session.parts, one.ticks.tolist(), strict=True))
    for kind in dict.fromkeys(part.kind for part, _ in parts):
        ticks = sum(ticks for part, ticks in parts if part.kind == kind)
        if not ticks:
            continue
        macs_g = sum(part.weights for part, _ in parts if part.kind == kind) * pixels / 1e9
        took_ms = median_ms * ticks / total
        share = 2 * macs_g / took_ms * 1e3 / peak_gflops
        named |= {"kind": kind, "took_ms": took_ms, "share_of_time": ticks / total}
        layers.append(LayerTime(**named, macs_g=macs_g or None, share_of_peak=share or None))
    return layers
