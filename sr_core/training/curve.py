"""log.csv and curve.png of a training run."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from matplotlib import colormaps
from matplotlib.figure import Figure

from sr_core.files import write_atomic


def write(folder: Path, log: list[dict[str, float]]) -> None:
    """Write both files. `log` has one row per validation, all with the same keys."""
    table = io.StringIO()
    rows = csv.DictWriter(table, fieldnames=list(log[0]))
    rows.writeheader()
    rows.writerows({k: v if k == "step" else f"{v:.6g}" for k, v in row.items()} for row in log)
    write_atomic(folder / "log.csv", table.getvalue())
    picture = io.BytesIO()
    _draw(log).savefig(picture, format="png", dpi=110)
    write_atomic(folder / "curve.png", picture.getvalue())


def _draw(log: list[dict[str, float]]) -> Figure:
    steps = [row["step"] for row in log]
    figure = Figure(figsize=(9, 4), layout="constrained")
    quality, loss = figure.subplots(1, 2, width_ratios=(2, 1))
    quality.set_prop_cycle(color=[colormaps["tab20"](index) for index in range(20)])
    for key in log[0]:
        if key.startswith("psnr_"):
            label = f"{key.removeprefix('psnr_')} ({log[-1][key]:.2f} dB)"
            quality.plot(steps, [row[key] for row in log], label=label)
    quality.set(xlabel="step", ylabel="PSNR-Y on the validation crops (dB)")
    quality.legend(fontsize="x-small")
    for key in log[0]:
        if key.startswith("loss_"):
            loss.plot(steps, [row[key] for row in log], label=key.removeprefix("loss_"))
    loss.set(xlabel="step", ylabel="loss (L1, in 0..1)")
    loss.legend(fontsize="x-small")
    return figure
