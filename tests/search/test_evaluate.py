from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sr_core.catalogue.store import Catalogue
from sr_core.engine.library import Library
from sr_core.errors import InvalidCandidate
from sr_core.network.candidate import Family, uniform
from sr_core.network.notation import from_text
from sr_core.quality.benchmark import (
    bicubic_upscale,
    network_upscale,
    score,
    score_crops,
    score_upscaled,
)
from sr_core.quality.datasets import benchmark_pairs, validation_crops
from sr_core.runtime.upscale import Upscaler
from sr_core.search.evaluate import Evaluator
from tests import tiny


@pytest.mark.parametrize("scale", [2, 4])
@pytest.mark.parametrize("threads", [None, 1, 3])
def test_evaluation_is_the_search_time_score(
    tiny_root: Path, photos: Path, scale: int, threads: int | None
) -> None:
    catalogue = Catalogue(tiny_root)
    crops = validation_crops(photos / "val", scale)
    evaluator = Evaluator(catalogue, Family(scale), crops, threads=threads)
    for model in catalogue.models(Family(scale))[:4]:
        result = evaluator.evaluate(model.candidate)
        run = Upscaler(catalogue.network(model.candidate)).run
        assert result.psnr_y_db == pytest.approx(score_crops(run, crops, scale=scale), abs=1e-6)
        assert -1 <= result.ssim_y <= 1
        assert 0 < result.seconds < 60
    assert evaluator.threads >= 1


def test_values_do_not_depend_on_the_threads(tiny_root: Path, photos: Path) -> None:
    catalogue = Catalogue(tiny_root)
    crops = validation_crops(photos / "val", 4)
    candidate = catalogue.find("x4-wide-block50")
    results = [
        Evaluator(catalogue, Family(4), crops, threads=n).evaluate(candidate) for n in (1, 2)
    ]
    assert len({(result.psnr_y_db, result.ssim_y) for result in results}) == 1


def test_the_engine_scores_as_onnx_runtime(tiny_root: Path, photos: Path, library: Library) -> None:
    catalogue = Catalogue(tiny_root)
    crops = validation_crops(photos / "val", 4)
    candidate = catalogue.find("x4-wide-block50")
    found, expected = (
        Evaluator(catalogue, Family(4), crops, library=used).evaluate(candidate)
        for used in (library, None)
    )
    assert found.psnr_y_db == pytest.approx(expected.psnr_y_db, abs=1e-3)
    assert found.ssim_y == pytest.approx(expected.ssim_y, abs=1e-4)


def test_luma_networks_are_scored_on_their_colour_images(own_root: Path, photos: Path) -> None:
    tiny.add_luma(own_root)
    catalogue, crops = Catalogue(own_root), validation_crops(photos / "val", 4)
    family = Family(4, "luma")
    evaluator = Evaluator(catalogue, family, crops)
    found = evaluator.evaluate(from_text("x4c8y_r_s_ib80"))
    upscaler = Upscaler(catalogue.network(from_text("x4c8y_r_s_ib80")))
    expected = score_upscaled(network_upscale(upscaler.upscale), crops, scale=4)
    assert found.psnr_y_db == pytest.approx(expected, abs=1e-6)
    with pytest.raises(InvalidCandidate, match="The candidate is x4 with"):
        evaluator.catalogue.check(from_text("x4c16_2w"), family)


def test_bicubic_is_scored_on_the_same_crops(tiny_root: Path, photos: Path) -> None:
    crops = validation_crops(photos / "val", 4)
    evaluator = Evaluator(Catalogue(tiny_root), Family(4), crops)
    # The drawn photographs are 192 wide and 200 high: the crop is theirs but for 4 rows each end.
    whole = score(benchmark_pairs(photos / "val", None, 4), bicubic_upscale(4), scale=4)
    assert evaluator.bicubic_psnr_db() == pytest.approx(whole.psnr_y, abs=0.5)
    assert np.isfinite(evaluator.bicubic_psnr_db())


def test_what_is_not_part_of_the_supernet_is_refused(tiny_root: Path, photos: Path) -> None:
    evaluator = Evaluator(Catalogue(tiny_root), Family(4), validation_crops(photos / "val", 4))
    with pytest.raises(InvalidCandidate, match="3 cells"):
        evaluator.evaluate(uniform(scale=4, width=16, blocks=("wide",) * 3))
