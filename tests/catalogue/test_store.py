from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest

from sr_core.catalogue.store import Catalogue
from sr_core.catalogue.verify import verify
from sr_core.catalogue.writer import (
    LICENCE,
    changing,
    install_supernet,
    write_quality,
)
from sr_core.engine.library import Library
from sr_core.errors import CatalogueError, InvalidCandidate, LatencyError
from sr_core.files import PRECOMPUTED, REPOSITORY, sha256
from sr_core.latency.own import OWN, THIS_COMPUTER, own_device_path
from sr_core.latency.profile import profile_json, read_profile
from sr_core.machine import processor
from sr_core.network.candidate import SCALES, Family, model_id, uniform
from sr_core.network.layers import lr_size
from sr_core.network.notation import to_text
from sr_core.network.presets import presets
from sr_core.network.weights import SupernetSpec, write_supernet
from sr_core.results.record import Runtime
from sr_core.runtime.choice import runtime_version
from tests import tiny
from tests.tiny import write_manifest
from tests.waiting import PATIENCE_S

WEIGHTS = "supernets/x4.safetensors"
DESCRIPTOR = "supernets/x4.json"
QUALITY = "results/quality.json"


def edit_json(path: Path, change: Callable[[Any], object]) -> None:
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))


def flip_a_bit(path: Path, position: int = -1000) -> None:
    raw = bytearray(path.read_bytes())
    raw[position] ^= 1
    path.write_bytes(raw)


def test_models_of_both_scales_carry_their_identity(tiny_root: Path) -> None:
    catalogue = Catalogue(tiny_root)
    assert catalogue.scales == [2, 4]
    models = catalogue.models()
    for scale in SCALES:
        listed = [model for model in models if model.candidate.scale == scale]
        assert listed == catalogue.models(Family(scale))
        digest = sha256(tiny_root / f"supernets/x{scale}.safetensors")
        expected = presets(SupernetSpec(scale, tiny.WIDTH, tiny.CELLS))
        assert [(m.name, m.candidate) for m in listed] == [(p.name, p.candidate) for p in expected]
        assert [m.id for m in listed] == [f"{p.candidate.id}-{digest[:8]}" for p in expected]
    assert len({model.id for model in models}) == len(models) > 20


def test_find_takes_a_name_an_id_or_a_file(tiny_root: Path, tmp_path: Path) -> None:
    catalogue = Catalogue(tiny_root)
    for model in catalogue.models():
        assert catalogue.find(model.name) == catalogue.find(model.id) == model.candidate
        assert catalogue.find(to_text(model.candidate)) == model.candidate
        assert catalogue.model_of(model.candidate) == model
    own = uniform(scale=2, width=16, blocks=("skip", "wide"), scheme="block", ratio=0.33)
    for name in ("own.json", "OWN.JSON"):
        (tmp_path / name).write_text(json.dumps(own.to_json()))
        assert catalogue.find(str(tmp_path / name)) == own
    assert catalogue.model_of(own) is None
    assert catalogue.network(own).model_id == model_id(own, catalogue.supernet(Family(2)).sha256)


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("x4-huge", r"no model 'x4-huge': expected .*\.json file, .* x4c32_.*, or one of x2-"),
        ("x4c32_2wb", "'2wb' is not understood"),
        ("nowhere.json", r"Cannot read nowhere\.json .*No such file"),
    ],
)
def test_unknown_model_is_refused(tiny_root: Path, reference: str, message: str) -> None:
    with pytest.raises(InvalidCandidate, match=message):
        Catalogue(tiny_root).find(reference)


@pytest.mark.parametrize("content", [b"{", b"\xff\xfe", b"[1]", b'{"scale": 4}'])
def test_a_file_that_is_no_candidate_is_refused(
    tiny_root: Path, tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "own.json").write_bytes(content)
    with pytest.raises(InvalidCandidate):
        Catalogue(tiny_root).find(str(tmp_path / "own.json"))


