"""Sentences with stored numbers, in Markdown; `report/pages.py` puts them into the pages of docs/.

A number of precomputed/ that stands in prose is written here, so that it follows the results.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from statistics import median
from typing import TYPE_CHECKING

from sr_core.catalogue.store import Catalogue
from sr_core.latency.estimate import estimate
from sr_core.network.notation import from_text
from sr_core.report.tables import ablation_title, best_final, set5_db
from sr_core.results.ablations import Ablation
from sr_core.results.record import engine_title
from sr_core.results.rivals import RivalBench
from sr_core.results.samplers import WorkerBench
from sr_core.rivals.weights import Rival
from sr_core.training.settings import steps_of

if TYPE_CHECKING:  # pandas and pyarrow load only where a front is read
    from sr_core.catalogue.fronts import Front

_LEVEL_DB = 0.005
"""Differences that two decimals do not show."""


def training_facts(catalogue: Catalogue) -> str:
    """Say how long the stored weights were trained."""
    facts = [
        f"The {one.title} supernet was trained for "
        f"{steps_of(catalogue.descriptor(one)['training']):,} steps."
        for one in reversed(catalogue.families)
    ]
    for family in reversed(catalogue.families):
        runs = [final.descriptor.training for final in catalogue.finals(family)]
        if runs:
            steps = span([steps_of(records) for records in runs], 0)
            from_stage_3 = sum(
                "sr_core prune" in record["command"] for run in runs for record in run
            )
            facts.append(
                f"The {len(runs)} final models of {family.title} had {steps} steps of fine-tuning "
                f"each; {from_stage_3 or 'none'} of them came from stage 3."
            )
    return bullets(facts)


def published_facts(catalogue: Catalogue) -> str:
    """Say in how many rows of `published_table` our network is above the published score."""
    facts: list[str] = []
    for scale in reversed(catalogue.scales):
        pairs = [
            (ours, theirs.psnr_y_db["Set5"])
            for theirs in catalogue.published_models
            if theirs.scale == scale and "Set5" in theirs.psnr_y_db
            for match in [best_final(catalogue.finals_of_scale(scale), theirs.macs_g)]
            if match and (ours := set5_db(match)) is not None
        ]
        if pairs:
            above = sum(ours > theirs for ours, theirs in pairs)
            facts.append(
                f"At ×{scale} our network of no more MACs is above the published Set5 score in "
                f"{above} of {len(pairs)} rows."
            )
    return bullets(facts)


def ablation_facts(ablation: Ablation) -> str:
    """Compare the first family with each of the others: quality, and time in our engine."""
    first, *others = ablation.labels
    facts: list[str] = []
    for other in others:
        ours, theirs = (_fine_tuned_db(ablation, label) for label in (first, other))
        gain_db = _mean(ours) - _mean(theirs)
        slower = _ours_ms(ablation, first) / _ours_ms(ablation, other) - 1
        facts.append(
            f"*{first}* {_difference(gain_db)} *{other}* on the validation crops (measured, "
            f"means of {len(ours)} and {len(theirs)} runs)."
        )
        if min(ours) > max(theirs):
            facts.append(f"Every run of *{first}* is better than every run of *{other}*.")
        elif max(ours) < min(theirs):
            facts.append(f"Every run of *{first}* is worse than every run of *{other}*.")
        else:
            facts.append(f"The ranges of the runs of *{first}* and *{other}* overlap.")
        facts.append(
            f"In {engine_title(ablation.runtimes)} *{first}* takes {abs(slower):.1%} "
            f"{'more' if slower > 0 else 'less'} time than *{other}*."
        )
    if ablation.question == "ratios":
        ratios = [100 * ratio for run in ablation.of(first) for ratio in _ratios(run.network)]
        facts.append(f"The ratios of *{first}* are {span(ratios, 0)} % per layer.")
    steps = span([run.steps for run in ablation.trained], 0)
    facts.append(
        f"Each run had {steps} steps after the supernet's. The sitting drifted by "
        f"{abs(ablation.drift):.1%}."
    )
    return bullets(facts)


def findings(catalogue: Catalogue) -> str:
    """Say what the stored comparisons came to, a sentence each, the schemes first."""
    lines = [
        _finding(one)
        for one in sorted(catalogue.ablations, key=lambda a: a.question, reverse=True)
        if len(one.labels) > 1
    ]
    if bench := catalogue.rival_bench:
        rows = [row for row in bench.rows if row.threads == max(r.threads for r in bench.rows)]
        ours = [row.speed_up for row in rows if row.network != row.rival]
        lines.append(
            f"At no less quality, our networks are {span(ours, 1)} times as fast as "
            f"{len({row.rival for row in rows})} published architectures that we trained again "
            f"(ours in {engine_title(bench.runtimes)}, theirs in ONNX Runtime, "
            f"{rows[0].threads} threads)."
        )
    return bullets(lines)


def _finding(ablation: Ablation) -> str:
    """Compare the first family with the nearest of the others."""
    first, *others = ablation.labels
    what, against = {
        "schemes": ("fine-grained pruning", "the best channel-pruned network"),
        "ratios": (f"a ratio for each layer ({first})", "one ratio everywhere"),
    }[ablation.question]
    ours = _fine_tuned_db(ablation, first)
    theirs = max((_fine_tuned_db(ablation, other) for other in others), key=_mean)
    gain_db = _mean(ours) - _mean(theirs)
    if min(ours) <= max(theirs) and min(theirs) <= max(ours):
        result = "makes no clear difference to"
    else:
        result = f"is {'better' if gain_db > 0 else 'worse'} than"
    return (
        f"At equal time in {engine_title(ablation.runtimes)}, {what} {result} {against} "
        f"({gain_db:+.2f} dB, {ablation_title(ablation)}, validation crops, {len(ours)} seeds "
        "each)."
    )


def _difference(gain_db: float) -> str:
    if abs(gain_db) < _LEVEL_DB:
        return "is level with"
    return f"is {abs(gain_db):.2f} dB {'above' if gain_db > 0 else 'below'}"


def _fine_tuned_db(ablation: Ablation, label: str) -> list[float]:
    return [run.fine_tuned_db for run in ablation.of(label)]


def _ours_ms(ablation: Ablation, label: str) -> float:
    networks = dict.fromkeys(run.network for run in ablation.of(label))
    return _mean([ablation.median_ms(network, "sparse") or 0.0 for network in networks])


def _ratios(network: str) -> Iterable[float]:
    """Yield the ratios that stage 3 sets: not that of the input skip."""
    layers = from_text(network).layers()
    return (p.ratio for name, p in layers if p.scheme != "dense" and name != "input_skip")


def rival_facts(bench: RivalBench, rivals: Sequence[Rival], catalogue: Catalogue) -> str:
    """Say the speed beside the rivals, how long each side was trained, and published scores."""
    facts: list[str] = []
    engine = engine_title(bench.runtimes)
    for threads in sorted({row.threads for row in bench.rows}, reverse=True):
        rows = [row for row in bench.rows if row.threads == threads]
        ours = [row.speed_up for row in rows if row.network != row.rival]
        rivals_in_engine = [
            row.speed_up for row in rows if row.network == row.rival and row.runtime == "sparse"
        ]
        where = f"On {threads} thread{'s' * (threads > 1)}"
        if ours:
            facts.append(
                f"{where} our networks in {engine} are {span(ours, 2)} times as fast as the "
                "rival in ONNX Runtime (measured)."
            )
        facts.append(
            f"{where} the rivals run {span(rivals_in_engine, 2)} times as fast in {engine}."
        )
    facts.append(f"Each rival had {span(list(bench.rival_steps.values()), 0)} steps from scratch.")
    for scale, steps in bench.supernet_steps.items():
        facts.append(f"Our {_times(scale)} networks share a supernet of {steps:,} steps.")
    if bench.fine_tuning_steps:
        own = span(list(bench.fine_tuning_steps.values()), 0)
        facts.append(f"The final models among them had {own} steps of their own.")
    return bullets(
        [*facts, *_beside_estimates(bench, catalogue), *_beside_authors(rivals, catalogue)]
    )


def _beside_estimates(bench: RivalBench, catalogue: Catalogue) -> Iterator[str]:
    """Say what our final models took, beside the estimates that chose them."""
    device = next((one for one in catalogue.devices if one.id == bench.device), None)
    rows = [row for row in bench.rows if row.network in bench.fine_tuning_steps]
    if device is None or not rows:
        return
    factors: list[float] = []
    above = 0
    for row in {(row.network, row.threads): row for row in rows}.values():
        guess = estimate(device, catalogue.candidate_by_name(row.network), threads=row.threads)
        factors.append(row.median_ms / guess.total_ms)
        above += row.median_ms > guess.high_ms
    yield (
        f"The final models took {span(factors, 2)} times their estimates in this sitting; "
        f"{above} of {len(factors)} times lie above the interval."
    )


def _beside_authors(rivals: Sequence[Rival], catalogue: Catalogue) -> Iterator[str]:
    """Say what our training of a published shape gives, beside what its authors had."""
    models = {(model.name.lower(), model.scale): model for model in catalogue.published_models}
    for rival in rivals:
        theirs = models.get((rival.arch.name, rival.descriptor.scale))
        ours_db = next((q.psnr_y for q in rival.quality if q.image_set == "Set5"), None)
        if theirs and ours_db is not None and (db := theirs.psnr_y_db.get("Set5")):
            yield (
                f"Our training of the {theirs.name} shape gives {ours_db:.2f} dB on Set5 "
                f"(measured). Its authors published {db:.2f} dB."
            )


def front_facts(catalogue: Catalogue) -> str:
    """Say how many networks the stored fronts hold, and which samplers proposed them."""
    facts: list[str] = []
    for family in reversed(catalogue.families):
        if front := catalogue.front(family):
            facts += _one_front(front)
    return bullets(facts)


def _one_front(front: Front) -> Iterator[str]:
    family, runs, rows = front.header.family.title, front.header.runs, front.rows
    counts: dict[str, int] = {}
    for run in runs:
        counts[run.sampler] = counts.get(run.sampler, 0) + run.evaluated
    samplers = ", ".join(f"`{sampler}` {n:,}" for sampler, n in counts.items())
    yield (
        f"The {family} front holds {len(rows):,} networks of {len(runs)} runs, measured on "
        f"{front.header.crops.n} validation crops: {samplers}."
    )
    of_run: dict[int, list[float]] = {}
    for run, seconds in zip(rows["run"], rows["evaluation_s"], strict=True):
        of_run.setdefault(run, []).append(seconds)
    medians_s = [median(times) for times in of_run.values()] or [0.0]
    yield (
        f"At {family} one evaluation took {span(medians_s, 2)} s (measured, medians of the runs)."
    )
    count = int(rows["psnr_y_set5"].notna().to_numpy().sum())
    yield f"At {family} {count or 'none'} of them were also measured on the benchmarks."


def worker_facts(bench: WorkerBench) -> str:
    """Say how workers add up."""
    most = bench.rows[-1].workers
    return bullets([
        f"{most} workers of one thread each make {bench.speed_up:.2f} times as many trials a "
        f"second as one (measured; {bench.storage}, {bench.cores} cores)."
    ])  # fmt: skip


def _times(scale: str) -> str:
    """Return `×4` for `x4`."""
    return scale.replace("x", "×")


def bullets(facts: Iterable[str]) -> str:
    """Return a Markdown list."""
    return "\n".join(f"- {fact}" for fact in facts)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def span(values: Sequence[float], decimals: int) -> str:
    """Return text such as `0.12 to 0.45`, or one number where both are the same."""
    low, high = (f"{value:,.{decimals}f}" for value in (min(values), max(values)))
    return low if low == high else f"{low} to {high}"
