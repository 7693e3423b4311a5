"""From a network's convolutions to the engine's steps: buffers, delays, ring sizes, reach.

The engine computes a network row by row, every convolution a few rows behind the one it reads
(`kernel.c` says how). This module decides what runs together and what lies between:

- a *step* is a run of operations on the same row; it computes them chunk by chunk (a few
  vectors of columns), so that what stays inside a step never leaves the first-level cache. A
  1x1 convolution joins the step that writes its input; a larger kernel needs rows that are not
  there yet and starts a new one;
- a *buffer* holds the rows of one tensor that are still needed: a ring of rows, or one chunk;
- a step's *delay* is its distance in rows behind the image, its *reach* the rows and columns
  that it must compute beyond the edges of a tile.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import count
from typing import Literal

from sr_core.network.colour import RGB

Kind = Literal["read_zero", "read_edge", "conv", "write"]
"""Read the image with zeros or with its edge pixels around it, convolve, write the result."""
Mix = Literal["luma", "ycbcr", "rgb"]
"""Colours that an operation makes of others: Y of RGB, all of Y, Cb and Cr of RGB, RGB of them."""


@dataclass(frozen=True)
class Conv:
    """What a convolution needs of memory: stride 1, same padding."""

    kernel: int
    out_channels: int
    relu: bool


@dataclass(frozen=True)
class Chain:
    """A plain network (`sr_core.network.plain`), in forward order."""

    scale: int
    head: tuple[Conv, ...]
    """From the image to the stream."""
    cells: tuple[tuple[Conv, ...], ...]
    """The convolutions of each cell that is not skipped; its input is added to the last."""
    tail: Conv
    input_skip: Conv | None
    """Reads the image; its output is added to the tail's."""
    channels: int = RGB
    """Of the image that the network sees."""
    chroma: Conv | None = None
    """Upscales Cb and Cr beside a network that sees luma; image and result are RGB then."""


@dataclass
class Buffer:
    """Rows of one tensor."""

    channels: int
    rows: int = 0
    """Rows of the ring; 0: one chunk of one row, only inside a step."""
    shares: int | None = None
    """An earlier buffer whose memory it takes over: a cell adds to the stream in place."""


