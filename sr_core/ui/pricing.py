"""Prices for the page: the stored front on a device, one candidate, and the layer table's numbers.

Pure functions of a view, no Gradio events; the front of a view is kept for the next visitor.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sr_core.catalogue.store import Catalogue
from sr_core.errors import UpFrontError
from sr_core.latency.estimate import CONFIDENCE, LatencyEstimate, estimate
from sr_core.latency.prices import Costs, Prices, count, price
from sr_core.latency.profile import DeviceProfile
from sr_core.network.candidate import Candidate, Family
from sr_core.network.layers import ConvLayer, Totals, describe, lr_size, timed, totals
from sr_core.search.front import best_under, knee, non_dominated
from sr_core.search.settings import family_words
from sr_core.ui.components.front_plot import Axis, Baseline, FrontData, Point, PublishedPoint
from sr_core.ui.titles import METRICS, image_set, size_title, title
from sr_core.ui.view import View, family_fields, make_view

Vector = NDArray[np.float64]
_KEPT_FRONTS = 32


@dataclass(frozen=True)
class Points:
    """The networks of one view that have the chosen quality, with cost and quality."""

    candidates: list[Candidate]
    cost: Vector
    """In the unit of the view's axis."""
    quality: Vector
    low: Vector
    high: Vector
    """90 % interval of the cost."""
    macs_g: Vector
    params_k: Vector

    def best(self, budget: float | None) -> Candidate | None:
        """Return the best network within the budget, None without a budget or network."""
        index = None if budget is None else best_under(self.cost, self.quality, budget)
        return None if index is None else self.candidates[index]

    def knee(self) -> Candidate | None:
        """Return the front's knee, None without a front."""
        return self.candidates[knee(self.cost, self.quality)] if self.candidates else None


class Pricing:
    """Prices from a catalogue."""

    def __init__(self, catalogue: Catalogue) -> None:
        self.catalogue = catalogue
        self._generation = 0
        """Part of the cache's key: what is being priced meanwhile must not outlive it."""
        self._prices = lru_cache(_KEPT_FRONTS)(self._compute_prices)
        self._counts = lru_cache(2)(self._compute_counts)

    def forget(self) -> None:
        """Forget all prices: a device was measured anew."""
        self._generation += 1

    def profile(self, view: View) -> DeviceProfile:
        """Return the device of a view."""
        return self.catalogue.device(view.device)

    def estimate(self, view: View, candidate: Candidate) -> LatencyEstimate:
        """Estimate the latency of one candidate."""
        return estimate(
            self.profile(view), candidate, output=view.size, threads=view.threads,
            sparsity_share=view.share,
        )  # fmt: skip

    def points(self, view: View) -> Points:
        """Return all networks of the stored front (and listed ones) that the view can show."""
        front = self.catalogue.front(view.family)
        if front is None:
            none = np.empty(0)
            return Points([], none, none, none, none, none, none)
        quality = self._quality(view)
        rows = np.flatnonzero(np.isfinite(quality))
        counts = self._counts(view.family)
        macs_g, params_k = counts.macs_kept / 1e9, counts.params_kept / 1e3
        cost = low = high = macs_g if view.axis == "macs" else params_k
        if view.axis == "latency":
            prices = self._prices(
                self._generation, view.family, view.device, view.size, view.threads, view.share
            )
            cost, low, high = prices.total_ms, prices.low_ms, prices.high_ms
        candidates = front.candidates
        return Points(
            [candidates[i] for i in rows], cost[rows], quality[rows], low[rows], high[rows],
            macs_g[rows], params_k[rows],
        )  # fmt: skip

    def data(self, view: View) -> FrontData:
        """Return what the plot draws for a view."""
        networks = self.points(view)
        x = Axis(f"{_AXES[view.axis][0]}{_per_frame(view)}", _AXES[view.axis][1])
        y = Axis(METRICS[view.metric].axis, "measured", digits=METRICS[view.metric].digits)
        if not networks.candidates:
            return FrontData((), x, y, self._why_empty(view))
        presets = {model.candidate for model in self.catalogue.models(view.family)}
        front = non_dominated(networks.cost, networks.quality)
        points = tuple(
            Point(
                candidate.id, title(candidate), "listed" if candidate in presets else "search",
                float(networks.cost[i]), float(networks.low[i]), float(networks.high[i]),
                float(networks.quality[i]), bool(front[i]), float(networks.macs_g[i]),
                float(networks.params_k[i]),
            )
            for i, candidate in enumerate(networks.candidates)
        )  # fmt: skip
        note = self._note(view, len(points))
        return FrontData(points, x, y, note, self._others(view), self._baseline(view))

    def candidate(self, view: View, identity: str) -> Candidate | None:
        """Return the stored network with this id, None if there is none."""
        front = self.catalogue.front(view.family)
        if front is None:
            return None
        return next((c for c in front.candidates if c.id == identity), None)

    def stored_quality(self, candidate: Candidate) -> dict[str, float]:
        """Return the quality columns of a stored network that are not empty.

        They are {} if the network is not stored.
        """
        front = self.catalogue.front(candidate.family)
        if front is None:
            return {}
        columns = [name for name in front.rows.columns if name.startswith(("psnr_y", "ssim_y"))]
        rows = front.rows.loc[front.rows["id"] == candidate.id, columns]
        return {} if rows.empty else rows.iloc[0].dropna().to_dict()

    def _quality(self, view: View) -> Vector:
        """Return the metric's column, filled up with listed models' own results."""
        front = self.catalogue.front(view.family)
        assert front is not None
        values = front.rows[view.metric].to_numpy(dtype=np.float64, copy=True)
        if name := image_set(view.metric):
            rows = {identity: row for row, identity in enumerate(front.rows["id"])}
            for model in self.catalogue.models(view.family):
                for result in model.quality:
                    row = rows.get(model.candidate.id)
                    if result.image_set == name and row is not None:
                        values[row] = result.psnr_y
        return values

    def _compute_prices(
        self, generation: int, family: Family, device: str, size: tuple[int, int],
        threads: int | None, share: float | None,
    ) -> Prices:  # fmt: skip
        front = self.catalogue.front(family)
        assert front is not None
        return price(
            front.candidates, self.catalogue.device(device), output=size, threads=threads,
            sparsity_share=share,
        )  # fmt: skip

    def _compute_counts(self, family: Family) -> Costs:
        front = self.catalogue.front(family)
        assert front is not None
        return count(front.candidates)

    def _baseline(self, view: View) -> Baseline | None:
        front = self.catalogue.front(view.family)
        if view.metric == "psnr_y_db" and front is not None:
            return Baseline("bicubic", front.header.crops.bicubic_psnr_y_db)
        for result in self.catalogue.bicubic(view.scale):
            if result.image_set == image_set(view.metric):
                return Baseline("bicubic", result.psnr_y)
        return None

    def _others(self, view: View) -> tuple[PublishedPoint, ...]:
        """Return others' models. None was timed on our devices, so they have no latency."""
        name = image_set(view.metric)
        if view.axis == "latency" or name is None:
            return ()
        return tuple(
            PublishedPoint(
                model.name, model.macs_g if view.axis == "macs" else model.params_k,
                model.psnr_y_db[name], model.source, model.note,
            )
            for model in self.catalogue.published_models
            if model.scale == view.scale and name in model.psnr_y_db
        )  # fmt: skip

    def _note(self, view: View, count: int) -> str:
        front = self.catalogue.front(view.family)
        assert front is not None
        name = image_set(view.metric)
        where = name or f"{front.header.crops.n} validation crops"
        what = f"{count:,} networks measured on {where}"
        if name:
            what += (
                ": only those on a front of some device or of MACs, and the listed ones; benchmark "
                "sets are for reporting and chose none of them"
            )
        others = (
            " Others' models are shown against MACs and parameters: no source timed them on these "
            "devices."
            if name and view.axis == "latency"
            else ""
        )
        return f"{what}.{others}"

    def _why_empty(self, view: View) -> str:
        if self.catalogue.front(view.family) is None:
            return (
                f"There is no stored search for {view.family.name} yet: run `python -m sr_core "
                f"search {family_words(view.family)} --val PHOTOS`, or pick another scale."
            )
        return f"No network of {view.family.name} was measured on this yet: pick another metric."


