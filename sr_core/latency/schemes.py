"""What each pruning scheme really saves in ONNX Runtime: the same network, dense and pruned."""

from __future__ import annotations

import time
from dataclasses import dataclass
from statistics import median

import numpy as np
import onnxruntime as ort

from sr_core.candidate import DENSE, Candidate, Cell, LayerPruning, Scheme
from sr_core.layers import OUTPUT_SIZE, RGB, lr_size
from sr_core.runtime.onnx_graph import INPUT, build
from sr_core.supernet.extract import extract
from sr_core.supernet.weights import SupernetWeights

SCHEMES: tuple[Scheme, ...] = ("channel", "block", "pattern", "unstructured")
WARM_UP_ROUNDS = 1


@dataclass(frozen=True)
class SchemeTiming:
    """One scheme against the dense network, interleaved in one run."""

    scheme: Scheme
    ratio: float
    median_ms: float
    dense_median_ms: float
    runs: int

    @property
    def saved_share(self) -> float:
        """1 - time / dense time; negative if it was slower."""
        return 1 - self.median_ms / self.dense_median_ms


def with_scheme(candidate: Candidate, scheme: Scheme, ratio: float) -> Candidate:
    """The blocks and width of `candidate`, with one scheme and ratio wherever they fit."""
    wish = LayerPruning(scheme, ratio)
    cells = tuple(wish.applied_to(Cell(cell.block)) for cell in candidate.cells)
    return Candidate(candidate.scale, candidate.width, cells, DENSE)


def time_schemes(
    supernet: SupernetWeights,
    candidate: Candidate,
    ratios: dict[Scheme, float],
    *,
    threads: int,
    output: tuple[int, int] = OUTPUT_SIZE,
    runs: int = 7,
) -> list[SchemeTiming]:
    """Time one frame of the dense network and of every scheme in turn (A B C, A B C, ...)."""
    wanted: dict[Scheme, float] = {"dense": 0.0, **ratios}
    networks = [with_scheme(candidate, scheme, ratio) for scheme, ratio in wanted.items()]
    sessions = [_session(supernet, network, threads) for network in networks]
    height, width = lr_size(candidate.scale, output)
    frame = np.random.default_rng(0).random((1, RGB, height, width), dtype=np.float32)
    times_ms: list[list[float]] = [[] for _ in sessions]
    for index in range(WARM_UP_ROUNDS + runs):
        for session, times in zip(sessions, times_ms, strict=True):
            start = time.perf_counter()
            session.run(None, {INPUT: frame})
            if index >= WARM_UP_ROUNDS:
                times.append((time.perf_counter() - start) * 1e3)
    dense_ms = median(times_ms[0])
    return [
        SchemeTiming(scheme, ratio, median(times), dense_ms, runs)
        for (scheme, ratio), times in zip(ratios.items(), times_ms[1:], strict=True)
    ]


def _session(supernet: SupernetWeights, candidate: Candidate, threads: int) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    data = build(extract(supernet, candidate)).SerializeToString()
    return ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])
