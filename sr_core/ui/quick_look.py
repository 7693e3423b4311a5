"""The quick look at a candidate: PSNR on a few crops of the sample photographs, and one picture.

It answers in well under a second, so that it can follow every change of the layer table. The
crops come with scikit-image; they are no benchmark, and the numbers compare only with each other.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from dataclasses import dataclass
from functools import cache

import numpy as np
from PIL import Image

from sr_core.catalogue.store import Catalogue
from sr_core.network.blocks import Block
from sr_core.network.candidate import Candidate
from sr_core.quality.benchmark import network_upscale, score_upscaled
from sr_core.quality.datasets import bicubic, sample_crops
from sr_core.quality.metrics import psnr_y
from sr_core.runtime.upscale import Upscaler

_KEPT_RESULTS = 64


@dataclass(frozen=True)
class QuickScore:
    """A candidate, its supernet's dense anchor and bicubic on the same crops."""

    psnr_y_db: float
    dense_psnr_y_db: float
    """Of the anchor: dense, all channels, one block throughout."""
    dense_block: Block
    bicubic_psnr_y_db: float
    elapsed_ms: float
    """From the candidate to the score: masks, session, upscaling."""
    picture: Image.Image
    """The first crop, enlarged by the candidate."""


@cache
def bicubic_crops(scale: int) -> tuple[float, Image.Image]:
    """Return the mean PSNR-Y in dB of bicubic on the crops, and the first one enlarged."""
    crops = sample_crops(scale)
    side = crops.hr.shape[1]
    sr = [bicubic(lr, side, side) for lr in crops.lr]
    psnr_db = [psnr_y(a, b, shave=scale) for a, b in zip(sr, crops.hr, strict=True)]
    return float(np.mean(psnr_db)), Image.fromarray(sr[0])


class QuickLook:
    """Scores candidates with the shipped weights, and remembers the last few. Thread-safe."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._results: OrderedDict[str, tuple[float, float, Image.Image]] = OrderedDict()
        self._lock = threading.Lock()

    def score(self, candidate: Candidate) -> QuickScore:
        """Evaluate `candidate`. Raises `InvalidCandidate` if the supernet does not hold it."""
        dense = self._catalogue.models(candidate.family)[0].candidate
        with self._lock:  # one at a time: they share the cores
            psnr_db, elapsed_ms, picture = self._run(candidate)
            dense_db = self._run(dense)[0]
        baseline_db = bicubic_crops(candidate.scale)[0]
        block = dense.cells[0].block
        return QuickScore(psnr_db, dense_db, block, baseline_db, elapsed_ms, picture)

    def _run(self, candidate: Candidate) -> tuple[float, float, Image.Image]:
        if candidate.id not in self._results:
            self._results[candidate.id] = self._evaluate(candidate)
        self._results.move_to_end(candidate.id)
        while len(self._results) > _KEPT_RESULTS:
            self._results.popitem(last=False)
        return self._results[candidate.id]

    def _evaluate(self, candidate: Candidate) -> tuple[float, float, Image.Image]:
        crops, start = sample_crops(candidate.scale), time.perf_counter()
        upscaler = Upscaler(self._catalogue.network(candidate), self._catalogue.engine)
        upscale = network_upscale(upscaler.upscale)
        psnr_db = score_upscaled(upscale, crops, scale=candidate.scale)
        picture = Image.fromarray(upscale(crops.lr[0]))
        elapsed_ms = (time.perf_counter() - start) * 1e3
        return psnr_db, elapsed_ms, picture
