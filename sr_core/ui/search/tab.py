"""Tab Search: a live search for networks, in a worker process per visitor."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr
from gradio.components import Component

from sr_core.errors import SearchError
from sr_core.network.candidate import Candidate
from sr_core.runtime.choice import runtime_name
from sr_core.ui.components.front_plot import NO_BUDGET, NONE, FrontPlot
from sr_core.ui.friendly import friendly
from sr_core.ui.pricing import Pricing
from sr_core.ui.search import view as search_view
from sr_core.ui.search.live import ACTIVE, MAX_TRIALS, MIN_TRIALS, Settings, Snapshot
from sr_core.ui.search.result import load_result
from sr_core.ui.search.sessions import Searches
from sr_core.ui.state import QUICK, QUIET, Panel, State, Updates, Values
from sr_core.ui.view import Link, View, family_fields, make_view

SAMPLERS = {
    "nsga2": "NSGA-II: evolution", "bayes": "Bayesian: Gaussian process", "tpe": "TPE",
    "random": "Random",
}  # fmt: skip
_TRIALS = 200
_TICK_S = 0.5
_NETWORKS_PER_S = 4
"""Roughly, on two cores; what is really reached is shown as it runs."""
_HELP = """Let the computer that serves this page search for networks **now**, for the scale and \
device above: it proposes networks, estimates their latency, measures their PSNR on a few \
photographs with the supernet's weights, and learns from the result."""


