"""Events of a search that never ran, over the networks of the tiny supernet."""

from __future__ import annotations

import sys
from pathlib import Path

from sr_core.network.notation import to_text
from sr_core.search.events import CropSet, Start, Trial, line
from sr_core.ui.search.live import Settings, Snapshot
from tests import app_root
from tests.ui.search.fake_worker import WAYS

STEADY = Settings(
    scale=4, objective=app_root.ENGINE, budget_ms=12.0, trials=20, seed=WAYS.index("steady")
)
NETWORKS = app_root.networks()


def trial(number: int) -> Trial:
    """Made-up result of a network of the tiny supernet; after 16 trials they come again."""
    index = number % len(NETWORKS)
    return Trial(
        number=number, network=to_text(NETWORKS[index]), psnr_y_db=26 + index / 10, ssim_y=0.8,
        cost=5.0 + index, feasible=index < 8, known=number != index, proposal_s=0.01,
        evaluation_s=0.02, trials=number + 1, evaluated=min(number + 1, len(NETWORKS)),
        hypervolume=number / 2,
    )  # fmt: skip


START = Start(
    study="s", scale=4, objective=app_root.ENGINE, unit="ms", budget_ms=12.0, sampler="random",
    trials=20, seed=0, reference_cost=30, command="python -m sr_core search", finished_before=0,
    crops=CropSet(sha256="0" * 64, n=12, bicubic_psnr_y_db=25, about="made-up <crops>"),
)  # fmt: skip
FINISHED = Snapshot("finished", START, tuple(map(trial, range(20))), 20)


def worker(folder: Path) -> tuple[str, ...]:
    """The command of a fake worker that tells these events; see `fake_worker`."""
    events = folder / "events.jsonl"
    events.write_text("\n".join(map(line, [START, *map(trial, range(1000))])))
    return (sys.executable, str(Path(__file__).with_name("fake_worker.py")), str(events))
