"""Fine-tuned networks of several families side by side: quality on all sets, time in one sitting.

What is compared are run folders of `finetune` and `prune`, each under the label of its family.
Networks are timed interleaved, as in `sitting`: in our engine, and in ONNX Runtime as they
are and with all widths filled up to multiples of 16 (the same function, with zeros), which is how
its convolutions like them best.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import numpy as np
from numpy.typing import NDArray

from sr_core.bench.engine_nets import ALIGNMENT
from sr_core.bench.sitting import DISTURBED, drift, interleaved
from sr_core.catalogue.final import Final, read_tuned_final
from sr_core.catalogue.publish import ImageSet, benchmark_sets, score_sets
from sr_core.catalogue.store import Catalogue
from sr_core.engine.library import Library
from sr_core.errors import EngineError, MeasurementError
from sr_core.files import sha256
from sr_core.latency.timing import Run, ready
from sr_core.machine import cores, processor
from sr_core.network.candidate import Family
from sr_core.network.extract import ExtractedLayer, ExtractedNetwork
from sr_core.network.layers import OUTPUT_SIZE, describe, lr_size, totals
from sr_core.quality.benchmark import network_upscale
from sr_core.results.ablations import (
    Ablation,
    FineTuningRun,
    NetworkTimes,
    Question,
    Time,
    TimedRuntime,
)
from sr_core.runtime.choice import runtime_name
from sr_core.runtime.upscale import Upscaler
from sr_core.training.settings import settings_of, steps_of

FINAL = "final.safetensors"
_ALIKE = (
    "patch", "batch", "lr", "warmup", "precision", "fp32_last", "ema", "source_weights", "distill",
)  # fmt: skip
"""Settings that runs have to have in common."""
RUNTIMES: tuple[TimedRuntime, ...] = ("sparse", "onnx", "onnx, aligned")


@dataclass(frozen=True)
class Job:
    """What to compare, and how long to time."""

    question: Question
    runs: Sequence[tuple[str, Path]]
    """(label, run folder)."""
    benchmark: Path
    """Folder with Set5/, Set14/ and BSD100/."""
    sitting_s: float = 40
    rounds: int = 5
    threads: int = 2
    output: tuple[int, int] = OUTPUT_SIZE


def bench_ablation(
    catalogue: Catalogue, job: Job, *, report: Callable[[str], None] = lambda _: None
) -> Ablation:
    """Time all networks, then score all runs. `report` gets a line about each run.

    Raises:
        EngineError: there is no engine.
        MeasurementError: runs that cannot be compared.
        CatalogueError: a run folder without a sound final model.
    """
    library = catalogue.engine
    if library is None:
        raise EngineError(catalogue.engine_problem)
    runs = [(label, read_tuned_final(folder / FINAL)) for label, folder in job.runs]
    family, crops, supernet = _common(runs)
    budgets = {_budget_ms(final) for _, final in runs}
    sets = benchmark_sets(job.benchmark, family.scale)
    threads = min(job.threads, cores())
    networks = {final.descriptor.network: final.network for _, final in runs}
    rows, drift_share = _time(networks, library, threads, job)
    return Ablation(
        question=job.question,
        scale=family.scale,
        colour=family.colour,
        budget_ms=budgets.pop() if len(budgets) == 1 else None,
        processor=processor(),
        cores=cores(),
        threads=threads,
        runtimes={"sparse": runtime_name(library), "onnx": runtime_name(None)},
        library_sha256=sha256(library.path),
        supernet_sha256=supernet,
        validation_crops_sha256=crops,
        image_sets={images.name: images.sha256 for images in sets},
        output=job.output,
        date=datetime.now(UTC).strftime("%Y-%m-%d"),
        drift=drift_share,
        timed=tuple(rows),
        trained=tuple(_score(label, final, sets, library, report) for label, final in runs),
    )


def _common(runs: Sequence[tuple[str, Final]]) -> tuple[Family, str, str]:
    """Return the family and the checksums of crops and supernet, which all runs share."""
    seeds: dict[str, set[int]] = {}
    for label, final in runs:
        seeds.setdefault(label, set()).add(_seed(final))
    families = [[final for label, final in runs if label == one] for one in seeds]
    shared: dict[str, set[object]] = {
        "scale": {final.candidate.scale for _, final in runs},
        "colour": {final.candidate.colour for _, final in runs},
        "validation crops": {final.descriptor.validation_crops_sha256 for _, final in runs},
        "supernet": {final.descriptor.supernet_sha256 for _, final in runs},
        "training images": {final.descriptor.data_sha256 for _, final in runs},
        "number of steps": {steps_of(final.descriptor.training) for _, final in runs},
        "settings": {_settings(final) for _, final in runs},
        "number of runs per family": {len(family) for family in families},
        "number of seeds per family": {len(numbers) for numbers in seeds.values()},
    }
    if odd := [what for what, values in shared.items() if len(values) != 1]:
        raise MeasurementError(
            f"The runs cannot be compared, they differ in their {', '.join(odd)} (or there are "
            "none): give runs that differ in the network and the seed only."
        )
    first = runs[0][1]
    described = first.descriptor
    return first.candidate.family, described.validation_crops_sha256, described.supernet_sha256


def _settings(final: Final) -> str:
    """Return those settings of the last run that say how it trained, as JSON."""
    settings = settings_of(final.descriptor.training[-1])
    return json.dumps({name: settings.get(name) for name in _ALIKE})


def _seed(final: Final) -> int:
    return int(final.descriptor.training[-1]["settings"]["seed"])


def _budget_ms(final: Final) -> float | None:
    return settings_of(final.descriptor.training[-1]).get("budget_ms")


def _time(
    networks: dict[str, ExtractedNetwork], library: Library, threads: int, job: Job
) -> tuple[list[NetworkTimes], float]:
    """Time all networks in all runtimes. Returns their rows, and the drift of the sitting."""
    runs = [
        _ready(network, runtime, library, threads, job)
        for network in networks.values()
        for runtime in RUNTIMES
    ]
    times_ms = interleaved(runs, job.sitting_s, job.rounds)
    if abs(drift(times_ms[0])) > DISTURBED:
        again = interleaved(runs, job.sitting_s, job.rounds)
        times_ms = min(times_ms, again, key=lambda times: abs(drift(times[0])))
    rest = iter(times_ms)
    rows = [
        _row(text, network, [_time_of(runtime, next(rest)) for runtime in RUNTIMES])
        for text, network in networks.items()
    ]
    return rows, drift(times_ms[0])


def _ready(
    network: ExtractedNetwork, runtime: TimedRuntime, library: Library, threads: int, job: Job
) -> Run:
    size = lr_size(network.candidate.scale, job.output)
    if runtime == "sparse":
        return ready(network, library, threads=threads, size=size)
    if runtime == "onnx, aligned":
        network = widened(network)
    return ready(network, None, threads=threads, size=size)


def _row(text: str, network: ExtractedNetwork, times: Sequence[Time]) -> NetworkTimes:
    cost = totals(describe(network.candidate, *lr_size(network.candidate.scale)))
    macs_g = cost.macs_kept / 1e9
    return NetworkTimes(
        network=text, params_kept=cost.params_kept, macs_g=macs_g, times=tuple(times)
    )


def _time_of(runtime: TimedRuntime, times_ms: Sequence[float]) -> Time:
    p10_ms, p90_ms = np.percentile(times_ms, [10, 90]).tolist()
    middle_ms = median(times_ms)
    return Time(runtime=runtime, median_ms=middle_ms, p10_ms=p10_ms, p90_ms=p90_ms, n=len(times_ms))


def widened(network: ExtractedNetwork) -> ExtractedNetwork:
    """Return the same function with all widths filled up to multiples of 16 by zeros."""
    return replace(
        network,
        head=_filled(network.head, inputs=False),
        cells=tuple(tuple(_filled(layer) for layer in cell) for cell in network.cells),
        tail=_filled(network.tail, outputs=False),
    )


def _filled(layer: ExtractedLayer, *, inputs: bool = True, outputs: bool = True) -> ExtractedLayer:
    more_out, more_in = (
        -size % ALIGNMENT if wanted else 0
        for size, wanted in zip(layer.weight.shape[:2], (outputs, inputs), strict=True)
    )

    def filled(values: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.pad(values, ((0, more_out), (0, more_in), (0, 0), (0, 0)))

    mask = filled(layer.mask.astype(np.float32)).astype(np.bool_)
    bias = np.pad(layer.bias, (0, more_out))
    return replace(layer, weight=filled(layer.weight), bias=bias, mask=mask)


def _score(
    label: str,
    final: Final,
    sets: list[ImageSet],
    library: Library,
    report: Callable[[str], None],
) -> FineTuningRun:
    """Return the benchmark results and the history of one run."""
    descriptor, network = final.descriptor, final.network
    upscale = network_upscale(Upscaler(network, library).upscale)
    results = list(score_sets(network.model_id, sets, upscale, network.candidate.scale))
    validation_db = descriptor.validation_psnr_y_db
    run = FineTuningRun(
        label=label,
        network=descriptor.network,
        weights_sha256=descriptor.weights_sha256,
        seed=_seed(final),
        steps=steps_of(descriptor.training),
        reproduction=descriptor.reproduction,
        once_for_all_db=validation_db["once_for_all"],
        fine_tuned_db=validation_db["fine_tuned"],
        psnr_y_db={q.image_set: q.psnr_y for q in results},
        ssim_y={q.image_set: q.ssim_y for q in results},
    )
    values = "  ".join(f"{q.image_set} {q.psnr_y:.3f}" for q in results)
    report(f"{label:24} seed {run.seed}  validation {run.fine_tuned_db:.3f}  {values}")
    return run
