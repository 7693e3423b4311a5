"""From settings to everything a search works with; all that can be refused is refused here."""

from __future__ import annotations

import platform
import secrets
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import numpy as np
import optuna
from optuna.trial import TrialState

from sr_core.catalogue.fronts import Front
from sr_core.catalogue.store import Catalogue
from sr_core.errors import SearchError
from sr_core.machine import commit, processor
from sr_core.network.candidate import Candidate
from sr_core.network.notation import from_text, to_text
from sr_core.network.presets import uniform_networks
from sr_core.options import flag
from sr_core.quality.datasets import (
    SAMPLE_CROPS,
    VALIDATION_CROP_HR,
    ValidationCrops,
    sample_crops,
    validation_crops,
)
from sr_core.quality.metrics import PROTOCOL
from sr_core.runtime.choice import runtime_version
from sr_core.search.evaluate import Evaluator
from sr_core.search.events import CropSet, Start
from sr_core.search.front import non_dominated
from sr_core.search.objective import Objective, check_budget, latency, objective
from sr_core.search.propose import ListProposer, Proposer, SamplerProposer
from sr_core.search.settings import NETWORK_LISTS, OF_STUDY, Sampler, SearchArgs
from sr_core.search.space import Space
from sr_core.search.storage import Settings, SharedStudy

START_FROM_FRONT = 16
"""Networks of the stored front that a sampler is shown first, besides the presets."""


@dataclass(frozen=True)
class Setup:
    """All that a search works with."""

    args: SearchArgs
    root: Path
    evaluator: Evaluator
    aim: Objective
    proposer: Proposer
    start: Start
    facts: dict[str, Any]
    """Fields of `Run` that do not come from the trials."""
    scores: dict[str, tuple[float, float]]
    """Candidate id -> PSNR-Y in dB and SSIM-Y, in the stored front."""
    study: SharedStudy | None
    space: Space


def prepare(catalogue: Catalogue, args: SearchArgs) -> Setup:
    """Set up a search. Errors are those of `study.search`."""
    study = None
    if args.storage is not None and (args.resume or args.worker):
        study = SharedStudy.join(args.storage, args.name)
    try:
        return _build(catalogue, args, study)
    except BaseException:
        if study:
            study.close()
        raise


def _build(catalogue: Catalogue, args: SearchArgs, study: SharedStudy | None) -> Setup:
    if study:
        args = _with_study_settings(args, study)
    family = args.family
    catalogue.supernet(family)  # it, and the device, may be missing: before images are read
    aim = _aim(catalogue, args, study)
    evaluator = Evaluator(
        catalogue,
        family,
        _crops(args, family.scale),
        library=catalogue.engine if args.engine == "sparse" else None,
        threads=args.threads,
    )
    before = _comparable_front(catalogue, evaluator) if args.val else None
    settings = study.settings if study else _settings(catalogue, args, evaluator, aim, before)
    if study:
        _check_same(study, evaluator)
    space = space_of(settings, evaluator)
    check_budget(aim, space)
    if args.storage is not None and study is None:
        study = SharedStudy.create(args.storage, args.name, settings)
    return Setup(
        args,
        catalogue.root,
        evaluator,
        aim,
        _proposer(settings, space, aim, _seed(args, study)),
        _start(args.name, settings, aim, study),
        _facts(evaluator),
        _scores(before),
        study,
        space,
    )


def space_of(settings: Settings, evaluator: Evaluator) -> Space:
    """Return the space to search: all of the supernet, as far as it is asked for."""
    spec = settings.vocabulary(evaluator.supernet.spec)
    return Space(spec, settings.schemes, settings.ratio_per_layer_kind)


def _with_study_settings(args: SearchArgs, study: SharedStudy) -> SearchArgs:
    """Return `args` with the settings of the study.

    Raises `SearchError` if others were asked for.
    """
    settings = study.settings
    own: dict[str, Any] = {name: getattr(settings, name) for name in OF_STUDY}
    required = own if args.resume else {"scale": settings.scale}
    for name, value in required.items():
        wish = getattr(args, name)
        fixed = name == "trials" and settings.sampler in NETWORK_LISTS  # the list has its length
        unsaid = args.worker and wish is None
        if wish != value and not fixed and not unsaid:
            raise SearchError(
                f"Study {study.name} was made with other settings ({flag(name)} {_word(value)}, "
                f"not {_word(wish)}): repeat those of `{settings.command}`."
            )
    return replace(args, **own)


def _word(value: object) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _crops(args: SearchArgs, scale: int) -> ValidationCrops:
    return sample_crops(scale) if args.val is None else validation_crops(args.val, scale)


def _aim(catalogue: Catalogue, args: SearchArgs, study: SharedStudy | None) -> Objective:
    if study and study.settings.profile:
        return latency(study.settings.profile, args.budget_ms)
    return objective(catalogue, args.objective, args.budget_ms)


def _check_same(study: SharedStudy, evaluator: Evaluator) -> None:
    """Raise `SearchError` if the study cannot be compared with results made here."""
    settings = study.settings
    weights = evaluator.supernet.sha256
    if settings.weights_sha256 != weights:
        raise SearchError(
            f"Study {study.name} is of other weights ({settings.weights_sha256[:8]}, here "
            f"{weights[:8]}): use the same supernets/{settings.family.name}.safetensors "
            "everywhere."
        )
    if settings.crops.sha256 != evaluator.crops.checksum or settings.protocol != PROTOCOL:
        raise SearchError(
            f"Study {study.name} is scored on other crops ({settings.crops.about}): give the --val "
            "that it was started with, or none if it had none."
        )