@dataclass(frozen=True)
class Op:
    """One operation. Buffers are given by index."""

    kind: Kind
    source: int | None = None
    target: int | None = None
    residual: int | None = None
    """Buffer that is added to the result."""
    kernel: int = 1
    relu: bool = False
    layer: int | None = None
    """Which convolution it is, in forward order: head, cells, tail, input skip, chroma."""
    mix: Mix | None = None
    """None reads or writes the planes of the image as they are."""

    @property
    def reads(self) -> list[tuple[int, int]]:
        """(buffer, rows above and below) of each buffer that it reads."""
        pairs = ((self.source, self.kernel // 2), (self.residual, 0))
        return [(buffer, radius) for buffer, radius in pairs if buffer is not None]


@dataclass
class Step:
    """Operations on the same row."""

    ops: list[Op] = field(default_factory=list[Op])
    delay: int = 0
    reach: int = 0


@dataclass(frozen=True)
class Plan:
    """How the engine runs a network, whatever the size of the image."""

    scale: int
    planes: int
    """Of the image and of the result: 3 of RGB, 1 of luma."""
    buffers: list[Buffer]
    steps: list[Step]

    @property
    def reach(self) -> int:
        """Rows and columns that a tile computes of its neighbours, on each side."""
        return max(step.reach for step in self.steps)

    def ring_floats(self) -> int:
        """Count the values that the rings hold for each column of a tile."""
        owners = (buffer for buffer in self.buffers if buffer.shares is None)
        return sum(buffer.channels * buffer.rows for buffer in owners)


def plan(chain: Chain) -> Plan:
    """Plan the steps and buffers of `chain`."""
    builder = _Builder()
    layers = count()
    stream = builder.read("read_zero", chain.channels, "luma" if chain.chroma else None)
    for conv in chain.head:
        stream = builder.conv(conv, stream, next(layers))
    for cell in chain.cells:
        branch = stream
        for conv in cell[:-1]:
            branch = builder.conv(conv, branch, next(layers))
        stream = builder.update(cell[-1], branch, next(layers), stream)
    tail, skip, grown = next(layers), None, None
    if chain.input_skip or chain.chroma:
        seen, mix = (RGB, "ycbcr") if chain.chroma else (chain.channels, None)
        image = builder.read("read_edge", seen, mix)
        if chain.input_skip:
            skip = builder.conv(chain.input_skip, image, next(layers))
        if chain.chroma:
            grown = builder.conv(chain.chroma, image, next(layers))
    phases = builder.conv(chain.tail, stream, tail, residual=skip)
    builder.add(Op("write", source=phases, residual=grown, mix="rgb" if chain.chroma else None))
    builder.schedule()
    planes = RGB if chain.chroma else chain.channels
    return Plan(chain.scale, planes, builder.buffers, builder.steps)


class _Builder:
    """Puts operations into steps, then finds out when each step may run."""

    def __init__(self) -> None:
        self.buffers: list[Buffer] = []
        self.steps: list[Step] = []
        self._writer: list[int] = []
        """Step that writes each buffer."""

    def read(self, kind: Kind, channels: int, mix: Mix | None = None) -> int:
        """Start a step that reads the image, and return its buffer."""
        self.steps.append(Step())
        target = self._buffer(channels)
        self.steps[-1].ops.append(Op(kind, target=target, mix=mix))
        return target

    def conv(self, conv: Conv, source: int, layer: int, *, residual: int | None = None) -> int:
        """Add a convolution, to the last step if its input allows. Return its buffer."""
        reading = self.steps[-1].ops[0].kind != "conv"
        if reading or (conv.kernel > 1 and self._writer[source] == len(self.steps) - 1):
            self.steps.append(Step())
        target = self._buffer(conv.out_channels)
        self.add(Op("conv", source, target, residual, conv.kernel, conv.relu, layer))
        return target

    def update(self, conv: Conv, source: int, layer: int, stream: int) -> int:
        """Add a convolution whose result is added to `stream` in place. Return its buffer."""
        target = self.conv(conv, source, layer, residual=stream)
        self.buffers[target].shares = stream
        return target

    def add(self, op: Op) -> None:
        """Put `op` into the last step."""
        self.steps[-1].ops.append(op)

    def _buffer(self, channels: int) -> int:
        self.buffers.append(Buffer(channels))
        self._writer.append(len(self.steps) - 1)
        return len(self.buffers) - 1

    def schedule(self) -> None:
        """Set delays, reaches and ring sizes."""
        readers = self._readers()
        for index, step in enumerate(self.steps):
            behind = [
                self.steps[self._writer[buffer]].delay + radius
                for op in step.ops
                for buffer, radius in op.reads
                if self._writer[buffer] != index
            ]
            step.delay = max(behind, default=0)
        for index in reversed(range(len(self.steps))):
            step = self.steps[index]
            step.reach = max((self.steps[r].reach + n for r, n in readers[index]), default=0)
            if step.ops[0].kind == "read_edge":  # no sooner than needed: its ring stays short
                step.delay = min(self.steps[r].delay - n for r, n in readers[index])
        self._size_rings()

    def _size_rings(self) -> None:
        """Size each ring from the newest row that is written to the oldest that is still read."""
        for index, step in enumerate(self.steps):
            for op in step.ops:
                for buffer, radius in op.reads:
                    if self._writer[buffer] != index:
                        first = self.steps[self._writer[self._owner(buffer)]]
                        rows = step.delay - first.delay + radius + 1
                        owner = self.buffers[self._owner(buffer)]
                        owner.rows = max(owner.rows, rows)
        for index, buffer in enumerate(self.buffers):
            buffer.rows = self.buffers[self._owner(index)].rows

    def _owner(self, buffer: int) -> int:
        """Return the first of the buffers that share the memory of `buffer`."""
        while (shared := self.buffers[buffer].shares) is not None:
            buffer = shared
        return buffer

    def _readers(self) -> list[list[tuple[int, int]]]:
        """List for each step the later steps that read what it writes, and how far around."""
        readers: list[list[tuple[int, int]]] = [[] for _ in self.steps]
        for index, step in enumerate(self.steps):
            for op in step.ops:
                for buffer, radius in op.reads:
                    if self._writer[buffer] != index:
                        readers[self._writer[buffer]].append((index, radius))
        return readers
