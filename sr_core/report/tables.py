"""Tables of stored results in Markdown; `report/pages.py` puts them into the pages of docs/."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby

from sr_core.catalogue.final import Final
from sr_core.catalogue.store import Catalogue, Quality
from sr_core.latency.estimate import estimate
from sr_core.latency.own import OWN
from sr_core.latency.prices import price
from sr_core.latency.profile import DeviceProfile
from sr_core.network.candidate import Candidate, Family
from sr_core.network.layers import describe, lr_size, totals
from sr_core.network.notation import from_text
from sr_core.quality.datasets import BENCHMARKS
from sr_core.results.ablations import Ablation
from sr_core.results.record import Runtime
from sr_core.results.rivals import RivalBench, RivalRow
from sr_core.results.samplers import SamplerBench
from sr_core.search.front import best_under

FINALS_THREADS = 2
PAPER = "2108.08910"
"""In the name of what the paper published."""
README_SETS = ("Set5", "BSD100")
README_MODELS = (
    "x4-5ms", "x4-10ms", "x4-123k", "x4-luma-9k", "x4-luma-25k", "x2-13k", "x2-30ms",
    "x2-luma-14k", "x2-luma-21k",
)  # fmt: skip
BUDGETS_MS = (10, 15, 30)
"""Of one 1280x720 frame."""
_RUNTIMES: dict[Runtime, str] = {"sparse": "ours", "onnx": "ONNX Runtime"}


def results_table(catalogue: Catalogue) -> str:
    """Return a row per listed model and one for bicubic, per scale."""
    cost = ["parameters, kept of dense", "GMACs, kept of dense"]
    header = ["model", *cost, *(f"{name} (dB / SSIM)" for name in BENCHMARKS)]
    lines = [row(header), row(["---", "--:", "--:", *("--:" for _ in BENCHMARKS)])]
    for scale in catalogue.scales:
        lines.append(row([f"bicubic x{scale}", "-", "-", *_cells(catalogue.bicubic(scale))]))
        families = [family for family in catalogue.families if family.scale == scale]
        for model in (model for family in families for model in catalogue.models(family)):
            summary = model.summary()
            cost = [
                f"{summary['params_kept'] / 1e3:.0f} K of {summary['params_dense'] / 1e3:.0f} K",
                f"{summary['macs_kept_g']:.1f} of {summary['macs_dense_g']:.1f}",
            ]
            lines.append(row([f"`{model.name}`", *cost, *_cells(model.quality)]))
    return "\n".join(lines)


def _engine_profile(catalogue: Catalogue) -> DeviceProfile:
    """Return the first shipped profile of our engine. Raises `LatencyError` without one."""
    ours = [device.id for device in shipped_devices(catalogue) if device.runtime_id == "sparse"]
    return catalogue.device(next(iter(ours), ""))


def readme_table(catalogue: Catalogue) -> str:
    """Return rows of bicubic, some final models from small to large, and the paper's."""
    device = _engine_profile(catalogue)
    sets = [f"{name} (dB)" for name in README_SETS]
    header = ["model", "kept parameters", *sets, "ms per 1280×720 frame"]
    lines = [row(header), row(["---", *("--:" for _ in header[1:])])]
    for scale in reversed(catalogue.scales):
        lines.append(row([f"bicubic ×{scale}", "-", *_some_db(catalogue.bicubic(scale)), "-"]))
        for final in catalogue.finals_of_scale(scale):
            if final.name in README_MODELS:
                time = estimate(device, final.candidate, threads=FINALS_THREADS)
                ms = f"{time.total_ms:.1f} ({time.low_ms:.1f} to {time.high_ms:.1f})"
                params = f"{final.params_kept / 1e3:.0f} K"
                lines.append(row([f"`{final.name}`", params, *_some_db(final.quality), ms]))
        for theirs in catalogue.published_models:
            if theirs.scale == scale and PAPER in theirs.name:
                scores = (theirs.psnr_y_db.get(name) for name in README_SETS)
                cells = ["-" if score is None else f"*{score:.2f}*" for score in scores]
                name = f"the paper's ×{scale} network, *published*"
                lines.append(row([name, f"*{theirs.params_k:.0f} K*", *cells, "-"]))
    return "\n".join(lines)


