"""The page's state: which components hold it, how it is read, and how all tabs show a change.

It lives in the components and in the link alone. A callback gets what the components hold by
component (Gradio does so where `inputs` is a set), changes it, and has the panels show the change.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import gradio as gr
from gradio.components import Component
from gradio.events import Dependency

from sr_core.catalogue.store import Catalogue
from sr_core.network.candidate import Candidate, Family
from sr_core.ui.friendly import friendly
from sr_core.ui.view import (
    MAX_PICKS,
    Link,
    Pick,
    View,
    add_picks,
    family_fields,
    make_view,
    pick,
    query,
)

Values = Mapping[Component, Any]
"""Component -> what it holds; the browser controls it."""
Updates = dict[Any, Any]
"""Component -> its new value or `gr.update`."""
Change = Literal["view", "network", "picks", "marks"]
"""What changed: anything, the selected network, the networks to compare, or only what a plot marks
(the budget, and what its own component shows already)."""
QUIET: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
"""Of events that queue: Gradio shows an error of an event without queue as a failed request, so
that whatever may well be refused has to queue."""
QUICK: dict[str, Any] = {**QUIET, "queue": False}
"""Of looking and editing, which no queue should keep waiting."""
_RING = "() => String(performance.now())"
_RING_FIRST = "() => [location.origin + location.pathname, String(performance.now())]"
CORES = "cores"
"""Jobs that take all cores wait for each other, or their measured times would mean nothing."""


class Panel(ABC):
    """A tab, or the bar above them: its components, what they show, and its events.

    Each has components, and overrides what else it needs.
    """

    state: State
    """Set by `wire`."""

    @abstractmethod
    def build(self, link: Link) -> None:
        """Lay out the components for `link`."""

    def wire(self, state: State) -> None:
        """Connect the events, once all panels are built."""
        self.state = state

    def view_events(self) -> list[Any]:
        """Return the events of the controls that change the view."""
        return []

    def outputs(self) -> list[Component]:
        """Return everything that `show` may touch."""
        return []

    def show(self, link: Link, values: Values, change: Change) -> Updates:
        """Show the state after a change.

        `values` is what the components hold, {} as the page opens.
        """
        del link, values, change
        return {}

    def opening_outputs(self) -> list[Component]:
        """Return everything that `show_opening` may touch."""
        return []

    def show_opening(self, link: Link, session: str) -> Updates:
        """Show what the tab has to catch up with as it is opened."""
        del link, session
        return {}


@dataclass(frozen=True, kw_only=True)
class StateParts:
    """The components that hold the state, for all callbacks that read it."""

    family: gr.Radio
    device: gr.Dropdown
    size: gr.Dropdown
    threads: gr.Radio
    share: gr.Slider
    budget: gr.Number
    axis: gr.Radio
    metric: gr.Dropdown
    table: gr.HTML
    """The selected network, as JSON."""
    ratio: gr.Slider
    """No part of the link: what the table of savings is for."""
    picks: gr.Dropdown
    tab: gr.State
    """Name of the open tab."""


class State:
    """Reads the state from the components, and shows a change of it in all panels."""

    def __init__(
        self, page: gr.Blocks, catalogue: Catalogue, panels: Sequence[Panel], parts: StateParts,
        tabs: gr.Tabs, link: gr.Textbox, address: gr.Textbox, bell: gr.Textbox,
    ) -> None:  # fmt: skip
        self.page = page
        self._catalogue = catalogue
        self._panels = panels
        self.parts = parts
        self.tabs = tabs
        self.link = link
        self.address = address
        self._bell = bell
        self.inputs: set[Any] = set(vars(parts).values())
        """What every callback needs that calls `read`. (Gradio types its sets in two ways.)"""
        outputs = [part for panel in panels for part in panel.outputs()]
        self.outputs = [*outputs, tabs, parts.tab]
        """Everything that a change of the state may touch. The link follows (`follow`)."""

    def wire(self) -> None:
        """Connect the events of all panels."""
        events = [event for panel in self._panels for event in panel.view_events()]
        latest: dict[str, Any] = {"trigger_mode": "always_last", **QUICK}
        self.follow(gr.on(events, self.on_view, self.inputs, self.outputs, **latest))
        self._bell.change(self.on_link, self.inputs_with(self.address), self.link, **latest)
        for panel in self._panels:
            panel.wire(self)

    def inputs_with(self, *more: Component) -> set[Any]:
        """Return the inputs of a callback that reads more than the state."""
        return {*self.inputs, *more}

    def wire_opening(self, name: str, tab: gr.Tab, panel: Panel) -> None:
        """Connect the opening of a tab, which is part of the link."""
        outputs = [self.parts.tab, *panel.opening_outputs()]
        self.follow(tab.select(self.on_opening(name, panel), self.inputs, outputs, **QUICK))

    def wire_pick(self, button: gr.Button) -> None:
        """Connect a button that adds the selected network to the comparison."""
        self.follow(button.click(self.on_pick, self.inputs, self.outputs, **QUIET))

    def wire_to_prune(self, button: gr.Button) -> None:
        """Connect a button that leads to tab Prune."""
        button.click(lambda: gr.Tabs(selected="prune"), None, self.tabs, **QUICK)

    def follow(self, event: Dependency) -> None:
        """Update the link after an event that changed the state.

        It is made of what the components hold by then, for another tab may have been opened while
        the event was answered. All such events ring one bell, whose callback runs once at a time
        and again if it rang meanwhile: what it writes last is of the latest state. (It does not
        queue: Gradio may lose the answers of queued events that follow each other at once.)
        """
        event.success(None, None, self._bell, js=_RING, api_visibility="private")

    def follow_opening(self, event: Dependency) -> None:
        """Write the link for the first time, after the event that opens the page."""
        outputs = [self.address, self._bell]
        event.success(None, None, outputs, js=_RING_FIRST, api_visibility="private")

    def read(self, values: Values) -> Link:
        """Read the state from the components. Raises `UpFrontError` for what is not on offer."""
        parts = self.parts
        view = self._view(values)
        current = Candidate.from_json(values[parts.table])
        if current.family != view.family:
            current = self._of_family(current, view.family)
        current = self._catalogue.check(current)
        texts = [str(text) for text in values[parts.picks] or ()]
        picks = [pick(self._catalogue, text) for text in texts[: MAX_PICKS + 1]]
        own_picks = tuple(one for one in picks if one.candidate.family == view.family)
        for one in own_picks:
            self._catalogue.check(one.candidate)
        return Link(view, current, own_picks, values[parts.tab])

    def _of_family(self, candidate: Candidate, family: Family) -> Candidate:
        """Return the same blocks and pruning in another family, else the first it has."""
        same = replace(candidate, scale=family.scale, colour=family.colour)
        holds = self._catalogue.supernet(family).spec.holds(same)
        return same if holds else self._catalogue.models(family)[0].candidate

    def _view(self, values: Values) -> View:
        parts = self.parts
        return make_view(
            self._catalogue, **family_fields(values[parts.family]), device=values[parts.device],
            size=values[parts.size], threads=values[parts.threads], share=values[parts.share],
            budget_ms=values[parts.budget], axis=values[parts.axis], metric=values[parts.metric],
        )  # fmt: skip

    def show(self, link: Link, values: Values, change: Change) -> Updates:
        """Show a change in all panels."""
        updates: Updates = {}
        for panel in self._panels:
            updates |= panel.show(link, values, change)
        return updates

    def select(self, current: Candidate, link: Link, values: Values) -> Updates:
        """Select another network, which may be of another family than the page shows."""
        if current.family == link.view.family:
            return self.show(replace(link, current=current), values, "network")
        view = replace(link.view, scale=current.scale, colour=current.colour)
        return self.show(replace(link, view=view, current=current, picks=()), values, "view")

    def add(self, picks: Sequence[Pick], link: Link, values: Values) -> Updates:
        """Add networks to the comparison. Raises `LatencyError` if they are too many."""
        link = add_picks(link, picks)
        gr.Info(f"Compare holds {len(link.picks)} of {MAX_PICKS} networks.", duration=3)
        return self.show(link, values, "picks")

    @friendly()
    def on_view(self, values: Values) -> Updates:
        """Show another family, device, size, thread count, axis or metric."""
        return self.show(self.read(values), values, "view")

    @friendly()
    def on_pick(self, values: Values) -> Updates:
        """Add the selected network to the comparison."""
        link = self.read(values)
        return self.add([Pick(link.current)], link, values)

    @friendly()
    def on_link(self, values: Values) -> Any:
        """Show the link to what the components hold now."""
        address = values[self.address]
        if not address:  # the page opens: its own address still has to be followed
            return gr.skip()
        return {self.link: f"{address}?{query(self.read(values))}"}

    def on_opening(self, name: str, panel: Panel) -> Callable[..., Any]:
        """Return the callback of opening a tab."""

        def open_tab(values: Values, request: gr.Request) -> Any:
            with friendly():
                link = self.read(values)
            updates = panel.show_opening(link, str(request.session_hash))
            # As the page opens its address still has to be followed, so the state stays as it is.
            if name != link.tab:
                updates |= {self.parts.tab: name}
            return updates or gr.skip()

        return open_tab
