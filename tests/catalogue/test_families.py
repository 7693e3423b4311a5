"""Several families of networks in one folder: RGB and luma, old files and new ones."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
from safetensors.numpy import save_file

from sr_core.catalogue import publish as publishing
from sr_core.catalogue.final import write_final
from sr_core.catalogue.fronts import Crops, Header, empty_front, read_front, write_front
from sr_core.catalogue.replaced import REPLACED, read_replaced, write_replaced
from sr_core.catalogue.store import Catalogue
from sr_core.catalogue.verify import verify
from sr_core.catalogue.writer import changing, write_quality
from sr_core.errors import CatalogueError, InvalidCandidate
from sr_core.network.candidate import Family
from sr_core.network.notation import from_text
from sr_core.quality.benchmark import Upscale, bicubic_upscale
from sr_core.quality.metrics import PROTOCOL
from tests import tiny

LUMA = Family(4, "luma")
TEXT = "x4c8y_r_s_ib80"
MOMENTS = "supernets/moments.safetensors"


@pytest.fixture
def root(own_root: Path) -> Path:
    """RGB x2 and x4, and luma x4."""
    tiny.add_luma(own_root)
    return own_root


def _header(root: Path, family: Family) -> Header:
    return Header(
        scale=family.scale, colour=family.colour, protocol=PROTOCOL,
        weights_sha256=Catalogue(root).supernet(family).sha256,
        crops=Crops(sha256="0" * 64, n=1, bicubic_psnr_y_db=20.0),
    )  # fmt: skip


def _add_final(root: Path, text: str, name: str) -> Path:
    network = Catalogue(root).network(from_text(text))
    path = root / f"models/{name}.safetensors"
    path.parent.mkdir(exist_ok=True)
    write_final(
        path, network,
        {
            "name": name, "supernet_sha256": "0" * 64, "data_sha256": "0" * 64,
            "training": [{"command": "python -m sr_core finetune"}], "licence": "none",
            "validation_crops_sha256": "0" * 64, "validation_psnr_y_db": {"fine_tuned": 30.0},
        },
    )  # fmt: skip
    tiny.write_manifest(root)
    return path


def test_families_are_listed_by_scale_rgb_first(root: Path) -> None:
    catalogue = Catalogue(root)
    assert [family.name for family in catalogue.families] == ["x2", "x4", "x4-luma"]
    assert [family.title for family in catalogue.families] == ["×2", "×4", "×4 luma"]
    assert catalogue.scales == [2, 4]
    names = [model.name for model in catalogue.models()]
    assert len(set(names)) == len(names)
    luma = catalogue.models(LUMA)
    assert {model.candidate.family for model in luma} == {LUMA}
    assert luma[0].name == "x4-luma-residual"
    assert {model.summary()["colour"] for model in luma} == {"luma"}
    assert catalogue.models()[0].summary()["colour"] == "rgb"
    assert verify(catalogue) == []


def test_weights_in_training_are_sealed_but_no_family(root: Path) -> None:
    tiny.save_supernet(root / "supernets/next/x2.safetensors", 2, seed=3)
    tiny.save_spec(root / "supernets/next/x4-luma.safetensors", tiny.LUMA, seed=3)
    (root / "supernets/next/x4-luma.csv").write_text("step\n")
    assert any("next/x4-luma.csv is not listed" in one for one in verify(Catalogue(root)))
    tiny.write_manifest(root)
    assert verify(Catalogue(root)) == []
    assert [family.name for family in Catalogue(root).families] == ["x2", "x4", "x4-luma"]


def test_a_network_of_a_family_that_is_not_here_is_refused(root: Path) -> None:
    with pytest.raises(CatalogueError, match="no x2-luma supernet here: expected x2, x4, x4-luma"):
        Catalogue(root).check(from_text("x2c8y_r_s"))


def test_a_supernet_under_the_name_of_another_family_is_refused(root: Path) -> None:
    for ending in (".safetensors", ".json"):
        shutil.copy(root / f"supernets/x4{ending}", root / f"supernets/x4-luma{ending}")
    tiny.write_manifest(root)
    with pytest.raises(CatalogueError, match=r"supernets/x4-luma\.safetensors does not match"):
        Catalogue(root).supernet(LUMA)


def test_the_kept_taps_of_an_input_skip_are_refitted(root: Path) -> None:
    candidate = from_text(TEXT)
    fitted = Catalogue(root).network(candidate).input_skip
    (root / MOMENTS).unlink()
    tiny.write_manifest(root)
    catalogue = Catalogue(root)
    assert catalogue.moments == {}
    plain = catalogue.network(candidate).input_skip
    assert (fitted.mask == plain.mask).all()
    assert fitted.mask.mean() == pytest.approx(0.2)
    assert not np.allclose(fitted.weight, plain.weight)


@pytest.mark.parametrize("damage", ["shape", "type", "name", "value", "bytes"])
def test_damaged_moments_are_refused(root: Path, damage: str) -> None:
    side, kind = (75 if damage == "shape" else 76), ("<f4" if damage == "type" else "<f8")
    values = np.full((side, side), np.inf if damage == "value" else 1.0, dtype=kind)
    save_file({"x3" if damage == "name" else "x4": values}, root / MOMENTS)
    if damage == "bytes":
        (root / MOMENTS).write_bytes(b"none")
    tiny.write_manifest(root)
    with pytest.raises(CatalogueError, match=r"moments\.safetensors.*restore the file"):
        Catalogue(root).supernet(LUMA)


def test_moments_that_do_not_match_the_manifest_are_refused(root: Path) -> None:
    save_file({"x4": np.eye(76)}, root / MOMENTS)
    with pytest.raises(CatalogueError, match=r"supernets/moments\.safetensors does not match"):
        Catalogue(root).network(from_text(TEXT))


def test_each_family_has_its_front(root: Path) -> None:
    for family in (LUMA, Family(4)):
        write_front(root, empty_front(_header(root, family)))
    tiny.write_manifest(root)
    catalogue = Catalogue(root)
    for family in (LUMA, Family(4)):
        front = catalogue.front(family)
        assert front
        assert front.header.family == family
    assert catalogue.front(Family(2)) is None
    shutil.copy(root / "fronts/x4.json", root / "fronts/x4-luma.json")
    with pytest.raises(CatalogueError, match=r"x4-luma\.json cannot be used \(it is of x4\)"):
        read_front(root, LUMA)


def test_a_front_without_a_colour_is_of_rgb(root: Path) -> None:
    write_front(root, empty_front(_header(root, Family(4))))
    path = root / "fronts/x4.json"
    fields = json.loads(path.read_text())
    assert fields.pop("colour") == "rgb"
    path.write_text(json.dumps(fields))
    assert read_front(root, Family(4)).header.family == Family(4)


def test_final_models_belong_to_their_family(root: Path) -> None:
    _add_final(root, TEXT, "x4-luma-small")
    _add_final(root, "x4c16_wb50b50b50_s", "x4-small")
    catalogue = Catalogue(root)
    assert [final.name for final in catalogue.finals(LUMA)] == ["x4-luma-small"]
    assert [final.name for final in catalogue.finals(Family(4))] == ["x4-small"]
    assert [f.name for f in catalogue.finals_of_scale(4)] == ["x4-small", "x4-luma-small"]
    assert verify(catalogue) == []
    skip = catalogue.finals(LUMA)[0].network.input_skip
    assert (skip.weight == catalogue.network(from_text(TEXT)).input_skip.weight).all()


def test_replaced_weights_name_their_successor(root: Path) -> None:
    _add_final(root, TEXT, "x4-luma-new")
    with changing(root):
        write_replaced(root, {"x4-old": "x4-luma-new", "0" * 10 + "-" + "1" * 8: "x4-wide"}, ())
    catalogue = Catalogue(root)
    sentence = "The weights of x4-old were replaced: use x4-luma-new instead."
    for look_up in (catalogue.final_by_name, catalogue.candidate_by_name, catalogue.network_of):
        with pytest.raises(InvalidCandidate) as caught:
            look_up("x4-old")
        assert str(caught.value) == sentence
    with pytest.raises(InvalidCandidate, match="use x4-wide instead"):
        catalogue.candidate_by_name("0" * 10 + "-" + "1" * 8)
    assert catalogue.final_by_name("never-there") is None
    assert verify(catalogue) == []


def test_a_chain_of_successors_ends_at_the_last_one(tmp_path: Path) -> None:
    write_replaced(tmp_path, {"a": "b"}, {"b"})
    write_replaced(tmp_path, {"b": "c"}, {"c"})
    assert read_replaced(tmp_path) == {"a": "c", "b": "c"}
    write_replaced(tmp_path, {"c": "b"}, {"b"})  # the old name is back
    assert read_replaced(tmp_path) == {"a": "b", "c": "b"}


@pytest.mark.parametrize(
    "entries", [{"x4-wide": "x4-residual"}, {"gone": "gone-too"}]
)  # fmt: skip
def test_verify_finds_wrong_successors(root: Path, entries: dict[str, str]) -> None:
    (root / "models").mkdir(exist_ok=True)
    (root / REPLACED).write_text(json.dumps(entries))
    tiny.write_manifest(root)
    (problem,) = verify(Catalogue(root))
    assert problem.startswith(f"{REPLACED} says that {next(iter(entries))} was replaced by")


def test_publishing_a_family_leaves_the_others_alone(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What measures is replaced: it is the upscaler's business, not that of this module."""

    def bicubic(_: object) -> Upscale:
        return bicubic_upscale(4)

    monkeypatch.setattr(publishing, "Upscaler", Mock())
    monkeypatch.setattr(publishing, "network_upscale", bicubic)
    before = Catalogue(root)
    assert before.models()  # now, for files are read on first use
    run = tiny.save_spec(tmp_path / "run/supernet.safetensors", tiny.LUMA, seed=8)
    (tmp_path / "run/log.csv").write_text("step\n")
    images = tiny.save_benchmark(tmp_path / "benchmark", 4)
    lines: list[str] = []
    publishing.publish(root, run, images, None, report=lines.append)
    now = Catalogue(root)
    assert verify(now) == []
    assert now.supernet(LUMA).sha256 != before.supernet(LUMA).sha256
    assert (root / "supernets/x4-luma.csv").read_text() == "step\n"
    assert lines[0].startswith("bicubic")
    assert lines[1].startswith("x4-luma-residual")
    assert all(len(model.quality) == 3 for model in now.models(LUMA))
    assert all(q.psnr_rgb is not None for model in now.models(LUMA) for q in model.quality)
    assert now.models(Family(4)) == before.models(Family(4))
    assert now.replaced == {model.id: model.name for model in before.models(LUMA)}


def test_results_without_psnr_rgb_stay_as_they_are(root: Path) -> None:
    path = root / "results/quality.json"
    before = path.read_text()
    assert "psnr_rgb" not in before
    with changing(root):
        write_quality(root, Catalogue(root).quality)
    assert path.read_text() == before
