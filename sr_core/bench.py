"""How long it takes from a candidate to a ready ONNX Runtime session, on this computer."""

from __future__ import annotations

import time
from collections import defaultdict
from dataclasses import dataclass
from statistics import median

import onnxruntime as ort

from sr_core.runtime.onnx_graph import build
from sr_core.store import Catalogue
from sr_core.supernet.extract import extract


@dataclass(frozen=True)
class SessionTime:
    """Medians over the runs, in ms; the weights are in memory already."""

    model: str
    runs: int
    extract_ms: float
    """Masks and weights out of the supernet."""
    build_ms: float
    """ONNX graph from arrays, serialised."""
    session_ms: float
    """ONNX Runtime's own preparation."""
    total_ms: float


def bench_sessions(catalogue: Catalogue, *, runs: int) -> list[SessionTime]:
    """Time every listed model, interleaved (A B C, A B C, ...) so that drift hits all alike."""
    models = catalogue.models()
    parts: defaultdict[str, list[tuple[float, float, float]]] = defaultdict(list)
    for _ in range(runs):
        for model in models:
            supernet = catalogue.supernet(model.candidate.scale)
            start = time.perf_counter()
            network = extract(supernet, model.candidate)
            extracted = time.perf_counter()
            data = build(network).SerializeToString()
            built = time.perf_counter()
            ort.InferenceSession(data, providers=["CPUExecutionProvider"])
            ready = time.perf_counter()
            parts[model.name].append((extracted - start, built - extracted, ready - built))
    return [
        SessionTime(
            name,
            runs,
            *(median(column) * 1e3 for column in zip(*times, strict=True)),
            total_ms=median(map(sum, times)) * 1e3,
        )
        for name, times in parts.items()
    ]
