"""Stage 2: propose a candidate, price it, score it on the validation crops, remember it."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import optuna

from sr_core.candidate import Candidate
from sr_core.errors import SearchError
from sr_core.latency.profile import RuntimeId
from sr_core.machine import commit, processor
from sr_core.notation import to_text
from sr_core.presets import uniform_networks
from sr_core.quality.datasets import ValidationCrops, validation_crops
from sr_core.quality.metrics import PROTOCOL
from sr_core.runtime.choice import runtime_version
from sr_core.search.evaluate import Evaluator
from sr_core.search.front import hypervolume, non_dominated
from sr_core.search.objective import MACS, Objective, objective
from sr_core.search.propose import Listed, Proposer, Sampled, Sampler
from sr_core.search.records import Crops, Curve, Front, Header, Run, empty_front, write_front
from sr_core.search.space import Space
from sr_core.store import Catalogue, write_manifest

Fixed = Literal["presets", "uniform"]
"""Lists of networks instead of a sampler; see `sr_core.presets`."""
FIXED: tuple[str, ...] = get_args(Fixed)
SAVE_EVERY_S = 30.0
START_FROM_FRONT = 16
"""Networks of the stored front that a sampler is shown first, besides the presets."""


@dataclass(frozen=True)
class SearchArgs:
    """Settings of a run."""

    scale: int
    val: Path
    sampler: Sampler | Fixed
    objective: str = MACS
    """`macs` or a device's id."""
    budget_ms: float | None = None
    trials: int = 600
    seed: int = 0
    threads: int | None = None
    """Crops scored at the same time; None takes all cores."""
    engine: RuntimeId = "sparse"
    """The sparse engine where there is one, or ONNX Runtime."""

    def __post_init__(self) -> None:
        for name in ("trials", "threads"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise SearchError(f"--{name} {value}: expected at least 1.")

    @property
    def command(self) -> str:
        """The command that repeats this run, with a placeholder for the local folder."""
        words = [f"python -m sr_core search --scale {self.scale} --val DATA/val"]
        words.append(f"--sampler {self.sampler} --objective {self.objective}")
        if self.budget_ms is not None:
            words.append(f"--budget-ms {self.budget_ms:g}")
        if self.sampler not in FIXED:
            words.append(f"--trials {self.trials} --seed {self.seed}")
        if self.engine != "sparse":
            words.append(f"--engine {self.engine}")
        return " ".join(words)


@dataclass(frozen=True)
class Progress:
    """What a search reports after each trial."""

    trials: int
    total: int
    evaluated: int
    hypervolume: float


def search(
    catalogue: Catalogue, args: SearchArgs, report: Callable[[Progress], None] = lambda _: None
) -> Front:
    """Run one search and append it to the stored front of `catalogue`, which is returned.

    Networks in the store are not evaluated again: the sampler is told what is known. The files
    are written every `SAVE_EVERY_S` seconds and at the end, also if the search is interrupted.

    Raises:
        SearchError: settings that do not fit together, or a front made with other crops.
        CatalogueError: a stored front that is damaged or of other weights.
    """
    aim = objective(catalogue, args.objective, args.budget_ms)
    presets = [model.candidate for model in catalogue.models(args.scale)]
    evaluator = Evaluator(
        catalogue,
        args.scale,
        validation_crops(args.val, args.scale),
        library=catalogue.engine if args.engine == "sparse" else None,
        threads=args.threads,
    )
    before = _stored(catalogue, evaluator)
    proposer, total = _proposer(args, catalogue, aim, presets, before)
    run = _Run(args, before, evaluator, aim, (aim.reference(presets), total))
    saved = time.monotonic()
    try:
        while run.progress.trials < total:
            run.trial(proposer)
            report(run.progress)
            if time.monotonic() - saved > SAVE_EVERY_S:
                save(catalogue.root, run.front())
                saved = time.monotonic()
    finally:
        if run.progress.trials:
            save(catalogue.root, run.front())
    return run.front()


def save(root: Path, front: Front) -> None:
    """Replace the stored front and re-seal the manifest."""
    write_front(root, front)
    write_manifest(root)


def _stored(catalogue: Catalogue, evaluator: Evaluator) -> Front:
    """The front to append to, checked to be comparable; an empty one if there is none yet."""
    crops: ValidationCrops = evaluator.crops
    front = catalogue.front(evaluator.scale)
    if front is None:
        baseline_db = evaluator.bicubic_psnr_db()
        described = Crops(sha256=crops.checksum, n=len(crops.hr), bicubic_psnr_y_db=baseline_db)
        weights = catalogue.supernet(evaluator.scale).sha256
        return empty_front(
            Header(
                scale=evaluator.scale, weights_sha256=weights, protocol=PROTOCOL, crops=described
            )
        )
    if front.header.crops.sha256 != crops.checksum:
        raise SearchError(
            "The stored front was scored on other validation crops: give the same --val, or "
            f"delete fronts/x{evaluator.scale}.* to start anew."
        )
    return front


def _proposer(
    args: SearchArgs, catalogue: Catalogue, aim: Objective, presets: list[Candidate], front: Front
) -> tuple[Proposer, int]:
    """Who proposes, and how many trials there will be."""
    spec = catalogue.supernet(args.scale).spec
    if args.sampler == "presets":
        return Listed(presets), len(presets)
    if args.sampler == "uniform":
        plain = uniform_networks(scale=spec.scale, width=spec.width, cells=spec.cells)
        return Listed(plain), len(plain)
    start = list(dict.fromkeys(presets + _spread_of_front(front, aim)))
    space = Space(spec.scale, spec.width, spec.cells)
    return Sampled(space, args.sampler, args.seed, start=start, budget=aim.budget_ms), args.trials


def _spread_of_front(front: Front, aim: Objective) -> list[Candidate]:
    """Up to `START_FROM_FRONT` networks of the front, evenly spaced along it."""
    cost, psnr_db = aim.cost(front.candidates), front.rows["psnr_y_db"].to_numpy()
    rows = np.flatnonzero(non_dominated(cost, psnr_db))
    rows = rows[np.argsort(cost[rows], kind="stable")]
    count = min(START_FROM_FRONT, rows.size)
    picks = np.linspace(0, max(0, rows.size - 1), count).round().astype(int)
    return [front.candidates[row] for row in rows[picks]]


class _Run:
    """State of one run; `setting` is the reference cost of its hypervolume and its trials."""

    def __init__(
        self,
        args: SearchArgs,
        before: Front,
        evaluator: Evaluator,
        aim: Objective,
        setting: tuple[float, int],
    ) -> None:
        self._args, self._before, self._evaluator, self._aim = args, before, evaluator, aim
        self._facts: dict[str, Any] = {
            "started": datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S"),
            "commit": commit(),
            "processor": processor(),
            "versions": _versions(evaluator),
            "threads": evaluator.threads,
        }
        self._psnr_db = dict(zip(before.rows["id"], before.rows["psnr_y_db"], strict=True))
        self._found: list[dict[str, Any]] = []
        self._costs: list[float] = []
        self._values: list[float] = []
        self._reference = (setting[0], before.header.crops.bicubic_psnr_y_db)
        self._points: list[tuple[int, int, float]] = []
        self._proposal_s = 0.0
        self.progress = Progress(0, setting[1], 0, 0.0)

    def trial(self, proposer: Proposer) -> None:
        """Ask, price, score unless known, tell."""
        start = time.perf_counter()
        candidate = proposer.ask()
        asked = time.perf_counter()
        psnr_db = self._score(candidate)
        cost = float(self._aim.cost([candidate])[0])
        scored = time.perf_counter()
        proposer.tell(cost, psnr_db)
        self._proposal_s += asked - start + time.perf_counter() - scored
        self._costs.append(cost)
        self._values.append(psnr_db)
        before = self.progress.hypervolume
        volume = hypervolume(self._costs, self._values, self._reference)
        self.progress = Progress(len(self._costs), self.progress.total, len(self._found), volume)
        if volume > before:
            self._points.append(self._point())

    def _score(self, candidate: Candidate) -> float:
        """PSNR in dB, known or evaluated."""
        if candidate.id not in self._psnr_db:
            result = self._evaluator.evaluate(candidate)
            self._found.append(
                {
                    "id": candidate.id,
                    "network": to_text(candidate),
                    "psnr_y_db": result.psnr_y_db,
                    "ssim_y": result.ssim_y,
                    "trial": self.progress.trials,
                    "evaluation_s": result.seconds,
                }
            )
            self._psnr_db[candidate.id] = result.psnr_y_db
        return self._psnr_db[candidate.id]

    def _point(self) -> tuple[int, int, float]:
        return self.progress.trials, self.progress.evaluated, self.progress.hypervolume

    def front(self) -> Front:
        """What was there before, and what this run has added so far."""
        cost, psnr_db = self._reference
        points = list(dict.fromkeys([*self._points, self._point()]))
        record = Run(
            command=self._args.command,
            sampler=self._args.sampler,
            objective=self._aim.name,
            unit=self._aim.unit,
            budget_ms=self._aim.budget_ms,
            seed=self._args.seed,
            trials=self.progress.trials,
            evaluated=len(self._found),
            proposal_s=self._proposal_s,
            evaluation_s=sum(found["evaluation_s"] for found in self._found),
            hypervolume=Curve(reference_cost=cost, reference_psnr_y_db=psnr_db, points=points),
            **self._facts,
        )
        return self._before.with_run(record, self._found)


def _versions(evaluator: Evaluator) -> dict[str, str]:
    return {
        "python": platform.python_version(),
        "runtime": runtime_version(evaluator.library),
        "optuna": optuna.__version__,
        "numpy": np.__version__,
    }
