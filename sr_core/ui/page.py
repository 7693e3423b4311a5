"""The page: a target bar above the tabs, which share one state (`actions`); layout and wiring."""

from __future__ import annotations

import html
from typing import Any

import gradio as gr

from sr_core.catalogue.store import Catalogue
from sr_core.errors import CatalogueError, LatencyError
from sr_core.ui.actions import Actions
from sr_core.ui.api import CORES, add_api
from sr_core.ui.findings.tab import Findings

_INTRO = """# UpFront
Accuracy against latency of sparse super-resolution networks, all cut out of **one** trained \
supernet, after [arXiv 2108.08910](https://arxiv.org/abs/2108.08910) (not the authors' code). \
Every number says whether it is measured, estimated, counted or published."""
_CACHE_CHECK_S, _CACHE_AGE_S = 300, 1800
"""How often Gradio looks for results and uploads to delete, and from what age."""
_VISITORS_AT_ONCE = 8
"""Pages that may open at the same time, or one visitor would wait for another's."""
_REPLACE_URL = "(q) => { history.replaceState(null, '', q || location.pathname); return []; }"


def build_page(catalogue: Catalogue) -> gr.Blocks:
    """The Gradio app. A damaged catalogue gives a page that says what to mend, not a crash."""
    with gr.Blocks(
        title="UpFront: sparse super-resolution",
        analytics_enabled=False,
        delete_cache=(_CACHE_CHECK_S, _CACHE_AGE_S),
    ) as page:
        gr.Markdown(_INTRO)
        try:
            built = Page(catalogue)
            if catalogue.engine_problem:
                why = html.escape(catalogue.engine_problem, quote=False)
                gr.Markdown(
                    f"**ONNX Runtime computes the images here.** {why}", elem_id="engine-problem"
                )
            built.build(page)
        except (CatalogueError, LatencyError) as error:
            gr.Markdown(f"### UpFront cannot start\n{error}", elem_id="catalogue-error")
    page.queue(max_size=64, default_concurrency_limit=1)
    return page


