"""A study that several processes share: an Optuna study in a database (SQLite, PostgreSQL, ...).

Each trial is a row of its own from the moment a worker takes it:

    user attribute `network`   its text, set before it is evaluated
    user attribute `result`    a `Result`, set before it ends; values and constraint are Optuna's

The 75 parameters of a network are not stored one by one: that alone takes longer than evaluating
it (1.5 s against 0.15 s on SQLite here). A worker enters the texts into its sampler's own study.

A worker that runs a trial reports every few seconds that it is alive. If it stops, the next one
that looks marks the trial as failed and puts it into the queue again, `database.MAX_RETRIES` times
at most; then another network takes its place.
"""

from __future__ import annotations

import json
import math
import time
import warnings
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import optuna
from optuna.exceptions import (
    DuplicatedStudyError,
    ExperimentalWarning,
    TrialPruned,
    UpdateFinishedTrialError,
)
from optuna.storages import RDBStorage, fail_stale_trials
from optuna.trial import FrozenTrial, TrialState
from pydantic import ValidationError

from sr_core.errors import SearchError
from sr_core.latency.profile import DeviceProfile
from sr_core.network.blocks import Block, Scheme
from sr_core.network.candidate import FIRST_WIDTHS, Candidate, Family
from sr_core.network.colour import Colour
from sr_core.network.notation import from_text
from sr_core.network.weights import SupernetSpec
from sr_core.results.record import Finite, Natural, Record, Seconds, Sha256, Text, fault
from sr_core.search.database import GRACE_S, database_errors, open_database, safe_url
from sr_core.search.events import CropSet

_SETTINGS = "upfront"
_STORED = "upfront_stored"
_MAKING_S = 1.0
"""Time that a study which was just made has for its settings to arrive."""
_LIVE = (TrialState.COMPLETE, TrialState.RUNNING, TrialState.WAITING)


class Settings(Record):
    """What all workers of a study have in common: the study's attribute `upfront`.

    The settings of `SearchArgs` among them are those named in `settings.OF_STUDY`.
    """

    scale: int
    colour: Colour = "rgb"
    blocks: tuple[Block, ...] | None = None
    """Those that cells may hold besides `skip`. The first studies name none of these three: they
    mean the supernet's blocks, the first widths and a dense input skip, whatever it offers now."""
    widths: tuple[int, ...] = FIRST_WIDTHS
    skip_schemes: tuple[Scheme, ...] = ("dense",)
    weights_sha256: Sha256
    protocol: Text
    crops: CropSet
    sampler: Text
    objective: Text
    profile: DeviceProfile | None
    """Of the device, so that all workers estimate the same milliseconds; None for MACs."""
    budget_ms: Seconds | None
    reference_cost: Finite
    trials: Natural
    seed: int
    schemes: tuple[Scheme, ...]
    ratio_per_layer_kind: bool
    start: tuple[Text, ...]
    """Networks that are proposed first."""
    command: Text

    @property
    def family(self) -> Family:
        """The networks that are searched."""
        return Family(self.scale, self.colour)

    def vocabulary(self, spec: SupernetSpec) -> SupernetSpec:
        """Return `spec` with the choices that the study was made with."""
        return replace(
            spec,
            blocks=self.blocks or spec.blocks,
            widths=self.widths,
            skip_schemes=self.skip_schemes,
        )


class Result(Record):
    """What a trial turned out to be, besides its values (cost, PSNR-Y)."""

    ssim_y: Finite
    known: bool
    proposal_s: Seconds
    evaluation_s: Seconds
    notes: dict[str, Any]
    """The sampler's."""


