"""What `bench ablation` found, as HTML: sparse against channel pruning, stage 3 against one ratio.

Which families are rivals of the others is read from their networks. The lead compares the best of
the others with the best rival, by their means: it wins where its worst run is better than the
rival's best, of as many runs and in no more time.
"""

from __future__ import annotations

import html
from dataclasses import replace

from sr_core.network.candidate import DENSE, PATTERN_MIN_RATIO, LayerPruning
from sr_core.network.notation import from_text, to_text
from sr_core.report.tables import ablation_table, ablation_title
from sr_core.results.ablations import Ablation, Question, TimedRuntime
from sr_core.results.record import engine_title
from sr_core.ui.findings import charts, sections

_HEADINGS: dict[Question, str] = {
    "schemes": "Does fine-grained pruning beat channel pruning at equal latency?",
    "ratios": "Do the ratios of stage 3 beat one ratio everywhere at equal latency?",
}
_LEADS: dict[Question, dict[sections.Verdict, str]] = {
    "schemes": {
        "better": "Yes: fine-grained pruning pays. Best: {best}.",
        "worse": "No: channel pruning is better.",
        "level": "No clear difference.",
    },
    "ratios": {
        "better": "Yes: ratios per layer pay. Best: {best}.",
        "worse": "No: one ratio everywhere is better.",
        "level": "No clear difference.",
    },
}  # fmt: skip
_VERBS: dict[sections.Verdict, str] = {
    "better": "beats", "worse": "loses to", "level": "is level with",
}  # fmt: skip
_EQUAL_LATENCY = 0.05
"""Largest difference of two times that still counts as equal, as a share."""


def ablation_section(ablation: Ablation, note: str = "") -> str:
    """Return one question at one scale. `note` comes before what the numbers say."""
    heading = f"{_HEADINGS[ablation.question]} {ablation_title(ablation)}"
    body = _chart(ablation) + sections.markdown_table(heading, ablation_table(ablation))
    runs = [f"# {run.label}, seed {run.seed}\n{run.reproduction}" for run in ablation.trained]
    lead, text = result(ablation)
    return sections.section(
        heading, note + text, body, _conditions(ablation), lead=html.escape(lead),
        more=sections.commands("Reproduce the runs", runs),
    )  # fmt: skip


def result(ablation: Ablation) -> tuple[str, str]:
    """Say what the numbers say, whoever wins: in a few words, and in sentences."""
    is_rival = _is_channel if ablation.question == "schemes" else _is_uniform
    rivals = [label for label in ablation.labels if is_rival(ablation.of(label)[0].network)]
    ours = [label for label in ablation.labels if label not in rivals]
    if not rivals or not ours:
        return "", "There is nothing to compare yet: all families are of one kind."
    best, rival = (
        max(labels, key=lambda label: sections.mean(_scores(ablation, label)))
        for labels in (ours, rivals)
    )
    lead = _LEADS[ablation.question][_against(ablation, best, rival)].format(best=best)
    pairs = [_sentence(ablation, label, rival) for label in ours]
    pairs.append(_spread(ablation, rival, ours))
    theirs = _scores(ablation, rival)
    if any(sections.verdict(_scores(ablation, label), theirs) == "level" for label in ours):
        pairs.append("Level: the ranges of the runs overlap.")
    return lead, " ".join(pairs)


def _against(ablation: Ablation, label: str, rival: str) -> sections.Verdict:
    """Judge a family against its rival at equal latency.

    It is better only where it is not slower, worse only where it is not faster. It is level where
    one has more runs, whose range is wider by that alone.
    """
    if len(ablation.of(label)) != len(ablation.of(rival)):
        return "level"
    verdict = sections.verdict(_scores(ablation, label), _scores(ablation, rival))
    slower = _slower(ablation, label, rival)
    unfair = slower if verdict == "better" else -slower
    return "level" if unfair > _EQUAL_LATENCY else verdict


def _sentence(ablation: Ablation, label: str, rival: str) -> str:
    ours, theirs = _scores(ablation, label), _scores(ablation, rival)
    slower = _slower(ablation, label, rival)
    pace = "slower" if slower > 0 else "faster"
    late = f", {abs(slower):.1%} {pace}"
    if abs(slower) > _EQUAL_LATENCY:
        late = f", but not at equal latency: it is {abs(slower):.0%} {pace}"
    return (
        f"{label.capitalize()} {_VERBS[sections.verdict(ours, theirs)]} {rival}: "
        f"{sections.mean(ours):.2f} dB in {_ms(ablation, label, 'sparse'):.1f} ms against "
        f"{sections.mean(theirs):.2f} dB in {_ms(ablation, rival, 'sparse'):.1f} ms{late} (ONNX "
        f"Runtime, widths aligned: {_ms(ablation, label, 'onnx, aligned'):.1f} and "
        f"{_ms(ablation, rival, 'onnx, aligned'):.1f} ms)."
    )


