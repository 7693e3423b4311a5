"""Tab Prune: block per cell, scheme and ratio per layer; cost at once, quality right after."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from typing import Any

import gradio as gr

from sr_core.errors import UpFrontError
from sr_core.latency.profile import RuntimeId
from sr_core.latency.savings import SCHEMES, SchemeTiming, scheme_rows, time_schemes, with_scheme
from sr_core.machine import processor
from sr_core.network.blocks import Scheme
from sr_core.network.candidate import (
    MAX_RATIO,
    PATTERN_MIN_RATIO,
    WIDTHS,
    Candidate,
    LayerPruning,
)
from sr_core.runtime.choice import runtime_name
from sr_core.ui import cards, finals, masks, quick_look
from sr_core.ui.components.layer_table import LayerTable
from sr_core.ui.findings import engine as engine_facts
from sr_core.ui.pricing import Pricing, table_prices
from sr_core.ui.target import Updates
from sr_core.ui.titles import title
from sr_core.ui.view import Link, View

EDITED = "edited"
_HELP = """Pick a block per cell, and a scheme and ratio per layer; the costs follow at once, and \
the PSNR of a real run a moment later. No fine-tuning is needed: the supernet was trained with all \
of them. **Channel** removes whole channels inside a block (its last layer stays dense), **block** \
removes positions that 4 output channels share, **pattern** keeps 4 of 9 taps of a 3×3 kernel \
(1×1 layers get block) and so removes at least 56 %, **unstructured** removes single weights."""
_BAND = (
    "Estimated savings are ratios of two estimates, with the 90 % interval that follows from "
    "theirs if their errors are independent. ONNX Runtime has no sparse convolution: masks save "
    "nothing there."
)
_NOT_TIMED = (
    "Whole network of these blocks and channels, each scheme at the ratio above. Press the button "
    "to measure them here: dense and pruned networks take turns, in each runtime."
)


class Prune:
    """Components of the tab, and what they show for a state of the page."""

    def __init__(self, pricing: Pricing, look: quick_look.QuickLook) -> None:
        self._pricing = pricing
        self._catalogue = pricing.catalogue
        self._look = look

    def build(self, link: Link) -> None:
        """Lay out the tab."""
        current = link.current
        gr.Markdown(_HELP)
        with gr.Row():
            self.preset = gr.Dropdown(
                self._presets(link.view.scale), value=self._preset(current), label="Network",
                elem_id="preset", min_width=220, scale=3,
            )  # fmt: skip
            self.width = gr.Radio(
                self._widths(link.view.scale), value=current.width, label="Channels C",
                elem_id="width", min_width=210, scale=2,
            )  # fmt: skip
            self.scheme = gr.Dropdown(
                ["dense", *SCHEMES], value="block", label="Scheme for all layers",
                elem_id="scheme", min_width=150, scale=2,
            )  # fmt: skip
            self.ratio = gr.Slider(
                0, MAX_RATIO * 100, 50, step=1, label="Weights removed (%)", elem_id="ratio",
                min_width=180, scale=3,
            )  # fmt: skip
            self.apply = gr.Button(
                "Apply to all layers", elem_id="apply", size="md", min_width=130, scale=1
            )
        self.table = LayerTable(
            current, elem_id="layers", price=self.price, mask=self.mask, view=link.view.to_json()
        )
        with gr.Row():
            with gr.Column(scale=3, min_width=320):
                gr.Markdown("### Quality of this network, measured on the sample crops")
                self.quality = gr.HTML(elem_id="quality", min_height=120)
                self.pick = gr.Button("Add to Compare", elem_id="pick-edited", size="md")
            with gr.Column(scale=2, min_width=320):
                self.picture = gr.ImageSlider(
                    label="Bicubic | this network", format="png", interactive=False,
                    max_height=380, elem_id="picture", buttons=["fullscreen"],
                )  # fmt: skip
        gr.Markdown("### What each scheme would save here")
        self.schemes = gr.HTML(self._schemes(link.view, current, 50), elem_id="schemes")
        self.time = gr.Button("Measure them here now", elem_id="time-schemes", size="md")
        if bench := self._catalogue.engine_bench:
            with gr.Accordion(
                "Our engine beside ONNX Runtime: the stored benchmark", open=False,
                elem_id="engine-bench",
            ):  # fmt: skip
                gr.HTML(engine_facts.bench_tables(bench), elem_id="engine-table")
        with gr.Accordion("As JSON (for --model on the command line)", open=False):
            self.json = gr.Textbox(
                _pretty(current), label="Candidate", lines=6, max_lines=12, elem_id="json",
                buttons=["copy"],
            )  # fmt: skip
            self.load = gr.Button("Load this JSON", elem_id="load")

    def show_view(self, link: Link, percent: float | None) -> Updates:
        """Another device, size or scale."""
        return {
            self.preset: gr.update(
                choices=self._presets(link.view.scale), value=self._preset(link.current)
            ),
            self.width: gr.update(choices=self._widths(link.view.scale), value=link.current.width),
            self.table: gr.update(value=link.current.to_json(), view=link.view.to_json()),
            self.schemes: self._schemes(link.view, link.current, percent),
            self.json: _pretty(link.current),
        }

    def show_current(self, link: Link, percent: float | None) -> Updates:
        """Another network, which the table does not show yet."""
        return {
            self.table: link.current.to_json(),
            **self.show_edited(link, percent),
        }

    def show_edited(self, link: Link, percent: float | None) -> Updates:
        """The network that the table shows already."""
        return {
            self.preset: self._preset(link.current),
            self.width: link.current.width,
            self.json: _pretty(link.current),
            self.schemes: self._schemes(link.view, link.current, percent),
        }

    def show_quality(self, candidate: Candidate) -> Updates:
        """A real evaluation of `candidate`, and one crop enlarged by it."""
        score = self._look.score(candidate)
        views = (quick_look.bicubic_crops(candidate.scale)[1], score.picture)
        facts = cards.quick_facts(score) + finals.line(self._catalogue, candidate)
        return {self.quality: facts, self.picture: views}

    def show_timings(self, link: Link, percent: float | None) -> Updates:
        """Time dense and pruned networks of these blocks, in turns."""
        ratios = _ratios(percent)
        threads = link.view.threads or os.cpu_count() or 1
        timings = time_schemes(
            self._catalogue.supernet(link.current.scale), link.current, ratios,
            library=self._catalogue.engine, threads=threads,
        )  # fmt: skip
        about = _timed(timings, self._runtimes(), threads, link.current)
        return {self.schemes: self._schemes(link.view, link.current, percent, timings, about)}

    def price(self, question: dict[str, Any]) -> dict[str, Any]:
        """The table asks for its numbers."""
        return table_prices(self._pricing, question)

    def mask(self, question: dict[str, Any]) -> dict[str, Any]:
        """The table asks for the picture of a layer's mask."""
        try:
            candidate = self._catalogue.check(Candidate.from_json(question.get("candidate")))
            supernet = self._catalogue.supernet(candidate.scale)
            return masks.layer_view(supernet, candidate, str(question.get("layer")))
        except UpFrontError as error:
            return {"error": str(error)}

    def _presets(self, scale: int) -> list[tuple[str, str]]:
        models = self._catalogue.models(scale)
        return [*((m.title, m.name) for m in models), ("Edited below", EDITED)]

    def _preset(self, candidate: Candidate) -> str:
        model = self._catalogue.listed(candidate)
        return model.name if model else EDITED

    def _widths(self, scale: int) -> list[int]:
        return [w for w in WIDTHS if w <= self._catalogue.supernet(scale).spec.width]

    def _schemes(
        self,
        view: View,
        candidate: Candidate,
        percent: float | None,
        timings: Sequence[SchemeTiming] = (),
        about: str = "",
    ) -> str:
        """The table of savings of every scheme on this network's blocks and width."""
        profile = self._pricing.profile(view)
        rows = scheme_rows(
            candidate, _ratios(percent), [profile], timings, output=view.size,
            threads=view.threads, sparsity_share=view.share,
        )  # fmt: skip
        stored: dict[tuple[Scheme, RuntimeId], float] = {}
        remarks = [_BAND, about or _NOT_TIMED]
        if (bench := self._catalogue.engine_bench) and not timings:
            networks: dict[Scheme, Candidate] = {
                row.scheme: with_scheme(candidate, row.scheme, row.ratio) for row in rows
            }
            stored = engine_facts.stored_savings(bench, networks, view.threads)
            if stored:
                remarks.append(engine_facts.elsewhere(bench, view.threads))
        return cards.scheme_table(rows, profile, self._runtimes(), stored, " ".join(remarks))

    def _runtimes(self) -> dict[RuntimeId, str]:
        """What computes here: our engine, if there is one, and ONNX Runtime."""
        library = self._catalogue.engine
        ours: dict[RuntimeId, str] = {"sparse": runtime_name(library)} if library else {}
        return {**ours, "onnx": runtime_name(None)}


