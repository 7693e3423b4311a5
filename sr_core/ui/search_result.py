"""The result file of a search, loaded from a visitor who may have changed it. No Gradio."""

from __future__ import annotations

from pathlib import Path

from sr_core.errors import SearchError, UpFrontError
from sr_core.notation import from_text
from sr_core.quality.metrics import PROTOCOL
from sr_core.schema import MAX_PSNR_DB
from sr_core.search.events import Trial
from sr_core.search.result import read_result
from sr_core.store import Catalogue
from sr_core.ui.live import Snapshot

_MAX_BYTES = 4_000_000


def load_result(path: Path, catalogue: Catalogue) -> Snapshot:
    """What Download result gave; `SearchError` if it is damaged, or its numbers do not hold."""
    if path.stat().st_size > _MAX_BYTES:
        raise SearchError(
            f"{path.name} is larger than {_MAX_BYTES / 1e6:g} MB: choose a file that Download "
            "result gave."
        )
    result = read_result(path.read_bytes(), path.name)
    scale = result.start.scale
    weights = catalogue.supernet(scale).sha256 if scale in catalogue.scales else ""
    if (result.weights_sha256, result.protocol) != (weights, PROTOCOL):
        raise SearchError(
            f"{path.name} was found with other x{scale} weights (or another protocol) than are "
            "installed here, so that its numbers do not hold: search again."
        )
    for trial in result.trials:
        _check(trial, scale, catalogue, path.name)
    return Snapshot("loaded", result.start, tuple(result.trials), result.start.trials)


def _check(trial: Trial, scale: int, catalogue: Catalogue, name: str) -> None:
    try:
        catalogue.check(from_text(trial.network), scale)
    except UpFrontError as error:
        raise SearchError(f"{name} cannot be used (trial {trial.number}). {error}") from None
    if not (trial.cost > 0 and 0 <= trial.psnr_y_db <= MAX_PSNR_DB):
        raise SearchError(
            f"{name} cannot be used: the cost or PSNR of trial {trial.number} is impossible."
        )
