"""What `bench samplers` and `bench workers` found, as HTML. No Gradio."""

from __future__ import annotations

import html

import numpy as np

from sr_core.network.candidate import Family
from sr_core.results.samplers import SamplerBench, SamplerRun, WorkerBench
from sr_core.search.settings import family_words
from sr_core.ui.findings import charts, sections


def sampler_section(bench: SamplerBench, note: str = "") -> str:
    """Show the samplers at equal evaluations, and what proposing costs apart.

    `note` comes before what the numbers say, here and below.
    """
    family = Family(bench.scale, bench.colour).title
    heading = f"Which sampler finds the best front with equal evaluations? {family}"
    body = _chart(bench) + _table(heading, bench)
    return sections.section(heading, note + sampler_result(bench), body, _sampler_conditions(bench))


def sampler_result(bench: SamplerBench) -> str:
    """Say who leads, whether that is clear of the seeds, and what proposing costs."""
    first, *rest = ranking(bench)
    text = (
        f"{first} leads after {bench.evaluations} evaluations, with a hypervolume of "
        f"{_median(bench, first):.4g} {bench.unit}·dB (median)"
    )
    if rest:
        second = rest[0]
        seeds = len({run.seed for run in bench.runs})
        clear = sections.verdict(_ends(bench, first), _ends(bench, second)) == "better"
        text += (
            f", ahead of {second} with {_median(bench, second):.4g}; "
            + ("all its seeds are better" if clear else "their seeds' ranges overlap, no clear win")
            + f" ({seeds} seeds)"
        )
    slowest = max(_names(bench), key=lambda name: _proposal_ms(bench, name))
    return (
        f"{text}. A proposal takes {_proposal_ms(bench, slowest):.3g} ms with {slowest}, the "
        f"slowest to propose; evaluating a network takes {_evaluation_ms(bench):.3g} ms."
    )


def ranking(bench: SamplerBench) -> list[str]:
    """Return the samplers by median hypervolume at the end, the best first."""
    return sorted(_names(bench), key=lambda name: -_median(bench, name))


def worker_section(bench: WorkerBench, note: str = "") -> str:
    """Show trials a second against the number of worker processes."""
    heading = f"Do more workers search faster? {Family(bench.scale, bench.colour).title}"
    most = bench.rows[-1].workers
    verb = "are" if bench.speed_up >= 1 else "are only"
    result = (
        f"{most} workers {verb} {bench.speed_up:.2f} times as fast as one "
        f"({bench.speed_up / most:.0%} of what {most} could be at best)."
    )
    rows = [[f"{row.workers}", f"{row.trials_per_s:.2f}"] for row in bench.rows]
    conditions = (
        f"{bench.processor}, {bench.cores} cores, one thread per worker; {bench.trials} trials of "
        f"{bench.sampler} for {bench.objective} on {bench.storage}, {bench.crops}; "
        f"{_versions(bench)}; {bench.date}. Measured by: python -m sr_core bench workers "
        f"{family_words(Family(bench.scale, bench.colour))} --objective {bench.objective} "
        f"--trials {bench.trials}."
    )
    return sections.section(
        heading, note + result, sections.table(heading, ["Workers", "Trials a second"], rows),
        conditions,
    )  # fmt: skip


def _chart(bench: SamplerBench) -> str:
    methods = [_curve(name, _runs(bench, name)) for name in ranking(bench)]
    about = "; ".join(
        f"{name} ends at {sections.span(_ends(bench, name), 2)} {bench.unit}·dB"
        for name in ranking(bench)
    )
    axes = "evaluations", f"Hypervolume, {bench.unit}·dB, median and range of the seeds:"
    return charts.curves(methods, bench.start, axes, about)


def _curve(name: str, runs: list[SamplerRun]) -> charts.Curve:
    """Return the curve over the evaluations that all its runs have."""
    shortest = min(len(run.hypervolume) for run in runs)
    values = np.array([run.hypervolume[:shortest] for run in runs])
    return charts.Curve(name, values.min(axis=0), np.median(values, axis=0), values.max(axis=0))


def _table(label: str, bench: SamplerBench) -> str:
    rows: list[list[str]] = []
    for name in ranking(bench):
        low, middle, high = bench.final(name)
        rows.append([
            html.escape(name), f"{middle:.4g}", f"{low:.4g} to {high:.4g}",
            f"{_proposal_ms(bench, name):.3g}",
            f"{sum(run.trials for run in _runs(bench, name)):,}", f"{len(_runs(bench, name))}",
        ])  # fmt: skip
    header = [
        "Sampler", f"Hypervolume, {bench.unit}·dB, median", "Lowest to highest",
        "Proposal, ms per trial", "Trials, all seeds", "Seeds",
    ]  # fmt: skip
    return sections.table(label, header, rows)


def _sampler_conditions(bench: SamplerBench) -> str:
    budget = "no budget" if bench.budget_ms is None else f"budget {bench.budget_ms:g} ms"
    option = "" if bench.budget_ms is None else f" --budget-ms {bench.budget_ms:g}"
    seeds = len({run.seed for run in bench.runs})
    return (
        f"{bench.processor}, {bench.cores} cores; cost: {bench.objective}, {budget}; PSNR-Y on "
        f"{bench.crops}; {_versions(bench)}; {bench.date}, commit {bench.commit[:8]}. Hypervolume "
        f"up to {bench.reference_cost:.4g} {bench.unit} and down to "
        f"{bench.reference_psnr_y_db:.2f} dB (bicubic); the first {bench.start} networks are the "
        f"same for all, and the chart starts there. Measured by: python -m sr_core bench samplers "
        f"{family_words(Family(bench.scale, bench.colour))} --objective {bench.objective}{option} "
        f"--evaluations {bench.evaluations} --seeds {seeds}."
    )


def _versions(bench: SamplerBench | WorkerBench) -> str:
    return ", ".join(f"{name} {version}" for name, version in bench.versions.items())


def _names(bench: SamplerBench) -> list[str]:
    return list(dict.fromkeys(run.sampler for run in bench.runs))


def _runs(bench: SamplerBench, name: str) -> list[SamplerRun]:
    return [run for run in bench.runs if run.sampler == name]


def _ends(bench: SamplerBench, name: str) -> list[float]:
    return [run.hypervolume[-1] for run in _runs(bench, name)]


def _median(bench: SamplerBench, name: str) -> float:
    return bench.final(name)[1]


def _proposal_ms(bench: SamplerBench, name: str) -> float:
    runs = _runs(bench, name)
    return 1e3 * sum(run.proposal_s for run in runs) / sum(run.trials for run in runs)


def _evaluation_ms(bench: SamplerBench) -> float:
    return 1e3 * sum(run.evaluation_s for run in bench.runs) / sum(r.evaluated for r in bench.runs)
