"""How fast training is on this computer in fp32 and in bf16 (torch)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import numpy as np
import torch
from torch import nn

from sr_core.machine import cores, processor
from sr_core.network.colour import RGB
from sr_core.network.extract import extract
from sr_core.network.presets import presets
from sr_core.network.weights import SupernetSpec, SupernetWeights
from sr_core.pruning.finetune import Start, TuningTask
from sr_core.pruning.settings import FinetuneArgs
from sr_core.results.precision import PrecisionBench, StepTime
from sr_core.rivals.settings import RivalArgs
from sr_core.rivals.train import RivalTask
from sr_core.supernet.module import Supernet
from sr_core.supernet.settings import TrainArgs
from sr_core.supernet.train import SupernetTask
from sr_core.training import loop, precision
from sr_core.training.settings import RunArgs

_CHANNELS, _CELLS = 24, 8
"""Of the network that is trained by itself."""


def bench_precision(runs: int, report: Callable[[str], None] = lambda _: None) -> PrecisionBench:
    """Time steps of each kind of training, with the default patches and batches of its command.

    `report` gets the name of each network before it is timed.
    """
    where, rows = precision.device(), list[StepTime]()
    steps = dict(_steps(where))
    choice = precision.choose("auto", where, next(iter(steps.values())))
    for network, step in steps.items():
        report(network)
        times_ms = precision.times_ms(step, runs)
        fp32_ms, bf16_ms = median(times_ms["fp32"]), median(times_ms["bf16"])
        rows.append(StepTime(network=network, fp32_ms=fp32_ms, bf16_ms=bf16_ms))
    return PrecisionBench(
        processor=processor(),
        device=precision.device_name(where),
        cores=cores(),
        threads=torch.get_num_threads(),
        torch=torch.__version__,
        runs=runs,
        date=datetime.now(UTC).strftime("%Y-%m-%d"),
        auto=f"{choice.taken} ({choice.reason})",
        rows=tuple(rows),
    )


def _steps(where: torch.device) -> Iterator[tuple[str, precision.Step]]:
    here = Path()  # nothing is read or written
    stage_1 = TrainArgs(here, here, here)
    size = f"{stage_1.width} channels, {stage_1.cells} cells"
    yield f"supernet, {size}", _step(SupernetTask(stage_1), stage_1, where)
    tuning = FinetuneArgs(here, here, here, model="")
    yield f"one network, {_CHANNELS} channels, {_CELLS} cells", _step(_tuned(tuning), tuning, where)
    rival = RivalArgs(here, here, here)
    yield f"rival {rival.arch}", _step(RivalTask(rival), rival, where)
    layers = nn.Sequential(*(nn.Conv2d(16, 16, 3, padding=1) for _ in range(10))).to(where)
    x = torch.rand(10, 16, 32, 32, device=where)

    def plain(half: bool) -> None:
        with precision.autocast(where, half):
            y = layers(x)
        y.float().mean().backward()
        precision.wait_for_gradients(layers)

    yield "10 convolutions 3x3, 16 channels", plain


def _tuned(args: FinetuneArgs) -> TuningTask:
    spec = SupernetSpec(4, _CHANNELS, _CELLS)
    tensors = {name: p.detach().numpy() for name, p in Supernet(spec).named_parameters()}
    supernet = SupernetWeights(spec, tensors, "0" * 64)
    start = Start(extract(supernet, presets(spec)[0].candidate), supernet.sha256)
    return TuningTask(args, start, supernet, args.out)


def _step(task: loop.Task, args: RunArgs, where: torch.device) -> precision.Step:
    """Return a step of `task` on a batch of noise."""
    task.module.to(where)
    lr, hr = (
        torch.rand(args.batch, RGB, side, side, device=where).contiguous(
            memory_format=precision.image_layout(where)
        )
        for side in (args.patch, args.patch * task.scale)
    )

    def step(half: bool) -> None:
        task.module.zero_grad()
        task.backward(loop.Batch(1, lr, hr, np.random.default_rng(0), half))
        precision.wait_for_gradients(task.module)

    return step
