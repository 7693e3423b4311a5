"""What tab Search shows of a search: points, facts, curve, card. No Gradio events.

Every number says how it came about; texts that are not ours are escaped.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from sr_core.errors import LatencyError
from sr_core.latency.estimate import CONFIDENCE, estimate
from sr_core.network.candidate import Candidate
from sr_core.network.notation import from_text
from sr_core.quality.datasets import SAMPLE_CROPS
from sr_core.search.events import Start, Trial
from sr_core.search.front import best_under, non_dominated
from sr_core.ui.cards import tile
from sr_core.ui.components.front_plot import Axis, Baseline, FrontData, Point
from sr_core.ui.pricing import Pricing, cost_of
from sr_core.ui.search.live import ACTIVE, Phase, Snapshot
from sr_core.ui.search.result import MAX_LOADED
from sr_core.ui.titles import title

_FRAME = "1280×720"
_AXES = {
    "ms": Axis(f"Latency, ms per frame of {_FRAME} output", "estimated"),
    "GMACs": Axis(f"MACs, G per frame of {_FRAME} output", "counted"),
}
_QUALITY = Axis("PSNR-Y, dB on the crops of the search", "measured", digits=2)
_PHASES: dict[Phase, str] = {
    "starting": "Starting", "running": "Running", "pausing": "Pausing after this network",
    "paused": "Paused", "finished": "Finished", "cancelling": "Cancelling after this network",
    "cancelled": "Cancelled", "failed": "Failed", "loaded": "Loaded result",
}  # fmt: skip
_WIDTH, _HEIGHT = 300, 80
"""Of the curve, in its own units."""
FROM_FILE = "from the file"
"""Origin of a number that somebody else's search gave."""
NO_SEARCH = "No search has run in this tab yet: press Start, and watch its networks appear here."
NOT_CHOSEN = (
    "<p class='origin'>Click a point, or a title in the table, to see that network here and to "
    "prune or compare it.</p>"
)


@dataclass(frozen=True)
class Network:
    """What never changes about a network on a device."""

    candidate: Candidate
    title: str
    macs_g: float
    params_k: float
    low: float
    high: float
    """90 % interval of its latency, over its latency."""


