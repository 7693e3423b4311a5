from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sr_core.catalogue.fronts import (
    SCHEMA,
    Crops,
    Curve,
    Front,
    Header,
    Run,
    empty_front,
    front_paths,
    read_front,
    write_front,
)
from sr_core.catalogue.store import Catalogue
from sr_core.catalogue.verify import verify
from sr_core.catalogue.writer import install_supernet
from sr_core.errors import CatalogueError
from sr_core.network.candidate import Candidate, Family
from sr_core.network.notation import from_text, to_text
from sr_core.network.weights import SupernetSpec
from sr_core.quality.metrics import PROTOCOL
from sr_core.search.space import Space
from tests import tiny
from tests.tiny import write_manifest
from tests.work import instructions

TEXTS = ("x4c16_2w", "x4c16_w_s", "x4c16_rb50b50_wc50c50d")
PARQUET, JSON = "fronts/x4.parquet", "fronts/x4.json"


def found(candidate: Candidate, trial: int = 0, psnr_y_db: float = 30.0) -> dict[str, Any]:
    return {
        "id": candidate.id,
        "network": to_text(candidate),
        "psnr_y_db": psnr_y_db,
        "ssim_y": 0.8,
        "trial": trial,
        "evaluation_s": 0.2,
    }


def run(trials: int = 3) -> Run:
    return Run(
        started="2025-01-01 00:00:00",
        command="python -m sr_core search",
        commit="unknown",
        sampler="random",
        objective="macs",
        unit="GMACs",
        budget_ms=None,
        seed=0,
        trials=trials,
        evaluated=trials,
        proposal_s=0.1,
        evaluation_s=0.6,
        hypervolume=Curve(reference_cost=4, reference_psnr_y_db=26.0, points=[(1, 1, 2.5)]),
        processor="none",
        versions={"python": "3.11"},
        threads=2,
    )


def header(weights: str = "1" * 64) -> Header:
    crops = Crops(sha256="2" * 64, n=2, bicubic_psnr_y_db=26.0)
    return Header(scale=4, weights_sha256=weights, protocol=PROTOCOL, crops=crops)


def small_front(weights: str = "1" * 64) -> Front:
    candidates = map(from_text, TEXTS)
    rows = [found(candidate, trial) for trial, candidate in enumerate(candidates)]
    return empty_front(header(weights)).with_run(run(), rows)


def install(root: Path, change: Callable[[Front], Front] = lambda front: front) -> None:
    """A front of the shipped x4 weights in a precomputed folder, and a fresh manifest."""
    write_front(root, change(small_front(Catalogue(root).supernet(Family(4)).sha256)))
    write_manifest(root)


def same(one: Front, other: Front) -> bool:
    pd.testing.assert_frame_equal(one.rows, other.rows)
    return one.header == other.header


def test_round_trip(tmp_path: Path) -> None:
    front = small_front()
    write_front(tmp_path, front)
    stored = read_front(tmp_path, Family(4))
    assert same(stored, front)
    assert [to_text(candidate) for candidate in stored.candidates] == list(TEXTS)
    assert stored.rows["psnr_y_set5"].isna().tolist() == [True] * 3
    write_front(tmp_path, stored)
    assert same(read_front(tmp_path, Family(4)), front)


def test_an_empty_front_round_trips(tmp_path: Path) -> None:
    write_front(tmp_path, empty_front(header()))
    assert len(read_front(tmp_path, Family(4)).rows) == 0


def test_a_second_run_keeps_the_rows_of_the_first() -> None:
    first = small_front()
    second = first.with_run(run(1), [found(from_text("x4c16_2r"), psnr_y_db=31.0)])
    assert second.rows["run"].tolist() == [0, 0, 0, 1]
    assert second.rows["psnr_y_db"].tolist() == [30, 30, 30, 31]
    assert len(first.rows) == 3
    assert len(second.header.runs) == 2
    assert second.rows.dtypes.equals(first.rows.dtypes)


