"""A network with its masks as the engine's blob: groups of kept positions with their weights.

The blob is little-endian 32-bit words: a header, then the tables that `kernel.c` declares. It
does not depend on the size of the image, nor on the machine.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sr_core.engine.plan import Chain, Conv, Mix, Op, Plan, plan
from sr_core.network import chroma
from sr_core.network.blocks import GROUP
from sr_core.network.candidate import DENSE
from sr_core.network.colour import CHANNELS
from sr_core.network.extract import ExtractedLayer
from sr_core.network.plain import Network, plain

MAGIC, VERSION = 0x52534655, 2
"""`UFSR`, and the version of the format; both also in kernel.c."""
ONE_LANE_COST = 1.8
"""Time of a weight in a group of one channel over that in a group of four, where each input is
loaded once for four sums (measured; `bench engine` shows both)."""
_MIXING: dict[Mix, ExtractedLayer] = {
    "luma": chroma.to_ycbcr(0), "ycbcr": chroma.to_ycbcr(0, 1, 2), "rgb": chroma.to_rgb(),
}  # fmt: skip
_KINDS = {"read_zero": 0, "read_edge": 1, "conv": 2, "write": 3}
_HEADER_WORDS, _UNCHECKED_WORDS = 13, 4
Words = NDArray[np.uint32]
Bools = NDArray[np.bool_]
Indices = NDArray[np.intp]


@dataclass(frozen=True)
class _Group:
    """Output channels that share their positions: 4 of them, or 1."""

    outputs: Indices
    """Output channels, of the layer as extracted."""
    mask: Bools
    """(in, k, k) booleans: the positions that are computed."""


@dataclass(frozen=True)
class _Layer:
    """A convolution without the channels that nobody reads."""

    layer: ExtractedLayer
    groups: list[_Group]

    @property
    def outputs(self) -> Indices:
        """Output channels that are computed, in the order in which they are stored."""
        return np.concatenate([group.outputs for group in self.groups])

    @property
    def conv(self) -> Conv:
        return Conv(self.layer.weight.shape[-1], len(self.outputs), self.layer.relu)


@dataclass(frozen=True)
class Part:
    """One operation of a packed network, for those who ask where its time goes."""

    kind: str
    """`read`, `head`, `3x3` and the like (in cells), `tail`, `input skip`, `chroma`, `write`."""
    weights: int
    """Kept ones: multiply-accumulates for each pixel of the image."""


@dataclass(frozen=True)
class PackedNetwork:
    """A network in the form that the engine runs."""

    blob: bytes
    plan: Plan
    parts: tuple[Part, ...]
    """Its operations, in their order."""


def pack(network: Network, *, rgb: bool = False) -> PackedNetwork:
    """Pack a network. Equal networks give equal bytes.

    Args:
        rgb: RGB in and out, also of a luma network, whose chroma is upscaled beside it.
    """
    net = plain(network)
    head, (tail,) = _row(net.head), _row((net.tail,))
    cells = [_row(_added_before_relu(cell)) for cell in net.cells]
    skip = _row((net.input_skip,)) if net.input_skip else []
    grown = _row((_behind_luma(chroma.chroma(net.scale)),)) if rgb and net.colour != "rgb" else []
    chain = Chain(
        net.scale,
        tuple(layer.conv for layer in head),
        tuple(tuple(layer.conv for layer in cell) for cell in cells),
        tail.conv,
        skip[0].conv if skip else None,
        CHANNELS[net.colour],
        grown[0].conv if grown else None,
    )
    steps = plan(chain)
    inner = [layer for cell in cells for layer in cell]
    layers = [*head, *inner, tail, *skip, *grown]
    kinds = [*("head" for _ in head), *(_size(layer) for layer in inner), "tail"]
    kinds += ["input skip"] * len(skip) + ["chroma"] * len(grown)
    parts = tuple(_part(op, kinds, layers) for step in steps.steps for op in step.ops)
    return PackedNetwork(_Writer(steps, layers, net.input_mean).blob(), steps, parts)


def _size(layer: _Layer) -> str:
    return f"{layer.conv.kernel}x{layer.conv.kernel}"


def _part(op: Op, kinds: list[str], layers: list[_Layer]) -> Part:
    if op.layer is None:
        return Part("write" if op.kind == "write" else "read", 0)
    return Part(kinds[op.layer], int(layers[op.layer].layer.mask.sum()))


def _behind_luma(layer: ExtractedLayer) -> ExtractedLayer:
    """Return a convolution of Cb and Cr as one of Y, Cb and Cr, which the engine reads at once."""

    def widened(array: NDArray[Any]) -> NDArray[Any]:
        return np.pad(array, ((0, 0), (1, 0), (0, 0), (0, 0)))

    return replace(layer, weight=widened(layer.weight), mask=widened(layer.mask))


def _added_before_relu(cell: tuple[ExtractedLayer, ...]) -> tuple[ExtractedLayer, ...]:
    """Return a cell that does not end with a ReLU.

    The kernel adds the stream before a ReLU. So a cell that ends with one gets an identity behind
    it, which costs one position per channel.
    """
    if not cell[-1].relu:
        return cell
    channels = len(cell[-1].weight)
    eye = np.eye(channels, dtype=np.float32)[:, :, None, None]
    bias = np.zeros(channels, dtype=np.float32)
    return (*cell, ExtractedLayer("identity", eye, bias, eye > 0, DENSE, relu=False))


def _row(row: tuple[ExtractedLayer, ...]) -> list[_Layer]:
    """Drop the channels that nobody reads, from the last layer to the first.

    All of the last one is read. Each other layer computes what the next one reads.
    """
    layers: list[_Layer] = []
    read = np.ones(len(row[-1].weight), dtype=np.bool_)
    for layer in reversed(row):
        layers.insert(0, _Layer(layer, _groups(layer, read)))
        read = np.any([g.mask.any(axis=(1, 2)) for g in layers[0].groups], axis=0)
    return layers


def _groups(layer: ExtractedLayer, read: Bools) -> list[_Group]:
    """Group the output channels in `read`. A shared group of 4 brings its other ones too."""
    groups: list[_Group] = []
    for first in range(0, len(read), GROUP):
        outputs = np.arange(first, first + GROUP)
        masks, wanted = layer.mask[outputs], read[outputs]
        union: Bools = np.asarray(masks.any(axis=0))
        if wanted.any() and GROUP * union.sum() <= ONE_LANE_COST * masks[wanted].sum():
            groups.append(_Group(outputs, union))
        else:
            groups += [_Group(outputs[[i]], masks[i]) for i in np.flatnonzero(wanted)]
    # Nothing is read: the next layer has biases alone, but a buffer needs a channel.
    return groups or [_Group(np.array([0]), layer.mask[0])]


class _Writer:
    """Lays out the tables of a blob."""

    def __init__(self, steps: Plan, layers: list[_Layer], input_mean: float) -> None:
        self._plan = steps
        self._input_mean = input_mean
        self._layers = layers
        self._lists: list[tuple[int, int, int]] = []
        self._groups: list[tuple[int, int, int, int]] = []
        self._positions: list[NDArray[np.uint32]] = []
        self._values: list[NDArray[np.float32]] = []
        self._position_count = 0
        self._value_count = 0
        self._channels: dict[int, Indices] = {}
        """Of each buffer: its channels, as numbered in the extracted layer."""

    def blob(self) -> bytes:
        """Return the whole blob."""
        ops: list[tuple[Any, ...]] = []
        steps: list[tuple[int, int, int, int]] = []
        for step in self._plan.steps:
            steps.append((len(ops), len(step.ops), step.delay, step.reach))
            for op in step.ops:
                ops.append(self._op(op, len(ops)))
        buffers = [
            (buffer.channels, buffer.rows, -1 if buffer.shares is None else buffer.shares)
            for buffer in self._plan.buffers
        ]
        counts = [len(buffers), len(steps), len(ops), len(self._lists), len(self._groups)]
        body = np.concatenate(
            [
                *(_words(rows) for rows in (buffers, steps, ops, self._lists, self._groups)),
                *self._positions,
                *(values.view(np.uint32) for values in self._values),
            ]
        )
        counts += [self._position_count, self._value_count]
        sizes = [self._plan.scale, self._plan.planes, *counts]
        checked = np.concatenate([np.array(sizes, dtype=np.uint32), body])
        total = _UNCHECKED_WORDS + len(checked)
        assert total == _HEADER_WORDS + len(body)
        head = np.array([MAGIC, VERSION, total, checksum(checked)], dtype=np.uint32)
        return np.concatenate([head, checked]).astype("<u4").tobytes()

    def _op(self, op: Op, index: int) -> tuple[Any, ...]:
        first = len(self._groups)
        if op.layer is not None and op.target is not None:
            self._conv(op, index, self._layers[op.layer])
        shift = self._input_mean if op.kind == "read_zero" else 0.0
        mix = self._slopes(op) if op.mix is None else self._mix(op.mix, shift)
        return (
            _KINDS[op.kind], -1 if op.source is None else op.source,
            -1 if op.target is None else op.target, -1 if op.residual is None else op.residual,
            op.kernel, int(op.relu and mix < 0), first, len(self._groups) - first,
            int(np.float32(shift).view(np.int32)), mix,
        )  # fmt: skip

    def _slopes(self, op: Op) -> int:
        """Lay out the slopes of a PReLU, as its channels are stored. Return their place, or -1."""
        packed = None if op.layer is None else self._layers[op.layer]
        if packed is None or packed.layer.slope is None:
            return -1
        return self._add_values(packed.layer.slope[packed.outputs])

    def _mix(self, mix: Mix, shift: float) -> int:
        """Lay out a bias and three weights for each colour that is made. Return their place."""
        layer = _MIXING[mix]
        values = np.column_stack([layer.bias - np.float32(shift), layer.weight[:, :, 0, 0]])
        return self._add_values(values.ravel())

    def _add_values(self, values: NDArray[np.float32]) -> int:
        place = self._value_count
        self._values.append(values.astype(np.float32))
        self._value_count += len(values)
        return place

    def _conv(self, op: Op, index: int, packed: _Layer) -> None:
        assert op.source is not None
        assert op.target is not None
        layer, outputs = packed.layer, packed.outputs
        inputs = self._channels.get(op.source, np.arange(layer.weight.shape[1]))
        self._channels[op.target] = outputs
        place = {int(output): rank for rank, output in enumerate(outputs)}
        lists: dict[bytes, int] = {}
        # Alike ones together, so that the processor can predict where the kernel's loops end.
        for group in sorted(packed.groups, key=lambda g: (len(g.outputs), int(g.mask.sum()))):
            channel, row, column = np.nonzero(group.mask[inputs])
            positions = (channel | row << 16 | column << 24).astype(np.uint32)
            key = positions.tobytes()
            if key not in lists:
                lists[key] = len(self._lists)
                self._lists.append((index, self._position_count, len(positions)))
                self._positions.append(positions)
                self._position_count += len(positions)
            weights = layer.weight[group.outputs][:, inputs][:, channel, row, column]
            values = self._add_values(
                np.concatenate([layer.bias[group.outputs], weights.T.ravel()])
            )
            self._groups.append(
                (lists[key], place[int(group.outputs[0])], len(group.outputs), values)
            )


def _words(rows: list[tuple[Any, ...]]) -> Words:
    return np.array(rows, dtype=np.int32).reshape(-1).view(np.uint32)


def checksum(words: Words) -> int:
    """Return the checksum of the words behind the first four. Any one changed word changes it."""
    factors = 2 * np.arange(_UNCHECKED_WORDS, _UNCHECKED_WORDS + len(words), dtype=np.uint32) + 1
    return int((words * factors).sum(dtype=np.uint32))
