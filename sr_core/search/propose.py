"""Who proposes the next candidate: an Optuna sampler, or a given list."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

import optuna
from optuna.samplers import BaseSampler
from optuna.trial import TrialState, create_trial

from sr_core.errors import SearchError
from sr_core.network.candidate import Candidate
from sr_core.search.objective import Objective
from sr_core.search.settings import Sampler
from sr_core.search.space import Params, Space

Notes = dict[str, Any]
"""What a sampler keeps beside a trial: NSGA-II the generation."""
_ATTEMPTS = 10
"""Proposals until one is taken although another worker is evaluating it (in tiny spaces)."""
_RANDOM_FIRST = 30
"""Results before TPE and Bayes make use of them."""


class Proposer(Protocol):
    """`ask` for a candidate, then `tell` its values, in turn.

    Where several workers share a study, `learn` and `watch` say what the others do.
    """

    def ask(self) -> Candidate:
        """Return the next candidate."""
        ...

    def notes(self) -> Notes:
        """Return the sampler's notes on the candidate last asked for."""
        ...

    def tell(self, cost: float, psnr_db: float) -> None:
        """Take the values of the candidate last asked for."""
        ...

    def drop(self) -> None:
        """Give up the candidate last asked for: there will be no values."""
        ...

    def learn(self, candidate: Candidate, cost: float, psnr_db: float, notes: Notes) -> None:
        """Take the values of a candidate of another worker, or of an earlier run."""
        ...

    def watch(self, busy: Mapping[int, Candidate]) -> None:
        """Take all candidates that other workers are evaluating, by a number that stays."""
        ...


class ListProposer:
    """Proposes a list of candidates in turn, without those of other workers."""

    def __init__(self, candidates: Iterable[Candidate]) -> None:
        self._rest = deque(candidates)
        self._history: set[Candidate] = set()
        self._busy: set[Candidate] = set()
        self._current: Candidate | None = None

    def ask(self) -> Candidate:
        """Return the next candidate. Raises `SearchError` after the last one."""
        for _ in range(len(self._rest)):
            candidate = self._rest.popleft()
            if candidate in self._busy:
                self._rest.append(candidate)  # its worker may die
            elif candidate not in self._history:
                self._current = candidate
                return candidate
        raise SearchError("All networks of the list are being evaluated.")

    def notes(self) -> Notes:
        return {}

    def tell(self, cost: float, psnr_db: float) -> None:
        """Do nothing: there is nothing to learn."""

    def drop(self) -> None:
        if self._current is not None:
            self._rest.append(self._current)

    def learn(self, candidate: Candidate, cost: float, psnr_db: float, notes: Notes) -> None:
        self._history.add(candidate)

    def watch(self, busy: Mapping[int, Candidate]) -> None:
        self._busy = set(busy.values())


class SamplerProposer:
    """An Optuna study in memory, of two objectives: low cost, high PSNR.

    It is the sampler's own view of the search: trials of other workers are entered into it.

    Args:
        start: proposed first, as far as the space holds them. NSGA-II breeds from them.
        reference: (cost, PSNR in dB) from which on nothing counts.
    """

    def __init__(
        self,
        space: Space,
        sampler: Sampler,
        seed: int,
        aim: Objective,
        reference: tuple[float, float],
        *,
        start: Iterable[Candidate] = (),
    ) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)  # or it prints a line per trial
        self._space, self._budget = space, aim.budget_ms
        self._study = optuna.create_study(
            sampler=make_sampler(sampler, space, seed, aim, reference),
            directions=["minimize", "maximize"],
        )
        self._start = deque(one for one in start if space.encode(one))
        self._first = frozenset(self._start)
        self._history: set[Candidate] = set()
        self._busy: dict[int, tuple[Candidate, int]] = {}
        """Number among the watched -> candidate, number in the study here."""

    def ask(self) -> Candidate:
        busy = {candidate for candidate, _ in self._busy.values()}
        for attempt in range(_ATTEMPTS):
            self._enqueue_start(self._history | busy)
            self._trial = self._study.ask()
            self._current = self._space.suggest(self._trial)
            if self._current not in busy or attempt == _ATTEMPTS - 1:
                return self._current
            self.drop()
        raise AssertionError  # the last attempt returns

    def _enqueue_start(self, skip: set[Candidate]) -> None:
        while self._start:
            candidate = self._start.popleft()
            if candidate not in skip:
                self._study.enqueue_trial(self._params(candidate))
                return

    def notes(self) -> Notes:
        attributes = self._study.get_trials(deepcopy=False)[self._trial.number].system_attrs
        return {key: value for key, value in attributes.items() if key != "fixed_params"}

    def tell(self, cost: float, psnr_db: float) -> None:
        if self._budget is not None:
            self._trial.set_constraint("budget", cost - self._budget)
        self._study.tell(self._trial, (cost, psnr_db))

    def drop(self) -> None:
        self._study.tell(self._trial, state=TrialState.FAIL)
        if self._current in self._first:
            self._start.append(self._current)

    def learn(self, candidate: Candidate, cost: float, psnr_db: float, notes: Notes) -> None:
        self._history.add(candidate)
        limits = {} if self._budget is None else {"budget": cost - self._budget}
        trial = create_trial(
            values=(cost, psnr_db),
            params=self._params(candidate),
            distributions=self._space.distributions,
            system_attrs=notes,
            constraints=limits,
        )
        self._study.add_trial(trial)

    def watch(self, busy: Mapping[int, Candidate]) -> None:
        for number in self._busy.keys() - busy.keys():
            self._study.tell(self._busy.pop(number)[1], state=TrialState.FAIL)
        for number in busy.keys() - self._busy.keys():
            trial = create_trial(
                state=TrialState.RUNNING,
                params=self._params(busy[number]),
                distributions=self._space.distributions,
            )
            self._study.add_trial(trial)
            self._busy[number] = busy[number], len(self._study.get_trials(deepcopy=False)) - 1

    def _params(self, candidate: Candidate) -> Params:
        params = self._space.encode(candidate)
        if params is None:
            raise SearchError(f"Network {candidate.id} of the study is not in its search space.")
        return params


def make_sampler(
    name: Sampler, space: Space, seed: int, aim: Objective, reference: tuple[float, float]
) -> BaseSampler:
    """Make the Optuna sampler called `name`."""
    if name == "bayes":
        from sr_core.search.bayes import BayesSampler  # scikit-learn takes a second to import

        return BayesSampler(space, aim.cost, reference, seed=seed)
    if name == "tpe":
        return optuna.samplers.TPESampler(seed=seed, n_startup_trials=_RANDOM_FIRST)
    if name == "nsga2":
        return optuna.samplers.NSGAIISampler(seed=seed)
    return optuna.samplers.RandomSampler(seed=seed)