def _some_db(results: Sequence[Quality]) -> list[str]:
    by_name = {result.image_set: f"{result.psnr_y:.2f}" for result in results}
    return [by_name.get(name, "-") for name in README_SETS]


def finals_table(catalogue: Catalogue) -> str:
    """Return a row per final model, with its time by the shipped profile of the engine.

    Raises `LatencyError` without such a profile.
    """
    device = _engine_profile(catalogue)
    header = [
        "fine-tuned model", "kept parameters", "GMACs",
        *(f"{name} (dB / SSIM)" for name in BENCHMARKS), "Set5, once for all (dB)",
        f"ms, {FINALS_THREADS} threads, estimated (90 % interval)",
    ]  # fmt: skip
    lines = [row(header), row(["---", *("--:" for _ in header[1:])])]
    for final in catalogue.finals():
        cost = totals(describe(final.candidate, *lr_size(final.candidate.scale)))
        before = next((f"{q.psnr_y:.2f}" for q in final.once_for_all if q.image_set == "Set5"), "-")
        time = estimate(device, final.candidate, threads=FINALS_THREADS)
        cells = [f"{cost.params_kept / 1e3:.1f} K", f"{cost.macs_kept / 1e9:.2f}"]
        cells += [*_cells(final.quality), before]
        cells.append(f"{time.total_ms:.1f} ({time.low_ms:.1f} to {time.high_ms:.1f})")
        lines.append(row([f"`{final.name}`", *cells]))
    return "\n".join(lines)


def changes_table(catalogue: Catalogue) -> str:
    """Return a row per final model that took another's place: what it was, and what it is.

    It is empty without any. Raises `LatencyError` without a shipped profile of the engine.
    """
    device = _engine_profile(catalogue)
    header = [
        "model", "kept parameters", "GMACs", "Set5 (dB)", "BSD100 (dB)",
        f"ms, {FINALS_THREADS} threads, estimated", "ms, now / before",
    ]  # fmt: skip
    lines: list[str] = []
    for final in catalogue.finals():
        if earlier := final.descriptor.predecessor:
            both = (from_text(earlier.network), final.candidate)
            costs = [totals(describe(one, *lr_size(one.scale))) for one in both]
            ms = [estimate(device, one, threads=FINALS_THREADS).total_ms for one in both]
            cells = [
                _from_to(f"{cost.params_kept / 1e3:.1f} K" for cost in costs),
                _from_to(f"{cost.macs_kept / 1e9:.2f}" for cost in costs),
                *map(_from_to, zip(*map(_some_db, (earlier.quality, final.quality)), strict=True)),
                _from_to(f"{one:.1f}" for one in ms),
                f"{ms[1] / ms[0]:.2f}",
            ]
            lines.append(row([f"`{final.name}`", *cells]))
    head = [row(header), row(["---", *("--:" for _ in header[1:])])]
    return "\n".join(head + lines) if lines else ""


def _from_to(texts: Iterable[str]) -> str:
    return " → ".join(texts)


def rivals_table(bench: RivalBench) -> str:
    """Return rows of each rival in both runtimes, and of ours that matches its quality.

    Ours were chosen on the validation crops. What BSD100 says had no part in it.
    """
    threads = sorted({row.threads for row in bench.rows})
    times = [f"ms, {n} thread{'s' * (n > 1)} (× as fast)" for n in threads]
    header = [
        "network", "runtime", "PSNR-Y on the validation crops, on which ours were chosen (dB)",
        "PSNR-Y on BSD100 (dB)", "parameters", "GMACs", *times,
    ]  # fmt: skip
    lines = [row(header), row(["---", "---", *("--:" for _ in header[2:])])]

    def network(row: RivalRow) -> tuple[int, str, bool, Runtime]:
        return row.scale, row.rival, row.network != row.rival, row.runtime

    for key, same in groupby(sorted(bench.rows, key=network), key=network):
        by_threads = sorted(same, key=lambda row: row.threads)
        first = by_threads[0]
        name = f"ours: `{first.network}`" if key[2] else f"**{first.rival}**"
        cells = [f"{row.median_ms:.1f} ({row.speed_up:.2f})" for row in by_threads]
        bsd100_db = first.bsd100_psnr_y_db
        quality = [
            f"{first.psnr_y_db:.2f}", "not measured" if bsd100_db is None else f"{bsd100_db:.2f}"
        ]  # fmt: skip
        cost = [f"{first.params / 1e3:.1f} K", f"{first.macs_g:.2f}"]
        lines.append(row([name, _RUNTIMES[first.runtime], *quality, *cost, *cells]))
    return "\n".join(lines)


