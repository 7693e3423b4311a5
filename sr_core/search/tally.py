"""What a search has found so far: its trials, their hypervolume, and the record of the run."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from sr_core.catalogue.fronts import Curve, Run
from sr_core.network.candidate import Candidate
from sr_core.network.notation import from_text, to_text
from sr_core.search.evaluate import Score
from sr_core.search.events import Start, Trial
from sr_core.search.front import hypervolume


class Tally:
    """Collects the trials of one study, whoever ran them, in the order in which they ended."""

    def __init__(self, start: Start, facts: dict[str, Any]) -> None:
        """Start empty. `facts` are the fields of `Run` that do not come from the trials."""
        self.start, self._facts = start, facts
        self.trials: list[Trial] = []
        self._points: list[tuple[int, int, float]] = []

    def add(
        self, number: int, candidate: Candidate, cost: float, score: Score, proposal_s: float
    ) -> Trial:
        """Add one more trial, `number` of the study."""
        cheap = self.start.budget_ms is None or cost <= self.start.budget_ms
        trial = Trial(
            number=number,
            network=to_text(candidate),
            psnr_y_db=score.psnr_y_db,
            ssim_y=score.ssim_y,
            cost=cost,
            feasible=cheap,
            known=score.known,
            proposal_s=proposal_s,
            evaluation_s=score.seconds,
            trials=len(self.trials) + 1,
            evaluated=self.evaluated + (not score.known),
            hypervolume=self._hypervolume(cost, score.psnr_y_db),
        )
        if trial.hypervolume > self.hypervolume:
            self._points.append((trial.trials, trial.evaluated, trial.hypervolume))
        self.trials.append(trial)
        return trial

    def _hypervolume(self, cost: float, psnr_db: float) -> float:
        costs = [*(trial.cost for trial in self.trials), cost]
        values = [*(trial.psnr_y_db for trial in self.trials), psnr_db]
        reference = self.start.reference_cost, self.start.crops.bicubic_psnr_y_db
        return hypervolume(costs, values, reference)

    @property
    def evaluated(self) -> int:
        """Trials whose network was not known before."""
        return self.trials[-1].evaluated if self.trials else 0

    @property
    def hypervolume(self) -> float:
        """Hypervolume of all trials so far."""
        return self.trials[-1].hypervolume if self.trials else 0.0

    def run(self) -> Run:
        """Return the record of the trials so far."""
        start, last = self.start, (len(self.trials), self.evaluated, self.hypervolume)
        curve = Curve(
            reference_cost=start.reference_cost,
            reference_psnr_y_db=start.crops.bicubic_psnr_y_db,
            points=list(dict.fromkeys([*self._points, last])),
        )
        return Run(
            command=start.command,
            sampler=start.sampler,
            objective=start.objective,
            unit=start.unit,
            budget_ms=start.budget_ms,
            seed=start.seed,
            trials=len(self.trials),
            evaluated=self.evaluated,
            proposal_s=sum(trial.proposal_s for trial in self.trials),
            evaluation_s=sum(trial.evaluation_s for trial in self.trials),
            hypervolume=curve,
            **self._facts,
        )

    def rows(self, skip: Collection[str]) -> list[dict[str, Any]]:
        """Return rows (columns of `fronts.SCHEMA` but `run`) of networks with ids not in `skip`."""
        rows: dict[str, dict[str, Any]] = {}
        for index, trial in enumerate(self.trials):
            identity = from_text(trial.network).id
            if identity in skip or identity in rows:
                continue
            rows[identity] = {
                "id": identity,
                "network": trial.network,
                "psnr_y_db": trial.psnr_y_db,
                "ssim_y": trial.ssim_y,
                "trial": index,
                "evaluation_s": trial.evaluation_s,
            }
        return list(rows.values())
