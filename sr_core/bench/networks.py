"""Some networks side by side in our engine: one run, in turns, so that their ratios hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from sr_core.bench.sitting import drift, interleaved, summary
from sr_core.catalogue.store import Catalogue
from sr_core.engine.library import Library
from sr_core.latency.timing import ready
from sr_core.machine import cores, processor
from sr_core.network.layers import OUTPUT_SIZE, lr_size
from sr_core.network.notation import to_text
from sr_core.runtime.choice import runtime_name

ROUNDS = 5


@dataclass(frozen=True)
class NetworkTime:
    """One network: milliseconds of a 1280x720 frame."""

    reference: str
    """As it was asked for."""
    network: str
    median_ms: float
    p10_ms: float
    p90_ms: float
    n: int
    ratio: float
    """Of its median to that of the first network."""


@dataclass(frozen=True)
class NetworkBench:
    """Times with what a measured latency must name. Batch 1, fp32, RGB in and out."""

    processor: str
    runtime: str
    threads: int
    output: tuple[int, int]
    date: str
    """UTC, YYYY-MM-DD."""
    drift: float
    """Change of the first network's median from the first half of the run to the second."""
    networks: tuple[NetworkTime, ...]


def bench_networks(
    catalogue: Catalogue,
    library: Library,
    references: Sequence[str],
    *,
    seconds: float,
    threads: int,
) -> NetworkBench:
    """Time networks, by name, id, text or file, as `Catalogue.network_of` finds them.

    Args:
        catalogue: where the networks come from.
        library: the engine.
        references: the first is what the others are compared with.
        seconds: of the whole run, at least; every network gets `ROUNDS` visits whatever it says.
        threads: at most; as many as there are cores otherwise.
    """
    networks = [catalogue.network_of(one) for one in references]
    threads = min(threads, cores())
    calls = [
        ready(one, library, threads=threads, size=lr_size(one.candidate.scale)) for one in networks
    ]
    times_ms = interleaved(calls, seconds, ROUNDS)
    rows = [summary(one) for one in times_ms]
    return NetworkBench(
        processor(), runtime_name(library), threads, OUTPUT_SIZE,
        datetime.now(UTC).strftime("%Y-%m-%d"), drift(times_ms[0]),
        tuple(
            NetworkTime(
                name, to_text(one.candidate), **row, ratio=row["median_ms"] / rows[0]["median_ms"]
            )
            for name, one, row in zip(references, networks, rows, strict=True)
        ),
    )  # fmt: skip
