"""Made-up fine-tuned models and stored comparisons, for a folder that `app_root` wrote."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from sr_core.catalogue.final import write_final
from sr_core.catalogue.store import Catalogue
from sr_core.catalogue.writer import (
    write_ablations,
    write_rival_bench,
    write_search_bench,
)
from sr_core.network.candidate import Candidate, Family
from sr_core.network.extract import extract
from sr_core.network.layers import describe, lr_size, totals
from sr_core.network.notation import from_text, to_text
from sr_core.quality.metrics import PROTOCOL
from sr_core.results.ablations import (
    Ablation,
    FineTuningRun,
    NetworkTimes,
    Question,
    Time,
    TimedRuntime,
)
from sr_core.results.rivals import RivalBench, RivalRow
from sr_core.results.samplers import SamplerBench, SamplerRun, WorkerBench, WorkerRow
from tests import app_root, tiny
from tests.catalogue.test_final import DESCRIBED
from tests.catalogue.test_fronts import header
from tests.tiny import write_manifest

GOOD, OUTSIDE = "x4-good", "x4-outside"
"""Final models of a network of the stored front, and of one that is not in it."""
ON_FRONT, NOT_STORED = app_root.networks()[1], from_text("x4c16_wb30b40b50_r_tb20")
BEFORE_DB, AFTER_DB = 29.0, 29.6
CROPS = header().crops.sha256
_SCHEMES = ("x4c16_2wb50b50b50", "x4c16_2wb60b60p60", "x4c16_2wc50c50d")
_RATIOS = ("x4c16_wb60.11b40.22b50.33_wb30.44b50.55b55.66_tb12.34", "x4c16_2wb50b50b50")
_WHERE: dict[str, Any] = {
    "processor": "Made-up <processor>", "cores": 2, "commit": "c" * 40, "date": "2026-01-01",
    "versions": {"optuna": "5"}, "scale": 4, "objective": app_root.ENGINE,
    "weights_sha256": "1" * 64, "crops_sha256": "2" * 64, "crops": "12 crops",
}  # fmt: skip


def add(root: Path) -> Path:
    """Everything that tab Findings shows, and the final models."""
    (root / "models").mkdir()
    catalogue = Catalogue(root)
    _final(catalogue, GOOD, ON_FRONT, CROPS)
    _final(catalogue, OUTSIDE, NOT_STORED, CROPS)
    weights = catalogue.supernet(Family(4)).sha256
    ablations = schemes(), ratios()
    write_ablations(root, [a.model_copy(update={"supernet_sha256": weights}) for a in ablations])
    for bench in (samplers(), workers()):
        write_search_bench(root, bench.model_copy(update={"weights_sha256": weights}))
    write_rival_bench(root, rivals())
    write_manifest(root)
    return root


def _final(catalogue: Catalogue, name: str, candidate: Candidate, crops: str) -> None:
    """A final model with other random weights than the supernet's."""
    network = extract(tiny.supernet(4, seed=9), candidate)
    path = catalogue.root / f"models/{name}.safetensors"
    supernet = catalogue.supernet(Family(4)).sha256
    described = DESCRIBED | {
        "name": name, "licence": "None.", "validation_crops_sha256": crops,
        "supernet_sha256": supernet,
        "validation_psnr_y_db": {"once_for_all": BEFORE_DB, "fine_tuned": AFTER_DB},
        "training": [{"command": f"python -m sr_core finetune --model {to_text(candidate)}"}],
    }  # fmt: skip
    digest = write_final(path, network, described)
    described["quality"] = _quality(f"{candidate.id}-{digest[:8]}", 30.9)
    described["once_for_all_quality"] = _quality(f"{candidate.id}-{supernet[:8]}", 30.5)
    write_final(path, network, described)


def _quality(identity: str, psnr_db: float) -> list[dict[str, Any]]:
    return [
        {
            "model_id": identity, "image_set": "Set5", "image_set_sha256": "0" * 64,
            "protocol": PROTOCOL, "n": 5, "psnr_y": psnr_db, "ssim_y": 0.85,
        }
    ]  # fmt: skip


def schemes(block_db: float = 28.4, block_ms: float = 12.0) -> Ablation:
    """Block, pattern and channel (28.2 dB in 12 ms), three runs each, 0.05 dB apart."""
    block, pattern, channel = _SCHEMES
    return _ablation(
        "schemes",
        {"block": (block, block_db, block_ms), "pattern": (pattern, 28.22, 12.1),
         "channel": (channel, 28.2, 12.0)},
    )  # fmt: skip


def ratios(stage3_db: float = 28.3) -> Ablation:
    """Ratios per layer, and one for all (28.4 dB)."""
    own, uniform = _RATIOS
    return _ablation(
        "ratios", {"stage 3": (own, stage3_db, 12.0), "one ratio": (uniform, 28.5, 12.1)}
    )