class SearchView:
    """Describes snapshots, and remembers the networks in them."""

    def __init__(self, pricing: Pricing) -> None:
        self._pricing = pricing
        self._network = lru_cache(2 * MAX_LOADED)(self._describe)

    def networks(self, snapshot: Snapshot) -> dict[str, tuple[Network, Trial]]:
        """Return networks by candidate id, in the order of their trials.

        A network counts once.
        """
        if snapshot.start is None:
            return {}
        objective = snapshot.start.objective
        pairs = [(self._network(trial.network, objective), trial) for trial in snapshot.trials]
        return {network.candidate.id: (network, trial) for network, trial in pairs}

    def front(self, snapshot: Snapshot | None) -> FrontData:
        """Return the points for the plot."""
        if snapshot is None or snapshot.start is None or not snapshot.trials:
            waiting = snapshot is not None and snapshot.phase in ACTIVE
            note = "Starting: the first networks appear in a few seconds." if waiting else NO_SEARCH
            return FrontData((), _AXES["ms"], _QUALITY, note)
        start, networks = snapshot.start, self.networks(snapshot)
        presets = {model.candidate for model in self._pricing.catalogue.models(start.family)}
        front = non_dominated(*_costs([trial for _, trial in networks.values()]))
        points = tuple(
            Point(
                identity, network.title, "listed" if network.candidate in presets else "search",
                round(trial.cost, 4), round(trial.cost * network.low, 4),
                round(trial.cost * network.high, 4), round(trial.psnr_y_db, 4), bool(on_front),
                round(network.macs_g, 4), round(network.params_k, 2),
            )
            for (identity, (network, trial)), on_front in zip(networks.items(), front, strict=True)
        )  # fmt: skip
        baseline = Baseline("bicubic", start.crops.bicubic_psnr_y_db)
        axis = replace(_AXES[start.unit], origin=self._origin(start))
        quality = replace(_QUALITY, origin=_source(snapshot))
        return FrontData(points, axis, quality, self._note(start, quality.origin), (), baseline)

    def best(self, snapshot: Snapshot) -> tuple[Network, Trial] | None:
        """Return the best network so far: within the budget, if there is one."""
        pairs = list(self.networks(snapshot).values())
        budget = snapshot.start.budget_ms if snapshot.start else None
        limit = float("inf") if budget is None else budget
        index = best_under(*_costs([trial for _, trial in pairs]), limit)
        return None if index is None else pairs[index]

    def facts(self, snapshot: Snapshot | None) -> str:
        """Return speed, best network and hypervolume as HTML."""
        if snapshot is None or not (tiles := self._tiles(snapshot)):
            return ""
        return f"<div class='tiles'>{''.join(tiles)}</div>{_curve(snapshot)}"

    def card(self, snapshot: Snapshot | None, candidate: Candidate) -> str | None:
        """Return the card of a network of this search, None if it is none of them."""
        networks = self.networks(snapshot) if snapshot else {}
        if snapshot is None or snapshot.start is None or candidate.id not in networks:
            return None
        network, trial = networks[candidate.id]
        cost, crops = cost_of(candidate), snapshot.start.crops
        tiles = [
            _cost_tile(network, trial, snapshot.start, self._origin(snapshot.start)),
            tile("PSNR-Y", f"{trial.psnr_y_db:.2f} dB",
                 f"{crops.n} crops; bicubic {crops.bicubic_psnr_y_db:.2f} dB", _source(snapshot)),
            tile(f"MACs, {_FRAME}", f"{cost.macs_kept / 1e9:.2f} G",
                 f"of {cost.macs_dense / 1e9:.2f} G dense", "counted"),
            tile("Parameters", f"{cost.params_kept / 1e3:.1f} K",
                 f"of {cost.params_dense / 1e3:.1f} K dense", "counted"),
        ]  # fmt: skip
        return (
            f"<h3>{html.escape(network.title)}</h3><p class='origin'><code>{trial.network}</code>, "
            f"trial {trial.number}, SSIM-Y {trial.ssim_y:.4f} ({_source(snapshot)})</p>"
            f"<div class='tiles'>{''.join(tiles)}</div>"
        )

    def _tiles(self, snapshot: Snapshot) -> list[str]:
        start, last = snapshot.start, next(reversed(snapshot.trials), None)
        if start is None or last is None:
            return []
        speed = snapshot.evaluated_per_s
        count = max(trial.evaluated for trial in snapshot.trials)
        tiles = [
            tile("Evaluated", f"{count}", "networks; the other trials were known"
                 if speed is None else f"networks, {speed:.1f} a second now", _source(snapshot)),
            _time_tile(snapshot),
        ]  # fmt: skip
        if best := self.best(snapshot):
            network, trial = best
            budget = "" if start.budget_ms is None else f" under {start.budget_ms:g} ms"
            tiles.append(
                tile(f"Best{budget}", f"{trial.psnr_y_db:.2f} dB",
                     f"at {_cost(trial, start)} ({self._origin(start)}"
                     f"{_interval(network, trial, start)}); {network.title}", _source(snapshot))
            )  # fmt: skip
        else:
            tiles.append(tile(f"Best under {start.budget_ms:g} ms", "–", "none found so far"))
        tiles.append(
            tile("Hypervolume", f"{last.hypervolume:.4g}", f"{start.unit}·dB under the front",
                 FROM_FILE if snapshot.phase == "loaded" else "estimated")
        )  # fmt: skip
        return tiles

    def _origin(self, start: Start) -> str:
        """Say how costs came about: without the device, a loaded file's stay unchecked."""
        devices = {profile.id for profile in self._pricing.catalogue.devices}
        checkable = start.unit != "ms" or start.objective in devices
        return _AXES[start.unit].origin if checkable else FROM_FILE

    def _note(self, start: Start, origin: str) -> str:
        titles = {profile.id: profile.title for profile in self._pricing.catalogue.devices}
        return (
            f"{start.family.title}, {titles.get(start.objective, start.objective)}, sampler "
            f"{start.sampler}, seed {start.seed}. PSNR-Y {origin}, on {start.crops.about}; it "
            "compares only with other numbers on these crops."
        )

    def _describe(self, text: str, objective: str) -> Network:
        candidate = from_text(text)
        low = high = 1.0
        try:
            result = estimate(self._pricing.catalogue.device(objective), candidate)
            low, high = result.low_ms / result.total_ms, result.high_ms / result.total_ms
        except LatencyError:
            pass  # MACs, which are exact, or a device that is not known here
        cost = cost_of(candidate)
        macs_g, params_k = cost.macs_kept / 1e9, cost.params_kept / 1e3
        return Network(candidate, title(candidate), macs_g, params_k, low, high)


