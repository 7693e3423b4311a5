"""How long it takes from a candidate to a ready ONNX Runtime session, on this computer."""

from __future__ import annotations

import time
from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime
from statistics import median

import numpy as np
import onnxruntime as ort

from sr_core.catalogue.store import Catalogue, Model
from sr_core.machine import cores, processor
from sr_core.network.extract import extract
from sr_core.network.onnx_graph import build
from sr_core.network.weights import SupernetWeights

WARM_UP_ROUNDS = 1
"""Rounds over all models that are run first and not counted."""
Parts = tuple[float, float, float]
"""Seconds of extract, build and session."""


@dataclass(frozen=True)
class SessionTime:
    """Medians over the runs, in ms. The weights are in memory already."""

    model: str
    runs: int
    extract_ms: float
    """Masks and weights out of the supernet."""
    build_ms: float
    """ONNX graph from arrays, serialised."""
    session_ms: float
    """ONNX Runtime's own preparation."""
    total_ms: float
    total_p10_ms: float
    total_p90_ms: float


@dataclass(frozen=True)
class SessionBench:
    """Times with what a measured latency must name."""

    processor: str
    runtime: str
    precision: str
    threads: int
    warm_up_rounds: int
    date: str
    """UTC, YYYY-MM-DD."""
    models: list[SessionTime]

    @property
    def conditions(self) -> str:
        """Everything but the times, in one line."""
        return (
            f"{self.processor}, {self.runtime}, {self.precision}, threads: {self.threads}, "
            f"runs: {self.models[0].runs} after {self.warm_up_rounds} discarded, {self.date}"
        )


def bench_sessions(catalogue: Catalogue, *, runs: int) -> SessionBench:
    """Time every listed model, interleaved (A B C, A B C, ...) so that drift hits all alike."""
    models, threads = catalogue.models(), cores()
    parts: defaultdict[str, list[Parts]] = defaultdict(list)
    for index in range(WARM_UP_ROUNDS + runs):
        for model in models:
            times = _time_one(catalogue.supernet(model.candidate.family), model, threads)
            if index >= WARM_UP_ROUNDS:
                parts[model.name].append(times)
    return SessionBench(
        processor(),
        f"ONNX Runtime {ort.__version__}",
        "fp32",
        threads,
        WARM_UP_ROUNDS,
        datetime.now(UTC).strftime("%Y-%m-%d"),
        [_summary(name, times) for name, times in parts.items()],
    )


def _time_one(supernet: SupernetWeights, model: Model, threads: int) -> Parts:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    start = time.perf_counter()
    network = extract(supernet, model.candidate)
    extract_end = time.perf_counter()
    data = build(network, rgb=True).SerializeToString()  # as colour images need it
    build_end = time.perf_counter()
    ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    session_end = time.perf_counter()
    return extract_end - start, build_end - extract_end, session_end - build_end


def _summary(name: str, times: list[Parts]) -> SessionTime:
    totals_ms = [sum(parts) * 1e3 for parts in times]
    p10_ms, p90_ms = np.percentile(totals_ms, [10, 90]).tolist()
    extract_ms, build_ms, session_ms = (median(part) * 1e3 for part in zip(*times, strict=True))
    return SessionTime(
        name, len(times), extract_ms, build_ms, session_ms, median(totals_ms), p10_ms, p90_ms
    )
