"""Fine-tuned (final) models beside their once-for-all selves. Pure functions, no Gradio.

A final model has the candidate, and so the cost, of a network that the supernet holds too; only
its weights, and so its quality, are its own.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass

from sr_core.catalogue.final import Final
from sr_core.catalogue.store import Catalogue
from sr_core.latency.prices import count, price
from sr_core.network.candidate import Candidate
from sr_core.quality.datasets import BENCHMARKS
from sr_core.results.quality import Quality
from sr_core.ui.components.front_plot import TunedPoint
from sr_core.ui.pricing import Pricing
from sr_core.ui.titles import image_set, title
from sr_core.ui.view import View

HELP = """ The orange crosses are the exception: **fine-tuned**, trained further on their own, \
each with a line up from its once-for-all self, which has the same cost. The front, its knee and \
the best under a budget stay those of the once-for-all networks."""
CROPS = "Validation crops"


@dataclass(frozen=True)
class Score:
    """PSNR-Y in dB of a final model on one set of images, before (if known) and after."""

    images: str
    before_db: float | None
    after_db: float

    @property
    def gain_db(self) -> float | None:
        """What fine-tuning gained."""
        return None if self.before_db is None else self.after_db - self.before_db


def of(catalogue: Catalogue, candidate: Candidate) -> list[Final]:
    """Return the final models of a candidate."""
    return [final for final in catalogue.finals(candidate.family) if final.candidate == candidate]


def scores(final: Final) -> list[Score]:
    """Return scores on the validation crops, then on the benchmarks, as far as measured."""
    crops_db = final.descriptor.validation_psnr_y_db
    rows: list[Score] = []
    if "fine_tuned" in crops_db:
        rows.append(Score(CROPS, crops_db.get("once_for_all"), crops_db["fine_tuned"]))
    for name in BENCHMARKS:
        after = _on(final.quality, name)
        if after is not None:
            rows.append(Score(name, _on(final.once_for_all, name), after))
    return rows


def points(pricing: Pricing, view: View) -> tuple[TunedPoint, ...]:
    """Return the final models that have the quality of a view, at their cost there."""
    catalogue = pricing.catalogue
    models = [(final, _score(catalogue, final, view)) for final in catalogue.finals(view.family)]
    comparable = [(final, score) for final, score in models if score]
    if not comparable:
        return ()
    candidates = [final.candidate for final, _ in comparable]
    counts = count(candidates)
    macs_g, params_k = counts.macs_kept / 1e9, counts.params_kept / 1e3
    cost = low = high = macs_g if view.axis == "macs" else params_k
    if view.axis == "latency":
        prices = price(
            candidates, pricing.profile(view), output=view.size, threads=view.threads,
            sparsity_share=view.share,
        )  # fmt: skip
        cost, low, high = prices.total_ms, prices.low_ms, prices.high_ms
    return tuple(
        TunedPoint(
            final.name, f"Fine-tuned: {title(final.candidate)}", final.candidate.id,
            float(cost[i]), float(low[i]), float(high[i]), score.after_db, score.before_db,
            float(macs_g[i]), float(params_k[i]),
        )
        for i, (final, score) in enumerate(comparable)
    )  # fmt: skip


def verdict(pricing: Pricing, view: View) -> str:
    """Name the best under the budget, once for all and fine-tuned, as HTML.

    It is empty without a budget or fine-tuned models.
    """
    if view.axis != "latency" or view.budget_ms is None or not (fine := points(pricing, view)):
        return ""
    networks = pricing.points(view)
    best = networks.best(view.budget_ms)
    once = "–"
    if best is not None:
        at = networks.candidates.index(best)
        once = f"<b>{networks.quality[at]:.2f} dB</b> at {networks.cost[at]:.1f} ms"
    affordable = [one for one in fine if one.x <= view.budget_ms]
    own = f"none of {len(fine)} is as fast"
    if affordable:
        one = max(affordable, key=lambda one: one.y)
        own = f"<b>{one.y:.2f} dB</b> at {one.x:.1f} ms, <code>{html.escape(one.id)}</code>"
    return (
        f"<p>Best under {view.budget_ms:g} ms: once for all {once}; fine-tuned {own}. "
        "<em class='mark measured'>dB measured</em> "
        "<em class='mark estimated'>ms estimated</em></p>"
    )


def card(catalogue: Catalogue, candidate: Candidate) -> str:
    """Say on the card of a candidate what its final models are, as HTML. Empty if it has none."""
    return "".join(_card(catalogue, final) for final in of(catalogue, candidate))


def line(catalogue: Catalogue, candidate: Candidate) -> str:
    """Return a sentence about the final models of an edited candidate, as HTML, or ""."""
    texts: list[str] = []
    for final in of(catalogue, candidate):
        first = next(iter(scores(final)), None)
        if first:
            gain = "" if first.gain_db is None else f", {first.gain_db:+.2f} dB by fine-tuning"
            texts.append(
                f"This network was fine-tuned too, as <code>{html.escape(final.name)}</code>: "
                f"<b>{first.after_db:.2f} dB</b> on {_images(first)} (measured{gain}). Explore "
                "shows both side by side."
            )
    return f"<p class='tuned'>{' '.join(texts)}</p>" if texts else ""


def _card(catalogue: Catalogue, final: Final) -> str:
    name = html.escape(final.name)
    body = "".join(
        f"<tr><th scope=row>{score.images}</th><td>{_db(score.before_db)}</td>"
        f"<td>{_db(score.after_db)}</td><td>{_gain(score.gain_db)}</td></tr>"
        for score in scores(final)
    )
    command = html.escape(final.descriptor.reproduction.replace(" && ", "\n"))
    return (
        f"<h4>Fine-tuned: <code>{name}</code></h4>"
        "<table class='scores'><thead><tr><th scope=col>PSNR-Y, dB "
        "<em class='mark measured'>measured</em></th>"
        f"<th scope=col>once for all</th><th scope=col>fine-tuned {name}</th>"
        f"<th scope=col>gain</th></tr></thead><tbody>{body}</tbody></table>"
        f"{_rgb(final)}{_other(catalogue, final)}<details><summary>Reproduce {name}</summary>"
        f"<pre>{command}</pre></details>"
    )


def _rgb(final: Final) -> str:
    """Say what becomes of the colours, where that was measured."""
    known = [(q.image_set, q.psnr_rgb) for q in final.quality if q.psnr_rgb is not None]
    if not known:
        return ""
    texts = ", ".join(f"{html.escape(name)} {value_db:.2f} dB" for name, value_db in known)
    return f"<p class='origin'>PSNR-RGB, fine-tuned: {texts} (measured).</p>"


def _other(catalogue: Catalogue, final: Final) -> str:
    """Say that fine-tuning started from other weights than those shipped now, if it did."""
    if final.descriptor.supernet_sha256 == catalogue.supernet(final.candidate.family).sha256:
        return ""
    return (
        "<p class='origin'>Here “once for all” is with the supernet's weights that fine-tuning "
        "started from; those shipped now are newer.</p>"
    )


def _score(catalogue: Catalogue, final: Final, view: View) -> Score | None:
    """Return a final model's result in the metric of a view, None without one to compare with."""
    name = image_set(view.metric)
    if name is None:
        front = catalogue.front(view.family)
        same = front and final.descriptor.validation_crops_sha256 == front.header.crops.sha256
        if view.metric != "psnr_y_db" or not same:
            return None
    return next((score for score in scores(final) if score.images == (name or CROPS)), None)


def _on(results: Sequence[Quality], name: str) -> float | None:
    return next((q.psnr_y for q in results if q.image_set == name), None)


def _images(score: Score) -> str:
    return "the validation crops" if score.images == CROPS else score.images


def _db(value_db: float | None) -> str:
    return "–" if value_db is None else f"{value_db:.2f}"


def _gain(gain_db: float | None) -> str:
    return "–" if gain_db is None else f"{gain_db:+.2f}"
