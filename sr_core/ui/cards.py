"""HTML of the page's facts: a network's card, the device, the schemes. Pure functions, no Gradio.

Each number says whether it was counted, measured, estimated or published, with unit, size and
protocol. Whatever is not ours is escaped.
"""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence

from sr_core.catalogue.store import Model, Quality
from sr_core.latency.estimate import CONFIDENCE, LatencyEstimate
from sr_core.latency.profile import DeviceProfile, Setting
from sr_core.latency.savings import SchemeRow
from sr_core.network.blocks import Scheme
from sr_core.network.candidate import Candidate
from sr_core.network.colour import Colour
from sr_core.network.layers import ConvLayer, Totals, lr_size, timed
from sr_core.network.notation import to_text
from sr_core.quality.datasets import SAMPLE_CROPS
from sr_core.results.record import Runtime
from sr_core.ui.quick_look import QuickScore
from sr_core.ui.titles import size_title, title

_COLOURS: dict[Colour, str] = {
    "rgb": "", "luma": ", luma: brightness alone, colour by bicubic interpolation"
}  # fmt: skip


def tile(label: str, value: str, beside: str, origin: str = "") -> str:
    """Return one number with its label, a second line and its origin mark."""
    mark = f"<em class='mark {origin}'>{origin}</em>" if origin else ""
    texts = [html.escape(text) for text in (label, value, beside)]
    return (
        f"<div class='tile'><span>{texts[0]} {mark}</span><strong>{texts[1]}</strong>"
        f"<small>{texts[2]}</small></div>"
    )


def network_card(
    candidate: Candidate,
    model: Model | None,
    scores: dict[str, float],
    estimate: LatencyEstimate,
    profile: DeviceProfile,
    cost: Totals,
    bicubic: tuple[Quality, ...],
    finals_html: str = "",
) -> str:
    """Return the card of the selected network: cost, quality, latency, layer strip.

    `finals_html` holds its results beside those of its fine-tuned weights.
    """
    latency = f"{CONFIDENCE:.0%} interval {estimate.low_ms:.1f}–{estimate.high_ms:.1f} ms"
    tiles = [
        tile("Latency", f"{estimate.total_ms:.1f} ms", latency, "estimated"),
        _quality_tile(model, scores, bicubic),
        tile("MACs, 1280×720", f"{cost.macs_kept / 1e9:.2f} G",
             f"of {cost.macs_dense / 1e9:.2f} G dense", "counted"),
        tile("Parameters", f"{cost.params_kept / 1e3:.1f} K",
             f"of {cost.params_dense / 1e3:.1f} K dense", "counted"),
    ]  # fmt: skip
    name = model.title if model else title(candidate)
    return (
        f"<h3>{html.escape(name)}</h3><p class='origin'><code>{to_text(candidate)}</code>"
        f"{_COLOURS[candidate.colour]}</p><div class='tiles'>{''.join(tiles)}</div>"
        f"{strip(estimate, timed(candidate, *lr_size(candidate.scale, estimate.output)))}"
        f"{_basis(profile, estimate)}{finals_html or _quality_table(model, scores)}"
        "<details><summary>Reproduce</summary>"
        f"{_commands(candidate, estimate)}</details>"
    )


def _device(profile: DeviceProfile, estimate: LatencyEstimate) -> str:
    threads = (
        f", {estimate.threads} thread{'s' if estimate.threads > 1 else ''}"
        if estimate.threads
        else ""
    )
    return f"{profile.title}{threads}"


def _basis(profile: DeviceProfile, estimate: LatencyEstimate) -> str:
    notes = "".join(f"<li>{html.escape(note)}</li>" for note in estimate.notes)
    return (
        f"<p class='origin'>One frame of {size_title(estimate.output)} output on "
        f"{html.escape(_device(profile, estimate))}, batch 1. Basis: <b>{estimate.basis}</b> (of "
        f"the weakest layer); {estimate.coverage:.0%} of the time is in layers and sizes that the "
        f"profile was fitted to.</p>{f'<ul class=origin>{notes}</ul>' if notes else ''}"
    )


def _quality_tile(
    model: Model | None, scores: dict[str, float], bicubic: tuple[Quality, ...]
) -> str:
    crops_db = scores.get("psnr_y_db")
    if crops_db is not None:
        beside = "luma, mean of the validation crops of the search"
        return tile("PSNR-Y", f"{crops_db:.2f} dB", beside, "measured")
    set5 = next((q for q in model.quality if q.image_set == "Set5"), None) if model else None
    if set5 is None:
        return tile("PSNR-Y", "–", "not stored: the Prune tab measures it")
    baseline = next((q for q in bicubic if q.image_set == "Set5"), None)
    beside = f"Set5; bicubic {baseline.psnr_y:.2f} dB" if baseline else "Set5"
    return tile("PSNR-Y", f"{set5.psnr_y:.2f} dB", beside, "measured")