def test_results_go_to_their_row(tmp_path: Path) -> None:
    sums = {"Set5": "3" * 64, "BSD100": "4" * 64}
    front = small_front()
    front = Front(front.header.model_copy(update={"image_sets": sums}), front.rows)
    front = front.with_results(1, {"Set5": (31.5, 0.88), "BSD100": (27.0, 0.72)})
    write_front(tmp_path, front)
    rows = read_front(tmp_path, Family(4)).rows
    assert rows["psnr_y_set5"].isna().tolist() == [True, False, True]
    scores = rows.iloc[1][["psnr_y_set5", "ssim_y_set5", "ssim_y_bsd100"]]
    assert scores.tolist() == [31.5, 0.88, 0.72]
    assert rows["psnr_y_set14"].isna().tolist() == [True] * 3


def edited(path: Path, change: Callable[[pd.DataFrame], object]) -> None:
    rows = pq.read_table(path).to_pandas()
    change(rows)
    table = pa.Table.from_pandas(rows, schema=SCHEMA, preserve_index=False)
    pq.write_table(table.replace_schema_metadata(None), path)


def setting(column: str, value: object, row: int = 1) -> Callable[[Path], None]:
    def change(root: Path) -> None:
        def put(rows: pd.DataFrame) -> None:
            rows.loc[row, column] = value  # pyright: ignore[reportCallIssue, reportArgumentType]

        edited(root / PARQUET, put)

    return change


def describing(change: Callable[[Any], object]) -> Callable[[Path], None]:
    def damage(root: Path) -> None:
        data = json.loads((root / JSON).read_text())
        change(data)
        (root / JSON).write_text(json.dumps(data))

    return damage


def other_types(root: Path) -> None:
    rows = pq.read_table(root / PARQUET).to_pandas()
    rows["run"] = rows["run"].astype("int32")
    pq.write_table(pa.Table.from_pandas(rows, preserve_index=False), root / PARQUET)


def with_nulls(root: Path) -> None:
    rows = pq.read_table(root / PARQUET).to_pandas()
    rows["psnr_y_db"] = [30.0, np.nan, 30.0]
    nullable = pa.schema([pa.field(item.name, item.type) for item in SCHEMA])
    pq.write_table(pa.Table.from_pandas(rows, nullable, preserve_index=False), root / PARQUET)


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "cut off": (
        lambda root: (root / PARQUET).write_bytes((root / PARQUET).read_bytes()[:-20]),
        r"x4\.parquet cannot be used \(.*restore it .*delete fronts/x4\.\*",
    ),
    "no table": (lambda root: (root / PARQUET).write_text("PAR1"), "x4.parquet cannot be used"),
    "missing table": (lambda root: (root / PARQUET).unlink(), "x4.parquet cannot be used"),
    "missing JSON": (lambda root: (root / JSON).unlink(), "x4.json is missing"),
    "no JSON": (lambda root: (root / JSON).write_text("{"), "x4.json is damaged .*JSON"),
    "types": (other_types, "expected the columns id, network, psnr_y_db"),
    "nulls": (with_nulls, "expected the columns id"),
    "an id twice": (setting("id", from_text(TEXTS[0]).id), "an id appears twice"),
    "an id of another network": (setting("id", "0" * 10), "id 0000000000 is not that of the x4"),
    "not a network": (setting("network", "x4c16_?"), "is not understood"),
    "another network": (setting("network", "x4c16_2s"), "is not that of the x4 network x4c16_2s"),
    "another spelling": (setting("network", "x4c16_w_w", 0), "is not that of the x4 network"),
    "no such run": (setting("run", 1), "names none of the 1 runs"),
    "a negative run": (setting("run", -1), "names none of the 1 runs"),
    "a negative trial": (setting("trial", -1), "trial should be a number of 0 to inf"),
    "NaN": (setting("ssim_y", np.nan), "ssim_y should be|has null|cannot be used"),
    "too good": (setting("psnr_y_db", np.inf), "psnr_y_db should be a number of 0 to 200"),
    "SSIM": (setting("ssim_y", 1.5), "ssim_y should be a number of -1 to 1"),
    "endless": (setting("evaluation_s", np.inf), "evaluation_s should be a number"),
    "a wrong result": (setting("ssim_y_set5", 2), "ssim_y_set5 should be a number of -1 to 1"),
    "a result of no images": (setting("psnr_y_set5", 30), "psnr_y_set5 has no checksum"),
    "another scale": (describing(lambda d: d.update(scale=2)), "it is of x2"),
    "another protocol": (describing(lambda d: d.update(protocol="rgb")), "another protocol"),
    "no weights": (describing(lambda d: d.pop("weights_sha256")), "weights_sha256: Field required"),
    "a key too many": (describing(lambda d: d.update(note=1)), "note: Extra inputs"),
    "wrong types": (describing(lambda d: d["runs"][0].update(seed="0")), "runs.0.seed: "),
    "not finite": (
        describing(lambda d: d["crops"].update(bicubic_psnr_y_db=float("nan"))),
        "crops.bicubic_psnr_y_db: ",
    ),
}


