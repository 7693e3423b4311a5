"""Bayesian proposals: a Gaussian process guesses PSNR, the expected gain of the front decides.

The paper (arXiv 2108.08910) searches blocks and pruning schemes by Bayesian optimisation of one
reward, a weighted sum of accuracy and speed; which kernel it uses is not known to us. Here the
whole front is searched at once, and what can be known is not guessed: a candidate's cost is
exact without evaluating it, so only its PSNR is uncertain, and the expected improvement of the
hypervolume has a closed form (`front.expected_gain`).

Of a few hundred evaluated networks the process learns PSNR over one-hot encodings and the
logarithm of cost (Matern 5/2 plus white noise). It scores a pool of mutated, crossed and random
candidates and takes a batch of them, the best gain first; each one taken, and each one that
another worker is evaluating, counts from then on as if its guess were true (Kriging believer).
"""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState
from scipy.optimize import minimize
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

from sr_core.network.candidate import Candidate
from sr_core.search.encoding import Encoder, Matrix, Pool
from sr_core.search.front import Vector, expected_gain, non_dominated
from sr_core.search.space import Space

START = 30
"""Results before the first guess: presets, a spread of the front, random ones."""
BATCH = 8
POOL = 1000
LEARN_FROM = 400
"""Networks that the process is given: those on the front, then the latest."""
REFIT_EVERY = 64
"""New networks after which its hyperparameters are fitted again, on up to `FIT_ON`."""
FIT_ON = 250
_MIN_STD = 1e-9

Cost = Callable[[Sequence[Candidate]], Vector]


