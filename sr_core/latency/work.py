"""The latency model's features: how often each coefficient of a profile counts for a layer.

Two forms. A *dense* runtime (ONNX Runtime, the phones) computes a layer once, every weight of it,
in whole steps of channels. The *sparse engine* computes kept positions only, but some rows and
columns twice:

- four output channels of a group share positions and cost one load for four sums, else a channel
  is computed alone; `pack` takes for every group what is cheaper, here the expected share decides;
- a kernel larger than 1x1 reads rows that were computed a while ago: what the engine goes through
  meanwhile (rows, weights, offsets) fits into the near cache, or they come from a farther one;
- every thread has a strip of rows and computes the rows around it that later layers read;
- networks whose rings of rows do not fit into a tile's memory run in columns of tiles, each with
  a margin;
- columns are computed in steps, of a vector or a chunk of some, and half a step takes more than
  half the time.

Channels that nobody reads are not computed by the engine; leaving them out here made no
prediction better (random and trained weights, all ratios), so they count.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import groupby

from sr_core.engine.pack import ONE_LANE_COST
from sr_core.engine.plan import Chain, Conv, plan
from sr_core.engine.session import ARENA_BYTES
from sr_core.latency.profile import Costs, DeviceProfile, Kind
from sr_core.network.blocks import GROUP, cell_of
from sr_core.network.colour import RGB
from sr_core.network.layers import BYTES_PER_VALUE, ConvLayer

TERMS = tuple(Costs.model_fields)
"""Names of the coefficients, in the order of a `Work`."""
Work = tuple[float, float, float, float, float, float, float]
"""How often each of `TERMS` counts for one layer and frame."""
Workload = Callable[[Sequence[ConvLayer]], list[Work]]
"""The work of each layer of a network, which `describe` lists."""
_KINDS: dict[int, Kind] = {1: "conv1x1", 3: "conv3x3", 5: "conv5x5"}


_BESIDE = ("input_skip", "chroma")
"""Roles of layers beside which the tail runs, not before them."""


def kind(layer: ConvLayer) -> Kind:
    """Return which row of a profile's coefficients prices this layer."""
    return _KINDS[layer.kernel]


def workload(profile: DeviceProfile, threads: int | None) -> Workload:
    """Return the workload of a network on this device, with so many threads."""
    if profile.runtime_id == "sparse":
        return engine(threads or 1, profile.column_step, profile.near_mib)
    return dense(profile.channel_step)


def dense(channel_step: int) -> Workload:
    """Return the workload of a runtime that computes every weight, in whole steps of channels."""
    return lambda layers: [_dense_work(layer, channel_step) for layer in layers]


def engine(threads: int, column_step: int, near_mib: float) -> Workload:
    """Return the workload of the sparse engine. Arguments are as in `DeviceProfile`."""
    return partial(_engine_work, threads=threads, column_step=column_step, near_mib=near_mib)


def _dense_work(layer: ConvLayer, channel_step: int) -> Work:
    """Return a layer's work in a dense runtime.

    An image is never padded to whole channel steps: runtimes have kernels of their own.
    """
    inputs = layer.in_channels
    if inputs > RGB:
        inputs = _whole_steps(inputs, channel_step)
    outputs = _whole_steps(layer.out_channels, channel_step)
    mpx = layer.height * layer.width / 1e6
    gmacs = inputs * outputs * layer.kernel**2 * mpx / 1e3
    return 1.0, gmacs, mpx, mpx * inputs, mpx * outputs, 0.0, 0.0


def _engine_work(
    layers: Sequence[ConvLayer], threads: int, column_step: int, near_mib: float
) -> list[Work]:
    summary = _plan_summary(_chain(layers))
    weights = [_weights(layer) for layer in layers]
    columns, tile = _tiling(layers[0].width, summary, column_step)
    far = _far_share(tile * summary.ring_floats + _table_values(layers, weights, summary), near_mib)
    strips = min(threads, layers[0].height)
    works: list[Work] = []
    for layer, (shared, single), reach in zip(layers, weights, _reaches(layers), strict=True):
        rows = min(layer.height + 2 * reach * (strips - 1), layer.height * strips)
        mpx = rows * columns / 1e6
        reads = mpx * layer.in_channels
        works.append(
            (1.0, shared * mpx / 1e3, mpx, reads, mpx * layer.out_channels, single * mpx / 1e3,
             far * reads if layer.kernel > 1 else 0.0)
        )  # fmt: skip
    return works


