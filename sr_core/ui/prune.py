"""Tab Prune: block per cell, scheme and ratio per layer; cost at once, quality right after."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import gradio as gr
from gradio.components import Component

from sr_core.errors import UpFrontError
from sr_core.latency.savings import SCHEMES
from sr_core.network.blocks import SKIP
from sr_core.network.candidate import MAX_RATIO, Candidate, Family
from sr_core.ui import cards, finals, masks, quick_look
from sr_core.ui.components.layer_table import LayerTable, Offer
from sr_core.ui.findings import engine as engine_facts
from sr_core.ui.friendly import friendly
from sr_core.ui.pricing import Pricing, table_prices
from sr_core.ui.savings import Savings, lowest_percent, prune_all
from sr_core.ui.state import CORES, QUICK, QUIET, Change, Panel, State, Updates, Values
from sr_core.ui.view import Link

EDITED = "edited"
_START_PERCENT = 50
"""Of the ratio slider."""
_HELP = """Pick a block per cell, and a scheme and ratio per layer; the costs follow at once, and \
the PSNR of a real run a moment later. No fine-tuning is needed: the supernet was trained with all \
of them. **Channel** removes whole channels inside a block (its last layer stays dense), **block** \
removes positions that 4 output channels share, **pattern** keeps 4 of 9 taps of a 3×3 kernel \
(1×1 layers get block) and so removes at least 56 %, **unstructured** removes single weights."""


class Prune(Panel):
    """Components of the tab, what they show for a state of the page, and what they do."""

    def __init__(self, pricing: Pricing, look: quick_look.QuickLook) -> None:
        self._pricing = pricing
        self._catalogue = pricing.catalogue
        self._look = look
        self._savings = Savings(pricing)

    def build(self, link: Link) -> None:
        """Lay out the tab."""
        current = link.current
        gr.Markdown(_HELP)
        with gr.Row():
            self.preset = gr.Dropdown(
                self._presets(link.view.family), value=self._preset(current), label="Network",
                elem_id="preset", min_width=220, scale=3,
            )  # fmt: skip
            self.width = gr.Radio(
                self._widths(link.view.family), value=current.width, label="Channels C",
                elem_id="width", min_width=210, scale=2,
            )  # fmt: skip
            self.scheme = gr.Dropdown(
                ["dense", *SCHEMES], value="block", label="Scheme for all layers",
                elem_id="scheme", min_width=150, scale=2,
            )  # fmt: skip
            self.ratio = gr.Slider(
                0, MAX_RATIO * 100, _START_PERCENT, step=1, label="Weights removed (%)",
                elem_id="ratio", min_width=180, scale=3,
            )  # fmt: skip
            self.apply = gr.Button(
                "Apply to all layers", elem_id="apply", size="md", min_width=130, scale=1
            )
        self.table = LayerTable(
            current, elem_id="layers", price=self.price, mask=self.mask,
            offered={one.name: self._offer(one) for one in self._catalogue.families},
            view=link.view.to_json(),
        )  # fmt: skip
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
        self.schemes = gr.HTML(
            self._savings.table(link.view, current, _START_PERCENT), elem_id="schemes"
        )
        self.time = gr.Button("Measure them here now", elem_id="time-schemes", size="md")
        for bench in self._catalogue.engine_benches:
            with gr.Accordion(
                f"Our engine with {bench.instructions} beside ONNX Runtime: the stored benchmark",
                open=False,
            ):  # fmt: skip
                gr.HTML(engine_facts.bench_tables(bench), elem_classes="engine-table")
        with gr.Accordion("As JSON (for --model on the command line)", open=False):
            self.json = gr.Textbox(
                _pretty(current), label="Candidate", lines=6, max_lines=12, elem_id="json",
                buttons=["copy"],
            )  # fmt: skip
            self.load = gr.Button("Load this JSON", elem_id="load")

    def wire(self, state: State) -> None:
        """Connect the choices, the table, the JSON and the buttons."""
        super().wire(state)
        latest: dict[str, Any] = {"trigger_mode": "always_last"}
        inputs, outputs = state.inputs, state.outputs
        for event in (
            self.table.input(self.on_table, inputs, outputs, **latest, **QUICK),
            self.preset.input(self.on_preset, state.inputs_with(self.preset), outputs, **QUICK),
            self.width.input(self.on_width, state.inputs_with(self.width), outputs, **QUICK),
            self.apply.click(self.on_apply, state.inputs_with(self.scheme), outputs, **QUICK),
            self.load.click(self.on_json, state.inputs_with(self.json), outputs, **QUIET),
        ):
            state.follow(event)
        self.scheme.input(
            self.on_scheme, state.inputs_with(self.scheme), [self.ratio, self.schemes], **QUICK
        )
        self.ratio.input(self.on_ratio, inputs, self.schemes, **latest, **QUICK)
        # The JSON follows every change of the network, and the quality follows the JSON.
        self.json.change(
            self.on_quality, self.json, self.quality_outputs(), show_progress="minimal",
            api_visibility="private", **latest,
        )  # fmt: skip
        self.time.click(
            self.on_time, inputs, self.schemes, concurrency_id=CORES, show_progress="minimal",
            api_visibility="private",
        )  # fmt: skip
        state.wire_pick(self.pick)

    def outputs(self) -> list[Component]:
        """Return what tells which network it is, and what it would save."""
        return [self.preset, self.width, self.table, self.schemes, self.json]

    def quality_outputs(self) -> list[Component]:
        """Return everything that `show_quality` may touch."""
        return [self.quality, self.picture]

    def show(self, link: Link, values: Values, change: Change) -> Updates:
        """Show another network, or the same for another device, size or scale."""
        if change == "view":
            return {
                **self._show_network(link, values),
                self.preset: gr.update(
                    choices=self._presets(link.view.family), value=self._preset(link.current)
                ),
                self.width: gr.update(
                    choices=self._widths(link.view.family), value=link.current.width
                ),
                self.table: gr.update(value=link.current.to_json(), view=link.view.to_json()),
            }
        if change == "network":
            return {**self._show_network(link, values), self.table: link.current.to_json()}
        return {}

    def _show_network(self, link: Link, values: Values) -> Updates:
        """Show the network beside the table, which may show it already."""
        return {
            self.preset: self._preset(link.current),
            self.width: link.current.width,
            self.json: _pretty(link.current),
            **self._show_savings(link, values),
        }

    def _show_savings(self, link: Link, values: Values) -> Updates:
        percent = values.get(self.ratio, _START_PERCENT)
        return {self.schemes: self._savings.table(link.view, link.current, percent)}

    @friendly()
    def on_table(self, values: Values) -> Updates:
        """Follow an edit of the layer table, which already shows itself."""
        link = self.state.read(values)
        return self.state.show(link, values, "marks") | self._show_network(link, values)

    @friendly()
    def on_preset(self, values: Values) -> Updates:
        """Select a listed network (or "Edited below", which keeps the table)."""
        link, name = self.state.read(values), values[self.preset]
        current = link.current if name == EDITED else self._catalogue.candidate_by_name(name)
        return self.state.select(current, link, values)

    @friendly()
    def on_width(self, values: Values) -> Updates:
        """Set another number of channels C, same blocks and pruning."""
        link = self.state.read(values)
        current = self._catalogue.check(replace(link.current, width=values[self.width]))
        return self.state.select(current, link, values)

    @friendly()
    def on_apply(self, values: Values) -> Updates:
        """Set one scheme and ratio for all layers."""
        link = self.state.read(values)
        current = prune_all(link.current, values[self.scheme], values[self.ratio])
        return self.state.select(current, link, values)

    @friendly()
    def on_scheme(self, values: Values) -> Updates:
        """Follow another scheme, which may not go as low as the ratio slider is."""
        percent = max(lowest_percent(values[self.scheme]), values[self.ratio] or 0)
        savings = self._show_savings(self.state.read(values), {**values, self.ratio: percent})
        return {self.ratio: percent, **savings}

    @friendly()
    def on_ratio(self, values: Values) -> Updates:
        """Show the table of schemes for another ratio."""
        return self._show_savings(self.state.read(values), values)

    @friendly()
    def on_json(self, values: Values) -> Updates:
        """Load the candidate whose JSON was pasted."""
        current = self._catalogue.check(Candidate.loads(values[self.json]))
        return self.state.select(current, self.state.read(values), values)

    @friendly()
    def on_quality(self, text: str) -> Updates:
        """Evaluate another network of the table."""
        return self.show_quality(self._catalogue.check(Candidate.loads(text)))

    @friendly()
    def on_time(self, values: Values) -> Updates:
        """Time the schemes on this computer."""
        link = self.state.read(values)
        table = self._savings.timed_table(link.view, link.current, values[self.ratio])
        return {self.schemes: table}

    def show_quality(self, candidate: Candidate) -> Updates:
        """Show a real evaluation of `candidate`, and one crop enlarged by it."""
        score = self._look.score(candidate)
        views = (quick_look.bicubic_crops(candidate.scale)[1], score.picture)
        facts = cards.quick_facts(score) + finals.line(self._catalogue, candidate)
        return {self.quality: facts, self.picture: views}

    def price(self, question: dict[str, Any]) -> dict[str, Any]:
        """Return the table's numbers."""
        return table_prices(self._pricing, question)

    def mask(self, question: dict[str, Any]) -> dict[str, Any]:
        """Return the picture of a layer's mask."""
        try:
            candidate = self._catalogue.check(Candidate.from_json(question.get("candidate")))
            supernet = self._catalogue.supernet(candidate.family)
            return masks.layer_view(supernet, candidate, str(question.get("layer")))
        except UpFrontError as error:
            return {"error": str(error)}

    def _presets(self, family: Family) -> list[tuple[str, str]]:
        models = self._catalogue.models(family)
        return [*((m.title, m.name) for m in models), ("Edited below", EDITED)]

    def _preset(self, candidate: Candidate) -> str:
        model = self._catalogue.model_of(candidate)
        return model.name if model else EDITED

    def _offer(self, family: Family) -> Offer:
        """Return what the supernet was trained with, and the block `skip`."""
        spec = self._catalogue.supernet(family).spec
        return Offer((SKIP, *spec.blocks), spec.skip_schemes)

    def _widths(self, family: Family) -> list[int]:
        return list(self._catalogue.supernet(family).spec.widths)


def _pretty(candidate: Candidate) -> str:
    fields = candidate.to_json()
    cells = ",\n  ".join(map(json.dumps, fields.pop("cells")))
    first, last = ({name: fields.pop(name)} for name in ("scale", "width")), fields
    head = ", ".join(json.dumps(one)[1:-1] for one in first)
    return f'{{{head}, "cells": [\n  {cells}],\n {json.dumps(last)[1:]}'