def ablation_title(ablation: Ablation) -> str:
    """Name the networks that were compared, and their budget: `×4 luma, 4.3 ms`."""
    family = Family(ablation.scale, ablation.colour).title
    return family if ablation.budget_ms is None else f"{family}, {ablation.budget_ms:g} ms"


def ablation_table(ablation: Ablation) -> str:
    """Return a row per family: means over its runs and, in brackets, their range."""
    header = [
        f"{ablation.question}, {ablation_title(ablation)}", "validation dB, once for all",
        "validation dB, fine-tuned", "Set5 dB", "BSD100 dB", "ms, ours", "ms, ONNX Runtime",
        "ms, the same, widths filled to 16", "parameters, kept", "runs", "network",
    ]  # fmt: skip
    lines = [row(header), row(["---", *("--:" for _ in header[2:]), "---"])]
    for label in ablation.labels:
        runs = ablation.of(label)
        networks = list(dict.fromkeys(run.network for run in runs))
        params = [row.params_kept for row in ablation.timed if row.network in networks]
        times = [
            _spread([ablation.median_ms(network, runtime) or 0.0 for network in networks], 1)
            for runtime in ("sparse", "onnx", "onnx, aligned")
        ]
        quality = [
            _spread(values, 2)
            for values in (
                [run.once_for_all_db for run in runs],
                [run.fine_tuned_db for run in runs],
                [run.psnr_y_db["Set5"] for run in runs],
                [run.psnr_y_db["BSD100"] for run in runs],
            )
        ]
        network = f"`{networks[0]}`" if len(networks) == 1 else f"{len(networks)} networks"
        params_k = f"{sum(params) / len(params) / 1e3:.1f} K"
        lines.append(row([label, *quality, *times, params_k, str(len(runs)), network]))
    return "\n".join(lines)


def published_table(catalogue: Catalogue) -> str:
    """Return rows of published networks, and the best final model of no more MACs.

    The best is the one with the highest PSNR-Y on the validation crops.
    """
    header = [
        "published network", "parameters", "GMACs", *(f"{name} (dB)" for name in BENCHMARKS),
        "ours of no more GMACs", "its GMACs", "its Set5 (dB)", "note",
    ]  # fmt: skip
    lines = [row(header), row(["---", *("--:" for _ in header[1:-1]), "---"])]
    for theirs in sorted(catalogue.published_models, key=lambda one: (one.scale, one.macs_g)):
        scores_db = [theirs.psnr_y_db.get(name) for name in BENCHMARKS]
        cells = [f"{theirs.name} x{theirs.scale}", f"{theirs.params_k:.1f} K"]
        cells.append(f"{theirs.macs_g:.2f}")
        cells += ["-" if score is None else f"{score:.2f}" for score in scores_db]
        cells += _final_cells(best_final(catalogue.finals_of_scale(theirs.scale), theirs.macs_g))
        lines.append(row([*cells, theirs.note or "-"]))
    return "\n".join(lines)


def best_final(finals: Sequence[Final], macs_g: float) -> Final | None:
    """Return the final model of at most `macs_g` with the highest PSNR-Y on validation crops."""
    affordable = [final for final in finals if _macs_g(final.candidate) <= macs_g]
    return max(
        affordable, key=lambda f: f.descriptor.validation_psnr_y_db["fine_tuned"], default=None
    )


def _final_cells(final: Final | None) -> list[str]:
    """Return the cells for name, GMACs and PSNR-Y on Set5."""
    if final is None:
        return ["none", "-", "-"]
    score_db = set5_db(final)
    set5 = "not measured" if score_db is None else f"{score_db:.2f}"
    return [f"`{final.name}`", f"{_macs_g(final.candidate):.2f}", set5]


def set5_db(final: Final) -> float | None:
    """Return PSNR-Y on Set5, None if it was not measured."""
    return next((q.psnr_y for q in final.quality if q.image_set == "Set5"), None)


def _macs_g(candidate: Candidate) -> float:
    return totals(describe(candidate, *lr_size(candidate.scale))).macs_kept / 1e9