def cost_of(candidate: Candidate) -> Totals:
    """Count parameters, and MACs of a 1280x720 frame."""
    return totals(describe(candidate, *lr_size(candidate.scale)))


def table_prices(pricing: Pricing, question: Mapping[str, Any]) -> dict[str, Any]:
    """Return the layer table's numbers for `{"candidate", "view"}` from the browser.

    It never raises an expected error, but returns `{"error": sentence}`.
    """
    try:
        candidate = pricing.catalogue.check(Candidate.from_json(question.get("candidate")))
        fields: Mapping[str, Any] = question.get("view") or {}
        view = make_view(
            pricing.catalogue, **family_fields(candidate.family.name), device=fields.get("device"),
            size=fields.get("size"), threads=fields.get("threads"), share=fields.get("share"),
        )  # fmt: skip
        result = pricing.estimate(view, candidate)
    except UpFrontError as error:
        return {"error": str(error)}
    size = lr_size(candidate.scale, view.size)
    layers = timed(candidate, *size)
    return {
        "totals": _totals(result, totals(describe(candidate, *size)), view),
        "layers": {
            layer.name: _layer(layer, latency.ms, latency.basis)
            for layer, latency in zip(layers, result.per_layer, strict=True)
        },
        "note": " ".join(result.notes),
        "error": "",
    }


def _totals(result: LatencyEstimate, cost: Totals, view: View) -> list[list[str]]:
    interval = f"{result.low_ms:.1f}–{result.high_ms:.1f} ms ({CONFIDENCE:.0%})"
    return [
        ["Latency, estimated", f"{result.total_ms:.1f} ms", f"{interval}, {result.basis}"],
        [
            f"MACs at {size_title(view.size)}, counted", f"{cost.macs_kept / 1e9:.2f} G",
            f"of {cost.macs_dense / 1e9:.2f} G dense",
        ],
        [
            "Parameters, counted", f"{cost.params_kept / 1e3:.1f} K",
            f"of {cost.params_dense / 1e3:.1f} K dense",
        ],
    ]  # fmt: skip


def _layer(layer: ConvLayer, ms: float, basis: str) -> dict[str, Any]:
    gmacs = layer.macs_kept / 1e9
    return {
        "ms": ms,
        "gmacs": gmacs,
        "basis": basis,
        "title": (
            f"{layer.in_channels}→{layer.out_channels}, {layer.kernel}×{layer.kernel}, "
            f"{layer.width}×{layer.height} pixels; {gmacs:.3f} GMACs, "
            f"{layer.bytes_moved / 1e6:.1f} MB moved at least; {ms:.2f} ms, {basis}"
        ),
    }


_AXES = {
    "latency": ("Latency, ms per frame", "estimated"),
    "macs": ("MACs, G per frame", "counted"),
    "params": ("Parameters, K kept", "counted"),
}


def _per_frame(view: View) -> str:
    if view.axis == "latency":
        return f" of {size_title(view.size)} output"
    return " of 1280×720 output" if view.axis == "macs" else ""
