"""`bench samplers`: the samplers at equal numbers of evaluations, from the same start."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, get_args

from sr_core.catalogue.store import Catalogue
from sr_core.errors import SearchError
from sr_core.machine import cores
from sr_core.network.candidate import Candidate
from sr_core.results.samplers import SamplerBench, SamplerRun
from sr_core.search.evaluate import Evaluation
from sr_core.search.front import hypervolume
from sr_core.search.propose import SamplerProposer
from sr_core.search.settings import Sampler, SearchArgs
from sr_core.search.setup import Setup, prepare

SAMPLERS: tuple[Sampler, ...] = get_args(Sampler)
_MAX_TRIALS = 20
"""Proposals per evaluation before a sampler that only repeats itself is given up."""


def bench_samplers(
    catalogue: Catalogue,
    args: SearchArgs,
    evaluations: int,
    seeds: int,
    report: Callable[[SamplerRun], object] = lambda _: None,
) -> SamplerBench:
    """Run each sampler with the seeds 0, 1, ... A network is evaluated once for all.

    `args` has scale, images, objective, budget and space. `report` is called after each run.
    Raises `SearchError` as `search` does, or if the start alone has as many networks as are
    evaluated.
    """
    setup = prepare(catalogue, args)
    presets = [model.candidate for model in catalogue.models(setup.start.family)]
    if not (seeds >= 1 and evaluations > len(presets)):
        raise SearchError(
            f"--evaluations {evaluations} --seeds {seeds}: expected at least 1 seed and more "
            f"evaluations than the {len(presets)} of the start."
        )
    cache: dict[Candidate, Evaluation] = {}
    runs: list[SamplerRun] = []
    for seed in range(seeds):
        for sampler in SAMPLERS:
            runs.append(_run(setup, sampler, seed, presets, evaluations, cache))
            report(runs[-1])
    return SamplerBench(
        **conditions(setup),
        unit=setup.start.unit,
        budget_ms=setup.start.budget_ms,
        reference_cost=setup.start.reference_cost,
        reference_psnr_y_db=setup.start.crops.bicubic_psnr_y_db,
        evaluations=evaluations,
        start=len(presets),
        runs=tuple(runs),
    )


def conditions(setup: Setup) -> dict[str, Any]:
    """Return where and on what a benchmark of the search was run."""
    return {
        "processor": setup.facts["processor"],
        "cores": cores(),
        "commit": setup.facts["commit"],
        "date": datetime.now(UTC).date().isoformat(),
        "versions": setup.facts["versions"],
        "scale": setup.start.scale,
        "colour": setup.start.colour,
        "objective": setup.start.objective,
        "weights_sha256": setup.evaluator.supernet.sha256,
        "crops_sha256": setup.start.crops.sha256,
        "crops": setup.start.crops.about,
    }


def _run(
    setup: Setup,
    sampler: Sampler,
    seed: int,
    start: list[Candidate],
    evaluations: int,
    cache: dict[Candidate, Evaluation],
) -> SamplerRun:
    reference = setup.start.reference_cost, setup.start.crops.bicubic_psnr_y_db
    proposer = SamplerProposer(setup.space, sampler, seed, setup.aim, reference, start=start)
    results: dict[Candidate, tuple[float, float]] = {}
    curve: list[float] = []
    proposal_s, trials = 0.0, 0
    while len(results) < evaluations and trials < _MAX_TRIALS * evaluations:
        ask_start = time.perf_counter()
        candidate = proposer.ask()
        proposal_s += time.perf_counter() - ask_start
        if candidate not in cache:
            cache[candidate] = setup.evaluator.evaluate(candidate)
        psnr_db, cost = cache[candidate].psnr_y_db, float(setup.aim.cost([candidate])[0])
        tell_start = time.perf_counter()
        proposer.tell(cost, psnr_db)
        proposal_s += time.perf_counter() - tell_start
        trials += 1
        if candidate not in results:
            results[candidate] = cost, psnr_db
            costs, values = zip(*results.values(), strict=True)
            curve.append(hypervolume(costs, values, reference))
    return SamplerRun(
        sampler=sampler,
        seed=seed,
        trials=trials,
        evaluated=len(results),
        proposal_s=proposal_s,
        evaluation_s=sum(cache[candidate].seconds for candidate in results),
        hypervolume=curve,
    )
