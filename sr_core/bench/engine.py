"""Our engine beside ONNX Runtime: the same dense and pruned networks, and what rivals them.

One process, interleaved (`sitting`). Both runtimes are called as a user calls them:
`session.run(frame)`, and the result is a new array.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from statistics import median

import numpy as np
import onnxruntime as ort
from PIL import Image

from sr_core.bench.engine_layers import Watch
from sr_core.bench.engine_nets import Entry, Net, cell_weights, entries, int8_model, kept_weights
from sr_core.bench.mnn import Peer, mnn_name
from sr_core.bench.sitting import (
    DISTURBED,
    PAUSE_S,
    RUNS_PER_VISIT,
    WARM_UPS,
    Call,
    drift,
    interleaved,
    summary,
)
from sr_core.catalogue.store import Catalogue
from sr_core.engine.library import Library
from sr_core.engine.session import Images, Session
from sr_core.engine.shipped import better_instructions
from sr_core.files import sha256
from sr_core.machine import cores, processor
from sr_core.network.colour import RGB
from sr_core.network.layers import OUTPUT_SIZE, lr_size
from sr_core.network.onnx_graph import INPUT, build
from sr_core.results.engine import (
    Contender,
    EngineBench,
    EngineRow,
    FrameTime,
    LayerTime,
    OutputTime,
    Sitting,
    Variant,
)
from sr_core.results.record import Runtime
from sr_core.runtime.choice import instructions, runtime_name
from sr_core.runtime.upscale import Upscaler

FRAME_MODELS = ("x4-wide", "x4-wide-block75")
"""Listed models whose frames are timed through the whole upscaler."""
Report = Callable[[int, int], None]
"""Called with (sittings done, sittings in all)."""


@dataclass(frozen=True)
class Job:
    """What to time, and for how long."""

    nets: tuple[Net, ...]
    sitting_s: float
    """For one network and thread count, and for the upscaler."""
    rounds: int
    """Of a sitting at least, however long they take."""
    peers: bool = False
    """Whether MNN takes part."""
    output: tuple[int, int] = OUTPUT_SIZE


RESIDUAL = Net(16, 10, 4, "residual")
QUICK = Job((Net(24, 8, 4), RESIDUAL), 16, 3)
FULL = Job(
    (
        *(
            Net(channels, cells, scale)
            for scale in (4, 2)
            for channels in (16, 24, 32)
            for cells in (4, 8, 12)
        ),
        RESIDUAL,
    ),
    6,  # with the large x2 networks, which take longer: 8 minutes on two cores
    3,
)


@dataclass(frozen=True)
class _Contestant:
    """A network in a ready session."""

    scheme: Variant
    runtime: Contender
    density: float
    macs_g: float
    run: Call


@dataclass(frozen=True)
class _Sat:
    """What came of a sitting."""

    sitting: Sitting
    rows: list[EngineRow]
    outputs: list[OutputTime]
    layers: list[LayerTime]


@dataclass(frozen=True)
class _Reference:
    """What the rows of a sitting are compared with."""

    median_ms: dict[Contender, float]
    """Of the dense network."""
    macs_g: float
    """Of the dense network."""
    peak_gflops: float
    """Of all threads together."""


def bench_engine(
    catalogue: Catalogue,
    library: Library,
    job: Job,
    *,
    report: Report = lambda done, total: None,
) -> EngineBench:
    """Time all of `job` with one and with two threads.

    Raises `MeasurementError` where MNN takes part and fails, or computes something else.
    """
    runtimes: dict[Contender, str] = {"sparse": runtime_name(library), "onnx": runtime_name(None)}
    if job.peers:
        runtimes["mnn"] = mnn_name()
    counts = sorted({1, min(2, cores())})
    results: list[_Sat] = []
    for net in job.nets:
        lineup = list(entries(net, peers=job.peers))
        for threads in counts:
            report(len(results), len(job.nets) * len(counts))
            result = _sit(net, lineup, library, threads, job)
            if abs(result.sitting.drift) > DISTURBED:
                again = _sit(net, lineup, library, threads, job)
                result = min(result, again, key=lambda one: abs(one.sitting.drift))
            results.append(result)
    return EngineBench(
        processor=processor(),
        cores=cores(),
        runtimes=runtimes,
        instructions=instructions(library),
        better_instructions=better_instructions(instructions(library)),
        library=library.path.name,
        library_sha256=sha256(library.path),
        precision="fp32 (int8 where the scheme says so)",
        output=job.output,
        date=datetime.now(UTC).strftime("%Y-%m-%d"),
        pause_ms=PAUSE_S * 1e3,
        warm_ups=WARM_UPS,
        runs_per_visit=RUNS_PER_VISIT,
        sittings=tuple(result.sitting for result in results),
        rows=tuple(row for result in results for row in result.rows),
        frames=tuple(_time_frames(catalogue, library, counts[-1], job)),
        outputs=tuple(one for result in results for one in result.outputs),
        layers=tuple(one for result in results for one in result.layers),
    )


def _sit(net: Net, lineup: Sequence[Entry], library: Library, threads: int, job: Job) -> _Sat:
    """Time one network, its pruned versions and its rivals; on one thread its layers too."""
    peaks: list[float] = []
    frame = net.frame(job.output)
    watch = Watch.of(net, lineup, library, frame) if threads == 1 else None

    def between() -> None:
        peaks.append(_peak_gflops_per_core(library, threads))

    with ExitStack() as stack:
        contestants = _contestants(lineup, library, threads, frame, stack)
        calls = [*(c.run for c in contestants), *(watch.calls() if watch else ())]
        times_ms = interleaved(calls, job.sitting_s, job.rounds, between)
    pairs = list(zip(contestants, times_ms, strict=False))  # those of `watch` are behind them
    dense: dict[Contender, Sequence[float]] = {
        c.runtime: times for c, times in pairs if c.scheme == "dense"
    }
    against = _Reference(
        {runtime: median(times) for runtime, times in dense.items()},
        contestants[0].macs_g,
        median(peaks) * threads,
    )
    sitting = Sitting(
        channels=net.channels, cells=net.cells, block=net.block, scale=net.scale, threads=threads,
        rounds=len(peaks), peak_gflops_per_core=median(peaks), drift=drift(dense["onnx"]),
    )  # fmt: skip
    rows = [_row(net, threads, c, times, against) for c, times in pairs]
    watched = watch.results(times_ms[len(pairs) :], median(peaks)) if watch else ([], [])
    return _Sat(sitting, rows, *watched)


def _contestants(
    lineup: Sequence[Entry], library: Library, threads: int, frame: Images, stack: ExitStack
) -> list[_Contestant]:
    """Prepare a session for each. `stack` ends what has to be ended."""
    dense = lineup[0].network
    return [
        _Contestant(
            entry.scheme,
            runtime,
            cell_weights(entry.network) / cell_weights(dense),
            kept_weights(entry.network) * frame[0, 0].size / 1e9,
            _call(entry, runtime, library, threads, frame, stack),
        )
        for entry in lineup
        for runtime in entry.runtimes
    ]


def _call(
    entry: Entry,
    runtime: Contender,
    library: Library,
    threads: int,
    frame: Images,
    stack: ExitStack,
) -> Call:
    """Return one run of a session made for it."""
    if runtime == "sparse":
        engine = Session(entry.network, library, threads=threads)
        return partial(engine.run, frame)
    if runtime == "mnn":
        peer = stack.enter_context(Peer(entry, frame, threads))
        peer.check(Session(entry.network, library, threads=threads).run(frame))
        return peer.run
    if entry.scheme == "int8":
        data = int8_model(entry.network)
    else:
        data = build(entry.network).SerializeToString()
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    session = ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    return partial(session.run, None, {INPUT: frame})


def _peak_gflops_per_core(library: Library, threads: int) -> float:
    """Measure the peak of `threads` cores that multiply and add at the same time."""
    with ThreadPoolExecutor(threads) as pool:
        running = [pool.submit(library.peak_flops) for _ in range(threads)]
        return sum(peak.result() for peak in running) / threads / 1e9


def _row(
    net: Net, threads: int, contestant: _Contestant, times_ms: Sequence[float], against: _Reference
) -> EngineRow:
    median_ms = median(times_ms)
    gflops = 2 * contestant.macs_g / median_ms * 1e3
    dense_cost = against.median_ms[contestant.runtime] / against.macs_g
    return EngineRow(
        channels=net.channels,
        cells=net.cells,
        block=net.block,
        scale=net.scale,
        scheme=contestant.scheme,
        density=contestant.density,
        threads=threads,
        **summary(times_ms),
        macs_g=contestant.macs_g,
        ratio_vs_ort_dense=against.median_ms["onnx"] / median_ms,
        runtime=contestant.runtime,
        gflops=gflops,
        share_of_peak=None if contestant.scheme == "int8" else gflops / against.peak_gflops,
        cost_per_mac_vs_dense=median_ms / contestant.macs_g / dense_cost,
    )


def _time_frames(catalogue: Catalogue, library: Library, threads: int, job: Job) -> list[FrameTime]:
    """Time one image through the whole upscaler: by ONNX Runtime and by our engine."""
    runtimes: dict[Runtime, Library | None] = {"onnx": None, "sparse": library}
    keys: list[tuple[str, Runtime]] = []
    calls: list[Call] = []
    for model in FRAME_MODELS:
        network = catalogue.network(catalogue.candidate_by_name(model))
        size = (*lr_size(network.candidate.scale, job.output), RGB)
        pixels = np.random.default_rng(0).integers(0, 256, size, dtype=np.uint8)
        image = Image.fromarray(pixels)
        for runtime, engine in runtimes.items():
            keys.append((model, runtime))
            calls.append(partial(Upscaler(network, engine, threads=threads).upscale, image))
    frame_times_ms = interleaved(calls, job.sitting_s / 2, job.rounds)
    return [
        FrameTime(model=model, runtime=runtime, threads=threads, **summary(times_ms))
        for (model, runtime), times_ms in zip(keys, frame_times_ms, strict=True)
    ]
