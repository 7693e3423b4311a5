"""Tab Explore: the accuracy-latency front, and the card of the selected network."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import gradio as gr
from gradio.components import Component

from sr_core.errors import LatencyError
from sr_core.network.candidate import Candidate
from sr_core.ui import cards, finals
from sr_core.ui.components.front_plot import NO_BUDGET, NONE, FrontData, FrontPlot
from sr_core.ui.friendly import friendly
from sr_core.ui.pricing import Pricing, cost_of
from sr_core.ui.state import QUICK, QUIET, Change, Panel, State, Updates, Values
from sr_core.ui.titles import METRICS
from sr_core.ui.view import Link, Pick, View

_AXES = [("Latency", "latency"), ("MACs", "macs"), ("Parameters", "params")]
HELP = """Each point is a network cut out of one trained supernet, with its blocks, widths and \
pruning; none was fine-tuned. Points **on the front** are not beaten in both quality and cost. Set \
a budget, click a point (or a title in the table), then prune or compare it."""


class Explore(Panel):
    """Components of the tab, what they show for a state of the page, and what they do."""

    def __init__(self, pricing: Pricing) -> None:
        self._pricing = pricing
        self._catalogue = pricing.catalogue

    def build(self, link: Link) -> None:
        """Lay out the tab."""
        gr.Markdown(HELP + (finals.HELP if self._catalogue.finals() else ""))
        with gr.Row():
            self.axis = gr.Radio(
                _AXES, value=link.view.axis, label="Cost", elem_id="axis", min_width=200, scale=2
            )
            self.metric = gr.Dropdown(
                [(text.menu, name) for name, text in METRICS.items()], value=link.view.metric,
                label="Quality (measured)", elem_id="metric", min_width=200, scale=2,
            )  # fmt: skip
            self.budget = gr.Number(
                link.view.budget_ms or 0, label="Budget (ms)", elem_id="budget",
                minimum=0, maximum=1e6, step=1, min_width=160, scale=1,
                info="33.3 ms: 30 frames a second; 0: no budget",
            )  # fmt: skip
            with gr.Column(min_width=160, scale=1):
                self.best = gr.Button("Best under budget", elem_id="best", size="sm")
                self.knee = gr.Button("Knee of the front", elem_id="knee", size="sm")
        self.verdict = gr.HTML(elem_id="verdict", **self._verdict(link.view))
        with gr.Row():
            with gr.Column(scale=7, min_width=340):
                self.plot = FrontPlot(self._data(link.view), elem_id="front", **self._marks(link))
            with gr.Column(scale=4, min_width=320):
                self.card = gr.HTML(self._card(link.view, link.current), elem_id="card")
                with gr.Row():
                    self.prune = gr.Button(
                        "Prune this network", elem_id="to-prune", size="md", min_width=140
                    )
                    self.pick = gr.Button(
                        "Add to Compare", elem_id="pick", size="md", min_width=140
                    )
                    self.pick_tuned = gr.Button(
                        "Compare fine-tuned", elem_id="pick-tuned", size="md", min_width=140,
                        visible=bool(self.picks(link.current)),
                    )  # fmt: skip

    def wire(self, state: State) -> None:
        """Connect the budget, the plot and the buttons."""
        super().wire(state)
        latest: dict[str, Any] = {"trigger_mode": "always_last"}
        inputs, outputs = state.inputs, state.outputs
        state.follow(self.budget.change(self.on_budget, inputs, outputs, **latest, **QUIET))
        state.follow(self.plot.select(self.on_select, inputs, outputs, **latest, **QUICK))
        state.follow(self.best.click(self.on_best, inputs, outputs, **QUIET))
        state.follow(self.knee.click(self.on_knee, inputs, outputs, **QUIET))
        state.wire_to_prune(self.prune)
        state.wire_pick(self.pick)
        state.follow(self.pick_tuned.click(self.on_pick_tuned, inputs, outputs, **QUIET))

    def view_events(self) -> list[Any]:
        """Return the events of both axes."""
        return [self.axis.input, self.metric.input]

    def outputs(self) -> list[Component]:
        """Return everything but the buttons that never change."""
        return [
            self.axis, self.metric, self.budget, self.plot, self.card, self.verdict,
            self.pick_tuned,
        ]  # fmt: skip

    def show(self, link: Link, values: Values, change: Change) -> Updates:
        """Show selection, picked networks and budget. For another view show the points too."""
        marks = self._show_marks(link)
        if change != "view":
            return marks
        return {
            **marks,
            self.axis: link.view.axis,
            self.metric: link.view.metric,
            self.budget: link.view.budget_ms or 0,
            self.plot: gr.update(value=self._data(link.view), **self._marks(link)),
        }

    @friendly()
    def on_budget(self, values: Values) -> Updates:
        """Show another latency budget."""
        return self.state.show(self.state.read(values), values, "marks")

    @friendly()
    def on_select(self, values: Values, event: gr.EventData) -> Updates:
        """Select the network of a point of the plot or a row of its table."""
        link = self.state.read(values)
        candidate = self.candidate(link.view, str(event.value))
        if candidate is None:
            raise LatencyError("This network is not in the stored front: reload the page.")
        return self.state.select(candidate, link, values)

    @friendly()
    def on_best(self, values: Values) -> Updates:
        """Select the best network under the budget."""
        link = self.state.read(values)
        points = self._pricing.points(replace(link.view, axis="latency"))
        best = points.best(link.view.budget_ms)
        if best is None:
            cheapest = (
                f", the cheapest takes {points.cost.min():.1f} ms" if len(points.cost) else ""
            )
            raise LatencyError(
                f"No stored network meets the budget{cheapest}: raise the budget, or set one."
            )
        return self.state.select(best, link, values)

    @friendly()
    def on_knee(self, values: Values) -> Updates:
        """Select the knee of the front."""
        link = self.state.read(values)
        knee = self._pricing.points(link.view).knee()
        return self.state.select(knee or link.current, link, values)

    @friendly()
    def on_pick_tuned(self, values: Values) -> Updates:
        """Add what fine-tuning made of the selected network to the comparison."""
        link = self.state.read(values)
        return self.state.add(self.picks(link.current), link, values)

    def _show_marks(self, link: Link) -> Updates:
        """Show selection, picked networks and budget on the same points."""
        return {
            self.plot: gr.update(**self._marks(link)),
            self.card: self._card(link.view, link.current),
            self.verdict: gr.update(**self._verdict(link.view)),
            self.pick_tuned: gr.update(visible=bool(self.picks(link.current))),
        }

    def candidate(self, view: View, identity: str) -> Candidate | None:
        """Return the network of a point: of the stored front, or of a fine-tuned model."""
        final = self._catalogue.final_by_name(identity)
        if final and final.candidate.family == view.family:
            return final.candidate
        return self._pricing.candidate(view, identity)

    def picks(self, candidate: Candidate) -> tuple[Pick, ...]:
        """Return the fine-tuned models of a candidate."""
        models = finals.of(self._catalogue, candidate)
        return tuple(Pick(final.candidate, final.name) for final in models)

    def _data(self, view: View) -> FrontData:
        return replace(self._pricing.data(view), tuned=finals.points(self._pricing, view))

    def _verdict(self, view: View) -> dict[str, Any]:
        """Return value and visibility of the line about the budget."""
        text = finals.verdict(self._pricing, view)
        return {"value": text, "visible": bool(text)}

    def _marks(self, link: Link) -> dict[str, Any]:
        view = link.view
        budget = view.budget_ms if view.axis == "latency" else None
        best = self._pricing.points(view).best(budget)
        return {
            "selected": link.current.id,
            "picked": [one.final or one.candidate.id for one in link.picks],
            "budget": NO_BUDGET if budget is None else budget,
            "best": best.id if best else NONE,
        }

    def _card(self, view: View, candidate: Candidate) -> str:
        return cards.network_card(
            candidate,
            self._catalogue.model_of(candidate),
            self._pricing.stored_quality(candidate),
            self._pricing.estimate(view, candidate),
            self._pricing.profile(view),
            cost_of(candidate),
            self._catalogue.bicubic(view.scale),
            finals.card(self._catalogue, candidate),
        )
