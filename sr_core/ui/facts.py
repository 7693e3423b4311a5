"""Sentences and small HTML tables about a candidate or a run: pure functions, no Gradio.

Each number says whether it was counted or measured, with unit, resolution and protocol.
"""

from __future__ import annotations

import html
from math import isfinite

import onnxruntime

from sr_core import machine
from sr_core.candidate import Candidate
from sr_core.layers import describe, lr_size, totals
from sr_core.store import Model, Quality
from sr_core.ui.jobs import VIEW_SIDE, Outcome, Score


def candidate_facts(candidate: Candidate, model: Model | None, bicubic: tuple[Quality, ...]) -> str:
    """Cost and, for a listed model, measured quality of a candidate, as HTML."""
    cost = totals(describe(candidate, *lr_size(candidate.scale)))
    params = (f"{cost.params_kept / 1e3:.1f} K", f"of {cost.params_dense / 1e3:.1f} K dense")
    macs = (f"{cost.macs_kept / 1e9:.2f} G", f"of {cost.macs_dense / 1e9:.2f} G dense")
    tiles = [
        _tile("Parameters", *params),
        _tile("MACs per 1280×720 frame", *macs),
        _quality_tile(model, bicubic),
    ]
    origin = (
        "Parameters and MACs are counted: kept weights and biases of the network below. "
        f"PSNR is measured on the luma of Set5, borders of {candidate.scale} pixels shaved."
    )
    return f"<div class='tiles'>{''.join(tiles)}</div><p class='origin'>{origin}</p>"


def _quality_tile(model: Model | None, bicubic: tuple[Quality, ...]) -> str:
    measured = _on_set5(model.quality) if model else None
    if measured is None:
        return _tile("PSNR-Y on Set5", "–", "not measured: test it on an image")
    baseline = _on_set5(bicubic)
    beside = f"bicubic {baseline.psnr_y:.2f} dB" if baseline else f"{measured.n} images"
    return _tile("PSNR-Y on Set5", f"{measured.psnr_y:.2f} dB", beside)


def _on_set5(quality: tuple[Quality, ...]) -> Quality | None:
    return next((q for q in quality if q.image_set == "Set5"), None)


def _tile(label: str, value: str, beside: str) -> str:
    texts = (html.escape(text) for text in (label, value, beside))
    return "<div class='tile'><span>{}</span><strong>{}</strong><small>{}</small></div>".format(
        *texts
    )


def outcome_facts(outcome: Outcome, model: Model | None) -> str:
    """Measurements of one run, as HTML; `model` is the listed model that ran, if it is one."""
    (lr_width, lr_height), result = outcome.lr_size, outcome.result
    rows = ""
    if outcome.score and outcome.bicubic_score:
        rows = _scores(outcome, outcome.score, outcome.bicubic_score)
    cropped = max(result.size) > VIEW_SIDE
    lines = [
        f"{lr_width}×{lr_height} → {result.width}×{result.height} in "
        f"<strong>{outcome.elapsed_ms:,.0f} ms</strong>, measured just now, one run, on the "
        f"computer that serves this page ({machine.processor()}, ONNX Runtime "
        f"{onnxruntime.__version__}, fp32, a thread per core). It is no phone latency.",
        f"Model: {html.escape(model.title if model else 'edited network')} ({outcome.model_id}).",
        f"The comparison shows the centre, {VIEW_SIDE} pixels a side at most; the download is "
        "whole." if cropped else "",
    ]  # fmt: skip
    return f"{rows}<p class='origin'>{' '.join(line for line in lines if line)}</p>"


def _scores(outcome: Outcome, score: Score, bicubic: Score) -> str:
    """Table of a test, with how it was done."""
    scale = outcome.result.width // outcome.lr_size[0]
    gain_db = score.psnr_y_db - bicubic.psnr_y_db
    # Equal images have an infinite PSNR, and then there is no gain to speak of.
    gain = f"<p class='gain'>{gain_db:+.2f} dB against bicubic</p>" if isfinite(gain_db) else ""
    how = (
        f"Shrunk by {scale} (bicubic, 8 bits) and enlarged again; PSNR and SSIM are on the luma, "
        f"{scale} pixels of border left out. {outcome.note}"
    )
    return (
        "<table class='scores'><thead><tr><th>Measured on this image</th><th>PSNR-Y</th>"
        "<th>SSIM-Y</th></tr></thead><tbody>"
        + _score_row("This model", score)
        + _score_row("Bicubic", bicubic)
        + f"</tbody></table>{gain}<p class='origin'>{html.escape(how)}</p>"
    )


def _score_row(name: str, score: Score) -> str:
    psnr = "identical" if score.psnr_y_db == float("inf") else f"{score.psnr_y_db:.2f} dB"
    return f"<tr><td>{name}</td><td>{psnr}</td><td>{score.ssim_y:.4f}</td></tr>"
