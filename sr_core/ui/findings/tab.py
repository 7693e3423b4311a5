"""Tab Findings: what the stored comparisons say, computed from their data, whoever wins."""

from __future__ import annotations

import html
from collections.abc import Iterator

import gradio as gr

from sr_core.catalogue.final import Final
from sr_core.catalogue.store import Catalogue
from sr_core.network.candidate import Family
from sr_core.results.ablations import QUESTIONS, Question
from sr_core.ui import finals
from sr_core.ui.findings import charts, sections
from sr_core.ui.findings.ablations import ablation_section
from sr_core.ui.findings.engine import engine_section
from sr_core.ui.findings.rivals import rival_section
from sr_core.ui.findings.search import sampler_section, worker_section
from sr_core.ui.state import Panel
from sr_core.ui.view import Link

_HELP = """What was compared, and what came out of it. The sentences are computed from the \
stored measurements below them and can say either; nothing here was measured by this page."""
NOTHING = (
    "<p>Nothing is stored yet: <code>python -m sr_core bench ablation</code>, <code>bench "
    "samplers</code>, <code>bench workers</code>, <code>bench rivals</code> and <code>bench "
    "engine</code> with "
    "<code>--store</code>, and <code>publish-final</code>, make what is shown here.</p>"
)
_FINALS = "What does fine-tuning add to once-for-all weights?"
_EARLIER = "(Of earlier weights than the shipped supernet's.) "


class Findings(Panel):
    """The tab, which never changes."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue

    def build(self, link: Link) -> None:
        """Lay out the tab."""
        gr.Markdown(_HELP)
        gr.HTML("".join(answers(self._catalogue)) or NOTHING, elem_id="findings")


def answers(catalogue: Catalogue) -> Iterator[str]:
    """Yield the HTML of every question that stored files answer."""
    schemes, ratios = ("".join(_ablations(catalogue, question)) for question in QUESTIONS)
    yield schemes
    if models := catalogue.finals():
        yield finals_section(models)
    yield ratios
    if bench := catalogue.sampler_bench:
        yield sampler_section(
            bench, _note(catalogue, Family(bench.scale, bench.colour), bench.weights_sha256)
        )
    if bench := catalogue.worker_bench:
        yield worker_section(
            bench, _note(catalogue, Family(bench.scale, bench.colour), bench.weights_sha256)
        )
    if catalogue.rival_bench:
        yield rival_section(catalogue.rival_bench)
    if catalogue.engine_benches:
        yield engine_section(catalogue.engine_benches)


def _ablations(catalogue: Catalogue, question: Question) -> Iterator[str]:
    for ablation in catalogue.ablations:
        if ablation.question == question:
            family = Family(ablation.scale, ablation.colour)
            note = _note(catalogue, family, ablation.supernet_sha256)
            yield ablation_section(ablation, note)


def _note(catalogue: Catalogue, family: Family, supernet_sha256: str) -> str:
    """Return what has to be said before a result of these weights, if anything."""
    digest = family in catalogue.families and catalogue.supernet(family).sha256
    return "" if digest == supernet_sha256 else _EARLIER


def finals_section(models: list[Final]) -> str:
    """Show every final model beside its once-for-all self."""
    header = ["Fine-tuned model", "Scale", "Kept parameters"]
    images = list(dict.fromkeys(score.images for final in models for score in finals.scores(final)))
    rows: list[list[str]] = []
    for final in models:
        by_images = {score.images: score for score in finals.scores(final)}
        cells = [_cell(by_images.get(name)) for name in images]
        name = f"<code>{html.escape(final.name)}</code>"
        rows.append(
            [name, final.candidate.family.title, f"{final.params_kept / 1e3:.1f} K", *cells]
        )
    header += [f"{name}, dB: once for all → fine-tuned" for name in images]
    figures = [
        _chart([one for one in models if one.candidate.family == family])
        for family in _families(models)
    ]
    body = "".join(figures) + sections.table(_FINALS, header, rows)
    lines = [f"# {final.name}\n{final.descriptor.reproduction}" for final in models]
    return sections.section(
        _FINALS, finals_result(models), body, _conditions(models),
        more=sections.commands("Reproduce the fine-tuned models", lines),
    )  # fmt: skip


def _families(models: list[Final]) -> list[Family]:
    """Return the families of some final models, each once."""
    return list(dict.fromkeys(final.candidate.family for final in models))


def finals_result(models: list[Final]) -> str:
    """Say the gains per family on the validation crops, be they losses."""
    texts: list[str] = []
    for family in reversed(_families(models)):
        scores = [
            next(iter(finals.scores(final)), None)
            for final in models
            if final.candidate.family == family
        ]
        gains = [score.gain_db for score in scores if score and score.gain_db is not None]
        if gains:
            better = sum(gain > 0 for gain in gains)
            texts.append(
                f"{family.title}: fine-tuning changes PSNR-Y by {sections.span(gains, 2, '+')} dB "
                f"(mean {sections.mean(gains):+.2f} dB) on the validation crops; {better} of "
                f"{len(gains)} networks become better."
            )
    return " ".join(texts) or "No model was measured before and after fine-tuning."


def _cell(score: finals.Score | None) -> str:
    if score is None:
        return "not measured"
    if score.gain_db is None:
        return f"– → {score.after_db:.2f}"
    return f"{score.before_db:.2f} → {score.after_db:.2f} ({score.gain_db:+.2f})"


def _chart(models: list[Final]) -> str:
    """Draw final models of one family: a gain would hardly show beside another's decibels."""
    rows: list[tuple[str, list[charts.Mark]]] = []
    for final in models:
        score = next((one for one in finals.scores(final) if one.images == finals.CROPS), None)
        if score and score.before_db is not None:
            before = charts.Mark(score.before_db, "before", f"{score.before_db:.2f} dB")
            after = charts.Mark(score.after_db, "after", f"{score.after_db:.2f} dB")
            rows.append((final.name, [before, after]))
    if not rows:
        return ""
    legend: dict[charts.Look, str] = {"before": "once for all", "after": "fine-tuned"}
    about = "; ".join(f"{name} {marks[0].text} to {marks[1].text}" for name, marks in rows)
    family = models[0].candidate.family.title
    return charts.dots(rows, legend, f"{family}, PSNR-Y, dB on the validation crops:", about)


def _conditions(models: list[Final]) -> str:
    records = [record for final in models for record in final.descriptor.training]

    def values_of(field: str) -> str:
        return ", ".join(sorted({str(record[field]) for record in records if record.get(field)}))

    crops = {final.descriptor.validation_crops_sha256[:8] for final in models}
    what = [
        f"{len(models)} models, not repeated, so their spread is not known",
        values_of("processor"), values_of("torch"), values_of("started"),
        f"validation crops SHA-256 {', '.join(sorted(crops))}",
    ]  # fmt: skip
    return (
        f"{'; '.join(text for text in what if text)}. The benchmark sets chose nothing. Made by "
        "python -m sr_core finetune or prune, then publish-final; the commands are below."
    )