@pytest.mark.parametrize("kind", list(DAMAGE))
def test_damage_is_named_and_found_by_verify(own_root: Path, kind: str) -> None:
    damage, message = DAMAGE[kind]
    install(own_root)
    try:
        damage(own_root)
    except (pa.ArrowException, ValueError):  # the writer itself refuses nulls
        assert kind == "NaN"
        return
    with pytest.raises(CatalogueError, match=message) as refusal:
        read_front(own_root, Family(4))
    assert "\n" not in str(refusal.value)
    write_manifest(own_root)
    problems = verify(Catalogue(own_root))
    assert len(problems) == 1
    assert "fronts/x4." in problems[0]


def test_the_catalogue_reads_it(own_root: Path) -> None:
    assert Catalogue(own_root).front(Family(4)) is None
    install(own_root)
    catalogue = Catalogue(own_root)
    front = catalogue.front(Family(4))
    assert front is not None
    assert same(front, small_front(catalogue.supernet(Family(4)).sha256))
    assert catalogue.front(Family(4)) is front
    assert catalogue.front(Family(2)) is None
    assert verify(catalogue) == []


@pytest.mark.parametrize("name", [PARQUET, JSON])
def test_a_file_that_is_not_the_manifests_is_not_used(own_root: Path, name: str) -> None:
    install(own_root)
    (own_root / name).write_bytes((own_root / name).read_bytes() + b" ")
    with pytest.raises(CatalogueError, match=f"{name} does not match its checksum"):
        Catalogue(own_root).front(Family(4))
    assert any(f"{name} does not match" in text for text in verify(Catalogue(own_root)))


def test_a_retrained_supernet_leaves_no_stale_front(own_root: Path, tmp_path: Path) -> None:
    install(own_root)
    install_supernet(own_root, tiny.save_supernet(tmp_path / "run/supernet.safetensors", 4, 99))
    write_manifest(own_root)
    with pytest.raises(CatalogueError, match="is of other weights than supernets/x4"):
        Catalogue(own_root).front(Family(4))
    assert any("fronts/x4.json is of other weights" in text for text in verify(Catalogue(own_root)))


def test_networks_of_another_size_are_refused(own_root: Path) -> None:
    row = found(from_text("x4c32_2w"))
    install(own_root, lambda front: front.with_run(run(1), [row]))
    with pytest.raises(CatalogueError, match=r"fronts/x4\.parquet: .*width 32.* widths 16"):
        Catalogue(own_root).front(Family(4))


def test_a_full_disk_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "fronts").write_text("in the way")
    with pytest.raises(CatalogueError, match=r"Cannot write .*free some space first"):
        write_front(tmp_path, small_front())


def test_the_work_of_reading_grows_with_the_rows(tmp_path: Path, rng: np.random.Generator) -> None:
    space = Space(SupernetSpec(4, 32, 12))
    drawn = [
        space.decode({name: some[rng.integers(len(some))] for name, some in space.choices.items()})
        for _ in range(61)
    ]

    def reading(candidates: list[Candidate]) -> int:
        front = empty_front(header()).with_run(run(), [found(one) for one in candidates])
        write_front(tmp_path, front)
        assert sum(path.stat().st_size for path in front_paths(tmp_path, Family(4))) < 40_000
        return instructions(lambda: read_front(tmp_path, Family(4)).candidates)

    reading(drawn[:1])  # imports, and tables that all share
    one, few, many = (reading(some) for some in (drawn[:1], drawn[1:21], drawn[21:]))
    assert many - one < 2.6 * (few - one)
