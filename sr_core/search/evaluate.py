"""Quality of a candidate on the validation crops: the expensive half of the search.

With the x4 supernet of 12 cells and C = 32, 48 crops of 192 x 192 and two cores, a network took
0.11 s on the sparse engine on average (438 of an NSGA-II search, beside a training).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from sr_core.catalogue.store import Catalogue
from sr_core.engine.library import Library
from sr_core.machine import cores
from sr_core.network.candidate import Candidate, Family
from sr_core.quality.benchmark import bicubic_upscale, network_upscale, score_upscaled
from sr_core.quality.datasets import ValidationCrops
from sr_core.quality.metrics import Image8, Reference
from sr_core.runtime.upscale import Upscaler


@dataclass(frozen=True)
class Evaluation:
    """Means over the crops."""

    psnr_y_db: float
    ssim_y: float
    seconds: float
    """All of it, from cutting the network out of the supernet to the means."""


class Evaluator:
    """Scores candidates of one supernet, each on all cores."""

    def __init__(
        self,
        catalogue: Catalogue,
        family: Family,
        crops: ValidationCrops,
        *,
        library: Library | None = None,
        threads: int | None = None,
    ) -> None:
        """Set up a scorer on the sparse engine, or without its library on ONNX Runtime.

        `threads` crops are scored at the same time. None takes all cores.
        """
        self.library = library
        self.catalogue, self.family, self.crops = catalogue, family, crops
        self.supernet = catalogue.supernet(family)
        self.threads = threads or cores()
        self._references = [Reference(hr, shave=family.scale) for hr in crops.hr]
        self._pool = ThreadPoolExecutor(self.threads)

    def evaluate(self, candidate: Candidate) -> Evaluation:
        """Run the candidate with supernet weights.

        Raises `InvalidCandidate` if it is not part of the supernet.
        """
        start = time.perf_counter()
        # One thread per crop: several threads within a network this small mostly wait.
        upscaler = Upscaler(self.catalogue.network(candidate), self.library, threads=1)
        upscale = network_upscale(upscaler.upscale)

        def score(lr: Image8, reference: Reference) -> tuple[float, float]:
            return reference.scores(upscale(lr))

        scores = list(self._pool.map(score, self.crops.lr, self._references))
        psnr_db, ssim = np.mean(scores, axis=0).tolist()
        return Evaluation(psnr_db, ssim, time.perf_counter() - start)

    def bicubic_psnr_db(self) -> float:
        """Score the baseline on the same crops."""
        scale = self.family.scale
        return score_upscaled(bicubic_upscale(scale), self.crops, scale=scale)


@dataclass(frozen=True)
class Score:
    """The means of an evaluation, new or earlier."""

    psnr_y_db: float
    ssim_y: float
    seconds: float
    """0 if known."""
    known: bool


class Scorer:
    """Scores networks, none of them twice."""

    def __init__(
        self, evaluate: Callable[[Candidate], Evaluation], scores: Mapping[str, tuple[float, float]]
    ) -> None:
        """Start with `scores`: candidate id -> (PSNR-Y in dB, SSIM-Y)."""
        self._evaluate, self._scores = evaluate, dict(scores)

    def score(self, candidate: Candidate) -> Score:
        """Return what is known, or else evaluate."""
        if scores := self._scores.get(candidate.id):
            return Score(*scores, 0.0, known=True)
        result = self._evaluate(candidate)
        self.learn(candidate, result.psnr_y_db, result.ssim_y)
        return Score(result.psnr_y_db, result.ssim_y, result.seconds, known=False)

    def learn(self, candidate: Candidate, psnr_y_db: float, ssim_y: float) -> None:
        """Remember what another worker has evaluated."""
        self._scores[candidate.id] = psnr_y_db, ssim_y