def _ratios(percent: float | None) -> dict[Scheme, float]:
    """The ratio of every scheme for "weights removed"; pattern cannot remove less than 5/9."""
    ratio = min(MAX_RATIO, max(0.0, (percent or 0) / 100))
    return {s: max(ratio, PATTERN_MIN_RATIO) if s == "pattern" else ratio for s in SCHEMES}


def _timed(
    timings: Sequence[SchemeTiming],
    runtimes: Mapping[RuntimeId, str],
    threads: int,
    candidate: Candidate,
) -> str:
    ratios = dict.fromkeys(f"{timing.scheme} {timing.ratio:.0%}" for timing in timings)
    dense: dict[RuntimeId, float] = {t.runtime_id: t.dense_median_ms for t in timings}
    took = ", ".join(f"{ms:.1f} ms in {runtimes[name]}" for name, ms in dense.items())
    return (
        f"{title(with_scheme(candidate, 'dense', 0))}; {', '.join(ratios)}. Measured just now on "
        f"the computer that serves this page ({processor()}, fp32, {threads} thread(s), 1280×720 "
        f"output): median of {timings[0].runs} frames, networks and runtimes in turns; the dense "
        f"network took {took}, and each saving is against it in the same runtime."
    )


def applied(candidate: Candidate, scheme: Scheme, percent: float | None) -> Candidate:
    """One scheme and ratio for every layer that can take it; the tail stays as it is."""
    wish = LayerPruning(scheme, max(lowest_percent(scheme), percent or 0) / 100)
    cells = tuple(map(wish.applied_to, candidate.cells))
    return Candidate(candidate.scale, candidate.width, cells, candidate.tail)


def lowest_percent(scheme: str) -> int:
    """Of a layer's weights: a pattern cannot remove less than 5 of 9 taps."""
    return math.ceil(PATTERN_MIN_RATIO * 100) if scheme == "pattern" else 0


def _pretty(candidate: Candidate) -> str:
    cells = ",\n  ".join(json.dumps(cell.to_json()) for cell in candidate.cells)
    tail = json.dumps(candidate.tail.to_json())
    return (
        f'{{"scale": {candidate.scale}, "width": {candidate.width}, "cells": [\n  {cells}],\n'
        f' "tail": {tail}}}'
    )