def _quality_table(model: Model | None, scores: dict[str, float]) -> str:
    """Return benchmark results: those of the search, and a listed model's own."""
    rows: dict[str, tuple[float, float, float | None]] = {}
    for name in ("Set5", "Set14", "BSD100"):
        psnr_db = scores.get(f"psnr_y_{name.lower()}")
        if psnr_db is not None:
            rows[name] = (psnr_db, scores[f"ssim_y_{name.lower()}"], None)
    for result in model.quality if model else ():
        if result.image_set in ("Set5", "Set14", "BSD100"):
            rows[result.image_set] = (result.psnr_y, result.ssim_y, result.psnr_rgb)
    if not rows:
        return ""
    has_rgb = any(rgb_db is not None for _, _, rgb_db in rows.values())
    cells = "".join(
        f"<tr><th scope=row>{name}</th><td>{psnr_db:.2f} dB</td><td>{ssim:.4f}</td>"
        f"{f'<td>{_known_db(rgb_db)}</td>' if has_rgb else ''}</tr>"
        for name, (psnr_db, ssim, rgb_db) in rows.items()
    )
    rgb_head = "<th scope=col>PSNR-RGB</th>" if has_rgb else ""
    return (
        "<table class='scores'><thead><tr><th scope=col>Measured</th><th scope=col>PSNR-Y</th>"
        f"<th scope=col>SSIM-Y</th>{rgb_head}</tr></thead><tbody>{cells}</tbody></table>"
    )


def _known_db(value_db: float | None) -> str:
    return "–" if value_db is None else f"{value_db:.2f} dB"


def _commands(candidate: Candidate, estimate: LatencyEstimate) -> str:
    network = to_text(candidate)
    threads = f" --threads {estimate.threads}" if estimate.threads else ""
    share = "" if estimate.sparsity_share is None else f" --share {estimate.sparsity_share:g}"
    lines = [
        f"python -m sr_core evaluate --model {network} --hr DATA/val --crops",
        f"python -m sr_core estimate --model {network} --device {estimate.profile_id} "
        f"--size {estimate.output[0]}x{estimate.output[1]}{threads}{share}",
        f"python -m sr_core upscale photo.png big.png --model {network}",
    ]
    return f"<pre>{html.escape(chr(10).join(lines))}</pre>"


def strip(estimate: LatencyEstimate, layers: Sequence[ConvLayer]) -> str:
    """Return the layers side by side: width = estimated ms, colour = scheme, details on hover."""
    segments = "".join(
        f"<i style='flex-grow:{latency.ms:.4f};background:var(--scheme-{_scheme(layer)})' "
        f"title='{html.escape(_about(layer, latency.ms, latency.basis))}'></i>"
        for layer, latency in zip(layers, estimate.per_layer, strict=True)
    )
    slowest = max(estimate.per_layer, key=lambda layer: layer.ms)
    label = (
        f"{len(layers)} layers, {estimate.total_ms:.1f} ms in all; the slowest is {slowest.name} "
        f"with {slowest.ms:.2f} ms"
    )
    schemes = dict.fromkeys(map(_scheme, layers))
    legend = "".join(
        f"<span><i style='background:var(--scheme-{name})'></i>{name}</span>" for name in schemes
    )
    return (
        f"<div class='strip' role='img' aria-label='{html.escape(label)}'>{segments}</div>"
        f"<p class='strip-legend'>Width: estimated ms. {legend}</p>"
    )


def _scheme(layer: ConvLayer) -> Scheme:
    """Return the scheme to show. Interpolated chroma has fixed taps, which nobody pruned."""
    return "dense" if layer.role == "chroma" else layer.pruning.scheme


def _about(layer: ConvLayer, ms: float, basis: str) -> str:
    pruning = f"{layer.pruning.scheme} {layer.pruning.ratio:.0%} removed"
    return (
        f"{layer.name}: {layer.in_channels}→{layer.out_channels}, {layer.kernel}×{layer.kernel}, "
        f"{layer.width}×{layer.height}; "
        f"{'bicubic interpolation' if layer.role == 'chroma' else pruning}; "
        f"{layer.macs_kept / 1e6:.0f} MMACs, {layer.bytes_moved / 1e6:.1f} MB; {ms:.2f} ms, {basis}"
    )


