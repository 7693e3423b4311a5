"""A network in a ready session, to be timed: batch 1, fp32, nothing but the network."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from sr_core.engine.library import Library
from sr_core.engine.session import Session
from sr_core.network.colour import RGB
from sr_core.network.onnx_graph import INPUT, build
from sr_core.network.plain import Network

Run = Callable[[], None]
"""Computes one frame."""
PAUSE_S = 0.03
"""ONNX Runtime's threads go on spinning for a while after a run, and disturb whoever runs next."""


def ready(
    network: Network,
    library: Library | None,
    *,
    threads: int,
    size: tuple[int, int],
) -> Run:
    """Prepare a session on the sparse engine, or without a library on ONNX Runtime.

    `size`: height and width of the LR frame, which is random RGB (of a luma network with the chroma
    beside it). Both runtimes write every frame to
    the same memory, the engine to ours, ONNX Runtime to its arena's.
    """
    frame = np.random.default_rng(0).random((1, RGB, *size), dtype=np.float32)
    if library is not None:
        return _on_engine(Session(network, library, threads=threads, rgb=True), frame)
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    data = build(network, rgb=True).SerializeToString()
    session = ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])

    def run() -> None:
        session.run(None, {INPUT: frame})

    return run


def _on_engine(session: Session, frame: NDArray[np.float32]) -> Run:
    result = session.run(frame)

    def run() -> None:
        session.run(frame, result)

    return run


def timed_ms(run: Run) -> float:
    """Time one frame, in milliseconds."""
    start = time.perf_counter()
    run()
    return (time.perf_counter() - start) * 1e3


def timed_alone_ms(run: Run) -> float:
    """Time one frame, in ms, after a pause and an untimed frame, where runtimes alternate."""
    time.sleep(PAUSE_S)
    run()
    return timed_ms(run)
