"""A precomputed folder that the page can show everything from: devices and a small front."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np

from sr_core.catalogue.fronts import empty_front, write_front
from sr_core.catalogue.store import Catalogue
from sr_core.catalogue.writer import write_engine_bench
from sr_core.files import PRECOMPUTED
from sr_core.latency.prices import count
from sr_core.network.blocks import Block
from sr_core.network.candidate import DENSE, Candidate, Cell, Family, LayerPruning
from sr_core.results.engine import EngineBench, EngineRow, FrameTime, Sitting, Variant
from sr_core.results.record import Runtime
from tests import tiny
from tests.catalogue.test_fronts import found, header, run
from tests.search.profiles import device, install, on_engine
from tests.tiny import write_manifest

ENGINE, COMPUTER, PHONE = "engine", "computer", "phone"
BLOCKS: tuple[tuple[Block, ...], ...] = (
    ("wide", "wide"), ("wide", "skip"), ("residual", "wide"), ("residual", "skip"),
)  # fmt: skip
PRUNINGS = (
    DENSE, LayerPruning("block", 0.4), LayerPruning("channel", 0.5), LayerPruning("pattern", 0.7),
)  # fmt: skip


def networks() -> list[Candidate]:
    """Candidates of the tiny x4 supernet that differ in depth, blocks, scheme and ratio."""
    made: list[Candidate] = []
    for blocks in BLOCKS:
        for wish in PRUNINGS:
            cells = tuple(wish.applied_to(Cell(block)) for block in blocks)
            made.append(Candidate(4, tiny.WIDTH, cells))
    return made


def write(root: Path, tiny_root: Path) -> Path:
    """Copy `tiny_root` to `root`; add the engine and its benchmark, devices and an x4 front."""
    shutil.copytree(tiny_root, root)
    shutil.copytree(PRECOMPUTED / "engine", root / "engine")
    write_engine_bench(root, engine_bench())
    install(root, on_engine(ENGINE))
    install(root, device(COMPUTER, sparse=False))
    install(root, device(PHONE))
    candidates = networks()
    gain_db = 3 * np.sqrt(count(candidates).macs_kept / 1e9)
    rows = [
        found(candidate, trial, psnr_y_db=float(26.5 + gain_db[trial]))
        for trial, candidate in enumerate(candidates)
    ]
    weights = Catalogue(root).supernet(Family(4)).sha256
    described = header(weights).model_copy(update={"image_sets": {"Set5": "3" * 64}})
    front = empty_front(described).with_run(run(len(rows)), rows)
    write_front(root, front.with_results(1, {"Set5": (30.5, 0.85)}))
    write_manifest(root)
    return root


_TIMED: tuple[tuple[Variant, Runtime, float, float], ...] = (
    ("dense", "onnx", 1, 60), ("dense", "sparse", 1, 28), ("aligned", "onnx", 1.06, 38),
    ("int8", "onnx", 1, 45), ("block", "sparse", 0.5, 14), ("pattern", "sparse", 0.444, 14),
    ("block", "sparse", 0.25, 9), ("pattern", "sparse", 0.25, 10),
    ("unstructured", "sparse", 0.25, 18), ("channel", "onnx", 0.25, 30),
    ("channel", "sparse", 0.25, 9), ("aligned", "onnx", 0.27, 20),
)  # fmt: skip
"""Scheme, runtime, density and milliseconds on one thread."""


def engine_bench() -> EngineBench:
    """A made-up stored benchmark of the tiny network and of a larger one."""
    nets = ((tiny.WIDTH, tiny.CELLS), (24, 8))
    rows = [
        EngineRow(
            channels=channels, cells=cells, scale=4, scheme=scheme, density=density,
            threads=threads, median_ms=ms / threads, p10_ms=0.9 * ms / threads,
            p90_ms=1.2 * ms / threads, n=8, macs_g=6 * density, ratio_vs_ort_dense=60 / ms,
            runtime=runtime, gflops=100 * threads, share_of_peak=0.8, cost_per_mac_vs_dense=1.1,
        )
        for channels, cells in nets
        for threads in (1, 2)
        for scheme, runtime, density, ms in _TIMED
    ]  # fmt: skip
    sittings = [
        Sitting(
            channels=channels, cells=cells, scale=4, threads=threads, rounds=4,
            peak_gflops_per_core=90, drift=-0.03,
        )
        for channels, cells in nets
        for threads in (1, 2)
    ]  # fmt: skip
    runtimes: dict[Runtime, float] = {"onnx": 110, "sparse": 40}
    frames = [
        FrameTime(
            model="x4-wide", runtime=runtime, threads=2, median_ms=ms, p10_ms=0.9 * ms,
            p90_ms=1.1 * ms, n=8,
        )
        for runtime, ms in runtimes.items()
    ]  # fmt: skip
    return EngineBench(
        processor="Made-up <processor>", cores=2, library="a.so", library_sha256="0" * 64,
        instructions="AVX2",
        runtimes={"sparse": "UpFront engine, AVX9", "onnx": "ONNX Runtime 9"}, precision="fp32",
        output=(1280, 720), date="2026-01-01", pause_ms=25, warm_ups=1, runs_per_visit=2,
        sittings=tuple(sittings), rows=tuple(rows), frames=tuple(frames),
    )  # fmt: skip
