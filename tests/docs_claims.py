"""What the pages of docs/ say in words about stored results, and how each follows from them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sr_core.catalogue.store import Catalogue
from sr_core.latency.estimate import estimate
from sr_core.network.candidate import Family
from sr_core.network.colour import Colour
from sr_core.network.notation import from_text
from sr_core.report.tables import PAPER, best_final, set5_db
from sr_core.results.ablations import Ablation, Question, TimedRuntime
from sr_core.results.engine import EngineBench
from sr_core.results.rivals import RivalBench
from sr_core.results.samplers import SamplerBench
from sr_core.training.settings import steps_of

README = "README.md"
RESULTS, ENGINE, MEASURING = "docs/results.md", "docs/engine.md", "docs/measuring.md"


def ablation(catalogue: Catalogue, question: Question) -> Ablation:
    return next(one for one in catalogue.ablations if one.question == question)


def scores(found: Ablation, label: str) -> list[float]:
    return [run.fine_tuned_db for run in found.of(label)]


def mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def times(found: Ablation, runtime: TimedRuntime) -> list[float]:
    """Mean ms per family, in the order of the labels."""
    return [
        mean([found.median_ms(run.network, runtime) or 0.0 for run in found.of(label)])
        for label in found.labels
    ]


def rivals(catalogue: Catalogue) -> RivalBench:
    assert catalogue.rival_bench
    return catalogue.rival_bench


def samplers(catalogue: Catalogue) -> SamplerBench:
    assert catalogue.sampler_bench
    return catalogue.sampler_bench


def bench(catalogue: Catalogue) -> EngineBench:
    """The claims of docs/engine.md are about the AVX-512 machine, where all rows were timed."""
    return next(one for one in catalogue.engine_benches if one.instructions == "AVX-512")


def fine_grained_pays(catalogue: Catalogue) -> bool:
    """Every run is better than every other family's, at equal latency."""
    found = ablation(catalogue, "schemes")
    first, *others = found.labels
    ours, *theirs = times(found, "sparse")
    better = all(min(scores(found, first)) > max(scores(found, other)) for other in others)
    return better and all(ours / other - 1 <= 0.05 for other in theirs)


def half_of_the_gain(catalogue: Catalogue) -> bool:
    found = ablation(catalogue, "schemes")
    best, channel, tail = (mean(scores(found, label)) for label in found.labels)
    return 0.35 < (tail - channel) / (best - channel) < 0.65


def opposite_in_onnx(catalogue: Catalogue) -> bool:
    found = ablation(catalogue, "schemes")
    kinds: tuple[TimedRuntime, ...] = ("onnx", "onnx, aligned")
    return all(times(found, kind)[0] == max(times(found, kind)) for kind in kinds)


def ratios_overlap(catalogue: Catalogue) -> bool:
    found = ablation(catalogue, "ratios")
    first, other = (scores(found, label) for label in found.labels)
    return min(first) <= max(other) and min(other) <= max(first)


def gradual_pays(catalogue: Catalogue) -> bool:
    """Every gradual run is better than every run of one ratio, in no more time."""
    found = next(
        one for one in catalogue.ablations if one.question == "ratios" and one.colour == "luma"
    )
    first, other = found.labels
    ours, theirs = times(found, "sparse")
    return min(scores(found, first)) > max(scores(found, other)) and ours / theirs - 1 <= 0.05


def two_computers(catalogue: Catalogue) -> bool:
    measured = [*(one.processor for one in catalogue.ablations), rivals(catalogue).processor]
    return {"AMD" in one for one in measured} == {True, False} and len(set(measured)) == 2


def budgets(question: Question, option: str) -> Callable[[Catalogue], bool]:
    """The stored commands of a comparison have `option`, as far as they have a budget."""

    def holds(catalogue: Catalogue) -> bool:
        commands = [run.reproduction for run in ablation(catalogue, question).trained]
        return all(option in command for command in commands if "--budget-ms" in command)

    return holds


def largest_published_are_better(catalogue: Catalogue) -> bool:
    for scale in catalogue.scales:
        largest = max(
            (m for m in catalogue.published_models if m.scale == scale), key=lambda m: m.macs_g
        )
        ours = best_final(catalogue.finals_of_scale(scale), largest.macs_g)
        if not ours or not (set5_db(ours) or 0.0) < largest.psnr_y_db["Set5"]:
            return False
    return True


def paper_is_better(catalogue: Catalogue) -> bool:
    paper = next(m for m in catalogue.published_models if "2108.08910" in m.name)
    ours = best_final(catalogue.finals_of_scale(paper.scale), paper.macs_g)
    return ours is not None and (set5_db(ours) or 0.0) < paper.psnr_y_db["Set5"]


def tuning_raises_all(catalogue: Catalogue) -> bool:
    found = [final.descriptor.validation_psnr_y_db for final in catalogue.finals()]
    return all(one["fine_tuned"] > one["once_for_all"] for one in found)


def ours_are_faster(catalogue: Catalogue) -> bool:
    rows = rivals(catalogue).rows
    return all(row.speed_up > 1 for row in rows if row.network != row.rival)


def bayes_leads(catalogue: Catalogue) -> bool:
    found = samplers(catalogue)
    names = {run.sampler for run in found.runs}
    low, _, _ = found.final("bayes")
    return (
        max(names, key=lambda name: found.final(name)[1]) == "bayes" and low < found.final("tpe")[2]
    )


def bayes_proposes_slowest(catalogue: Catalogue) -> bool:
    """But in less time than an evaluation takes."""
    runs = samplers(catalogue).runs
    per_trial = {run.sampler: 0.0 for run in runs}
    for run in runs:
        per_trial[run.sampler] += run.proposal_s / run.trials
    slowest = max(per_trial, key=per_trial.__getitem__)
    own = [run for run in runs if run.sampler == "bayes"]
    return slowest == "bayes" and all(
        run.proposal_s / run.trials < run.evaluation_s / run.evaluated for run in own
    )


