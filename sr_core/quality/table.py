"""The results table of README.md, generated from precomputed/ (a test compares the two)."""

from __future__ import annotations

from sr_core.quality.datasets import BENCHMARKS
from sr_core.store import Catalogue, Quality


def results_table(catalogue: Catalogue) -> str:
    """Markdown: one row per listed model and one for bicubic, per scale."""
    cost = ["parameters, kept of dense", "GMACs, kept of dense"]
    header = ["model", *cost, *(f"{name} (dB / SSIM)" for name in BENCHMARKS)]
    lines = [_row(header), _row(["---", "--:", "--:", *("--:" for _ in BENCHMARKS)])]
    for scale in catalogue.scales:
        lines.append(_row([f"bicubic x{scale}", "-", "-", *_cells(catalogue.bicubic(scale))]))
        for model in catalogue.models(scale):
            summary = model.summary()
            cost = [
                f"{summary['params_kept'] / 1e3:.0f} K of {summary['params_dense'] / 1e3:.0f} K",
                f"{summary['macs_kept_g']:.1f} of {summary['macs_dense_g']:.1f}",
            ]
            lines.append(_row([f"`{model.name}`", *cost, *_cells(model.quality)]))
    return "\n".join(lines)


def _cells(quality: tuple[Quality, ...]) -> list[str]:
    by_set = {q.image_set: f"{q.psnr_y:.2f} / {q.ssim_y:.4f}" for q in quality}
    return [by_set.get(name, "not measured") for name in BENCHMARKS]


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"
