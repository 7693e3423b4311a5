"""Bayesian proposals on made-up landscapes."""

from __future__ import annotations

from collections.abc import Callable
from statistics import NormalDist

import numpy as np
import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sr_core.latency.prices import count
from sr_core.network.candidate import Candidate
from sr_core.network.weights import SupernetSpec
from sr_core.search import bayes
from sr_core.search.bayes import BayesSampler
from sr_core.search.encoding import Encoder, Pool
from sr_core.search.front import expected_gain, hypervolume
from sr_core.search.objective import Objective, latency
from sr_core.search.propose import SamplerProposer
from sr_core.search.settings import Sampler
from sr_core.search.space import Space
from tests.search.profiles import device

SPACE = Space(SupernetSpec(4, 16, 4))
AIM = Objective("macs", "GMACs", lambda candidates: count(candidates).macs_kept / 1e9)
REFERENCE = (12.0, 25.0)


@given(
    st.lists(st.tuples(st.floats(0, 12), st.floats(20, 32)), max_size=6),
    st.tuples(st.floats(0, 12), st.floats(22, 32), st.floats(0.01, 3)),
)
def test_the_expected_gain_is_the_mean_of_gains(
    known: list[tuple[float, float]], guess: tuple[float, float, float]
) -> None:
    cost, mean, std = guess
    costs, values = [c for c, _ in known], [v for _, v in known]
    before = hypervolume(costs, values, REFERENCE)
    # The middles of equally likely slices of the normal distribution, instead of draws.
    shares = (np.arange(400) + 0.5) / 400
    draws = mean + std * np.array([NormalDist().inv_cdf(share) for share in shares])
    gains = [hypervolume([*costs, cost], [*values, draw], REFERENCE) - before for draw in draws]
    found = expected_gain([cost], (np.array([mean]), np.array([std])), (costs, values), REFERENCE)
    assert found[0] == pytest.approx(np.mean(gains), abs=0.02 * std * REFERENCE[0] * 0.1 + 1e-9)


def test_what_costs_as_much_as_the_reference_gains_nothing() -> None:
    guess = np.full(3, 40.0), np.full(3, 1.0)
    gain = expected_gain([11.9, 12, 50], guess, ([1], [30]), REFERENCE)
    assert gain[0] > 0
    assert gain[1:].tolist() == [0, 0]


def additive(seed: int) -> Callable[[Candidate], float]:
    """A PSNR that grows with cost and with a hidden taste for blocks and schemes."""
    encoder = Encoder(SPACE)
    taste = np.random.default_rng(seed).normal(0, 0.3, encoder.encode([]).shape[1])

    def psnr_db(candidate: Candidate) -> float:
        cost = float(AIM.cost([candidate])[0])
        return 25 + float(np.log1p(cost)) + float(encoder.encode([candidate])[0] @ taste)

    return psnr_db


def searched(
    sampler: Sampler,
    seed: int,
    trials: int,
    aim: Objective = AIM,
    reference: tuple[float, float] = REFERENCE,
) -> list[tuple[Candidate, float, float]]:
    psnr_db = additive(7)
    sampled = SamplerProposer(SPACE, sampler, seed, aim, reference)
    found: list[tuple[Candidate, float, float]] = []
    for _ in range(trials):
        candidate = sampled.ask()
        found.append((candidate, float(aim.cost([candidate])[0]), psnr_db(candidate)))
        sampled.tell(*found[-1][1:])
    return found


def volume(found: list[tuple[Candidate, float, float]]) -> float:
    _, costs, values = zip(*found, strict=True)
    return hypervolume(costs, values, REFERENCE)


@pytest.fixture(scope="module")
def found() -> list[tuple[Candidate, float, float]]:
    return searched("bayes", 0, 80)


def test_it_beats_random_clearly(found: list[tuple[Candidate, float, float]]) -> None:
    random = [volume(searched("random", seed, 80)) for seed in range(5)]
    start = volume(found[: bayes.START])
    assert volume(found) - start > 2 * (max(random) - start)