def engine_rows(catalogue: Catalogue, scheme: str, runtime: str) -> list[float]:
    """Milliseconds of ×4, 24 channels, 8 cells, two threads, by density, the densest first."""
    rows = [
        row
        for row in bench(catalogue).rows
        if (row.scale, row.channels, row.cells, row.threads) == (4, 24, 8, 2)
        and (row.scheme, row.runtime) == (scheme, runtime)
    ]
    return [row.median_ms for row in sorted(rows, key=lambda row: -row.density)]


def channel_is_faster(catalogue: Catalogue) -> bool:
    """At about a quarter of the weights, so at nearly equal MACs."""
    channel = engine_rows(catalogue, "channel", "sparse")[-1]
    _, _, quarter, _ = engine_rows(catalogue, "block", "sparse")
    return channel < quarter


def wide_gain_less(catalogue: Catalogue) -> bool:
    def dense(channels: int) -> list[float]:
        return [
            row.ratio_vs_ort_dense
            for row in bench(catalogue).rows
            if (row.runtime, row.scheme, row.channels) == ("sparse", "dense", channels)
            and (row.cells, row.threads) == (12, 2)
        ]

    return all(wide < narrow for wide, narrow in zip(dense(32), dense(24), strict=True))


def x2_had_fewer_steps(catalogue: Catalogue) -> bool:
    two, four = (steps_of(catalogue.descriptor(Family(scale))["training"]) for scale in (2, 4))
    return two < four


def third_family_is_over(catalogue: Catalogue) -> bool:
    """Of 10 ms, by at most 5 %, on the profile that the searches used."""
    found, device = ablation(catalogue, "schemes"), catalogue.device("intel-xeon-2-threads-engine")
    networks = [from_text(found.of(label)[0].network) for label in found.labels]
    first, second, third = (estimate(device, one, threads=2).total_ms for one in networks)
    return max(first, second) <= 10 < third <= 10.5


def patches_and_batches(catalogue: Catalogue) -> bool:
    used: dict[Colour, set[tuple[int, int]]] = {"rgb": set(), "luma": set()}
    for final in catalogue.finals():
        for record in final.descriptor.training:
            settings = record["settings"]
            used[final.candidate.colour].add((settings["patch"], settings["batch"]))
    return used == {"rgb": {(32, 10)}, "luma": {(24, 16)}}


def none_reaches_the_paper(catalogue: Catalogue) -> bool:
    theirs = next(one for one in catalogue.published_models if PAPER in one.name)
    ours = [
        db
        for final in catalogue.finals_of_scale(theirs.scale)
        if (db := set5_db(final)) is not None
    ]
    return max(ours) < theirs.psnr_y_db["Set5"]


CLAIMS: list[tuple[str, str, Callable[[Catalogue], bool]]] = [
    (README, "on two computers: an Intel Xeon and an AMD EPYC", two_computers),
    (README, "None of ours reaches the paper's own quality yet", none_reaches_the_paper),
    (RESULTS, "fine-tuning raises every network", tuning_raises_all),
    (
        RESULTS,
        "patches of 32 LR pixels in batches of 10, luma networks patches of 24 in batches of 16",
        patches_and_batches,
    ),
    (RESULTS, "by estimate the third family is slightly over the budget", third_family_is_over),
    (RESULTS, "the paper's own ×4 network is better than ours", paper_is_better),
    (
        RESULTS,
        "The largest published network of each scale is better",
        largest_published_are_better,
    ),
    (RESULTS, "yes, by a little, in our engine", fine_grained_pays),
    (RESULTS, "About half of the gain over *channel* comes from the last layer", half_of_the_gain),
    (RESULTS, "In ONNX Runtime the answer is the opposite", opposite_in_onnx),
    (
        RESULTS,
        "All networks have 16 channels",
        lambda c: {from_text(run.network).width for run in ablation(c, "schemes").trained} == {16},
    ),
    (RESULTS, "same budget of 7 ms", budgets("ratios", "--budget-ms 7 ")),
    (RESULTS, "the regulariser's ratios make no clear difference", ratios_overlap),
    (RESULTS, "regulariser of stage 3 finds no better ratios than one ratio", ratios_overlap),
    (RESULTS, "Gradual pruning pays", gradual_pays),
    (RESULTS, "Gradual pruning does", gradual_pays),
    (
        RESULTS,
        "five published architectures",
        lambda c: len({row.rival for row in rivals(c).rows}) == 5,
    ),
    (RESULTS, "our networks are faster at the same quality", ours_are_faster),
    (
        RESULTS,
        "The ×2 weights had fewer steps than the ×4 ones",
        x2_had_fewer_steps,
    ),
    (RESULTS, "150 networks per run", lambda c: samplers(c).evaluations == 150),
    (RESULTS, "the Gaussian process (`bayes`) leads, but its seeds overlap those of", bayes_leads),
    (RESULTS, "Its proposals are the slowest", bayes_proposes_slowest),
    (
        RESULTS,
        "the block of all 12 cells",
        lambda c: {c.supernet(Family(scale)).spec.cells for scale in c.scales} == {12},
    ),
    (ENGINE, "At equal MACs a channel-pruned network is faster", channel_is_faster),
    (ENGINE, "Networks of 32 channels gain less", wide_gain_less),
    (
        MEASURING,
        "48 crops of 192×192 pixels",
        lambda c: samplers(c).crops.startswith("48 centre crops of 192×192"),
    ),
]
"""Page, words of it, and whether they are true; numbers stand in generated blocks instead."""
