"""Tab Prune: block per cell, scheme and ratio per layer; cost at once, quality right after."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import gradio as gr
import onnxruntime

from sr_core.candidate import (
    MAX_RATIO,
    PATTERN_MIN_RATIO,
    WIDTHS,
    Candidate,
    LayerPruning,
    Scheme,
)
from sr_core.errors import UpFrontError
from sr_core.latency.schemes import SCHEMES, SchemeTiming, time_schemes, with_scheme
from sr_core.machine import processor
from sr_core.ui import cards, masks, quick
from sr_core.ui.components.layer_table import LayerTable
from sr_core.ui.pricing import Pricing, cost_of, table_prices
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
    "Estimated savings are ratios of two estimates; a bracket is the range of the assumption "
    "alone, the device's own error not included."
)
_NOT_TIMED = (
    "Whole network of these blocks and channels, each scheme at the ratio on the left. Measured "
    "times appear when you press the button: dense and pruned networks take turns."
)


class Prune:
    """Components of the tab, and what they show for a state of the page."""

    def __init__(self, pricing: Pricing, look: quick.QuickLook) -> None:
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
        self.time = gr.Button("Measure them in ONNX Runtime now", elem_id="time-schemes", size="md")
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
        views = (quick.bicubic_crops(candidate.scale)[1], score.picture)
        return {self.quality: cards.quick_facts(score), self.picture: views}

    def show_timings(self, link: Link, percent: float | None) -> Updates:
        """Time dense and pruned networks of these blocks, in turns."""
        ratios = _ratios(percent)
        threads = link.view.threads or os.cpu_count() or 1
        timings = time_schemes(
            self._catalogue.supernet(link.current.scale), link.current, ratios, threads=threads
        )
        about = _timed(timings, threads, link.current)
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
        dense = with_scheme(candidate, "dense", 0)
        dense_ms, dense_macs = self._pricing.estimate(view, dense).total_ms, cost_of(dense)
        saved: dict[Scheme, float] = {}
        modelled: dict[Scheme, tuple[float, float, float]] = {}
        for scheme, ratio in _ratios(percent).items():
            pruned = with_scheme(candidate, scheme, ratio)
            saved[scheme] = 1 - cost_of(pruned).macs_kept / dense_macs.macs_kept
            shares = [
                1 - self._pricing.estimate(replace(view, share=share), pruned).total_ms / dense_ms
                for share in (view.share, *self._bounds(view))
            ]
            modelled[scheme] = (shares[0], shares[1], shares[2])
        device = self._pricing.profile(view).title
        return cards.scheme_table(
            modelled, saved, timings, f"{_BAND} {about or _NOT_TIMED}", device
        )

    def _bounds(self, view: View) -> tuple[float | None, float | None]:
        """Lowest and highest assumed share of the device; None where nothing is assumed."""
        sparsity = self._pricing.profile(view).sparsity
        return (sparsity.low, sparsity.high) if sparsity else (None, None)


def _ratios(percent: float | None) -> dict[Scheme, float]:
    """The ratio of every scheme for "weights removed"; pattern cannot remove less than 5/9."""
    ratio = min(MAX_RATIO, max(0.0, (percent or 0) / 100))
    return {s: max(ratio, PATTERN_MIN_RATIO) if s == "pattern" else ratio for s in SCHEMES}


def _timed(timings: Sequence[SchemeTiming], threads: int, candidate: Candidate) -> str:
    ratios = ", ".join(f"{timing.scheme} {timing.ratio:.0%}" for timing in timings)
    return (
        f"{title(with_scheme(candidate, 'dense', 0))}; {ratios}. Measured just now on the computer "
        f"that serves this page ({processor()}, ONNX Runtime {onnxruntime.__version__}, fp32, "
        f"{threads} thread(s), 1280×720 output): median of {timings[0].runs} frames, networks in "
        f"turns; the dense one took {timings[0].dense_median_ms:.1f} ms. Masks save nothing in "
        "this runtime, which has no sparse convolution."
    )


def applied(candidate: Candidate, scheme: Scheme, percent: float | None) -> Candidate:
    """One scheme and ratio for every layer that can take it; the tail stays as it is."""
    wish = LayerPruning(scheme, (percent or 0) / 100)
    cells = tuple(map(wish.applied_to, candidate.cells))
    return Candidate(candidate.scale, candidate.width, cells, candidate.tail)


def ratio_range(scheme: str, percent: float | None) -> Any:
    """The ratio slider for a scheme: pattern cannot remove less than 5 of 9 taps."""
    lowest = math.ceil(PATTERN_MIN_RATIO * 100) if scheme == "pattern" else 0
    return gr.update(minimum=lowest, value=max(lowest, percent or 0))


def _pretty(candidate: Candidate) -> str:
    cells = ",\n  ".join(json.dumps(cell.to_json()) for cell in candidate.cells)
    tail = json.dumps(candidate.tail.to_json())
    return (
        f'{{"scale": {candidate.scale}, "width": {candidate.width}, "cells": [\n  {cells}],\n'
        f' "tail": {tail}}}'
    )
