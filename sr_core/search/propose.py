"""Who proposes the next candidate: an Optuna sampler, or a given list."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, Protocol

import optuna

from sr_core.candidate import Candidate
from sr_core.search.space import Space

Sampler = Literal["random", "nsga2"]


class Proposer(Protocol):
    """`ask` for a candidate, then `tell` what it turned out to be, in turn."""

    def ask(self) -> Candidate:
        """The next candidate."""
        ...

    def tell(self, cost: float, psnr_db: float) -> None:
        """The values of the candidate last asked for."""
        ...


class Listed:
    """Proposes given candidates, one after the other."""

    def __init__(self, candidates: Iterable[Candidate]) -> None:
        self._rest = iter(candidates)

    def ask(self) -> Candidate:
        """`StopIteration` after the last one."""
        return next(self._rest)

    def tell(self, cost: float, psnr_db: float) -> None:
        """Nothing to learn."""


class Sampled:
    """An Optuna study in memory, of two objectives: low cost, high PSNR.

    Args:
        start: proposed first, as far as the space holds them; NSGA-II breeds from them.
        budget: a cost above it is a violated constraint.
    """

    def __init__(
        self,
        space: Space,
        sampler: Sampler,
        seed: int,
        *,
        start: Iterable[Candidate] = (),
        budget: float | None = None,
    ) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)  # or it prints a line per trial
        self._space, self._budget = space, budget
        kinds = {"random": optuna.samplers.RandomSampler, "nsga2": optuna.samplers.NSGAIISampler}
        self._study = optuna.create_study(
            sampler=kinds[sampler](seed=seed), directions=["minimize", "maximize"]
        )
        for candidate in start:
            if params := space.encode(candidate):
                self._study.enqueue_trial(params)

    def ask(self) -> Candidate:
        self._trial = self._study.ask()
        return self._space.suggest(self._trial)

    def tell(self, cost: float, psnr_db: float) -> None:
        if self._budget is not None:
            self._trial.set_constraint("budget", cost - self._budget)
        self._study.tell(self._trial, (cost, psnr_db))
