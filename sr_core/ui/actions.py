"""What the page does when something is clicked, chosen or edited.

The state (what is looked at, which network, what is compared) lives in the components and in the
link; every callback reads it from there, changes it, and shows the change.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, cast

import gradio as gr

from sr_core.catalogue.store import Catalogue
from sr_core.errors import LatencyError, UpFrontError
from sr_core.network.blocks import Scheme
from sr_core.network.candidate import Candidate
from sr_core.ui import prune, quick_look
from sr_core.ui.compare import Compare
from sr_core.ui.explore import Explore
from sr_core.ui.friendly import friendly, plain
from sr_core.ui.pricing import Pricing
from sr_core.ui.prune import Prune
from sr_core.ui.search.tab import Search
from sr_core.ui.target import Target, Updates
from sr_core.ui.view import (
    DEFAULT_BUDGET_MS,
    MAX_PICKED,
    Link,
    Pick,
    Tab,
    View,
    make_view,
    parse_query,
    pick,
    query,
)


def first_link(pricing: Pricing) -> Link:
    """What a visitor without a link sees: x4 where there is one, the best founded device, the
    front's knee."""
    catalogue = pricing.catalogue
    scale = 4 if 4 in catalogue.scales else catalogue.scales[0]
    anchor = catalogue.models(scale)[0].candidate
    view = make_view(catalogue, scale=scale, budget_ms=DEFAULT_BUDGET_MS)
    knee = pricing.shown(view).knee()
    return Link(view, knee or anchor)


