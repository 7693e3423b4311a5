"""Benchmark results of the networks on a front: reported, never used to choose."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from sr_core.engine.library import Library
from sr_core.errors import SearchError
from sr_core.latency.profile import DeviceProfile
from sr_core.quality.benchmark import network_upscale
from sr_core.quality.publish import ImageSet, score_sets
from sr_core.runtime.upscale import Upscaler
from sr_core.search.front import non_dominated
from sr_core.search.price import count, price
from sr_core.search.records import Front
from sr_core.search.study import save
from sr_core.store import Catalogue


def lacking(front: Front, devices: Sequence[DeviceProfile]) -> list[int]:
    """Rows without benchmark results that are on the front of MACs or of any device.

    Each device counts with each of its thread counts, for a 1280x720 frame.
    """
    psnr_db = front.rows["psnr_y_db"].to_numpy()
    on_front = non_dominated(count(front.candidates).macs_kept, psnr_db)
    for profile in devices:
        for setting in profile.settings:
            prices = price(front.candidates, profile, threads=setting.threads)
            on_front |= non_dominated(prices.total_ms, psnr_db)
    measured = front.rows["psnr_y_bsd100"].notna().to_numpy()
    return np.flatnonzero(on_front & ~measured).tolist()


def measure(
    catalogue: Catalogue,
    front: Front,
    rows: Sequence[int],
    sets: list[ImageSet],
    *,
    library: Library | None = None,
    report: Callable[[], object],
) -> Front:
    """Score these rows on the benchmarks; the front is saved, then `report` called, for each.

    Networks run on the sparse engine, or without its `library` on ONNX Runtime.
    `SearchError` if the front's earlier results are of other images.
    """
    sums = {images.name: images.sha256 for images in sets}
    for name, known in front.header.image_sets.items():
        if sums.get(name) != known:
            raise SearchError(
                f"The stored results of {name} are of other images: give the same ones, or delete "
                "the front's files and search again."
            )
    front = Front(front.header.model_copy(update={"image_sets": sums}), front.rows)
    scale = front.header.scale
    for index in rows:
        network = catalogue.network(front.candidates[index])
        upscale = network_upscale(Upscaler(network, library).upscale)
        scored = score_sets(network.model_id, sets, upscale, scale)
        front = front.with_results(index, {q.image_set: (q.psnr_y, q.ssim_y) for q in scored})
        save(catalogue.root, front)
        report()
    return front
