"""Tab Search: what its buttons do and what it shows, with a fake worker."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest
from gradio.components import Component

from sr_core.catalogue.store import Catalogue
from sr_core.search.settings import SAMPLERS
from sr_core.ui.components.front_plot import FrontData
from sr_core.ui.page import Page
from sr_core.ui.search.sessions import Searches
from sr_core.ui.search.tab import SAMPLERS as OFFERED
from sr_core.ui.search.tab import Search
from sr_core.ui.state import Updates
from tests import app_root
from tests.ui.held import built, held
from tests.ui.search.fake_worker import WAYS
from tests.ui.search.made_up import FINISHED, NETWORKS
from tests.waiting import PATIENCE_S

ANN: Any = SimpleNamespace(session_hash="ann")
CURRENT = NETWORKS[3].to_json()


@pytest.fixture(scope="module")
def page(page_root: Path, worker: tuple[str, ...]) -> Iterator[Page]:
    made = built(Catalogue(page_root))
    made.search.searches = Searches(page_root, worker=worker, at_once=1)
    yield made
    made.search.on_unload(ANN)


@pytest.fixture
def search(page: Page) -> Search:
    """The tab, without a search."""
    page.search.on_unload(ANN)
    return page.search


def asked(search: Search, **changes: Any) -> dict[Component, Any]:
    """What the components hold that the tab reads, by its own or the state's name for them."""
    named = vars(search) | vars(search.state.parts) | {"budget": search.budget}
    texts = {
        "family": "x4",
        "device": app_root.ENGINE,
        "budget": 12,
        "trials": 20,
        "table": CURRENT,
    }
    texts |= {"sampler": "nsga2", "seed": 0, "_version": None} | changes
    return {named[name]: value for name, value in texts.items()}


def start(search: Search, way: str, *, who: Any = ANN, **changes: Any) -> Updates:
    """Press Start; the seed tells the fake worker its way."""
    return search.on_start(asked(search, **{"seed": WAYS.index(way)} | changes), who)


def ticked(search: Search, phase: str) -> Updates:
    """What the page shows once the search is in a phase."""
    end = time.monotonic() + PATIENCE_S
    while True:
        shown = search.on_tick(asked(search), ANN)
        if f"<strong>{phase}" in shown[search.progress]:
            return shown
        assert time.monotonic() < end, shown[search.progress]
        time.sleep(0.02)


def test_a_search_from_start_to_end(search: Search) -> None:
    started = start(search, "steady")
    assert started[search._timer].active  # pyright: ignore[reportPrivateUsage]
    assert not started[search.start]["interactive"]
    assert started[search.download]["value"] is None
    shown = ticked(search, "Finished")
    front: FrontData = shown[search.plot]["value"]
    assert len(front.points) == len(NETWORKS)
    assert "made-up <crops>" in front.note
    assert front.baseline is not None
    assert front.baseline.y == 25
    point = next(point for point in front.points if point.id == NETWORKS[3].id)
    assert point.low < point.x == 8.0 < point.high
    assert shown[search.plot]["budget"] == 12
    assert shown[search.plot]["best"] == NETWORKS[7].id
    assert shown[search.plot]["selected"] == NETWORKS[3].id
    assert "26.30 dB" in shown[search.card]
    assert "90% interval 7." in shown[search.card]
    assert "Best under 12 ms" in shown[search.facts]
    assert Path(shown[search.download]["value"]).is_file()
    assert not shown[search._timer].active  # pyright: ignore[reportPrivateUsage]
    version = search.searches.snapshot("ann").version  # pyright: ignore
    again = search.on_tick(asked(search, _version=version), ANN)
    assert set(again) == {search.facts}, "nothing new to draw"


def test_pause_resume_and_cancel_by_the_buttons(search: Search) -> None:
    start(search, "steady", trials=1000)
    ticked(search, "Running")
    search.on_pause(asked(search), ANN)
    paused = ticked(search, "Paused")
    assert (paused[search.pause]["value"], paused[search.pause]["interactive"]) == ("Resume", True)
    search.on_pause(asked(search), ANN)
    ticked(search, "Running")
    cancelling = search.on_cancel(asked(search), ANN)
    assert "<strong>Cancelling" in cancelling[search.progress]
    assert not cancelling[search.cancel]["interactive"]
    cancelled = ticked(search, "Cancelled")
    assert cancelled[search.start]["interactive"]
    assert Path(cancelled[search.download]["value"]).is_file()


def test_an_error_of_the_worker_is_shown_as_text(search: Search) -> None:
    start(search, "refused")
    failed = ticked(search, "Failed")
    assert "The cheapest network &lt;x&gt; takes 5 ms." in failed[search.progress]
    assert failed[search.start]["interactive"]


def test_a_busy_server_says_so(search: Search) -> None:
    start(search, "endless")
    with pytest.raises(gr.Error, match="This server is busy"):
        start(search, "steady", who=SimpleNamespace(session_hash="bob"))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"device": "toaster"}, "There is no device 'toaster'"),
        ({"sampler": "luck"}, "There is no sampler 'luck'"),
        ({"trials": None}, "trials is not a whole number"),
        ({"trials": 5000}, "5000 trials are not possible here"),
        ({"seed": "1e400"}, "seed is not a whole number"),
        ({"budget": "nan"}, "budget 'nan'"),
    ],
)
def test_bad_settings_are_one_sentence(
    search: Search, changes: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(gr.Error, match=sentence):
        start(search, "steady", **changes)
    assert search.searches.snapshot("ann") is None


def test_a_loaded_result_is_shown_and_its_networks_can_be_chosen(
    page: Page, search: Search, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = replace(FINISHED, phase="loaded")
    monkeypatch.setattr("sr_core.ui.search.tab.load_result", lambda path, catalogue: loaded)  # pyright: ignore
    shown = search.on_load(asked(search, load="result.json"), ANN)
    assert len(shown[search.plot]["value"].points) == len(NETWORKS)
    assert "<strong>Loaded result" in shown[search.progress]
    values = held(page, device=app_root.PHONE, threads=None, tab="search")
    event: Any = SimpleNamespace(value=NETWORKS[5].id)
    chosen = page.search.on_network(values, event, ANN)
    assert chosen[page.prune.table] == NETWORKS[5].to_json()
    assert chosen[search.plot]["selected"] == NETWORKS[5].id
    assert chosen[search.prune]["interactive"]
    with pytest.raises(gr.Error, match="not in your search"):
        page.search.on_network(values, SimpleNamespace(value="x"), ANN)  # pyright: ignore


def test_a_result_that_cannot_be_shown_is_not_kept(
    search: Search, monkeypatch: pytest.MonkeyPatch
) -> None:
    hostile = FINISHED.trials[0].model_copy(update={"cost": 1.7e308})
    loaded = replace(FINISHED, phase="loaded", trials=(hostile,))
    monkeypatch.setattr("sr_core.ui.search.tab.load_result", lambda path, catalogue: loaded)  # pyright: ignore
    with pytest.raises(ValueError, match="finite"):
        search.on_load(asked(search, load="result.json"), ANN)
    assert search.searches.snapshot("ann") is None


def test_the_plan_follows_the_settings(search: Search) -> None:
    plan = search.on_settings(asked(search, device=app_root.PHONE, budget=0, trials=400))
    for words in ("Up to 400 networks", "Made-up phone", "no latency budget", "12 crops of 192×192",
                  "not with Explore's", "about 2 min"):  # fmt: skip
        assert words in plan


def test_the_command_line_has_all_samplers() -> None:
    assert set(OFFERED) <= set(SAMPLERS)