def device_facts(profile: DeviceProfile, threads: int | None, remarks: Sequence[str] = ()) -> str:
    """Say what a profile is, how well it did, and what it leaves out. `remarks` come first."""
    facts = [
        *remarks,
        f"{profile.device}, {profile.processor}; {profile.runtime}; {profile.precision}; "
        f"{profile.basis}, {profile.date}.",
        _held_out(profile.setting(threads)),
        f"{CONFIDENCE:.0%} interval: ×/÷ {profile.spread.inside:.2f} inside the profile's scope, "
        f"×/÷ {profile.spread.outside:.2f} for other layers, a further ×/÷ "
        f"{profile.spread.other_size:.2f} for other frame sizes ({profile.spread.source}).",
        *(
            f"Fitted to {anchor.n:,} × {anchor.what} ({anchor.source}). {anchor.error}."
            for anchor in profile.anchors
        ),
        *profile.caveats,
    ]
    items = "".join(f"<li>{html.escape(fact)}</li>" for fact in facts if fact)
    return f"<ul class='origin'>{items}</ul>"


def _held_out(setting: Setting) -> str:
    check = setting.held_out
    if check is None:
        return "" if setting.threads is None else "Not checked on held-out networks."
    return (
        f"Held out: {check.n} random networks that the fit did not see, mean error "
        f"{check.mape_percent:.1f} %, {check.coverage:.0%} of them inside the interval."
    )


def quick_facts(score: QuickScore) -> str:
    """Return the PSNR of the edited network, right after the edit."""
    change_db = score.psnr_y_db - score.dense_psnr_y_db
    gain_db = score.psnr_y_db - score.bicubic_psnr_y_db
    tiles = [
        tile("PSNR-Y now", f"{score.psnr_y_db:.2f} dB", "on the sample crops", "measured"),
        tile("against dense", f"{change_db:+.2f} dB",
             f"all {score.dense_block}, all channels: {score.dense_psnr_y_db:.2f} dB", "measured"),
        tile("against bicubic", f"{gain_db:+.2f} dB",
             f"bicubic: {score.bicubic_psnr_y_db:.2f} dB", "measured"),
    ]  # fmt: skip
    how = (
        f"Luma PSNR, mean of {SAMPLE_CROPS}, shrunk by bicubic and enlarged by the network with "
        f"these masks, no fine-tuning; evaluated in {score.elapsed_ms:.0f} ms on the computer that "
        "serves this page. Compare only with each other: this is no benchmark."
    )
    return f"<div class='tiles'>{''.join(tiles)}</div><p class='origin'>{how}</p>"


def scheme_table(
    rows: Sequence[SchemeRow],
    profile: DeviceProfile,
    runtimes: Mapping[Runtime, str],
    bench_savings: Mapping[tuple[Scheme, Runtime], float],
    about: str,
) -> str:
    """Return per scheme: MACs removed, saving on the device, savings in our runtimes.

    `bench_savings` are those of the stored benchmark, for what was not measured here yet.
    """
    body = ""
    for row in rows:
        saving = row.modelled[profile.id]
        saving_text = f"{_percent(saving.share)}{_band(saving.low, saving.high)}"
        cells = [_percent(row.macs_share), saving_text]
        for runtime in runtimes:
            timing, elsewhere = row.measured.get(runtime), bench_savings.get((row.scheme, runtime))
            if timing:
                cells.append(f"{_percent(timing.saved_share)} ({timing.median_ms:.1f} ms)")
            elif elsewhere is not None:
                cells.append(f"{_percent(elsewhere)} (elsewhere)")
            else:
                cells.append("not measured")
        body += (
            f"<tr><th scope=row><i class='swatch' style='background:var(--scheme-{row.scheme})'>"
            f"</i>{row.scheme}</th>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"
        )
    heads = "".join(
        f"<th scope=col>Time saved in {html.escape(name)}<br>"
        "<em class='mark measured'>measured</em></th>"
        for name in runtimes.values()
    )
    return (
        "<table class='scores'><thead><tr><th scope=col>Scheme</th>"
        "<th scope=col>MACs removed<br><em class='mark counted'>counted</em></th>"
        f"<th scope=col>Time saved on {html.escape(profile.title)}<br>"
        f"<em class='mark estimated'>estimated</em></th>{heads}"
        f"</tr></thead><tbody>{body}</tbody></table>"
        f"<p class='origin'>{html.escape(about)}</p>"
    )


def _band(low: float, high: float) -> str:
    return f" ({_percent(low)} to {_percent(high)})" if round(low, 2) != round(high, 2) else ""


def _percent(share: float) -> str:
    """Return whole percent, and no "-0%"."""
    return f"{round(share, 2) + 0.0:.0%}"
