"""What each pruning scheme would save on a network: estimated, stored, or timed here. No Gradio."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from sr_core.latency.savings import SCHEMES, SchemeTiming, scheme_rows, time_schemes, with_scheme
from sr_core.machine import cores, processor
from sr_core.network.blocks import Scheme
from sr_core.network.candidate import MAX_RATIO, PATTERN_MIN_RATIO, Candidate, LayerPruning
from sr_core.results.engine import EngineBench
from sr_core.results.record import Runtime
from sr_core.runtime.choice import runtime_name
from sr_core.ui import cards
from sr_core.ui.findings import engine as engine_facts
from sr_core.ui.pricing import Pricing
from sr_core.ui.titles import title
from sr_core.ui.view import View

_BAND = (
    "Estimated savings are ratios of two estimates, with the 90 % interval that follows from "
    "theirs if their errors are independent. ONNX Runtime has no sparse convolution: masks save "
    "nothing there."
)
_NOT_TIMED = (
    "Whole network of these blocks and channels, each scheme at the ratio above. Press the button "
    "to measure them here: dense and pruned networks take turns, in each runtime."
)


class Savings:
    """The table of savings of every scheme on a network's blocks and width."""

    def __init__(self, pricing: Pricing) -> None:
        self._pricing = pricing
        self._catalogue = pricing.catalogue

    def table(
        self,
        view: View,
        candidate: Candidate,
        percent: float | None,
        timings: Sequence[SchemeTiming] = (),
        about: str = _NOT_TIMED,
    ) -> str:
        """Return the table as HTML, with the stored benchmark where there are no timings.

        Args:
            percent: of the weights that each scheme removes.
            about: what the timings are.
        """
        profile = self._pricing.profile(view)
        rows = scheme_rows(
            candidate, _ratios(percent), [profile], timings, output=view.size,
            threads=view.threads, sparsity_share=view.share,
        )  # fmt: skip
        bench_savings: dict[tuple[Scheme, Runtime], float] = {}
        remarks = [_BAND, about]
        if (bench := self._stored()) and not timings:
            networks: dict[Scheme, Candidate] = {
                row.scheme: with_scheme(candidate, row.scheme, row.ratio) for row in rows
            }
            bench_savings = engine_facts.stored_savings(bench, networks, view.threads)
            if bench_savings:
                remarks.append(engine_facts.elsewhere(bench, view.threads))
        return cards.scheme_table(rows, profile, self._runtimes(), bench_savings, " ".join(remarks))

    def _stored(self) -> EngineBench | None:
        """Return the stored benchmark of the instruction set used here, else the first one."""
        benches = self._catalogue.engine_benches
        ours = self._runtimes().get("sparse")
        alike = (bench for bench in benches if bench.runtimes["sparse"] == ours)
        return next(alike, benches[0] if benches else None)

    def timed_table(self, view: View, candidate: Candidate, percent: float | None) -> str:
        """Time dense and pruned networks of these blocks in turns, for the same table."""
        threads = view.threads or cores()
        timings = time_schemes(
            self._catalogue.supernet(candidate.family), candidate, _ratios(percent),
            library=self._catalogue.engine, threads=threads,
        )  # fmt: skip
        about = self._timing_note(timings, threads, candidate)
        return self.table(view, candidate, percent, timings, about)

    def _timing_note(
        self, timings: Sequence[SchemeTiming], threads: int, candidate: Candidate
    ) -> str:
        runtimes = self._runtimes()
        ratios = dict.fromkeys(f"{timing.scheme} {timing.ratio:.0%}" for timing in timings)
        dense: dict[Runtime, float] = {t.runtime_id: t.dense_median_ms for t in timings}
        took = ", ".join(f"{ms:.1f} ms in {runtimes[name]}" for name, ms in dense.items())
        return (
            f"{title(with_scheme(candidate, 'dense', 0))}; {', '.join(ratios)}. Measured just now "
            f"on the computer that serves this page ({processor()}, fp32, {threads} thread(s), "
            f"1280×720 output): median of {timings[0].runs} frames, networks and runtimes in "
            f"turns; the dense network took {took}, and each saving is against it in the same "
            "runtime."
        )

    def _runtimes(self) -> dict[Runtime, str]:
        """Name what computes here: our engine, if there is one, and ONNX Runtime."""
        library = self._catalogue.engine
        ours: dict[Runtime, str] = {"sparse": runtime_name(library)} if library else {}
        return {**ours, "onnx": runtime_name(None)}


def prune_all(candidate: Candidate, scheme: Scheme, percent: float | None) -> Candidate:
    """Set one scheme and ratio for every layer of a cell that can take it."""
    wish = LayerPruning(scheme, max(lowest_percent(scheme), percent or 0) / 100)
    return replace(candidate, cells=tuple(map(wish.applied_to, candidate.cells)))


def lowest_percent(scheme: str) -> int:
    """Return the least percent of weights to remove: a pattern removes 5 of 9 taps."""
    return math.ceil(PATTERN_MIN_RATIO * 100) if scheme == "pattern" else 0


def _ratios(percent: float | None) -> dict[Scheme, float]:
    """Return the ratio of every scheme for "weights removed". A pattern removes 5/9 at least."""
    ratio = min(MAX_RATIO, max(0.0, (percent or 0) / 100))
    return {s: max(ratio, PATTERN_MIN_RATIO) if s == "pattern" else ratio for s in SCHEMES}
