"""The page: a target bar above the tabs, which share one state (`state`)."""

from __future__ import annotations

import html

import gradio as gr

from sr_core.catalogue.store import Catalogue
from sr_core.errors import CatalogueError, LatencyError, UpFrontError
from sr_core.network.candidate import Family
from sr_core.ui import quick_look
from sr_core.ui.api import add_api
from sr_core.ui.compare import Compare
from sr_core.ui.explore import Explore
from sr_core.ui.findings.tab import Findings
from sr_core.ui.friendly import plain
from sr_core.ui.pricing import Pricing
from sr_core.ui.prune import Prune
from sr_core.ui.search.tab import Search
from sr_core.ui.state import QUIET, Panel, State, StateParts, Updates
from sr_core.ui.target import Target
from sr_core.ui.view import DEFAULT_BUDGET_MS, Link, family_fields, make_view, parse_query

_INTRO = """# UpFront
Accuracy against latency of sparse super-resolution networks, all cut out of **one** trained \
supernet, after [arXiv 2108.08910](https://arxiv.org/abs/2108.08910) (not the authors' code). \
Every number says whether it is measured, estimated, counted or published."""
_CACHE_CHECK_S, _CACHE_AGE_S = 300, 1800
"""How often Gradio looks for results and uploads to delete, and from what age."""
_VISITORS_AT_ONCE = 8
"""Pages that may open at the same time, or one visitor would wait for another's."""
_SHOW_LINK = """(link) => {
    const own = ([name]) => name.startsWith("__");
    const kept = [...new URLSearchParams(location.search)].filter(own);
    const extra = kept.length ? "&" + new URLSearchParams(kept) : "";
    history.replaceState(null, "", location.pathname + link.slice(link.indexOf("?")) + extra);
    return [];
}"""
"""Puts the link into the browser's address, which keeps Gradio's own parameters, such as `__theme`.
The link has none of them: on a private Space one is a visitor's key.
"""


def build_page(catalogue: Catalogue) -> gr.Blocks:
    """Build the Gradio app.

    A damaged catalogue gives a page that says what to mend, not a crash.
    """
    with gr.Blocks(
        title="UpFront: sparse super-resolution",
        analytics_enabled=False,
        delete_cache=(_CACHE_CHECK_S, _CACHE_AGE_S),
    ) as page:
        gr.Markdown(_INTRO)
        try:
            app = Page(catalogue)
            if catalogue.engine_problem:
                why = html.escape(catalogue.engine_problem, quote=False)
                gr.Markdown(
                    f"**ONNX Runtime computes the images here.** {why}", elem_id="engine-problem"
                )
            app.build(page)
        except (CatalogueError, LatencyError) as error:
            gr.Markdown(f"### UpFront cannot start\n{error}", elem_id="catalogue-error")
    page.queue(max_size=64, default_concurrency_limit=1)
    return page


class Page:
    """The target bar, the tabs, and the state that they share."""

    def __init__(self, catalogue: Catalogue) -> None:
        self.catalogue = catalogue
        self.pricing = Pricing(catalogue)
        self.start = first_link(self.pricing)
        self.target = Target(self.pricing)
        self.explore = Explore(self.pricing)
        self.search = Search(self.pricing)
        self.prune = Prune(self.pricing, quick_look.QuickLook(catalogue))
        self.compare = Compare(self.pricing)
        self.panels: dict[str, Panel] = {
            "explore": self.explore, "search": self.search, "prune": self.prune,
            "compare": self.compare, "findings": Findings(catalogue),
        }  # fmt: skip
        """The tabs by name, in order."""
        self._devices = catalogue.devices
        """Those that the page was built with."""

    def build(self, page: gr.Blocks) -> None:
        """Lay out the components and connect them."""
        self.target.build(self.start)
        items: dict[str, gr.Tab] = {}
        with gr.Tabs(selected=self.start.tab, elem_id="tabs") as tabs:
            for name, panel in self.panels.items():
                with gr.Tab(name.capitalize(), id=name) as items[name]:
                    panel.build(self.start)
        parts = self._state_parts(gr.State(self.start.tab))
        link = gr.Textbox(
            label="Link to what you see", elem_id="link", buttons=["copy"], interactive=False,
            lines=1, max_lines=2,
        )  # fmt: skip
        address = gr.Textbox(visible=False)
        bell = gr.Textbox(visible="hidden")  # there, though not seen: it has to hear of its changes
        panels = [self.target, *self.panels.values()]
        self.state = State(page, self.catalogue, panels, parts, tabs, link, address, bell)
        self.state.wire()
        for name, panel in self.panels.items():
            self.state.wire_opening(name, items[name], panel)
        link.change(None, link, None, js=_SHOW_LINK, api_visibility="private")
        opening = page.load(
            self.on_load, None, [*self.state.outputs, *self.prune.quality_outputs()],
            concurrency_limit=_VISITORS_AT_ONCE, **QUIET,
        )  # fmt: skip
        self.state.follow_opening(opening)
        add_api(self.pricing, self.compare.upscalers)

    def _state_parts(self, tab: gr.State) -> StateParts:
        target, explore = self.target, self.explore
        return StateParts(
            family=target.family, device=target.device, size=target.size, threads=target.threads,
            share=target.share, budget=explore.budget, axis=explore.axis, metric=explore.metric,
            table=self.prune.table, ratio=self.prune.ratio, picks=self.compare.picks, tab=tab,
        )  # fmt: skip

    def on_load(self, request: gr.Request) -> Updates:
        """Follow the link of a page that opens, or say what is wrong with it."""
        link = self.start
        fields = {str(name): str(text) for name, text in dict(request.query_params).items()}
        fields = {name: text for name, text in fields.items() if not name.startswith("__")}
        try:
            link = parse_query(self.catalogue, link, fields, tuple(self.panels))
        except UpFrontError as error:
            gr.Warning(
                f"This link cannot be followed. {plain(error)} Showing the start page instead."
            )
        quality = self.prune.show_quality(link.current)
        if link == self.start and self.catalogue.devices is self._devices:
            return quality  # the rest is as the page was built
        tab = {self.state.tabs: gr.Tabs(selected=link.tab), self.state.parts.tab: link.tab}
        return self.state.show(link, {}, "view") | quality | tab


def first_link(pricing: Pricing) -> Link:
    """Return what a visitor without a link sees.

    That is x4 in RGB where there is one, the best founded device, and the front's knee.
    """
    catalogue = pricing.catalogue
    family = next((one for one in catalogue.families if one == Family(4)), catalogue.families[0])
    anchor = catalogue.models(family)[0].candidate
    view = make_view(catalogue, **family_fields(family.name), budget_ms=DEFAULT_BUDGET_MS)
    knee = pricing.points(view).knee()
    return Link(view, knee or anchor)