def samplers_table(bench: SamplerBench) -> str:
    """Return a row per sampler, the highest median hypervolume first."""
    header = [
        "sampler", f"hypervolume, median of the seeds ({bench.unit}·dB)", "lowest to highest",
        "ms per proposal", "ms per evaluation", "seeds",
    ]  # fmt: skip
    lines = [row(header), row(["---", *("--:" for _ in header[1:])])]
    names = dict.fromkeys(run.sampler for run in bench.runs)
    for name in sorted(names, key=lambda name: -bench.final(name)[1]):
        runs = [run for run in bench.runs if run.sampler == name]
        low, middle, high = bench.final(name)
        proposal_ms = 1e3 * sum(run.proposal_s for run in runs) / sum(run.trials for run in runs)
        evaluations = sum(run.evaluated for run in runs)
        evaluation_ms = 1e3 * sum(run.evaluation_s for run in runs) / evaluations
        cells = [f"`{name}`", f"{middle:.1f}", f"{low:.1f} to {high:.1f}"]
        cells += [f"{proposal_ms:.1f}", f"{evaluation_ms:.0f}", str(len(runs))]
        lines.append(row(cells))
    return "\n".join(lines)


def profiles_table(catalogue: Catalogue) -> str:
    """Return a row per shipped latency profile and number of threads."""
    header = [
        "device profile", "runtime", "basis", "threads", "fitted to", "error of the fit",
        "held-out networks", "their mean error", "inside their 90 % interval",
    ]  # fmt: skip
    lines = [row(header), row(["---"] * 3 + ["--:", "---", "---"] + ["--:"] * 3)]
    for device in shipped_devices(catalogue):
        anchors = "; ".join(f"{anchor.n:,}: {anchor.what}" for anchor in device.anchors)
        error = "; ".join(anchor.error or "-" for anchor in device.anchors)
        for setting in device.settings:
            held_out = ["none", "-", "-"]
            if check := setting.held_out:
                held_out = [str(check.n), f"{check.mape_percent:.1f} %", f"{check.coverage:.0%}"]
            threads = str(setting.threads or "-")
            name = [f"`{device.id}`", device.runtime, device.basis]
            lines.append(row([*name, threads, anchors, error, *held_out]))
    return "\n".join(lines)


def budgets_table(catalogue: Catalogue, family: Family) -> str:
    """Return the best network of the front under each of `BUDGETS_MS`, per device."""
    header = [
        f"device profile, {family.title}", "budget", "PSNR-Y on the validation crops (dB)",
        "ms, estimated (90 % interval)", "network",
    ]  # fmt: skip
    lines = [row(header), row(["---", "--:", "--:", "--:", "---"])]
    front = catalogue.front(family)
    if front is None:
        return ""
    scores_db = front.rows["psnr_y_db"].to_numpy()
    for device in shipped_devices(catalogue):
        prices = price(front.candidates, device)
        for budget_ms in BUDGETS_MS:
            best = best_under(prices.total_ms, scores_db, budget_ms)
            cells = [f"`{device.id}`", f"{budget_ms} ms"]
            if best is None:
                lines.append(row([*cells, "none", "-", "-"]))
                continue
            low, high = prices.low_ms[best], prices.high_ms[best]
            time = f"{prices.total_ms[best]:.1f} ({low:.1f} to {high:.1f})"
            network = f"`{front.rows['network'].iloc[best]}`"
            lines.append(row([*cells, f"{scores_db[best]:.2f}", time, network]))
    return "\n".join(lines)


def shipped_devices(catalogue: Catalogue) -> list[DeviceProfile]:
    """Return the profiles of precomputed/, without those of this computer."""
    return [device for device in catalogue.devices if device.id not in OWN.values()]


def _spread(values: Sequence[float], decimals: int) -> str:
    mean = f"{sum(values) / len(values):.{decimals}f}"
    low, high = (f"{value:.{decimals}f}" for value in (min(values), max(values)))
    return mean if low == high else f"{mean} ({low} to {high})"


def _cells(quality: tuple[Quality, ...]) -> list[str]:
    by_set = {q.image_set: f"{q.psnr_y:.2f} / {q.ssim_y:.4f}" for q in quality}
    return [by_set.get(name, "not measured") for name in BENCHMARKS]


def row(cells: list[str]) -> str:
    """Return a row of a Markdown table."""
    return f"| {' | '.join(cells)} |"