class Page(Actions):
    """Lays out the tabs and connects their events to the callbacks."""

    def build(self, page: gr.Blocks) -> None:
        """Lay out the components and connect them."""
        self.target.build(self.start.view)
        panels = {
            "explore": self.explore, "search": self.search, "prune": self.prune,
            "compare": self.compare, "findings": Findings(self.catalogue),
        }  # fmt: skip
        opened: dict[str, gr.Tab] = {}
        with gr.Tabs(selected=self.start.tab, elem_id="tabs") as self.tabs:
            for name, panel in panels.items():
                with gr.Tab(name.capitalize(), id=name) as opened[name]:
                    panel.build(self.start)
        self.tab = gr.State(self.start.tab)
        self.link = gr.Textbox(
            label="Link to what you see", elem_id="link", buttons=["copy"], interactive=False,
            lines=1, max_lines=2,
        )  # fmt: skip
        self._connect(page)
        for name, tab in opened.items():
            tab.select(
                self._on_tab(name), self._inputs(),
                [self.tab, self.link, *(self.search.outputs() if name == "search" else ())],
                queue=False, show_progress="hidden", api_visibility="private",
            )  # fmt: skip
        add_api(self.pricing, self.compare.upscalers)

    def _inputs(self) -> list[Any]:
        """The state of the page, in the order of `_read`."""
        target, explore = self.target, self.explore
        return [
            target.scale, target.device, target.size, target.threads, target.share,
            explore.budget, explore.axis, explore.metric, self.prune.table, self.compare.picked,
            self.tab, self.prune.ratio,
        ]  # fmt: skip

    def _outputs(self) -> list[Any]:
        """Everything that a change of the state may touch."""
        target, prune_ = self.target, self.prune
        return [
            target.scale, target.device, target.size, target.threads, target.share, target.about,
            *self.explore.outputs(),
            prune_.preset, prune_.width, prune_.table, prune_.schemes, prune_.json,
            self.compare.picked, self.tabs, self.tab, self.link,
        ]  # fmt: skip

    def _connect(self, page: gr.Blocks) -> None:
        quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
        # Looking and editing do not queue, so that no queue keeps them waiting. What may well be
        # refused does: Gradio shows an error of an event without queue as a failed request.
        quick: dict[str, Any] = {**quiet, "queue": False}
        target, explore, prune_, compare = self.target, self.explore, self.prune, self.compare
        shown = self._outputs()
        gr.on(
            [target.scale.input, target.device.input, target.size.input, target.threads.input,
             explore.axis.input, explore.metric.input],
            self.on_view, self._inputs(), shown, trigger_mode="always_last", **quick,
        )  # fmt: skip
        # Sliders: `input`, for keys are never released.
        target.share.input(
            self.on_share, self._inputs(), [part for part in shown if part != target.share],
            trigger_mode="always_last", **quick,
        )  # fmt: skip
        budgeted = explore.budget.change(
            self.on_budget, self._inputs(), shown, trigger_mode="always_last", **quiet
        )
        explore.plot.select(
            self.on_select, self._inputs(), shown, trigger_mode="always_last", **quick
        )
        best = explore.best.click(self.on_best, self._inputs(), shown, **quiet)
        knee = explore.knee.click(self.on_knee, self._inputs(), shown, **quiet)
        self.search.connect(page, target, explore.budget, prune_.table)
        found = self.search.plot.select(
            self.on_found, self._inputs(), [*shown, *self.search.outputs()],
            trigger_mode="always_last", **quiet,
        )  # fmt: skip
        for button in (explore.prune, self.search.prune):
            button.click(lambda: gr.Tabs(selected="prune"), None, self.tabs, **quick)
        picks = [
            button.click(self.on_pick, self._inputs(), shown, **quiet)
            for button in (explore.pick, self.search.pick, prune_.pick)
        ]
        picks.append(explore.pick_tuned.click(self.on_pick_tuned, self._inputs(), shown, **quiet))
        prune_.table.input(
            self.on_table, self._inputs(), shown, trigger_mode="always_last", **quick
        )
        prune_.preset.input(self.on_preset, [prune_.preset, *self._inputs()], shown, **quick)
        prune_.width.input(self.on_width, [prune_.width, *self._inputs()], shown, **quick)
        prune_.scheme.input(
            self.on_scheme, [prune_.scheme, *self._inputs()], [prune_.ratio, prune_.schemes],
            **quick,
        )  # fmt: skip
        prune_.ratio.input(
            self.on_ratio, self._inputs(), prune_.schemes, trigger_mode="always_last", **quick
        )
        prune_.apply.click(self.on_apply, [prune_.scheme, *self._inputs()], shown, **quick)
        loaded = prune_.load.click(self.on_json, [prune_.json, *self._inputs()], shown, **quiet)
        prune_.json.change(
            self.on_quality, prune_.json, [prune_.quality, prune_.picture],
            trigger_mode="always_last", show_progress="minimal", api_visibility="private",
        )  # fmt: skip
        prune_.time.click(
            self.on_time, self._inputs(), prune_.schemes, concurrency_id=CORES,
            show_progress="minimal", api_visibility="private",
        )  # fmt: skip
        picked = compare.picked.input(self.on_picked, self._inputs(), shown, **quiet)
        for queued in (budgeted, found, best, knee, *picks, loaded, picked):
            # While one waited, another tab may have been opened: the link is of what is now.
            queued.success(self.on_link, self._inputs(), self.link, **quick)
        compare.image.upload(compare.check, compare.image, None, **quiet)
        started = compare.start.click(
            self.on_compare, [compare.image, compare.mode, *self._inputs()],
            [compare.grid, compare.outcome], show_progress_on=compare.outcome,
            concurrency_id=CORES, api_visibility="private",
        )  # fmt: skip
        # Cancelling takes a waiting job out of the queue; `on_stop` ends a running one.
        compare.stop.click(self.on_stop, None, None, cancels=[started], **quick)
        target.measure.click(
            self.on_measure, None, [target.device, target.threads, target.about],
            concurrency_id=CORES, show_progress_on=target.about, api_visibility="private",
        ).success(self.on_view, self._inputs(), shown, **quick)  # fmt: skip
        self.link.change(None, self.link, None, js=_REPLACE_URL, api_visibility="private")
        page.load(
            self.on_load, None, [*shown, prune_.quality, prune_.picture],
            concurrency_limit=_VISITORS_AT_ONCE, **quiet,
        )  # fmt: skip
        page.unload(self.on_stop)