def _ablation(question: Question, families: dict[str, tuple[str, float, float]]) -> Ablation:
    return Ablation(
        question=question, scale=4, processor="Made-up <processor>", cores=2, threads=2,
        runtimes={"sparse": "UpFront engine, AVX9", "onnx": "ONNX Runtime 9"},
        library_sha256="0" * 64, supernet_sha256="1" * 64,
        validation_crops_sha256=CROPS, image_sets={"Set5": "3" * 64},
        output=(1280, 720), date="2026-01-01", drift=-0.01,
        timed=tuple(_timed(text, ms) for text, _, ms in families.values()),
        trained=tuple(
            _trained(label, text, db + 0.05 * seed, seed)
            for label, (text, db, _) in families.items()
            for seed in range(3)
        ),
    )  # fmt: skip


def _timed(text: str, ms: float) -> NetworkTimes:
    cost = totals(describe(from_text(text), *lr_size(4)))
    slower: dict[TimedRuntime, float] = {"sparse": 1, "onnx": 3, "onnx, aligned": 2.5}
    return NetworkTimes(
        network=text, params_kept=cost.params_kept, macs_g=cost.macs_kept / 1e9,
        times=tuple(
            Time(runtime=name, median_ms=factor * ms, p10_ms=factor * ms, p90_ms=factor * ms, n=20)
            for name, factor in slower.items()
        ),
    )  # fmt: skip


def _trained(label: str, text: str, db: float, seed: int) -> FineTuningRun:
    return FineTuningRun(
        label=label, network=text, weights_sha256=f"{seed}" * 64, seed=seed, steps=2000,
        reproduction=f"python -m sr_core finetune --model {text} --seed {seed}",
        once_for_all_db=27.9, fine_tuned_db=db, psnr_y_db={"Set5": 31.0, "BSD100": 27.1},
        ssim_y={"Set5": 0.88, "BSD100": 0.72},
    )  # fmt: skip


def samplers(bayes: float = 30.0) -> SamplerBench:
    """Four samplers, three seeds 0.5 apart; the best of the others ends at 28."""
    ends = {"bayes": bayes, "nsga2": 28.0, "tpe": 26.0, "random": 24.0}
    grown = 1 - np.exp(-np.arange(1, 201) / 40)
    runs = tuple(
        SamplerRun(
            sampler=name, seed=seed, trials=210, evaluated=200,
            proposal_s=42.0 if name == "bayes" else 0.21, evaluation_s=40.0,
            hypervolume=[float(10 + (end + 0.5 * seed - 10) * share) for share in grown],
        )
        for seed in range(3)
        for name, end in ends.items()
    )  # fmt: skip
    return SamplerBench(
        **_WHERE, unit="ms", budget_ms=33.0, reference_cost=33.0, reference_psnr_y_db=26.2,
        evaluations=200, start=16, runs=runs,
    )  # fmt: skip


def workers() -> WorkerBench:
    """Two workers are 1.8 times as fast as one."""
    rows = WorkerRow(workers=1, trials_per_s=2.0), WorkerRow(workers=2, trials_per_s=3.6)
    return WorkerBench(**_WHERE, storage="SQLite", sampler="random", trials=120, rows=rows)


def rivals(speed_up: float = 2.5) -> RivalBench:
    """One rival that ours beat by `speed_up`, one that they beat by 3.1, one out of reach."""
    matched = (("fsrcnn-x4", speed_up), ("sesr-m5-x4", 3.1), ("sesr-m11-x4", None))
    rows: list[RivalRow] = []
    for rival, factor in matched:
        rows += [_timed_rival(rival, rival, "onnx", 1.0), _timed_rival(rival, rival, "sparse", 1.4)]
        if factor:
            rows.append(_timed_rival(rival, to_text(ON_FRONT), "sparse", factor))
    return RivalBench(
        processor="Made-up <processor>", cores=2,
        runtimes={"sparse": "UpFront engine, AVX9", "onnx": "ONNX Runtime 9"},
        library_sha256="0" * 64, device=app_root.ENGINE, crops_sha256={"4": CROPS},
        output=(1280, 720), date="2026-01-01", drift={"x4, 2 threads": 0.02},
        rival_steps={"fsrcnn-x4": 100, "sesr-m5-x4": 100}, supernet_steps={"x4": 2000},
        fine_tuning_steps={"x4-10ms": 30, "x4-12k": 20},
        unmatched=("sesr-m11-x4",), rows=tuple(rows),
    )  # fmt: skip


def _timed_rival(rival: str, network: str, runtime: Any, speed_up: float) -> RivalRow:
    ms = 30 / speed_up
    return RivalRow(
        rival=rival, network=network, model_id="m", scale=4, threads=2, runtime=runtime,
        psnr_y_db=28.0, bsd100_psnr_y_db=None,
        params=12_000, macs_g=4.6, median_ms=ms, p10_ms=ms, p90_ms=ms, n=20,
        speed_up=speed_up,
    )  # fmt: skip