def _spread(ablation: Ablation, rival: str, ours: list[str]) -> str:
    engine = engine_title(ablation.runtimes)
    runs, *_, most = sorted(len(ablation.of(label)) for label in (rival, *ours))
    if runs != most:
        return (
            f"Fine-tuned, times in {engine}, means of {runs} to {most} runs; where a family has "
            "more runs than another, there is no verdict."
        )
    if runs == 1:
        return f"Fine-tuned, times in {engine}; one run of a family: its spread is not known."
    return f"Fine-tuned, times in {engine}, means of {runs} runs each."


def _scores(ablation: Ablation, label: str) -> list[float]:
    return [run.fine_tuned_db for run in ablation.of(label)]


def _ms(ablation: Ablation, label: str, runtime: TimedRuntime) -> float:
    """Return the mean over the networks of a family. Every network is timed in every runtime."""
    networks = dict.fromkeys(run.network for run in ablation.of(label))
    return sections.mean([ablation.median_ms(network, runtime) or 0.0 for network in networks])


def _slower(ablation: Ablation, label: str, rival: str) -> float:
    """Return how much longer a family takes than its rival in our engine, as a share."""
    return _ms(ablation, label, "sparse") / _ms(ablation, rival, "sparse") - 1


def _prunings(network: str) -> list[LayerPruning]:
    """Return how layers are pruned, the input skip apart: no comparison is about it."""
    layers = from_text(network).layers()
    return [p for name, p in layers if p.scheme != "dense" and name != "input_skip"]


def _is_channel(network: str) -> bool:
    """Return whether all cells are pruned by channels.

    The tail, whose channels are pixels, takes other schemes or none.
    """
    cells = replace(from_text(network), tail=DENSE)
    return all(pruning.scheme == "channel" for pruning in _prunings(to_text(cells)))


def _is_uniform(network: str) -> bool:
    """Return whether there is one ratio, but for pattern layers, which lose 5/9 at least."""
    return len({p.ratio for p in _prunings(network) if p != _LEAST_PATTERN}) <= 1


_LEAST_PATTERN = LayerPruning("pattern", PATTERN_MIN_RATIO)


def _chart(ablation: Ablation) -> str:
    rows: list[tuple[str, list[charts.Mark]]] = []
    for label in ablation.labels:
        marks: list[charts.Mark] = []
        for run in ablation.of(label):
            before_db, after_db = run.once_for_all_db, run.fine_tuned_db
            marks.append(charts.Mark(before_db, "before", f"{before_db:.2f} dB"))
            marks.append(charts.Mark(after_db, "after", f"{after_db:.2f} dB, seed {run.seed}"))
        rows.append((label, marks))
    legend: dict[charts.Look, str] = {"before": "once for all", "after": "fine-tuned, each run"}
    about = "; ".join(
        f"{label} {sections.span(_scores(ablation, label), 2)} dB fine-tuned"
        for label in ablation.labels
    )
    return charts.dots(rows, legend, "PSNR-Y, dB on the validation crops:", about)


def _conditions(ablation: Ablation) -> str:
    fewest = min(time.n for row in ablation.timed for time in row.times)
    steps = [run.steps for run in ablation.trained]
    return (
        f"{ablation.processor}, {ablation.cores} cores, {ablation.threads} thread(s); "
        f"{ablation.runtimes['sparse']} and {ablation.runtimes['onnx']}, fp32; "
        f"{ablation.output[0]}×{ablation.output[1]} output, batch 1; medians of at least {fewest} "
        f"frames, networks in turns, drift {ablation.drift:+.0%}; {ablation.date}. Fine-tuned for "
        f"{sections.span(steps, 0)} steps. The families are compared on the validation crops "
        f"(SHA-256 {ablation.validation_crops_sha256[:8]}); the benchmark sets are for reporting. "
        f"Measured by: python -m sr_core bench ablation {ablation.question} LABEL=RUN ..."
    )
