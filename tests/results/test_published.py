"""Figures of others: read, checked, and quoted with their source."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sr_core.catalogue.store import Catalogue
from sr_core.errors import CatalogueError
from sr_core.network.candidate import SCALES
from sr_core.results.published import PublishedModel
from sr_core.results.record import read_record

ROW: dict[str, Any] = {
    "name": "FSRCNN", "scale": 4, "params_k": 12.0, "macs_g": 4.6,
    "psnr_y_db": {"Set5": 30.71}, "source": "a table", "note": "",
}  # fmt: skip


def test_the_shipped_figures_name_their_sources() -> None:
    models = Catalogue().published_models
    assert {model.scale for model in models} == set(SCALES)
    for scale in SCALES:
        names = [model.name for model in models if model.scale == scale]
        assert len(set(names)) == len(names)
    for model in models:
        assert len(model.source) > 10
        assert set(model.psnr_y_db) <= {"Set5", "Set14", "BSD100"}
        assert all(25 < psnr_db < 40 for psnr_db in model.psnr_y_db.values())
    seed = next(model for model in models if "2108.08910" in model.name)
    assert "second-hand" in seed.note


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"psnr_y_db": {"Set5": 0}}, "row 1, psnr_y_db.Set5"),
        ({"source": ""}, "row 1, source"),
        ({"macs_g": float("nan")}, "row 1, macs_g"),
        ({"extra": 1}, "row 1, extra"),
    ],
)
def test_a_damaged_file_is_one_sentence(tmp_path: Path, change: dict[str, Any], place: str) -> None:
    path = tmp_path / "published.json"
    path.write_text(json.dumps([ROW]))
    assert [
        model.name for model in read_record(path, list[PublishedModel], remake="restore it")
    ] == ["FSRCNN"]
    path.write_text(json.dumps([ROW | change]))
    with pytest.raises(CatalogueError, match=rf"published\.json is damaged \({place}: "):
        read_record(path, list[PublishedModel], remake="restore it")


def test_the_file_is_sealed_like_the_others(own_root: Path) -> None:
    assert Catalogue(own_root).published_models == []
    (own_root / "results/published.json").write_text(json.dumps([ROW]))
    with pytest.raises(CatalogueError, match="does not match its checksum"):
        _ = Catalogue(own_root).published_models