def test_candidate_that_does_not_fit_the_supernet_is_refused(tiny_root: Path) -> None:
    with pytest.raises(InvalidCandidate, match="x4 with 3 cells"):
        Catalogue(tiny_root).network(uniform(scale=4, width=16, blocks=("wide",) * 3))


def test_unknown_scale_is_refused(tiny_root: Path) -> None:
    with pytest.raises(CatalogueError, match="no x3 supernet here: expected x2, x4"):
        Catalogue(tiny_root).supernet(Family(3))


@pytest.mark.parametrize("name", ["", "nowhere"])
def test_a_folder_without_supernets_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(CatalogueError, match="No supernet in"):
        Catalogue(tmp_path / name).models()


def test_summary_states_cost_at_1280x720_and_measured_quality(tiny_root: Path) -> None:
    first = Catalogue(tiny_root).models(Family(2))[0].summary()
    assert lr_size(2) == (360, 640)
    weights = (
        3 * 16 * 9  # head
        + 2 * (16 * 96 + 96 * 12 + 12 * 16 * 9)  # two wide cells
        + 16 * 12 * 9  # tail
        + 3 * 12 * 25  # input skip
    )
    biases = 16 + 2 * (96 + 12 + 16) + 12 + 12
    assert first["params_kept"] == first["params_dense"] == weights + biases
    assert first["macs_kept_g"] == pytest.approx(weights * 360 * 640 / 1e9, abs=1e-4)
    assert first["psnr_y_set5"] == first["psnr_y_bsd100"] == 20
    assert first["ssim_y_set14"] == 0.5


def test_results_count_only_for_the_weights_they_were_measured_with(own_root: Path) -> None:
    measured = Catalogue(own_root)
    before = {model.name: model.quality for model in measured.models()}
    assert all(len(quality) == 3 for quality in before.values())
    assert [q.image_set for q in measured.bicubic(4)] == ["Set5", "Set14", "BSD100"]

    measured_with_other_weights(own_root)
    for model in Catalogue(own_root).models():
        kept = model.candidate.scale == 2
        assert model.quality == (before[model.name] if kept else ())
        assert ("psnr_y_set5" in model.summary()) == kept


def test_no_results_are_no_error(own_root: Path) -> None:
    (own_root / QUALITY).unlink()
    assert Catalogue(own_root).quality == []
    assert Catalogue(own_root).models()[0].quality == ()


def test_what_another_process_wrote_is_no_damage(own_root: Path) -> None:
    rows = Catalogue(own_root).quality
    early = Catalogue(own_root)
    assert early.manifest
    write_quality(own_root, rows[:1])
    write_manifest(own_root)
    assert early.quality == rows[:1]


def test_who_reads_waits_for_the_seal_of_who_writes(own_root: Path) -> None:
    rows = Catalogue(own_root).quality
    written = threading.Event()

    def write() -> None:
        with changing(own_root):
            write_quality(own_root, rows[:1])
            written.set()
            time.sleep(0.3)

    writer = threading.Thread(target=write)
    writer.start()
    assert written.wait(PATIENCE_S)
    assert Catalogue(own_root).quality == rows[:1]
    writer.join()


def test_damage_is_found_also_by_who_writes(
    own_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sr_core.catalogue.manifest._SEALING_S", 0.1)
    flip_a_bit(own_root / QUALITY, -10)
    with changing(own_root), pytest.raises(CatalogueError, match="does not match its checksum"):
        _ = Catalogue(own_root).quality


@pytest.mark.parametrize("kind", ["a bit of the results", "cut-off results"])
def test_results_that_are_not_the_manifests_are_not_shown(own_root: Path, kind: str) -> None:
    DAMAGE[kind][0](own_root)
    with pytest.raises(
        CatalogueError, match=r"quality\.json does not match its checksum .*restore"
    ):
        Catalogue(own_root).models()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *(("psnr_y", bad) for bad in ("30.1", None, [30.1], True, math.nan, math.inf, 10**400, -1)),
        *(("ssim_y", bad) for bad in ("0.9", None, [], 1.5, -math.inf)),
        *(("n", bad) for bad in (0, -1, 5.0, True, "5", None)),
        *((key, bad) for key in ("model_id", "image_set", "protocol") for bad in (None, 3, "", {})),
        *(("image_set_sha256", bad) for bad in (None, "0" * 63, "G" * 64)),
        ("note", "a key too many"),
        ("x" * 1_000_000, 1),
    ],
)
def test_results_of_wrong_types_are_refused(own_root: Path, key: str, value: object) -> None:
    edit_json(own_root / QUALITY, lambda rows: rows[3].update({key: value}))
    write_manifest(own_root)
    with pytest.raises(CatalogueError, match=r"^results/quality\.json is .*\(row 4, ") as refusal:
        Catalogue(own_root).models()
    assert len(str(refusal.value)) < 300
    assert verify(Catalogue(own_root)) == [str(refusal.value)]