class Actions:
    """Callbacks: they parse the state, change it, and ask the tabs to show it."""

    tabs: gr.Tabs
    tab: gr.State
    """Name of the open tab."""
    link: gr.Textbox

    def __init__(self, catalogue: Catalogue) -> None:
        self.catalogue = catalogue
        self.pricing = Pricing(catalogue)
        self.start = first_link(self.pricing)
        self.target = Target(catalogue)
        self.explore = Explore(self.pricing)
        self.search = Search(self.pricing)
        self.prune = Prune(self.pricing, quick_look.QuickLook(catalogue))
        self.compare = Compare(self.pricing)
        self._built_with = catalogue.devices

    def _read(self, values: Sequence[Any]) -> tuple[Link, float | None]:
        """The state in the components, all of which the browser controls, and the ratio slider."""
        scale, device, size, threads, share, budget_ms, axis, metric, table, picked, tab, ratio = (
            values
        )
        view = make_view(
            self.catalogue, scale=scale, device=device, size=size, threads=threads, share=share,
            budget_ms=budget_ms, axis=axis, metric=metric,
        )  # fmt: skip
        current = self._fitting(Candidate.from_json(table), view)
        texts = [str(text) for text in picked or ()]
        picks = [pick(self.catalogue, text) for text in texts[: MAX_PICKED + 1]]
        chosen = tuple(one for one in picks if one.candidate.scale == view.scale)
        for one in chosen:
            self.catalogue.check(one.candidate)
        return Link(view, current, chosen, cast(Tab, tab)), ratio

    def _fitting(self, candidate: Candidate, view: View) -> Candidate:
        """`candidate`, or after a change of scale its blocks and pruning at the other scale."""
        if candidate.scale != view.scale:
            candidate = replace(candidate, scale=view.scale)
        return self.catalogue.check(candidate)

    def _linked(self, link: Link, updates: Updates) -> Updates:
        return {**updates, self.link: f"?{query(link)}"}

    def _show_current(self, link: Link, ratio: float | None) -> Updates:
        """Another network is selected."""
        shown = self.explore.show_marks(link) | self.prune.show_current(link, ratio)
        return self._linked(link, shown)

    def _show_candidate(self, current: Candidate, link: Link, ratio: float | None) -> Updates:
        """Another network is selected, which may be of another scale than the page shows."""
        if current.scale == link.view.scale:
            return self._show_current(replace(link, current=current), ratio)
        view = replace(link.view, scale=current.scale)
        return self._show_all(replace(link, view=view, current=current, picked=()), ratio)

    def _show_all(self, link: Link, ratio: float | None) -> Updates:
        """Anything may have changed."""
        shown = self.target.show(link.view) | self.explore.show_front(link)
        shown |= self.prune.show_view(link, ratio) | self.compare.show(link)
        return self._linked(link, shown)

    @friendly()
    def on_view(self, *values: Any) -> Updates:
        """Another scale, device, size, thread count, axis or metric."""
        return self._show_all(*self._read(values))

    @friendly()
    def on_share(self, *values: Any) -> Updates:
        """Another assumption: its slider is left alone, for it may have moved on."""
        updates = self._show_all(*self._read(values))
        return {part: update for part, update in updates.items() if part != self.target.share}

    @friendly()
    def on_budget(self, *values: Any) -> Updates:
        """Another latency budget."""
        link, _ = self._read(values)
        return self._linked(link, self.explore.show_marks(link))

    @friendly()
    def on_select(self, event: gr.EventData, *values: Any) -> Updates:
        """A point of the plot or a row of its table was chosen."""
        link, ratio = self._read(values)
        chosen = self.explore.candidate(link.view, str(event.value))
        if chosen is None:
            raise LatencyError("This network is not in the stored front: reload the page.")
        return self._show_current(replace(link, current=chosen), ratio)

    @friendly()
    def on_found(self, event: gr.EventData, request: gr.Request, *values: Any) -> Updates:
        """A network of the visitor's own search was chosen; it may be of another scale."""
        session = str(request.session_hash)
        current = self.search.candidate(session, str(event.value))
        shown = self._show_candidate(current, *self._read(values))
        return shown | self.search.show(session, current)

    @friendly()
    def on_best(self, *values: Any) -> Updates:
        """The best network under the budget, please."""
        link, ratio = self._read(values)
        view = replace(link.view, axis="latency")
        shown = self.pricing.shown(view)
        best = shown.best(view.budget_ms)
        if best is None:
            cheapest = f", the cheapest takes {shown.cost.min():.1f} ms" if len(shown.cost) else ""
            raise LatencyError(
                f"No stored network meets the budget{cheapest}: raise the budget, or set one."
            )
        return self._show_current(replace(link, current=best), ratio)

    @friendly()
    def on_knee(self, *values: Any) -> Updates:
        """The knee of the front, please."""
        link, ratio = self._read(values)
        knee = self.pricing.shown(link.view).knee()
        return self._show_current(replace(link, current=knee or link.current), ratio)

    @friendly()
    def on_pick(self, *values: Any) -> Updates:
        """The selected network joins the comparison."""
        link, _ = self._read(values)
        return self._picked(link, [Pick(link.current)])

    @friendly()
    def on_pick_tuned(self, *values: Any) -> Updates:
        """What fine-tuning made of the selected network joins the comparison."""
        link, _ = self._read(values)
        return self._picked(link, self.explore.picks(link.current))

    def _picked(self, link: Link, picks: Sequence[Pick]) -> Updates:
        link = self.compare.added(link, picks)
        gr.Info(f"Compare holds {len(link.picked)} of {MAX_PICKED} networks.", duration=3)
        return self._linked(link, self.compare.show(link) | self.explore.show_marks(link))

    @friendly()
    def on_link(self, *values: Any) -> str:
        """The link to what the components hold now."""
        return f"?{query(self._read(values)[0])}"

    @friendly()
    def on_picked(self, *values: Any) -> Updates:
        """The list of networks to compare was changed."""
        link, _ = self._read(values)
        return self._linked(link, self.explore.show_marks(link))

    @friendly()
    def on_table(self, *values: Any) -> Updates:
        """The layer table was edited; it already shows itself."""
        link, ratio = self._read(values)
        shown = self.explore.show_marks(link) | self.prune.show_edited(link, ratio)
        return self._linked(link, shown)

    @friendly()
    def on_preset(self, name: str, *values: Any) -> Updates:
        """A listed network was chosen (or "Edited below", which keeps the table)."""
        link, ratio = self._read(values)
        current = link.current if name == prune.EDITED else self.catalogue.named(name)
        return self._show_current(replace(link, current=current), ratio)

    @friendly()
    def on_width(self, width: int, *values: Any) -> Updates:
        """Another number of channels C, same blocks and pruning."""
        link, ratio = self._read(values)
        current = self.catalogue.check(replace(link.current, width=width))
        return self._show_current(replace(link, current=current), ratio)

    @friendly()
    def on_apply(self, scheme: Scheme, *values: Any) -> Updates:
        """One scheme and ratio for all layers."""
        link, ratio = self._read(values)
        current = prune.applied(link.current, scheme, ratio)
        return self._show_current(replace(link, current=current), ratio)

    @friendly()
    def on_scheme(self, scheme: str, *values: Any) -> Updates:
        """Another scheme for all layers: it may not go as low as the ratio slider is."""
        link, ratio = self._read(values)
        ratio = max(prune.lowest_percent(scheme), ratio or 0)
        schemes = self.prune.show_edited(link, ratio)[self.prune.schemes]
        return {self.prune.ratio: ratio, self.prune.schemes: schemes}

    @friendly()
    def on_ratio(self, *values: Any) -> Updates:
        """Another ratio for the table of schemes."""
        link, ratio = self._read(values)
        return {self.prune.schemes: self.prune.show_edited(link, ratio)[self.prune.schemes]}

    @friendly()
    def on_json(self, text: str, *values: Any) -> Updates:
        """A candidate's JSON was pasted."""
        return self._show_candidate(
            self.catalogue.check(Candidate.loads(text)), *self._read(values)
        )

    @friendly()
    def on_quality(self, text: str) -> Updates:
        """Another network is in the table: evaluate it."""
        return self.prune.show_quality(self.catalogue.check(Candidate.loads(text)))

    @friendly()
    def on_time(self, *values: Any) -> Updates:
        """Time the schemes on this computer."""
        return self.prune.show_timings(*self._read(values))

    @friendly()
    def on_compare(
        self,
        request: gr.Request,
        progress: gr.Progress = gr.Progress(),  # noqa: B008 (Gradio's way to ask for one)
        *values: Any,
    ) -> Updates:
        """Upscale or test with all chosen networks."""

        def report(done: int, total: int) -> None:
            progress((done, total), unit="tiles")

        image, mode, *state = values
        link, _ = self._read(state)
        return self.compare.run(image, mode, link, str(request.session_hash), report)

    def on_stop(self, request: gr.Request) -> None:
        """Stop was pressed or the tab was closed."""
        self.compare.stop_running(str(request.session_hash))

    @friendly()
    def on_measure(self, progress: gr.Progress = gr.Progress()) -> Updates:  # noqa: B008
        """Measure this computer and choose it; `on_view` follows with what was edited meanwhile."""

        def report(done: int, total: int) -> None:
            progress((done, total), desc="timing networks", unit="networks")

        identity = self.target.measure_here(report)
        self.pricing.forget()
        return self.target.show_device(identity)

    def on_load(self, request: gr.Request) -> Updates:
        """The page was opened: follow its link, or say what is wrong with it."""
        link = self.start
        fields = {str(name): str(text) for name, text in dict(request.query_params).items()}
        fields = {name: text for name, text in fields.items() if not name.startswith("__")}
        try:
            link = parse_query(self.catalogue, link, fields)
        except UpFrontError as error:
            gr.Warning(
                f"This link cannot be followed. {plain(error)} Showing the start page instead."
            )
        quality = self.prune.show_quality(link.current)
        if link == self.start and self.catalogue.devices is self._built_with:
            return self._linked(link, quality)  # the rest is as the page was built
        tabs = {self.tabs: gr.Tabs(selected=link.tab), self.tab: link.tab}
        return self._show_all(link, 50) | quality | tabs

    def _on_tab(self, name: str) -> Callable[..., Any]:
        """The callback of opening a tab, which is part of the link."""

        def opened(request: gr.Request, *values: Any) -> Any:
            with friendly():
                link, _ = self._read(values)
            shown: Updates = {}
            if name == "search":  # another network may have been selected elsewhere
                shown = self.search.show(str(request.session_hash), link.current)
            if name == link.tab:  # the page opens: its address still has to be followed
                return shown or gr.skip()
            return self._linked(replace(link, tab=cast(Tab, name)), {**shown, self.tab: name})

        return opened