def _comparable_front(catalogue: Catalogue, evaluator: Evaluator) -> Front | None:
    """Return the front to append to, checked to be comparable. None without one."""
    front = catalogue.front(evaluator.family)
    if front is not None and front.header.crops.sha256 != evaluator.crops.checksum:
        raise SearchError(
            "The stored front was scored on other validation crops: give the same --val, or "
            f"delete fronts/{evaluator.family.name}.* to start anew."
        )
    return front


def _scores(front: Front | None) -> dict[str, tuple[float, float]]:
    if front is None:
        return {}
    rows = front.rows
    return dict(zip(rows["id"], zip(rows["psnr_y_db"], rows["ssim_y"], strict=True), strict=True))


def _settings(
    catalogue: Catalogue,
    args: SearchArgs,
    evaluator: Evaluator,
    aim: Objective,
    before: Front | None,
) -> Settings:
    """Return the settings of a new study. One in memory has them too."""
    presets = [model.candidate for model in catalogue.models(args.family)]
    start = _first(args, evaluator, presets, before, aim)
    crops = evaluator.crops
    baseline_db = before.header.crops.bicubic_psnr_y_db if before else evaluator.bicubic_psnr_db()
    side = VALIDATION_CROP_HR
    photos = f"{len(crops.hr)} centre crops of {side}×{side} pixels of validation images"
    options: dict[str, Any] = {name: getattr(args, name) for name in OF_STUDY}
    if args.sampler in NETWORK_LISTS:
        options["trials"] = len(start)
    spec = evaluator.supernet.spec
    return Settings(
        **options,
        blocks=spec.blocks,
        widths=spec.widths,
        skip_schemes=spec.skip_schemes,
        weights_sha256=evaluator.supernet.sha256,
        protocol=PROTOCOL,
        crops=CropSet(
            sha256=crops.checksum,
            n=len(crops.hr),
            bicubic_psnr_y_db=baseline_db,
            about=photos if args.val else SAMPLE_CROPS,
        ),
        profile=aim.profile,
        reference_cost=aim.reference(presets),
        start=tuple(map(to_text, start)),
        command=args.command,
    )


def _first(
    args: SearchArgs,
    evaluator: Evaluator,
    presets: list[Candidate],
    front: Front | None,
    aim: Objective,
) -> list[Candidate]:
    """Return the networks to propose first. Of `NETWORK_LISTS` these are all."""
    if args.sampler == "presets":
        return presets
    if args.sampler == "uniform":
        spec = evaluator.supernet.spec
        return uniform_networks(spec)
    return list(dict.fromkeys(presets + (_spread_of_front(front, aim) if front else [])))


def _spread_of_front(front: Front, aim: Objective) -> list[Candidate]:
    """Return up to `START_FROM_FRONT` networks of the front, evenly spaced along it."""
    cost, psnr_db = aim.cost(front.candidates), front.rows["psnr_y_db"].to_numpy()
    rows = np.flatnonzero(non_dominated(cost, psnr_db))
    rows = rows[np.argsort(cost[rows], kind="stable")]
    count = min(START_FROM_FRONT, rows.size)
    picks = np.linspace(0, max(0, rows.size - 1), count).round().astype(int)
    return [front.candidates[row] for row in rows[picks]]


def _proposer(settings: Settings, space: Space, aim: Objective, seed: int) -> Proposer:
    start = map(from_text, settings.start)
    if settings.sampler in NETWORK_LISTS:
        return ListProposer(start)
    reference = settings.reference_cost, settings.crops.bicubic_psnr_y_db
    return SamplerProposer(
        space, cast(Sampler, settings.sampler), seed, aim, reference, start=start
    )


def _seed(args: SearchArgs, study: SharedStudy | None) -> int:
    """Return the seed of this process. Each worker and each resumption has its own."""
    if study is None or not (args.resume or args.worker):
        return args.seed
    more = secrets.randbits(31) if args.worker else len(study.trials())
    return int(np.random.SeedSequence([abs(args.seed), more]).generate_state(1)[0])


def _start(name: str, settings: Settings, aim: Objective, study: SharedStudy | None) -> Start:
    trials = study.trials() if study else []
    return Start(
        study=name,
        scale=settings.scale,
        colour=settings.colour,
        objective=settings.objective,
        unit=aim.unit,
        budget_ms=settings.budget_ms,
        sampler=settings.sampler,
        trials=settings.trials,
        seed=settings.seed,
        crops=settings.crops,
        reference_cost=settings.reference_cost,
        command=settings.command,
        finished_before=sum(trial.state == TrialState.COMPLETE for trial in trials),
    )


def _facts(evaluator: Evaluator) -> dict[str, Any]:
    return {
        "started": datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S"),
        "commit": commit(),
        "processor": processor(),
        "versions": {
            "python": platform.python_version(),
            "runtime": runtime_version(evaluator.library),
            "optuna": optuna.__version__,
            "numpy": np.__version__,
        },
        "threads": evaluator.threads,
    }
