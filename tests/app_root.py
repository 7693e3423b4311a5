"""A precomputed folder that the page can show everything from: devices and a small front."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np

from sr_core.candidate import DENSE, Block, Candidate, Cell, LayerPruning
from sr_core.search.price import count
from sr_core.search.records import empty_front, write_front
from sr_core.store import Catalogue, write_manifest
from tests import tiny
from tests.search.profiles import device, install
from tests.search.test_records import found, header, run

COMPUTER, PHONE = "computer", "phone"
BLOCKS: tuple[tuple[Block, ...], ...] = (
    ("wide", "wide"), ("wide", "skip"), ("residual", "wide"), ("residual", "skip"),
)  # fmt: skip
PRUNINGS = (
    DENSE, LayerPruning("block", 0.4), LayerPruning("channel", 0.5), LayerPruning("pattern", 0.7),
)  # fmt: skip


def networks() -> list[Candidate]:
    """Candidates of the tiny x4 supernet that differ in depth, blocks, scheme and ratio."""
    made: list[Candidate] = []
    for blocks in BLOCKS:
        for wish in PRUNINGS:
            cells = tuple(wish.applied_to(Cell(block)) for block in blocks)
            made.append(Candidate(4, tiny.WIDTH, cells))
    return made


def write(root: Path, tiny_root: Path) -> Path:
    """Copy `tiny_root` to `root` and add two devices and an x4 front with made-up quality."""
    shutil.copytree(tiny_root, root)
    install(root, device(COMPUTER, sparse=False))
    install(root, device(PHONE))
    candidates = networks()
    gain_db = 3 * np.sqrt(count(candidates).macs_kept / 1e9)
    rows = [
        found(candidate, trial, psnr_y_db=float(26.5 + gain_db[trial]))
        for trial, candidate in enumerate(candidates)
    ]
    weights = Catalogue(root).supernet(4).sha256
    described = header(weights).model_copy(update={"image_sets": {"Set5": "3" * 64}})
    front = empty_front(described).with_run(run(len(rows)), rows)
    write_front(root, front.with_results(1, {"Set5": (30.5, 0.85)}))
    write_manifest(root)
    return root
