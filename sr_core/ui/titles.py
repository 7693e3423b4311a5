"""Short names that people read: of candidates, metrics and frame sizes."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from sr_core.network.blocks import Scheme, trainable
from sr_core.network.candidate import DENSE, Candidate
from sr_core.ui.view import Metric


@dataclass(frozen=True)
class MetricTitle:
    """Names of a quality column."""

    menu: str
    axis: str
    """`NAME, UNIT [details]`."""
    digits: int


METRICS: dict[Metric, MetricTitle] = {
    "psnr_y_db": MetricTitle("PSNR-Y, validation crops", "PSNR-Y, dB on validation crops", 2),
    "ssim_y": MetricTitle("SSIM-Y, validation crops", "SSIM-Y, 0..1 on validation crops", 4),
    "psnr_y_set5": MetricTitle("PSNR-Y, Set5", "PSNR-Y, dB on Set5", 2),
    "psnr_y_set14": MetricTitle("PSNR-Y, Set14", "PSNR-Y, dB on Set14", 2),
    "psnr_y_bsd100": MetricTitle("PSNR-Y, BSD100", "PSNR-Y, dB on BSD100", 2),
}
_MOST_NAMED = 2
_IMAGE_SETS: dict[Metric, str] = {
    "psnr_y_set5": "Set5", "psnr_y_set14": "Set14", "psnr_y_bsd100": "BSD100",
}  # fmt: skip


def image_set(metric: Metric) -> str | None:
    """Return the benchmark of a metric, None for the validation crops."""
    return _IMAGE_SETS.get(metric)


def size_title(size: tuple[int, int]) -> str:
    """Return `1280×720` for (1280, 720)."""
    return f"{size[0]}×{size[1]}"


def title(candidate: Candidate) -> str:
    """Return text such as `32 ch, 8 wide + 4 residual, block 50 %`; luma networks say so first."""
    blocks = Counter(cell.block for cell in candidate.cells)
    cells = " + ".join(f"{blocks[block]} {block}" for block in trainable() if blocks[block])
    colour = "" if candidate.colour == "rgb" else f"{candidate.colour}, "
    return f"{colour}{candidate.width} ch, {cells or 'no cells'}, {_pruning(candidate)}"


def _pruning(candidate: Candidate) -> str:
    """Name the schemes, the most frequent first, and the range of their ratios.

    The input skip is named apart: pruned alone, it leaves the network nearly dense.
    """
    skip = candidate.input_skip
    behind = f", skip {skip.scheme} {skip.ratio * 100:.0f} %" if skip != DENSE else ""
    return _of_the_rest(candidate) + behind


def _of_the_rest(candidate: Candidate) -> str:
    schemes: Counter[Scheme] = Counter()
    percents: list[int] = []
    for name, pruning in candidate.layers():
        if pruning != DENSE and name != "input_skip":
            schemes[pruning.scheme] += 1
            percents.append(round(pruning.ratio * 100))
    if not schemes:
        return "dense"
    low, high = min(percents), max(percents)
    ratio = f"{low} %" if low == high else f"{low}–{high} %"
    names = [name for name, _ in schemes.most_common()]
    return f"{'/'.join(names) if len(names) <= _MOST_NAMED else f'{len(names)} schemes'} {ratio}"
