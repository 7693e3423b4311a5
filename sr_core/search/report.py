"""Benchmark results of the networks on a front: reported, never used to choose."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from sr_core.catalogue.fronts import Front, write_front
from sr_core.catalogue.publish import ImageSet, score_sets
from sr_core.catalogue.store import Catalogue
from sr_core.catalogue.writer import changing
from sr_core.engine.library import Library
from sr_core.errors import SearchError
from sr_core.latency.prices import count, price
from sr_core.latency.profile import DeviceProfile
from sr_core.quality.benchmark import network_upscale
from sr_core.runtime.upscale import Upscaler
from sr_core.search.front import non_dominated


def rows_to_measure(front: Front, devices: Sequence[DeviceProfile]) -> list[int]:
    """Return rows without benchmark results on the front of MACs or of any device.

    Each device counts with each of its thread counts, for a 1280x720 frame.
    """
    psnr_db = front.rows["psnr_y_db"].to_numpy()
    on_front = non_dominated(count(front.candidates).macs_kept, psnr_db)
    for profile in devices:
        for setting in profile.settings:
            prices = price(front.candidates, profile, threads=setting.threads)
            on_front |= non_dominated(prices.total_ms, psnr_db)
    has_results = front.rows["psnr_y_bsd100"].notna().to_numpy()
    return np.flatnonzero(on_front & ~has_results).tolist()


def measure(
    catalogue: Catalogue,
    front: Front,
    rows: Sequence[int],
    sets: list[ImageSet],
    *,
    library: Library | None = None,
    report: Callable[[], object],
) -> Front:
    """Score these rows of the stored front on the benchmarks, and return the new front.

    Each is stored as it ends, in the front as it is by then (a search may have added to it).
    `report` is called each time. Networks run on the sparse engine, or without its `library` on
    ONNX Runtime. Raises `SearchError` if the front's earlier results are of other images, or if
    the front was replaced.
    """
    sums = {images.name: images.sha256 for images in sets}
    for name, checksum in front.header.image_sets.items():
        if sums.get(name) != checksum:
            raise SearchError(
                f"The stored results of {name} are of other images: give the same ones, or delete "
                "the front's files and search again."
            )
    scale = front.header.scale
    for index in rows:
        network = catalogue.network(front.candidates[index])
        upscale = network_upscale(Upscaler(network, library).upscale)
        scores = score_sets(network.model_id, sets, upscale, scale)
        results = {q.image_set: (q.psnr_y, q.ssim_y) for q in scores}
        front = _store(catalogue.root, front, index, results, sums)
        report()
    return front


def _store(
    root: Path,
    front: Front,
    index: int,
    results: Mapping[str, tuple[float, float]],
    sums: Mapping[str, str],
) -> Front:
    """Add the results of a row of `front` to the front as it is now, and return that."""
    with changing(root):
        now = Catalogue(root).front(front.header.family)
        # Rows are only ever appended, so an index keeps its meaning.
        if now is None or now.rows["id"].get(index) != front.rows["id"][index]:
            raise SearchError(
                f"The stored front of {front.header.family.name} was replaced meanwhile: start "
                "again."
            )
        header = now.header.model_copy(update={"image_sets": dict(sums)})
        now = Front(header, now.rows).with_results(index, results)
        write_front(root, now)
    return now
