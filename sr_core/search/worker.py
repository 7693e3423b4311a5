"""One worker of a shared study: takes trials until as many as asked for are complete."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

import optuna
from optuna.trial import FrozenTrial, TrialState

from sr_core.network.candidate import Candidate
from sr_core.network.notation import from_text, to_text
from sr_core.search.evaluate import Score, Scorer
from sr_core.search.events import Trial
from sr_core.search.objective import Objective
from sr_core.search.propose import Notes, Proposer
from sr_core.search.storage import Result, SharedStudy, network_of, result_of
from sr_core.search.tally import Tally

POLL_S = 0.5
"""Between looks at the study while others finish the last trials."""
_UNDER_WAY = (TrialState.RUNNING, TrialState.WAITING)
"""Somebody is evaluating the network, or will do so in place of a worker that died."""
_ATTEMPTS = 10
_BACK_OFF_S = 0.2


class Worker:
    """Works on `study`. Whatever anybody completes goes through `tally` to `report`."""

    def __init__(
        self,
        study: SharedStudy,
        aim: Objective,
        proposer: Proposer,
        scorer: Scorer,
        tally: Tally,
        report: Callable[[Trial], object],
    ) -> None:
        self._study, self._aim, self._proposer = study, aim, proposer
        self._scorer, self._tally, self._report = scorer, tally, report
        self._tally_numbers: set[int] = set()
        self._own: set[int] = set()
        """Numbers of trials that the proposer was told of by `tell`."""
        self._current = -1
        """The trial in hand."""

    def run(self, should_stop: Callable[[], bool]) -> None:
        """Work until the study is complete, or `should_stop` says so after a trial."""
        while True:
            trials = self._look()
            if len(self._tally.trials) >= self._study.settings.trials or should_stop():
                return
            if self._study.may_claim(trials):
                self._study.run_one(self._work)
            else:
                time.sleep(POLL_S)
                self._study.retry_stale()

    def _look(self) -> list[FrozenTrial]:
        """Take in what has happened in the study, and return its trials."""
        trials = self._study.trials()
        busy: dict[int, Candidate] = {}
        for trial in trials:
            if trial.state == TrialState.COMPLETE and trial.number not in self._tally_numbers:
                self._take_in(trial)
            is_other = trial.state in _UNDER_WAY and trial.number != self._current
            if is_other and (candidate := network_of(trial)):
                busy[trial.number] = candidate
        self._proposer.watch(busy)
        return trials

    def _take_in(self, trial: FrozenTrial) -> None:
        result = result_of(trial, self._study.name)
        candidate, (cost, psnr_db) = network_of(trial), trial.values
        if candidate is None:
            raise AssertionError(f"Trial {trial.number} ended without a network.")
        self._tally_numbers.add(trial.number)
        if trial.number not in self._own:
            self._proposer.learn(candidate, cost, psnr_db, result.notes)
            self._scorer.learn(candidate, psnr_db, result.ssim_y)
        score = Score(psnr_db, result.ssim_y, result.evaluation_s, result.known)
        self._report(self._tally.add(trial.number, candidate, cost, score, result.proposal_s))

    def _work(self, trial: optuna.Trial) -> tuple[float, float]:
        start, self._current = time.perf_counter(), trial.number
        text = trial.user_attrs.get("network")  # by a worker that died
        candidate = from_text(str(text)) if text else self._propose(trial)
        notes: Notes = {} if text else self._proposer.notes()
        proposal_s = time.perf_counter() - start
        try:
            score = self._scorer.score(candidate)
        except BaseException:
            if not text:
                self._proposer.drop()
            raise
        cost = float(self._aim.cost([candidate])[0])
        tell_start = time.perf_counter()
        if not text:
            self._proposer.tell(cost, score.psnr_y_db)
            self._own.add(trial.number)
        proposal_s += time.perf_counter() - tell_start
        if self._aim.budget_ms is not None and not trial.constraints:
            trial.set_constraint("budget", cost - self._aim.budget_ms)
        result = Result(
            ssim_y=score.ssim_y, known=score.known, proposal_s=proposal_s,
            evaluation_s=score.seconds, notes=notes,
        )  # fmt: skip
        trial.set_user_attr("result", result.model_dump(mode="json"))
        return cost, score.psnr_y_db

    def _propose(self, trial: optuna.Trial) -> Candidate:
        """Return a network that no other worker evaluates. In a tiny space it may be theirs.

        Two that take the same one at the same time both see it. Both let go of it, and look again
        after different times.
        """
        for attempt in range(_ATTEMPTS):
            candidate = self._proposer.ask()
            trial.set_user_attr("network", to_text(candidate))
            others = (one for one in self._look() if one.number != trial.number)
            running = {network_of(one) for one in others if one.state == TrialState.RUNNING}
            if candidate not in running or attempt == _ATTEMPTS - 1:
                return candidate
            self._proposer.drop()
            trial.set_user_attr("network", "")
            time.sleep(random.uniform(0, _BACK_OFF_S))
            self._look()
        raise AssertionError  # the last attempt returns