@pytest.mark.parametrize("row", [None, [], "row", 3])
def test_results_that_are_no_objects_are_refused(own_root: Path, row: object) -> None:
    (own_root / QUALITY).write_text(json.dumps([row]))
    write_manifest(own_root)
    with pytest.raises(CatalogueError, match=r"\(row 1: Input should be an object, got "):
        Catalogue(own_root).models()


@pytest.mark.parametrize("name", [QUALITY, DESCRIPTOR, "manifest.json"])
def test_deeply_nested_json_is_damage(own_root: Path, name: str) -> None:
    (own_root / name).write_text("[" * 100_000)
    if name != "manifest.json":
        write_manifest(own_root)
    damage = rf"{Path(name).name} is damaged \(.*recursion limit"
    problems = verify(Catalogue(own_root))
    assert any(re.search(damage, problem) for problem in problems), problems


def test_files_are_utf_8_whatever_the_locale(own_root: Path, tmp_path: Path) -> None:
    """As on Windows, where the default is another encoding."""
    raw = (own_root / DESCRIPTOR).read_text(encoding="utf-8")
    (own_root / DESCRIPTOR).write_text(raw.replace("drawn", "drawn ×"), encoding="utf-8")
    write_manifest(own_root)
    (tmp_path / "own.json").write_text('{"é": 1}', encoding="utf-8")
    code = """
import sys
from pathlib import Path
from sr_core.errors import InvalidCandidate
from sr_core.catalogue.store import Catalogue
from sr_core.catalogue.verify import verify

catalogue = Catalogue(Path(sys.argv[1]))
assert verify(catalogue) == [], verify(catalogue)
try:
    catalogue.find(sys.argv[2])
except InvalidCandidate as error:
    assert "missing cells" in str(error), ascii(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, own_root, tmp_path / "own.json"],
        env=os.environ | {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        capture_output=True,
        text=True,
        check=False,
        cwd=REPOSITORY,
    )
    assert done.returncode == 0, done.stderr


def test_sound_folder_has_no_problems(tiny_root: Path) -> None:
    assert verify(Catalogue(tiny_root)) == []


def measured_with_other_weights(root: Path) -> None:
    install_supernet(root, tiny.save_supernet(root / WEIGHTS, 4, seed=99))
    write_manifest(root)


def of_other_weights(root: Path) -> None:
    edit_json(root / DESCRIPTOR, lambda d: d.update(weights_sha256="0" * 64))
    write_manifest(root)


def of_another_protocol(root: Path) -> None:
    rows = Catalogue(root).quality
    write_quality(root, [rows[0].model_copy(update={"protocol": "rgb-v0"}), *rows[1:]])
    write_manifest(root)


def malformed_results(root: Path) -> None:
    edit_json(root / QUALITY, lambda rows: rows[3].pop("psnr_y"))
    write_manifest(root)


def results_of_another_kind(root: Path) -> None:
    (root / QUALITY).write_text("{}")
    write_manifest(root)


def with_spec(**changes: object) -> Callable[[Path], None]:
    def damage(root: Path) -> None:
        edit_json(root / DESCRIPTOR, lambda d: d["spec"].update(changes))
        write_manifest(root)

    return damage


DAMAGE: dict[str, tuple[Callable[[Path], object], list[str]]] = {
    "a bit of the weights": (
        lambda root: flip_a_bit(root / WEIGHTS),
        [f"{WEIGHTS} does not match its checksum"],
    ),
    "the weights' header": (
        lambda root: flip_a_bit(root / WEIGHTS, 4),
        [f"{WEIGHTS} does not match its checksum", "x4.safetensors is damaged"],
    ),
    "a bit of the results": (
        lambda root: (root / QUALITY).write_text((root / QUALITY).read_text() + " "),
        [f"{QUALITY} does not match its checksum"],
    ),
    "other weights and descriptor": (
        lambda root: tiny.save_supernet(root / WEIGHTS, 4, seed=99),
        [f"{WEIGHTS} does not match its checksum", f"{DESCRIPTOR} does not match its checksum"],
    ),
    "no results": (lambda root: (root / QUALITY).unlink(), [f"{QUALITY} is missing"]),
    "no descriptor": (lambda root: (root / DESCRIPTOR).unlink(), [f"{DESCRIPTOR} is missing"]),
    "no weights": (lambda root: (root / WEIGHTS).unlink(), [f"{WEIGHTS} is missing"]),
    "a file too many": (
        lambda root: (root / "models.pkl").touch(),
        ["models.pkl is not listed in manifest.json"],
    ),
    "cut-off results": (
        lambda root: (root / QUALITY).write_text("[{"),
        [f"{QUALITY} does not match its checksum"],
    ),
    "cut-off descriptor": (
        lambda root: (root / DESCRIPTOR).write_text("{"),
        [f"{DESCRIPTOR} does not match its checksum", "x4.json is damaged"],
    ),
    "results of another kind": (results_of_another_kind, ["the file: Input should be a valid ar"]),
    "a malformed row": (malformed_results, [f"{QUALITY} is damaged (row 4, psnr_y: Field req"]),
    "no manifest": (lambda root: (root / "manifest.json").unlink(), ["manifest.json is missing"]),
    "malformed manifest": (
        lambda root: (root / "manifest.json").write_text("no json"),
        ["manifest.json is damaged"],
    ),
    "manifest of another kind": (
        lambda root: (root / "manifest.json").write_text("[]"),
        ["manifest.json is damaged (the file: Input should be an object"],
    ),
    "results of other weights": (measured_with_other_weights, ["which is no listed model"]),
    "descriptor of other weights": (of_other_weights, ["is not the file that x4.json describes"]),
    "wrong protocol": (of_another_protocol, ["another protocol than y-shave-v1"]),
    "wrong spec": (with_spec(cells=3), ["cells.2.wide.expand.weight should be finite"]),
    "spec of wrong types": (with_spec(cells=2.0), ["no valid spec"]),
}  # fmt: skip


@pytest.mark.parametrize("kind", list(DAMAGE))
def test_verify_names_the_damage(own_root: Path, kind: str) -> None:
    damage, expected = DAMAGE[kind]
    damage(own_root)
    problems = verify(Catalogue(own_root))
    for message in expected:
        assert any(message in problem for problem in problems), problems
    assert len(set(problems)) == len(problems)
    assert all("\n" not in problem for problem in problems)


@pytest.mark.parametrize(
    "kind",
    [
        "a bit of the weights",
        "the weights' header",
        "other weights and descriptor",
        "no descriptor",
        "no manifest",
    ],
)
def test_damaged_supernet_is_refused_on_use(own_root: Path, kind: str) -> None:
    DAMAGE[kind][0](own_root)
    candidate = uniform(scale=4, width=16, blocks=("wide",) * 2)
    with pytest.raises(CatalogueError):
        Catalogue(own_root).network(candidate)


def test_the_other_supernet_still_works(own_root: Path) -> None:
    flip_a_bit(own_root / WEIGHTS)
    Catalogue(own_root).network(uniform(scale=2, width=16, blocks=("wide",) * 2))


DESCRIPTOR_KEYS = ("training", "data_sha256", "validation_crops_sha256", "licence")


@pytest.mark.parametrize("value", [None, "", [], {}, 3, "deleted"])
@pytest.mark.parametrize("key", DESCRIPTOR_KEYS)
def test_verify_requires_a_complete_descriptor(own_root: Path, key: str, value: object) -> None:
    change = {} if value == "deleted" else {key: value}
    edit_json(own_root / DESCRIPTOR, lambda d: d.pop(key) and d.update(change))
    write_manifest(own_root)
    (problem,) = verify(Catalogue(own_root))
    assert problem.startswith(f"{DESCRIPTOR} is damaged ({key}: ")


def test_install_adds_the_licence_and_keeps_the_rest(own_root: Path, tmp_path: Path) -> None:
    run = tiny.save_supernet(tmp_path / "run/supernet.safetensors", 4, seed=7)
    left_by_training = json.loads(run.with_suffix(".json").read_text())
    assert "licence" not in left_by_training
    install_supernet(own_root, run)
    assert Catalogue(own_root).descriptor(Family(4)) == left_by_training | {"licence": LICENCE}


def test_install_replaces_weights_and_descriptor(own_root: Path, tmp_path: Path) -> None:
    run = tiny.save_supernet(tmp_path / "run/supernet.safetensors", 4, seed=7)
    install_supernet(own_root, run)
    write_manifest(own_root)
    assert Catalogue(own_root).supernet(Family(4)).sha256 == sha256(run)
    assert Catalogue(own_root).descriptor(Family(4))["weights_sha256"] == sha256(run)


def not_finite(run: Path) -> None:
    tensors, spec = tiny.supernet(4).tensors, tiny.supernet(4).spec
    write_supernet(run, spec, {**tensors, "tail.bias": tensors["tail.bias"] * np.nan}, {})


def foreign_descriptor(run: Path) -> None:
    edit_json(run.with_suffix(".json"), lambda d: d.update(weights_sha256="0" * 64))


UNUSABLE: dict[str, tuple[Callable[[Path], object], str]] = {
    "cut off": (lambda run: run.write_bytes(run.read_bytes()[:-8]), "damaged"),
    "a flipped bit": (flip_a_bit, "is not the file that supernet.json describes"),
    "not finite": (not_finite, "should be finite"),
    "other weights": (foreign_descriptor, "is not the file that supernet.json describes"),
    "no weights": (lambda run: run.unlink(), "missing"),
    "no descriptor": (
        lambda run: run.with_suffix(".json").unlink(),
        "restore it beside its weights",
    ),
    "no spec": (lambda run: run.with_suffix(".json").write_text("{}"), "no valid spec"),
    "unknown scale": (
        lambda run: edit_json(run.with_suffix(".json"), lambda d: d["spec"].update(scale=3)),
        "no valid spec",
    ),
}


@pytest.mark.parametrize("kind", list(UNUSABLE))
def test_install_refuses_damaged_weights_and_keeps_the_old(
    own_root: Path, tmp_path: Path, kind: str
) -> None:
    damage, message = UNUSABLE[kind]
    run = tiny.save_supernet(tmp_path / "run/supernet.safetensors", 4, seed=7)
    damage(run)
    with pytest.raises(CatalogueError, match=message):
        install_supernet(own_root, run)
    assert verify(Catalogue(own_root)) == []


def test_install_on_a_full_disk_keeps_the_old(
    own_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> NoReturn:
        raise OSError(errno.ENOSPC, "No space left on device")

    run = tiny.save_supernet(tmp_path / "run/supernet.safetensors", 4, seed=7)
    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(CatalogueError, match="No space left"):
        install_supernet(own_root, run)
    monkeypatch.undo()
    assert verify(Catalogue(own_root)) == []


SHIPPED_DEVICES = PRECOMPUTED / "devices"
PHONE, COMPUTER = "galaxy-s10-gpu", "intel-xeon-2-threads-onnx"


def add_devices(root: Path, *names: str) -> None:
    (root / "devices").mkdir()
    for name in names:
        shutil.copy(SHIPPED_DEVICES / f"{name}.json", root / "devices")
    write_manifest(root)


def add_own_device(runtime_id: Runtime = "onnx", /, **changes: object) -> Path:
    """This computer's profile, as `measure` leaves it in the user's folder."""
    profile = read_profile(SHIPPED_DEVICES / f"{COMPUTER}.json")
    update: dict[str, object] = {
        "id": OWN[runtime_id], "basis": "measured here", "processor": processor(),
        "runtime": runtime_version(None), "runtime_id": runtime_id,
    }  # fmt: skip
    path = own_device_path(runtime_id)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(profile_json(profile.model_copy(update=update | changes)))
    return path


def test_the_best_founded_device_comes_first(own_root: Path, user_data: Path) -> None:
    add_devices(own_root, PHONE, COMPUTER)
    assert [device.id for device in Catalogue(own_root).devices] == [COMPUTER, PHONE]
    add_own_device()
    catalogue = Catalogue(own_root)
    assert [device.id for device in catalogue.devices] == [OWN["onnx"], COMPUTER, PHONE]
    assert catalogue.device() is catalogue.device(OWN["onnx"]) is catalogue.devices[0]
    assert catalogue.device(PHONE) == read_profile(SHIPPED_DEVICES / f"{PHONE}.json")
    assert verify(catalogue) == []  # the user's folder is none of its business


def test_a_new_profile_of_this_computer_is_used_at_once(own_root: Path, user_data: Path) -> None:
    add_devices(own_root, PHONE)
    catalogue = Catalogue(own_root)
    assert catalogue.device().id == PHONE
    profile = read_profile(add_own_device())
    for title in ("first", "again"):
        kept = profile.model_copy(update={"title": title})
        assert catalogue.keep_device(kept) == user_data / f"devices/{THIS_COMPUTER}-onnx.json"
        assert catalogue.device() == Catalogue(own_root).device() == kept


def test_every_shipped_device_is_listed_by_its_file_name() -> None:
    shipped = [device for device in Catalogue().devices if device.id not in OWN.values()]
    assert {device.id for device in shipped} == {path.stem for path in SHIPPED_DEVICES.iterdir()}
    assert len(shipped) >= 4
    assert "measured here" not in {device.basis for device in shipped}


@pytest.mark.parametrize("identity", ["galaxy-s20-gpu", "", None])
def test_an_unknown_device_is_refused(own_root: Path, identity: str | None) -> None:
    with pytest.raises(LatencyError, match=r"no device profile: run .* measure` first\.$"):
        Catalogue(own_root).device(identity)
    add_devices(own_root, PHONE, COMPUTER)
    if identity is not None:
        expected = rf"no device '{identity}': expected one of {COMPUTER}, {PHONE}\.$"
        with pytest.raises(LatencyError, match=expected):
            Catalogue(own_root).device(identity)


def test_no_devices_are_no_error(own_root: Path) -> None:
    assert Catalogue(own_root).devices == []


@pytest.mark.parametrize("listed", [True, False])
def test_a_device_that_is_not_the_manifests_is_not_used(own_root: Path, listed: bool) -> None:
    add_devices(own_root, *([PHONE] if listed else []))
    path = own_root / f"devices/{PHONE}.json"
    path.write_text((SHIPPED_DEVICES / path.name).read_text() + " ")
    with pytest.raises(CatalogueError, match=rf"devices/{PHONE}\.json does not match its checks"):
        Catalogue(own_root).device(PHONE)
    reason = "does not match its checksum in" if listed else "is not listed in"
    assert verify(Catalogue(own_root)) == [f"devices/{PHONE}.json {reason} manifest.json."]


def test_a_damaged_device_with_a_fresh_manifest_is_refused_on_use(own_root: Path) -> None:
    add_devices(own_root, PHONE)
    edit_json(own_root / f"devices/{PHONE}.json", lambda d: d.pop("spread"))
    write_manifest(own_root)
    with pytest.raises(LatencyError, match=rf"{PHONE}\.json is damaged \(spread: Field required"):
        Catalogue(own_root).device(PHONE)


def test_a_damaged_profile_of_this_computer_is_left_out(own_root: Path, user_data: Path) -> None:
    add_own_device().write_text("{")
    add_devices(own_root, PHONE, COMPUTER)
    catalogue = Catalogue(own_root)
    assert [device.id for device in catalogue.devices] == [COMPUTER, PHONE]
    assert "this-computer-onnx.json is damaged" in catalogue.device_problem
    assert "measure it again" in catalogue.device_problem


class FakeEngine:
    """A library of the engine that is only named."""

    def __init__(self, path: Path, content: bytes = b"made up") -> None:
        path.write_bytes(content)
        self.path, self.lanes = path, 16


def use_engine(patch: pytest.MonkeyPatch, engine: FakeEngine | None) -> Any:
    patch.setattr(Catalogue, "_engine", (engine, "" if engine else "There is no engine."))
    return engine


def test_the_engines_profile_comes_before_that_of_onnx_runtime(
    own_root: Path, user_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = use_engine(monkeypatch, FakeEngine(tmp_path / "engine.so"))
    add_devices(own_root, PHONE, COMPUTER)
    add_own_device("onnx")
    add_own_device("sparse", runtime=runtime_version(engine))
    catalogue = Catalogue(own_root)
    own = [THIS_COMPUTER, f"{THIS_COMPUTER}-onnx"]
    assert [device.id for device in catalogue.devices] == [*own, COMPUTER, PHONE]
    assert catalogue.device_problem == ""


def test_another_build_of_the_engine_asks_to_measure_again(
    own_root: Path, user_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = use_engine(monkeypatch, FakeEngine(tmp_path / "engine.so"))
    add_own_device("sparse", runtime=runtime_version(engine))
    assert Catalogue(own_root).device().basis == "measured here"
    use_engine(monkeypatch, FakeEngine(tmp_path / "engine.so", b"faster"))
    catalogue = Catalogue(own_root)
    device = catalogue.device(THIS_COMPUTER)
    assert device.basis == "measured with an earlier engine"
    assert device.title == read_profile(own_device_path("sparse")).title
    assert re.search(r"library \w{8}, now it is .+: measure again\.$", catalogue.device_problem)
    use_engine(monkeypatch, None)
    catalogue = Catalogue(own_root)
    assert catalogue.device(THIS_COMPUTER).basis == "measured elsewhere"
    assert "with no engine: measure again." in catalogue.device_problem


def test_another_processor_with_another_build_is_elsewhere_and_earlier(
    own_root: Path, user_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = use_engine(monkeypatch, FakeEngine(tmp_path / "engine.so"))
    path = add_own_device("sparse", runtime=runtime_version(engine), processor="another")
    here = read_profile(path).spread.inside
    moved = Catalogue(own_root).device()
    assert (moved.basis, moved.spread.inside) == ("measured elsewhere", here)
    engine.lanes = 8  # the shorter vectors of this computer, not a later build
    assert Catalogue(own_root).device().basis == "measured elsewhere"
    use_engine(monkeypatch, FakeEngine(tmp_path / "engine.so", b"faster"))
    moved = Catalogue(own_root).device()
    assert moved.basis == "measured with an earlier engine"
    assert moved.title.startswith("another, UpFront engine")
    assert moved.spread.inside > 1.5 * here


SPARSE = "intel-xeon-2-threads-engine"


def test_a_shipped_profile_of_an_earlier_library_is_marked(own_root: Path, user_data: Path) -> None:
    """Which of the shipped libraries this computer runs does not matter."""
    add_devices(own_root, SPARSE, COMPUTER, PHONE)
    fitted = read_profile(SHIPPED_DEVICES / f"{SPARSE}.json")
    assert fitted.library is not None
    assert Catalogue(own_root).device(SPARSE) == fitted, "no libraries to compare it with"
    (own_root / "engine").mkdir()
    for content, earlier in ((b"the same", False), (b"a later one", True)):
        (own_root / "engine/upfront-linux-x86_64-avx512.so").write_bytes(content)
        library = fitted.library.model_copy(
            update={"sha256": hashlib.sha256(b"the same").hexdigest()}
        )
        path = own_root / f"devices/{SPARSE}.json"
        path.write_text(profile_json(fitted.model_copy(update={"library": library})))
        (own_root / "engine/upfront-linux-x86_64-avx2.so").write_bytes(b"another")
        write_manifest(own_root)
        catalogue = Catalogue(own_root)
        found = catalogue.device(SPARSE)
        assert (found.basis == "measured with an earlier engine") is earlier
        factor = found.spread.inside / fitted.spread.inside
        assert factor == pytest.approx(1.75 if earlier else 1)
        assert ("our allowance" in found.spread.source) == (
            earlier or "our allowance" in fitted.spread.source
        )
        assert [d.id for d in catalogue.devices] == [SPARSE, COMPUTER, PHONE], "still the first"
        assert catalogue.device(COMPUTER).basis == "measured elsewhere"
        assert verify(catalogue) == []


def test_a_shipped_profile_has_to_name_its_library(own_root: Path) -> None:
    add_devices(own_root, SPARSE)
    edit_json(own_root / f"devices/{SPARSE}.json", lambda d: d.pop("library"))
    (own_root / "engine").mkdir()
    (own_root / "engine/upfront-linux-x86_64-avx512.so").write_bytes(b"any")
    write_manifest(own_root)
    catalogue = Catalogue(own_root)
    assert catalogue.device(SPARSE).basis == "measured with an earlier engine"
    (problem,) = verify(catalogue)
    assert "does not name the engine's library" in problem


def test_the_engine_is_only_looked_for_when_it_matters(
    own_root: Path, user_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def found(*_: object) -> NoReturn:
        raise AssertionError("looked for the engine")

    monkeypatch.setattr("sr_core.catalogue.store.find", found)
    add_own_device("onnx")
    assert [device.id for device in Catalogue(own_root).devices] == [OWN["onnx"]]


def test_the_shipped_engine_is_found(library: Library) -> None:
    catalogue = Catalogue()
    assert catalogue.engine is not None
    assert (catalogue.engine.path, catalogue.engine_problem) == (library.path, "")
    assert catalogue.engine is catalogue.engine


def test_an_engine_that_is_missing_or_damaged_is_a_sentence(
    own_root: Path, user_data: Path, library: Library
) -> None:
    assert Catalogue(own_root).engine is None
    assert re.search(r"is missing: restore it, or .+\.$", Catalogue(own_root).engine_problem)
    (own_root / "engine").mkdir()
    shutil.copy(library.path, own_root / "engine")
    catalogue = Catalogue(own_root)
    assert catalogue.engine is None
    assert f"{library.path.name} does not match its checksum" in catalogue.engine_problem
    (own_root / "manifest.json").unlink()
    assert "manifest.json" in Catalogue(own_root).engine_problem


@pytest.mark.parametrize("change", [{"processor": "another"}, {"runtime": "ONNX Runtime 0.1"}])
def test_a_profile_from_another_computer_is_not_of_this_one(
    own_root: Path, user_data: Path, change: dict[str, str]
) -> None:
    add_own_device(**change)
    catalogue = Catalogue(own_root)
    assert catalogue.device(OWN["onnx"]).basis == "measured elsewhere"
    assert "measure again" in catalogue.device_problem


@pytest.mark.parametrize(
    "change", [{"id": "other"}, {"basis": "measured here"}, {"channel_step": 0}]
)
def test_verify_checks_the_shipped_devices(own_root: Path, change: dict[str, object]) -> None:
    add_devices(own_root, PHONE)
    assert verify(Catalogue(own_root)) == []
    edit_json(own_root / f"devices/{PHONE}.json", lambda data: data.update(change))
    write_manifest(own_root)
    (problem,) = verify(Catalogue(own_root))
    assert PHONE in problem
