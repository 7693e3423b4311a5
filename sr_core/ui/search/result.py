"""The result file of a search, loaded from a visitor who may have changed it. No Gradio."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from sr_core.catalogue.store import Catalogue
from sr_core.errors import SearchError, UpFrontError
from sr_core.network.candidate import Candidate, Family
from sr_core.network.notation import from_text
from sr_core.quality.metrics import PROTOCOL
from sr_core.results.quality import MAX_PSNR_DB
from sr_core.search.events import Start, Trial
from sr_core.search.objective import objective
from sr_core.search.result import SearchResult, read_result
from sr_core.search.settings import MACS
from sr_core.ui.search.live import Snapshot

MAX_LOADED = 4096
"""Trials of a file."""
_MAX_BYTES = 4_000_000
_MAX_COUNT = 1_000_000
_COSTS = (1e-3, 1e6)
"""Lowest and highest, in ms or GMACs."""
_MAX_TIME_S = 1e6
_COMMAND = re.compile(r"python -m sr_core search( [\w ./,=+-]*)?", re.ASCII)
"""Visitors are invited to copy it into a shell."""


def load_result(path: Path, catalogue: Catalogue) -> Snapshot:
    """Read what Download result gave.

    Costs are computed anew where the device is known here, else they are the file's. Raises
    `SearchError` if the file is damaged, or its numbers do not hold.
    """
    if path.stat().st_size > _MAX_BYTES:
        raise SearchError(
            f"{path.name} is larger than {_MAX_BYTES / 1e6:g} MB: choose a file that Download "
            "result gave."
        )
    result = read_result(path.read_bytes(), path.name)
    family = result.start.family
    weights = catalogue.supernet(family).sha256 if family in catalogue.families else ""
    if (result.weights_sha256, result.protocol) != (weights, PROTOCOL):
        raise SearchError(
            f"{path.name} was found with other {family.name} weights (or another protocol) than "
            "are installed here, so that its numbers do not hold: search again."
        )
    _check_start(result, path.name)
    networks = [_candidate(trial, family, catalogue, path.name) for trial in result.trials]
    trials = _reprice(result.trials, networks, result.start, catalogue)
    return Snapshot("loaded", result.start, trials, result.start.trials)


def _check_start(result: SearchResult, name: str) -> None:
    start, low_db = result.start, result.start.crops.bicubic_psnr_y_db
    if len(result.trials) > MAX_LOADED:
        raise SearchError(
            f"{name} has {len(result.trials)} trials: at most {MAX_LOADED} can be shown here."
        )
    if not _COMMAND.fullmatch(start.command):
        raise SearchError(f"{name} cannot be used: its command is not one of a search.")
    possible = (
        start.trials <= _MAX_COUNT
        and start.crops.n <= _MAX_COUNT
        and (start.budget_ms is None or start.budget_ms <= _COSTS[1])
        and 0 <= low_db <= MAX_PSNR_DB
        and (start.unit == "GMACs") == (start.objective == MACS)
    )
    if not possible:
        raise SearchError(
            f"{name} cannot be used: its trials, crops, budget, bicubic PSNR or unit are not "
            "possible."
        )


def _candidate(trial: Trial, family: Family, catalogue: Catalogue, name: str) -> Candidate:
    """Return the trial's network. Raises `SearchError` where it or a number is impossible."""
    try:
        candidate = catalogue.check(from_text(trial.network), family)
    except UpFrontError as error:
        raise SearchError(f"{name} cannot be used (trial {trial.number}). {error}") from None
    if not (_COSTS[0] <= trial.cost <= _COSTS[1] and 0 <= trial.psnr_y_db <= MAX_PSNR_DB):
        raise SearchError(
            f"{name} cannot be used: the cost or PSNR of trial {trial.number} is impossible."
        )
    counts, times_s = (trial.number, trial.evaluated), (trial.proposal_s, trial.evaluation_s)
    if max(counts) > _MAX_COUNT or max(times_s) > _MAX_TIME_S or abs(trial.ssim_y) > 1:
        raise SearchError(f"{name} cannot be used: a number of a trial is impossible.")
    return candidate


def _reprice(
    trials: Sequence[Trial], networks: Sequence[Candidate], start: Start, catalogue: Catalogue
) -> tuple[Trial, ...]:
    """Return the trials with the costs that they have here."""
    if start.objective not in (MACS, *(profile.id for profile in catalogue.devices)):
        return tuple(trials)
    costs = objective(catalogue, start.objective).cost(networks)
    return tuple(
        trial.model_copy(update={"cost": float(cost)})
        for trial, cost in zip(trials, costs, strict=True)
    )
