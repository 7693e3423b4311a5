"""Profiles of Galaxy phones, fitted to the speed models that the follow-up paper published.

The authors of arXiv 2207.12577 released small networks that predict the milliseconds of one
WDSR-B block (our `wide`) on their phones and compiler. Our numbers come from tables of those
predictions: how far the predictions are from a phone was not published.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sr_core.errors import DatasetError
from sr_core.files import read_utf8
from sr_core.latency.calibrate import (
    Sample,
    channel_ranges,
    fit_costs,
    held_out_errors,
    mape_percent,
)
from sr_core.latency.profile import (
    Anchor,
    Costs,
    DeviceProfile,
    Kind,
    Scope,
    Setting,
    SparsityAssumption,
    Spread,
)
from sr_core.latency.work import dense
from sr_core.network.blocks import layer_name
from sr_core.network.candidate import DENSE, SCALES
from sr_core.network.layers import ConvLayer, lr_size

SOURCE = "github.com/wuyushuwys/compiler-aware-nas-sr, commit 1163bcd062, speed_models"
_COLUMNS = {
    "device", "processor", "scale", "in_channels", "expand_channels", "linear_channels",
    "out_channels", "latency_ms",
}  # fmt: skip


@dataclass(frozen=True)
class _Target:
    id: str
    device: str
    processor: str
    scales: tuple[int, ...]

    @property
    def title(self) -> str:
        return f"{self.device.removeprefix('Samsung ')} {self.processor}"


TARGETS = (
    _Target("galaxy-s10-gpu", "Samsung Galaxy S10", "GPU", (2,)),
    _Target("galaxy-s21-gpu", "Samsung Galaxy S21", "GPU", (2,)),
    _Target("galaxy-s10-dsp", "Samsung Galaxy S10", "DSP", (2, 4)),
)


def galaxy_profiles(table: Path, date: str) -> list[DeviceProfile]:
    """Fit one profile per processor to the CSV of block latencies (columns as in `_COLUMNS`)."""
    blocks = _read(table)
    profiles: list[DeviceProfile] = []
    for target in TARGETS:
        key = (target.device, target.processor)
        samples = [sample for name, sample in blocks if name == key]
        if not samples:
            raise DatasetError(f"{table.name} has no block of {target.title}: expected its rows.")
        # The table is a grid in order of channels: shuffled, the folds are alike.
        order = np.random.default_rng(0).permutation(len(samples))
        profiles.append(_profile(target, [samples[i] for i in order], date))
    return profiles


def _read(table: Path) -> list[tuple[tuple[str, str], Sample]]:
    """Read every block of the table with its (device, processor)."""
    try:
        with io.StringIO(read_utf8(table).decode(), newline="") as file:
            reader = csv.DictReader(file)
            if missing := _COLUMNS - set(reader.fieldnames or ()):
                raise DatasetError(
                    f"{table.name} has no {', '.join(sorted(missing))}: expected a table of block "
                    "latencies."
                )
            return [
                ((row["device"], row["processor"]), _sample(row, f"{table.name}, line {line}"))
                for line, row in enumerate(reader, start=2)
            ]
    except (OSError, UnicodeError, csv.Error) as error:
        raise DatasetError(f"Cannot read {table} ({error}).") from None


def _sample(row: dict[str, str], where: str) -> Sample:
    """Read one block: 1x1 in -> expand, 1x1 expand -> linear, 3x3 linear -> out."""
    try:
        scale = int(row["scale"])
        channels = [int(row[f"{name}_channels"]) for name in ("in", "expand", "linear", "out")]
        ms = float(row["latency_ms"])
    except (TypeError, ValueError):  # a row cut short holds None
        raise DatasetError(f"{where}: expected numbers of scale, channels and ms.") from None
    if not (scale in SCALES and min(channels) > 0 and 0 < ms < math.inf):
        raise DatasetError(f"{where}: expected scale 2 or 4, and channels and ms above 0.")
    height, width = lr_size(scale)
    layers = [
        _conv(layer_name(0, "wide", name), kernel, inputs, outputs, height, width)
        for name, kernel, inputs, outputs in zip(
            ("expand", "linear", "conv"), (1, 1, 3), channels, channels[1:], strict=False
        )
    ]
    return Sample(layers, ms)


def _conv(name: str, kernel: int, inputs: int, outputs: int, height: int, width: int) -> ConvLayer:
    weights = inputs * outputs * kernel**2
    return ConvLayer(
        name, "cell", kernel, inputs, outputs, inputs, outputs, height, width, DENSE, weights
    )


def _profile(target: _Target, samples: Sequence[Sample], date: str) -> DeviceProfile:
    costs = fit_costs(samples, dense(1), "constants")
    errors = held_out_errors(samples, dense(1), "constants")
    sizes = " and ".join("x{0} ({2}x{1} input)".format(s, *lr_size(s)) for s in target.scales)
    mpx = [layer.height * layer.width / 1e6 for sample in samples for layer in sample.layers]
    worst_percent = float(np.quantile(np.abs(np.expm1(errors)), 0.9) * 100)
    return DeviceProfile(
        id=target.id,
        title=target.title,
        device=target.device,
        processor=target.processor,
        runtime="the paper authors' compiler, as predicted by their published speed model",
        precision="not stated",
        date=date,
        basis="calibrated",
        channel_step=1,
        settings=(Setting(costs=_with_frame_work(costs)),),
        scope=Scope(parts=("wide",), channels=channel_ranges(samples), lr_mpx=(min(mpx), max(mpx))),
        spread=Spread(
            inside=1.25,
            outside=1.5,
            other_size=1.35,
            source=(
                "our allowance, not measured: the error of the published speed model against a "
                "phone is not known; transfer between networks and sizes on phones with public "
                "timings varies by such factors"
            ),
        ),
        sparsity=SparsityAssumption(share=0.5, low=0.0, high=1.0),
        anchors=(
            Anchor(
                what=f"predicted ms of one WDSR-B block on {target.title}, {sizes}",
                n=len(samples),
                source=SOURCE,
                error=(
                    f"our fit against that model, cross-validated: mean {mape_percent(errors):.1f} "
                    f"%, 90 % of the blocks within {worst_percent:.1f} %"
                ),
            ),
        ),
        caveats=_CAVEATS,
    )


def _with_frame_work(costs: dict[Kind, Costs]) -> dict[Kind, Costs]:
    """Price what the speed model leaves out.

    The 5x5 input skip costs what a 3x3 does. The pixel shuffle costs one more reading and writing
    of its output.
    """
    conv = costs["conv3x3"]
    shuffle = conv.ms_per_mpx_in + conv.ms_per_mpx_out
    skip = conv.model_copy(update={"ms_per_mpx_out": conv.ms_per_mpx_out + shuffle})
    return {**costs, "conv5x5": skip}


_CAVEATS = (
    "Every figure is a prediction of a published model, not a timing of a phone.",
    "The publication names neither the phone's chip variant nor the numeric precision.",
    "Head, tail, input skip, pixel shuffle and residual blocks are not in the model: they are "
    "priced with its coefficients for wide blocks.",
    "How much fine-grained sparsity saves is an assumption: by default half of the removed "
    "arithmetic, with nothing and all of it inside the interval.",
)