def test_it_never_proposes_a_network_twice(found: list[tuple[Candidate, float, float]]) -> None:
    proposed = [candidate for candidate, *_ in found[bayes.START :]]
    assert len(set(proposed)) == len(proposed) == 80 - bayes.START
    assert not set(proposed) & {candidate for candidate, *_ in found[: bayes.START]}


def test_it_keeps_to_the_budget() -> None:
    aim = latency(device(), budget_ms=6.0)
    found = searched("bayes", 1, 60, aim, (6.0, 25.0))
    assert any(cost > 6 for _, cost, _ in found[: bayes.START])
    assert all(cost <= 6 for _, cost, _ in found[bayes.START :])


def test_it_finds_its_way_to_a_budget_that_nothing_met() -> None:
    """As with a slow device: of thousands drawn at random none would do."""
    space = Space(SupernetSpec(4, 32, 12))
    drawn = Pool(space, np.random.default_rng(0)).draw([], 2000, ())
    budget = 0.8 * min(AIM.cost(drawn))
    sampled = SamplerProposer(space, "bayes", 0, AIM, (budget, 25.0))
    costs: list[float] = []
    while len(costs) < bayes.START or (min(costs) > budget and len(costs) < 150):
        costs.append(float(AIM.cost([sampled.ask()])[0]))
        sampled.tell(costs[-1], 25 + costs[-1])
    assert min(costs[: bayes.START]) > budget
    assert min(costs) <= budget


def test_equal_seeds_propose_the_same() -> None:
    first, again, other = (searched("bayes", seed, bayes.START + 3) for seed in (3, 3, 4))
    assert first == again != other


def test_what_others_evaluate_is_not_proposed() -> None:
    one, other = (SamplerProposer(SPACE, "bayes", 5, AIM, REFERENCE) for _ in range(2))
    psnr_db = additive(7)
    for sampled in (one, other):
        for candidate, cost, _ in searched("random", 0, 40):
            sampled.learn(candidate, cost, psnr_db(candidate), {})
    first = one.ask()
    other.watch({0: first})
    assert other.ask() != first


def test_a_tiny_space_runs_dry_without_an_endless_loop() -> None:
    space = Space(SupernetSpec(4, 16, 1), schemes=("dense",))
    sampled = SamplerProposer(space, "bayes", 0, AIM, REFERENCE)
    for _ in range(bayes.START + 10):
        candidate = sampled.ask()
        sampled.tell(float(AIM.cost([candidate])[0]), 30.0)


def test_candidates_of_one_network_have_one_encoding() -> None:
    params = SPACE.encode(SPACE.decode({name: some[0] for name, some in SPACE.choices.items()}))
    assert params is not None
    params |= {f"cells.{index}": "skip" for index in range(4)}
    other = params | {"cells.0.wide.expand": "block", "ratio": 0.5}  # layers that are not there
    rows = Encoder(SPACE).encode([SPACE.decode(params), SPACE.decode(other)])
    assert (rows[0] == rows[1]).all()
    assert rows[0].sum() == 1 + 4 + 1  # width, blocks, tail


def test_the_pool_is_new_and_different(rng: np.random.Generator) -> None:
    pool = Pool(SPACE, rng)
    parents = pool.draw([], 20, ())
    drawn = pool.draw(parents[:3], 200, set(parents))
    assert len(drawn) == len(set(drawn)) == 200
    assert not set(drawn) & set(parents)
    dense = Pool(Space(SupernetSpec(4, 16, 1), schemes=("dense",)), rng)
    assert len(dense.draw([], 100, ())) == 3  # skip, wide, residual


def test_it_is_an_optuna_sampler() -> None:
    sampler = BayesSampler(SPACE, AIM.cost, REFERENCE, seed=0)
    study = optuna.create_study(sampler=sampler, directions=["minimize", "maximize"])

    def objective(trial: optuna.Trial) -> tuple[float, float]:
        candidate = SPACE.suggest(trial)
        return float(AIM.cost([candidate])[0]), 30.0

    study.optimize(objective, n_trials=bayes.START + 2)
    assert len(study.trials) == bayes.START + 2