class BayesSampler(BaseSampler):
    """An Optuna sampler for studies of (low cost, high PSNR) over a `Space`."""

    def __init__(
        self, space: Space, cost: Cost, reference: tuple[float, float], *, seed: int
    ) -> None:
        """Set up the sampler.

        `reference` is the (cost, PSNR in dB) from which on nothing counts. Its cost is the budget.
        """
        self._space, self._cost, self._reference = space, cost, reference
        self._rng = np.random.default_rng(seed)
        self._random = RandomSampler(seed=seed)
        self._pool, self._encoder = Pool(space, self._rng), Encoder(space)
        self._batch: deque[Candidate] = deque()
        self._candidates: dict[int, Candidate] = {}
        self._kernel: Any = ConstantKernel(1.0) * Matern(5.0, nu=2.5) + WhiteKernel(0.01)
        self._fit_size = 0

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Return all parameters: they are drawn together."""
        return self._space.distributions

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Return the next of the batch, or nothing before `START` results.

        Optuna then draws random parameters.
        """
        if not search_space:
            return {}
        trials = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        results = {self._candidate(one): (one.values[0], one.values[1]) for one in trials}
        if len(results) < START:
            return {}
        running = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        pending = [self._candidate(one) for one in running if one.number != trial.number]
        busy = results.keys() | set(pending)
        while self._batch and self._batch[0] in busy:
            self._batch.popleft()
        if not self._batch:
            self._batch.extend(self._propose(results, pending))
        params = self._space.encode(self._batch.popleft()) if self._batch else None
        return params or {}

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """Draw a random value."""
        return self._random.sample_independent(study, trial, param_name, param_distribution)

    def _candidate(self, trial: FrozenTrial) -> Candidate:
        if trial.number not in self._candidates:
            self._candidates[trial.number] = self._space.decode(trial.params)
        return self._candidates[trial.number]

    def _propose(
        self, results: dict[Candidate, tuple[float, float]], pending: list[Candidate]
    ) -> list[Candidate]:
        """Return up to `BATCH` candidates without `results` (cost, PSNR), none pending."""
        candidates = list(results)
        costs, values = np.array(list(results.values())).T
        on_front = non_dominated(costs, values) & (costs < self._reference[0])
        # While nothing fits the budget, what costs least is what leads there.
        good = np.flatnonzero(on_front) if on_front.any() else np.argsort(costs)[:BATCH]
        parents = [candidates[i] for i in good]
        pool = self._pool.draw(parents, POOL, results.keys() | set(pending))
        pool_costs = self._cost(pool)
        affordable = np.flatnonzero(pool_costs < self._reference[0])
        if not affordable.size:
            return [pool[i] for i in np.argsort(pool_costs)[:BATCH]]
        options = [*pending, *(pool[i] for i in affordable)]
        option_costs = np.concatenate((self._cost(pending), pool_costs[affordable]))
        # Those on the front first, then the latest.
        learnt = np.lexsort((-np.arange(len(candidates)), ~on_front))[:LEARN_FROM]
        rows = self._rows([candidates[i] for i in learnt], costs[learnt])
        guess = _Guess(*self._learn(rows, values[learnt]), self._rows(options, option_costs))
        batch = self._greedy(guess, option_costs, (costs, values), len(pending))
        return [options[i] for i in batch]

    def _greedy(
        self, guess: _Guess, costs: Vector, results: tuple[Vector, Vector], pending: int
    ) -> list[int]:
        """Return the indices of the batch. The first `pending` ones are being evaluated."""
        front_costs, front_values = results
        batch: list[int] = []
        for turn in range(pending + BATCH):
            if turn < pending:
                best = turn
            else:
                gain = expected_gain(
                    costs, (guess.mean, guess.std), (front_costs, front_values), self._reference
                )
                gain[[*range(pending), *batch]] = -1
                best = int(gain.argmax())
                if gain[best] < 0:
                    break
                batch.append(best)
            front_costs = np.append(front_costs, costs[best])
            front_values = np.append(front_values, guess.mean[best])
            guess.believe(best)
        return batch

    def _learn(self, rows: Matrix, values: Vector) -> tuple[GaussianProcessRegressor, float, float]:
        """Return the process that knows these networks, and mean and std of their values.

        Its hyperparameters are those of the last fit.
        """
        mean, std = float(values.mean()), float(values.std()) or 1.0
        standard = (values - mean) / std
        if not self._fit_size or len(self._candidates) - self._fit_size >= REFIT_EVERY:
            some = self._rng.permutation(len(values))[:FIT_ON]
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)  # a bound is good enough
                self._kernel = _process(self._kernel, _fit).fit(rows[some], standard[some]).kernel_
            self._fit_size = len(self._candidates)
        return _process(self._kernel, None).fit(rows, standard), mean, std

    def _rows(self, candidates: Sequence[Candidate], costs: Sequence[float] | Vector) -> Matrix:
        """Return the encodings, and 2 ln(cost / reference cost)."""
        low = np.log(np.maximum(np.asarray(costs, dtype=np.float64), 1e-9) / self._reference[0])
        return np.column_stack((self._encoder.encode(candidates), 2 * low))


class _Guess:
    """Joint guess of the values of a pool. `believe` fixes one of them at its mean."""

    def __init__(self, model: Any, mean: float, std: float, rows: Matrix) -> None:
        """Predict the values. The process knows them in standard form, by `mean` and `std`."""
        standard_mean, covariance = model.predict(rows, return_cov=True)
        self.mean: Vector = mean + std * standard_mean
        self._noise = float(model.kernel_.k2.noise_level) * std**2
        self._covariance: Matrix = covariance * std**2
        self._covariance[np.diag_indices(len(rows))] -= self._noise

    @property
    def std(self) -> Vector:
        return np.sqrt(np.maximum(np.diag(self._covariance), _MIN_STD**2))

    def believe(self, index: int) -> None:
        """Take the mean of one value as measured: means stay, what is alike becomes surer."""
        column = self._covariance[:, index].copy()
        self._covariance -= np.outer(column, column) / (column[index] + self._noise + _MIN_STD**2)


def _process(kernel: Any, optimizer: Any) -> Any:
    """Make the process. scikit-learn's own types allow neither functions nor None as optimizer."""
    return GaussianProcessRegressor(kernel, optimizer=optimizer)


def _fit(objective: Callable[..., Any], start: Vector, bounds: Matrix) -> tuple[Vector, float]:
    """Search shortly for hyperparameters. The next fit starts where this one ends."""
    result = minimize(
        objective, start, method="L-BFGS-B", jac=True, bounds=bounds, options={"maxiter": 30}
    )
    return result.x, float(result.fun)