def progress(snapshot: Snapshot | None) -> str:
    """Say how far a search is, and why it ended early, as HTML."""
    if snapshot is None:
        return ""
    count, total = len(snapshot.trials), snapshot.total
    message = html.escape(snapshot.message, quote=False)
    return (
        f"<p><strong>{_PHASES[snapshot.phase]}</strong>, {count} of {total} trials</p>"
        f"<progress max='{total}' value='{count}' aria-label='Finished trials'></progress>"
        f"{f'<p class=problem>{message}</p>' if message else ''}"
    )


def plan(device: str, size: int, budget_ms: float | None, runtime: str, seconds: float) -> str:
    """Say what pressing Start would do, as HTML. `size` is the number of trials."""
    budget = "no latency budget" if budget_ms is None else f"budget {budget_ms:g} ms"
    return (
        f"<p>Up to {size} networks are proposed, and scored by {runtime} on "
        f"{SAMPLE_CROPS}: their PSNR compares only with each other and with tab Prune's, not with "
        f"Explore's. Latency is estimated for {html.escape(device)}, one {_FRAME} frame, its usual "
        f"number of threads; {budget}. Expected: about {duration(seconds)} on a quiet server, "
        f"10 minutes at most. The search ends when you close this page.</p>"
    )


def duration(seconds: float) -> str:
    """Return text such as `45 s` or `3 min`."""
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


def _source(snapshot: Snapshot) -> str:
    """Say whether this server measured what it shows: anybody can write a file."""
    return FROM_FILE if snapshot.phase == "loaded" else "measured"


def _costs(trials: Sequence[Trial]) -> tuple[list[float], list[float]]:
    return [trial.cost for trial in trials], [trial.psnr_y_db for trial in trials]


def _cost(trial: Trial, start: Start) -> str:
    return f"{trial.cost:.1f} ms" if start.unit == "ms" else f"{trial.cost:.2f} GMACs"


def _interval(network: Network, trial: Trial, start: Start) -> str:
    """Return the interval of a latency, after a comma.

    It is empty for MACs and where the device is not known.
    """
    low, high = trial.cost * network.low, trial.cost * network.high
    if start.unit != "ms" or not low < high:
        return ""
    return f", {CONFIDENCE:.0%} interval {low:.1f}–{high:.1f} ms"


def _cost_tile(network: Network, trial: Trial, start: Start, origin: str) -> str:
    if start.unit != "ms":
        return tile("Cost", _cost(trial, start), "what the search made small", origin)
    interval = _interval(network, trial, start).removeprefix(", ")
    beside = interval or f"for {start.objective}, not known here: no interval"
    return tile(f"Latency, {_FRAME}", _cost(trial, start), beside, origin)


def _time_tile(snapshot: Snapshot) -> str:
    if snapshot.phase in ACTIVE:
        left = "–" if snapshot.eta_s is None else duration(snapshot.eta_s)
        return tile("Time left", left, "at the present speed", "estimated")
    took_s = [trial.evaluation_s for trial in snapshot.trials if not trial.known]
    median = f"{np.median(took_s):.2f} s" if took_s else "–"
    return tile("One evaluation", median, "median; proposals not included", _source(snapshot))


def _curve(snapshot: Snapshot) -> str:
    """Draw the hypervolume over the trials, as steps."""
    values = np.maximum.accumulate([trial.hypervolume for trial in snapshot.trials] or [0.0])
    if snapshot.start is None or not values[-1] > 0:
        return ""
    x = np.arange(1, values.size + 1) / max(snapshot.total, values.size) * _WIDTH
    y = _HEIGHT * (1 - values / values[-1])
    steps = "".join(f"H{right:.1f}V{height:.1f}" for right, height in zip(x, y, strict=True))
    top, unit = f"{values[-1]:.4g}", f"{snapshot.start.unit}·dB"
    return (
        f"<figure class='curve'><figcaption>Hypervolume, {unit}, from 0 to {top} over "
        f"{max(snapshot.total, values.size)} trials</figcaption>"
        f"<svg viewBox='0 -3 {_WIDTH} {_HEIGHT + 6}' role='img' preserveAspectRatio='none' "
        f"aria-label='Hypervolume grows to {top} {unit} after {values.size} trials'>"
        f"<path d='M0,{_HEIGHT}{steps}V{_HEIGHT}Z'/></svg><p class='origin'>The area between the "
        "front, bicubic and the budget (without one: a cost beyond the listed networks): it grows "
        "while the search still finds something.</p></figure>"
    )
