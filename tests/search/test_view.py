from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sr_core.catalogue.fronts import Front, empty_front, write_front
from sr_core.catalogue.publish import benchmark_sets
from sr_core.catalogue.store import Catalogue
from sr_core.catalogue.verify import verify
from sr_core.catalogue.writer import changing
from sr_core.errors import SearchError
from sr_core.latency.prices import count
from sr_core.network.candidate import Candidate, Family
from sr_core.network.notation import from_text
from sr_core.network.presets import presets
from sr_core.network.weights import SupernetSpec
from sr_core.search.front import hypervolume
from sr_core.search.report import measure, rows_to_measure
from sr_core.search.view import view
from tests import tiny
from tests.catalogue import test_fronts as test_records
from tests.catalogue.test_fronts import found, header, run
from tests.search.profiles import device

PRESETS = [preset.candidate for preset in presets(SupernetSpec(4, 16, 2))]
NETWORKS = {
    "x4c16_2s": 27.0,
    "x4c16_w_s": 29.0,
    "x4c16_s_w": 28.0,  # as fast, and worse
    "x4c16_2w": 30.0,
    "x4c16_2wb25b25b25": 29.5,
}


def front() -> Front:
    rows = [found(from_text(text), psnr_y_db=db) for text, db in NETWORKS.items()]
    return empty_front(header()).with_run(run(), rows)


@pytest.mark.parametrize(("sparse", "expected"), [(True, [0, 1, 4, 3]), (False, [0, 1, 3])])
def test_the_front_depends_on_the_device(sparse: bool, expected: list[int]) -> None:
    """Without gain from masks the block-pruned network is as slow as its dense original."""
    seen = view(front(), PRESETS, device(sparse=sparse))
    assert seen.on_front.tolist() == expected
    assert seen.knee in expected
    assert seen.best is None
    total_ms = seen.prices.total_ms
    assert (np.diff(total_ms[seen.on_front]) > 0).all()
    assert seen.reference[0] > total_ms.max()
    assert seen.reference[1] == 26.0
    assert seen.hypervolume == hypervolume(total_ms, list(NETWORKS.values()), seen.reference)


def test_the_best_within_a_budget() -> None:
    profile = device()
    total_ms = view(front(), PRESETS, profile).prices.total_ms
    for budget_ms, best in ((total_ms[3], 3), (total_ms[4], 4), (total_ms[0] / 2, None)):
        assert view(front(), PRESETS, profile, budget_ms=budget_ms).best == best


def test_size_and_threads_change_the_prices() -> None:
    whole = view(front(), PRESETS, device())
    small = view(front(), PRESETS, device(), output=(640, 360), threads=1)
    assert (small.prices.total_ms != whole.prices.total_ms).all()


def test_rows_on_any_front_lack_results_until_measured(tmp_path: Path, own_root: Path) -> None:
    assert rows_to_measure(front(), []) == [0, 1, 3, 4]  # by MACs
    test_records.install(own_root, lambda _: front_of(own_root))
    catalogue = Catalogue(own_root)
    stored = catalogue.front(Family(4))
    assert stored is not None
    sets = benchmark_sets(tiny.save_benchmark(tmp_path / "benchmark", 4), 4)
    steps: list[Any] = []
    done = measure(catalogue, stored, [0, 3], sets, report=lambda: steps.append(1))
    assert len(steps) == 2
    assert rows_to_measure(done, [device()]) == [1, 4]
    assert np.flatnonzero(done.rows["psnr_y_set5"].notna()).tolist() == [0, 3]
    assert verify(Catalogue(own_root)) == []
    again = Catalogue(own_root).front(Family(4))
    assert again is not None
    assert again.header.image_sets == {images.name: images.sha256 for images in sets}


def test_what_a_search_stores_meanwhile_is_kept(tmp_path: Path, own_root: Path) -> None:
    test_records.install(own_root, lambda _: front_of(own_root))
    stored = front_of(own_root)
    extra = found(from_text("x4c16_2wu90u90u90"), psnr_y_db=29.9)
    sets = benchmark_sets(tiny.save_benchmark(tmp_path / "benchmark", 4), 4)

    def search_ends() -> None:
        now = Catalogue(own_root).front(Family(4))
        assert now is not None
        if len(now.rows) == len(stored.rows):
            with changing(own_root):
                write_front(own_root, now.with_run(run(), [extra]))

    done = measure(Catalogue(own_root), stored, [0, 3], sets, report=search_ends)
    assert done.rows["network"].tolist()[-1] == "x4c16_2wu90u90u90"
    assert np.flatnonzero(done.rows["psnr_y_set5"].notna()).tolist() == [0, 3]
    replaced = Front(stored.header, stored.rows.sort_index(ascending=False, ignore_index=True))
    with pytest.raises(SearchError, match="was replaced meanwhile"):
        measure(Catalogue(own_root), replaced, [0], sets, report=search_ends)


def front_of(root: Path) -> Front:
    weights = Catalogue(root).supernet(Family(4)).sha256
    return Front(header(weights).model_copy(update={"runs": [run()]}), front().rows)


def test_results_of_other_images_do_not_mix(tmp_path: Path, own_root: Path) -> None:
    test_records.install(own_root, lambda _: front_of(own_root))
    catalogue = Catalogue(own_root)
    stored = front_of(own_root)
    folder = tiny.save_benchmark(tmp_path / "benchmark", 4)
    stored = measure(catalogue, stored, [0], benchmark_sets(folder, 4), report=lambda: None)
    tiny.save_drawn(folder / "Set14/HR/a.png", 51, 42, seed=77)
    with pytest.raises(SearchError, match="stored results of Set14 are of other images"):
        measure(catalogue, stored, [1], benchmark_sets(folder, 4), report=lambda: None)


def test_a_device_adds_its_own_front(own_root: Path) -> None:
    """Where masks gain nothing the cheapest by MACs is not the fastest."""
    texts: dict[str, float] = {"x4c16_2wu90u90u90": 29.9, "x4c16_2r": 29.8}
    rows = [found(from_text(text), psnr_y_db=db) for text, db in texts.items()]
    both = empty_front(header()).with_run(run(), rows)
    candidates: list[Candidate] = both.candidates
    assert count(candidates).macs_kept.argmin() == 0
    assert rows_to_measure(both, []) == [0]
    assert rows_to_measure(both, [device(sparse=False)]) == [0, 1]