class SharedStudy:
    """One study in a database. Every method raises `SearchError` if the database fails."""

    def __init__(self, url: str, name: str, storage: RDBStorage) -> None:
        """Hold the parts for `create` and `join`, which are how to get a study."""
        self._url, self.name, self._storage = url, name, storage
        self._study: optuna.Study
        self.settings: Settings
        self._running: dict[int, float] = {}
        """Number of a trial -> when `retry_stale` first saw it run."""

    @classmethod
    def create(cls, url: str, name: str, settings: Settings) -> SharedStudy:
        """Make a new study. Raises `SearchError` if the name is taken."""
        with cls._open(url, name) as study:
            study._create(settings)
        return study

    @classmethod
    def join(cls, url: str, name: str) -> SharedStudy:
        """Open a study that is there. Raises `SearchError` if it is not, or is not ours."""
        with cls._open(url, name) as study:
            study._load()
        return study

    @classmethod
    @contextmanager
    def _open(cls, url: str, name: str) -> Generator[SharedStudy]:
        """Connect, and close again if anything fails."""
        study = cls(url, name, open_database(url))
        try:
            with database_errors(url):
                yield study
        except BaseException:
            study.close()
            raise

    def close(self) -> None:
        """Let go of the database."""
        self._storage.engine.dispose()

    def _create(self, settings: Settings) -> None:
        try:
            self._study = optuna.create_study(
                storage=self._storage, study_name=self.name, directions=["minimize", "maximize"],
                sampler=optuna.samplers.RandomSampler(),
            )  # fmt: skip
        except DuplicatedStudyError:
            raise SearchError(
                f"There is a study {self.name} already in {safe_url(self._url)}: go on with it by "
                "--resume, or give another --study."
            ) from None
        self._study.set_user_attr(_SETTINGS, settings.model_dump(mode="json"))
        self.settings = settings

    def _load(self) -> None:
        try:
            self._study = optuna.load_study(
                storage=self._storage, study_name=self.name,
                sampler=optuna.samplers.RandomSampler(),
            )  # fmt: skip
        except KeyError:
            raise SearchError(
                f"There is no study {self.name} in {safe_url(self._url)}: check --study, or leave "
                "out --resume and --worker to start it."
            ) from None
        settings = self._wait_for_settings()
        with _damage_errors(self.name):
            # From JSON, so that its lists may become tuples.
            self.settings = Settings.model_validate_json(json.dumps(settings))

    def _wait_for_settings(self) -> object:
        """Return the settings, which follow a moment after the study is made."""
        end = time.monotonic() + _MAKING_S
        while _SETTINGS not in (attributes := self._study.user_attrs):
            if time.monotonic() > end:
                raise SearchError(
                    f"Study {self.name} is being made, or its start was interrupted, or it is not "
                    "of UpFront: try again in a moment, or give another --study."
                )
            time.sleep(_MAKING_S / 10)
        return attributes[_SETTINGS]

    def trials(self) -> list[FrozenTrial]:
        """Return all trials, also of other workers. Do not change them."""
        with database_errors(self._url), _damage_errors(self.name):
            return self._study.get_trials(deepcopy=False)

    def may_claim(self, trials: list[FrozenTrial]) -> bool:
        """Return whether a trial of a dead worker waits, or trials are missing."""
        waiting = any(trial.state == TrialState.WAITING for trial in trials)
        return waiting or sum(trial.state in _LIVE for trial in trials) < self.settings.trials

    def retry_stale(self) -> None:
        """Put trials of dead workers into the queue again."""
        with database_errors(self._url), warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            fail_stale_trials(self._study)
            self._count_unheard()

    def _count_unheard(self) -> None:
        """Give one sign of life for trials whose worker never gave one.

        Optuna takes nobody for dead who died before the first sign of life, milliseconds after
        taking a trial. Whoever has run for long gets one sign from us, from which silence counts.
        """
        now = time.monotonic()
        for trial in self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            if now - self._running.setdefault(trial.number, now) > GRACE_S:
                study_id = self._storage.get_study_id_from_name(self.name)
                self._storage.record_heartbeat(
                    self._storage.get_trial_id_from_study_id_trial_number(study_id, trial.number)
                )
                self._running[trial.number] = math.inf

    def run_one(self, work: Callable[[optuna.Trial], tuple[float, float]]) -> None:
        """Take a trial, a dead worker's first, and give `work`'s (cost, PSNR-Y) back.

        The number of completed trials can never exceed the total. A trial is given up if as many
        older ones live, and numbers are given in the order in which rows become visible.

        What `work` raises is raised, and its trial has failed. Nothing happens if this worker
        was silent for so long that others took it for dead: the trial is theirs.
        """
        numbers: list[int] = []
        failures: list[BaseException] = []

        def guarded(trial: optuna.Trial) -> tuple[float, float]:
            numbers.append(trial.number)
            older = [one for one in self.trials() if one.number < trial.number]
            if sum(one.state in _LIVE for one in older) >= self.settings.trials:
                raise TrialPruned  # several workers took the last one at the same time
            try:
                return work(trial)
            except UpdateFinishedTrialError:
                raise
            except BaseException as error:
                failures.append(error)
                raise

        with database_errors(self._url):
            try:
                self._study.optimize(guarded, n_trials=1)
            except (UpdateFinishedTrialError, ValueError, AssertionError) as error:
                # How Optuna says, among other things, that the trial has ended in the meantime.
                if failures and failures[0] is not error:
                    raise failures[0] from error
                if failures or not self._has_failed(numbers):
                    raise

    def _has_failed(self, numbers: list[int]) -> bool:
        """Return whether one of these trials has failed.

        If `work` raised nothing, others let it fail.
        """
        states = {trial.number: trial.state for trial in self._study.get_trials(deepcopy=False)}
        return any(states[number] == TrialState.FAIL for number in numbers)

    @property
    def is_stored(self) -> bool:
        """Whether the study has become a run of a stored front."""
        with database_errors(self._url):
            return bool(self._study.user_attrs.get(_STORED))

    def mark_stored(self) -> None:
        """Record that the study has become a run of a stored front."""
        with database_errors(self._url):
            self._study.set_user_attr(_STORED, True)


def network_of(trial: FrozenTrial) -> Candidate | None:
    """Return what a trial evaluates, None if its worker has not decided yet."""
    text = trial.user_attrs.get("network")
    return from_text(str(text)) if text else None


def result_of(trial: FrozenTrial, study: str) -> Result:
    """Return the result of a completed trial. Raises `SearchError` if it is damaged."""
    with _damage_errors(study):
        return Result.model_validate(trial.user_attrs.get("result"))


@contextmanager
def _damage_errors(study: str) -> Generator[None]:
    """Turn what cannot be read into a sentence."""
    try:
        yield
    except ValueError as error:  # also pydantic's
        what = fault(error, whole="all of it") if isinstance(error, ValidationError) else str(error)
        raise SearchError(
            f"Study {study} is damaged or not of UpFront ({what}): give another --study."
        ) from None