def _reaches(layers: Sequence[ConvLayer]) -> list[int]:
    """Return how many rows around its own later layers read of each layer."""
    reach = 0
    reaches: list[int] = []
    for layer in reversed(layers):
        reaches.append(reach)
        if layer.role not in _BESIDE:
            reach += layer.kernel // 2
    return reaches[::-1]


def _weights(layer: ConvLayer) -> tuple[float, float]:
    """Count the weights that are computed in groups of four, and those computed alone."""
    if layer.pruning.scheme != "unstructured":
        return layer.weights_kept, 0.0
    weights = layer.in_channels * layer.out_channels * layer.kernel**2
    density = layer.weights_kept / weights
    union = 1 - (1 - density) ** GROUP
    if union <= ONE_LANE_COST * density:
        return union * weights, 0.0
    return 0.0, layer.weights_kept


@dataclass(frozen=True)
class _PlanSummary:
    reach: int
    ring_floats: int
    """Values that are kept for each column."""
    tables: tuple[int, ...]
    """Tables of offsets of each layer: one for every row of the ring that it reads."""


def _tiling(width: int, summary: _PlanSummary, step: int) -> tuple[float, int]:
    """Return (columns that are computed for each row, columns of a tile), cut as by `Session`."""
    most = max(ARENA_BYTES // (BYTES_PER_VALUE * summary.ring_floats) - 2 * summary.reach, 1)
    across = -(-width // most)
    each = -(-width // across)
    tiles = [each + summary.reach * ((j > 0) + (j < across - 1)) for j in range(across)]
    # Half of the columns that a row's last step lacks are paid for.
    return sum((tile + _whole_steps(tile, step)) / 2 for tile in tiles), max(tiles)


def _table_values(
    layers: Sequence[ConvLayer], weights: Sequence[tuple[float, float]], summary: _PlanSummary
) -> float:
    """Count the weights, and the offsets of the positions that they belong to."""
    values = 0.0
    for layer, (shared, single), tables in zip(layers, weights, summary.tables, strict=True):
        masked = layer.pruning.scheme in ("block", "pattern", "unstructured")
        positions = shared / GROUP + single if masked else layer.in_channels * layer.kernel**2
        values += shared + single + tables * positions
    return values


def _far_share(values: float, near_mib: float) -> float:
    """Return the share of the rows that do not come from the near cache.

    The cache holds less than its size of what is read in turns: the share goes from 0 at 60 % of
    the size to 1 at 140 %.
    """
    mib = values * BYTES_PER_VALUE / 2**20
    return min(max((mib / near_mib - 0.6) / 0.8, 0.0), 1.0) if near_mib else 1.0


@lru_cache(8192)
def _plan_summary(chain: Chain) -> _PlanSummary:
    """Return what matters of the engine's plan.

    Planning takes as long as all the rest here, so results are cached.
    """
    engine_plan = plan(chain)
    tables = {
        op.layer: engine_plan.buffers[op.source].rows if op.kernel > 1 else 1
        for step in engine_plan.steps
        for op in step.ops
        if op.kind == "conv" and op.layer is not None and op.source is not None
    }
    per_layer = tuple(tables[layer] for layer in sorted(tables))
    return _PlanSummary(engine_plan.reach, engine_plan.ring_floats(), per_layer)


def _chain(layers: Sequence[ConvLayer]) -> Chain:
    """Return what the engine plans for: the layers with all their channels."""
    convs = {layer.name: Conv(layer.kernel, layer.out_channels, False) for layer in layers}
    inner = [layer.name for layer in layers if layer.role == "cell"]
    cells = tuple(tuple(convs[name] for name in names) for _, names in groupby(inner, key=cell_of))
    head, tail, skip = (convs[name] for name in ("head", "tail", "input_skip"))
    return Chain(1, (head,), cells, tail, skip, layers[0].in_channels, convs.get("chroma"))


def _whole_steps(count: int, step: int) -> int:
    return -(-count // step) * step