class Search(Panel):
    """Components of the tab, its buttons, and what it shows of the visitor's search."""

    def __init__(self, pricing: Pricing, searches: Searches | None = None) -> None:
        self._catalogue = pricing.catalogue
        self._view = search_view.SearchView(pricing)
        self.searches = searches or Searches(pricing.catalogue.root)

    def build(self, link: Link) -> None:
        """Lay out the tab."""
        gr.Markdown(_HELP)
        with gr.Row():
            self.budget = gr.Number(
                link.view.budget_ms or 0, label="Budget (ms)", elem_id="search-budget",
                minimum=0, maximum=1e6, step=1, min_width=140, info="Explore's; 0: no budget",
            )  # fmt: skip
            self.sampler = gr.Dropdown(
                [(text, name) for name, text in SAMPLERS.items()], value="nsga2", label="Sampler",
                elem_id="sampler", min_width=200, info="Who proposes the networks",
            )  # fmt: skip
            self.trials = gr.Number(
                _TRIALS, label="Trials", elem_id="trials", minimum=MIN_TRIALS, maximum=MAX_TRIALS,
                precision=0, min_width=120, info=f"Proposals, {MIN_TRIALS} to {MAX_TRIALS}",
            )  # fmt: skip
            self.seed = gr.Number(
                0, label="Seed", elem_id="seed", minimum=0, maximum=2**31 - 1, precision=0,
                min_width=120, info="Same seed, same proposals, unless paused",
            )  # fmt: skip
        self.plan = gr.HTML(self._plan(link.view, _TRIALS), elem_id="plan")
        with gr.Row():
            self.start = gr.Button(
                "Start", variant="primary", elem_id="search-start", size="md", min_width=90
            )
            self.pause = gr.Button(
                "Pause", elem_id="search-pause", size="md", min_width=90, interactive=False
            )
            self.cancel = gr.Button(
                "Cancel", elem_id="search-cancel", size="md", min_width=90, interactive=False
            )
            self.download = gr.DownloadButton(
                "Download result",
                elem_id="search-download",
                size="md",
                min_width=150,
                interactive=False,
            )
            self.load = gr.UploadButton(
                "Load result", elem_id="search-load", size="md", min_width=120, file_types=[".json"]
            )
        self.progress = gr.HTML(elem_id="search-progress", min_height=20)
        with gr.Row():
            with gr.Column(scale=7, min_width=340):
                self.plot = FrontPlot(self._view.front(None), elem_id="found")
            with gr.Column(scale=4, min_width=320):
                self.facts = gr.HTML(elem_id="search-facts", min_height=20)
                self.card = gr.HTML(search_view.NOT_CHOSEN, elem_id="search-card")
                with gr.Row():
                    self.prune = gr.Button("Prune this network", size="md", interactive=False)
                    self.pick = gr.Button("Add to Compare", size="md", interactive=False)
        self.command = gr.Textbox(
            label="On the command line", elem_id="search-command",
            buttons=["copy"], interactive=False, lines=1, max_lines=4,
            placeholder="Start a search, and its command appears here.",
        )  # fmt: skip
        self._version = gr.State(None)
        """What the browser shows: `Snapshot.version`."""
        self._timer = gr.Timer(_TICK_S, active=False)

    def wire(self, state: State) -> None:
        """Connect the settings, the buttons, the timer and the plot."""
        super().wire(state)
        parts, outputs = state.parts, self.opening_outputs()
        settings: list[Any] = [parts.family, parts.device, self.budget, self.trials]
        gr.on(
            [part.change for part in settings], self.on_settings, set(settings), self.plan,
            trigger_mode="always_last", **QUICK,
        )  # fmt: skip
        gr.on([self.budget.blur, self.budget.submit], _same, self.budget, parts.budget, **QUICK)
        parts.budget.change(_same, parts.budget, self.budget, **QUICK)
        inputs: set[Any] = {*settings, self.sampler, self.seed, parts.table}
        self.start.click(self.on_start, inputs, outputs, **QUIET)
        self.pause.click(self.on_pause, {parts.table}, outputs, **QUIET)
        self.cancel.click(self.on_cancel, {parts.table}, outputs, **QUIET)
        self.load.upload(self.on_load, {self.load, parts.table}, outputs, **QUIET)
        self._timer.tick(
            self.on_tick, {self._version, parts.table}, outputs, trigger_mode="once", **QUICK
        )
        state.follow(
            self.plot.select(
                self.on_network, state.inputs, [*state.outputs, *outputs],
                trigger_mode="always_last", **QUIET,
            )
        )  # fmt: skip
        state.wire_to_prune(self.prune)
        state.wire_pick(self.pick)
        state.page.unload(self.on_unload)

    def opening_outputs(self) -> list[Component]:
        """Return everything that a change of the search may touch."""
        return [
            self.progress, self.plot, self.facts, self.card, self.prune, self.pick, self.start,
            self.pause, self.cancel, self.download, self.command, self._version, self._timer,
        ]  # fmt: skip

    def show_opening(self, link: Link, session: str) -> Updates:
        """Show the network that may have been selected in another tab."""
        return self.show_search(session, link.current)

    def show_search(self, session: str, current: Candidate) -> Updates:
        """Show the visitor's search, with the selected network marked."""
        snapshot = self.searches.snapshot(session)
        phase = snapshot.phase if snapshot else None
        active, paused = phase in ACTIVE, phase == "paused"
        file = self.searches.result(session)
        start = snapshot.start if snapshot else None
        return {
            **self._show_points(snapshot, current),
            self.start: gr.update(interactive=not active and not paused),
            self.pause: gr.update(
                value="Resume" if paused else "Pause",
                interactive=phase in ("starting", "running", "paused"),
            ),
            self.cancel: gr.update(interactive=(active or paused) and phase != "cancelling"),
            self.download: gr.update(value=file and str(file), interactive=file is not None),
            self.command: start.command if start else "",
            self._version: snapshot.version if snapshot else None,
            self._timer: gr.Timer(active=active),
        }  # fmt: skip

    def candidate(self, session: str, identity: str) -> Candidate:
        """Return the network of the search with this id. Raises `SearchError` without one."""
        snapshot = self.searches.snapshot(session)
        networks = self._view.networks(snapshot) if snapshot else {}
        if identity not in networks:
            raise SearchError("This network is not in your search: press Start to search again.")
        network, _ = networks[identity]
        return self._catalogue.check(network.candidate)

    @friendly()
    def on_settings(self, values: Values) -> str:
        """Show another plan, as its settings change."""
        return self._plan(self._search_view(values), int(values[self.trials] or 0))

    @friendly()
    def on_start(self, values: Values, request: gr.Request) -> Updates:
        """Start a search."""
        view, sampler = self._search_view(values), values[self.sampler]
        if sampler not in SAMPLERS:
            raise SearchError(f"There is no sampler {sampler!r}: expected {', '.join(SAMPLERS)}.")
        settings = Settings(
            scale=view.scale, colour=view.colour, objective=view.device,
            budget_ms=view.budget_ms, sampler=sampler,
            trials=_whole(values[self.trials], "trials"), seed=_whole(values[self.seed], "seed"),
            engine="sparse" if self._catalogue.engine else "onnx",
        )  # fmt: skip
        self.searches.start(str(request.session_hash), settings)
        return self._answer(values, request)

    @friendly()
    def on_pause(self, values: Values, request: gr.Request) -> Updates:
        """Pause or resume the search."""
        self.searches.pause_or_resume(str(request.session_hash))
        return self._answer(values, request)

    @friendly()
    def on_cancel(self, values: Values, request: gr.Request) -> Updates:
        """Cancel the search."""
        self.searches.cancel(str(request.session_hash))
        return self._answer(values, request)

    @friendly()
    def on_load(self, values: Values, request: gr.Request) -> Updates:
        """Load a result file."""
        result = load_result(Path(values[self.load]), self._catalogue)
        self._show_points(result, self._current(values))  # keep only what can be shown
        self.searches.show(str(request.session_hash), result)
        return self._answer(values, request)

    def on_tick(self, values: Values, request: gr.Request) -> Updates:
        """Show what happened in the last half second."""
        snapshot, version = self.searches.snapshot(str(request.session_hash)), values[self._version]
        if snapshot and version and tuple(version) == snapshot.version:
            return {self.facts: self._view.facts(snapshot)}  # time left
        return self._answer(values, request)

    @friendly()
    def on_network(self, values: Values, event: gr.EventData, request: gr.Request) -> Updates:
        """Select a network of the visitor's own search. It may be of another family."""
        session = str(request.session_hash)
        current = self.candidate(session, str(event.value))
        updates = self.state.select(current, self.state.read(values), values)
        return updates | self.show_search(session, current)

    def on_unload(self, request: gr.Request) -> None:
        """End the search of a browser tab that was closed."""
        self.searches.end(str(request.session_hash))

    def _answer(self, values: Values, request: gr.Request) -> Updates:
        return self.show_search(str(request.session_hash), self._current(values))

    def _current(self, values: Values) -> Candidate:
        return Candidate.from_json(values[self.state.parts.table])

    def _search_view(self, values: Values) -> View:
        """Return what to search for: the target bar's scale and device, our budget."""
        parts = self.state.parts
        return make_view(
            self._catalogue, **family_fields(values[parts.family]), device=values[parts.device],
            budget_ms=values[self.budget],
        )  # fmt: skip

    def _show_points(self, snapshot: Snapshot | None, current: Candidate) -> Updates:
        start, best = (snapshot.start, self._view.best(snapshot)) if snapshot else (None, None)
        budget = start.budget_ms if start else None
        card = self._view.card(snapshot, current)
        # Always all properties: the component may not be on the page yet, and would lose the rest.
        return {
            self.plot: gr.update(
                value=self._view.front(snapshot), selected=current.id, picked=[],
                budget=NO_BUDGET if budget is None else budget,
                best=best[0].candidate.id if best and budget is not None else NONE,
            ),
            self.progress: search_view.progress(snapshot),
            self.facts: self._view.facts(snapshot),
            self.card: card or search_view.NOT_CHOSEN,
            self.prune: gr.update(interactive=card is not None),
            self.pick: gr.update(interactive=card is not None),
        }  # fmt: skip

    def _plan(self, view: View, trials: int) -> str:
        device = self._catalogue.device(view.device).title
        runtime = runtime_name(self._catalogue.engine)
        seconds = trials / _NETWORKS_PER_S
        return search_view.plan(device, trials, view.budget_ms, runtime, seconds)


def _same(value: Any) -> Any:
    return value


def _whole(value: Any, what: str) -> int:
    """Read a whole number from a form field. Raises `SearchError` if it is none."""
    try:
        return int(value)
    except (TypeError, ValueError, OverflowError):
        raise SearchError(f"The number of {what} is not a whole number: {value!r}.") from None
