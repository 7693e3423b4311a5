"""The commands of latency: measure, devices, estimate, galaxy."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

import jsonschema
import numpy as np
import pytest

from sr_core.catalogue.store import Catalogue
from sr_core.catalogue.verify import verify
from sr_core.cli.main import main
from sr_core.errors import MeasurementError
from sr_core.files import PRECOMPUTED
from sr_core.latency import measure as module
from sr_core.latency.estimate import estimate
from sr_core.latency.galaxy import TARGETS
from sr_core.latency.own import OWN, own_device_path
from sr_core.latency.profile import BASES, DeviceProfile, read_profile
from sr_core.network.candidate import uniform
from sr_core.results.record import Runtime
from tests.cli.test_main import COUNT, SHARE, TEXT, Shell, record
from tests.latency.test_galaxy import drawn_table
from tests.latency.test_measure import MadeUp
from tests.tiny import write_manifest

MS = {"type": "number", "minimum": 0}
BASIS = {"enum": list(BASES)}
PROFILE = DeviceProfile.model_json_schema()
SCHEMAS: dict[str, dict[str, Any]] = {
    "devices": {"$defs": PROFILE["$defs"], "type": "array", "items": PROFILE},
    "measure": {"$defs": PROFILE["$defs"], "type": "array", "items": PROFILE},
    "estimate": record(
        profile_id=TEXT, confidence={"const": 0.9},
        sparsity_share={"type": ["number", "null"], "minimum": 0, "maximum": 1},
        threads={"type": ["integer", "null"], "minimum": 1},
        output={"type": "array", "items": COUNT, "minItems": 2, "maxItems": 2},
        total_ms=MS, low_ms=MS, high_ms=MS,
        per_layer={
            "type": "array", "minItems": 3, "items": record(name=TEXT, ms=MS, basis=BASIS),
        },
        coverage=SHARE, basis=BASIS, notes={"type": "array", "items": TEXT},
    ),
}  # fmt: skip
COMPUTER, PHONE = "intel-xeon-2-threads-onnx", "galaxy-s10-gpu"


@pytest.fixture
def root(own_root: Path) -> Path:
    """Tiny supernets and the shipped devices."""
    shutil.copytree(PRECOMPUTED / "devices", own_root / "devices")
    write_manifest(own_root)
    return own_root


@pytest.fixture
def shell(root: Path, capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(root, capsys)


@pytest.fixture
def made_up(monkeypatch: pytest.MonkeyPatch) -> MadeUp:
    return MadeUp().install(monkeypatch)


def as_json(shell: Shell, command: str, *words: object) -> Any:
    """The JSON of a command, checked against its schema."""
    data = json.loads(shell(command, *words, "--json"))
    jsonschema.validate(data, SCHEMAS[command])
    return data


def test_devices_as_json_and_as_text(shell: Shell, root: Path) -> None:
    rows, text = as_json(shell, "devices"), shell("devices")
    profiles = Catalogue(root).devices
    assert [row["id"] for row in rows] == [profile.id for profile in profiles]
    assert {COMPUTER, PHONE} <= {row["id"] for row in rows}
    for profile, line in zip(profiles, text.splitlines(), strict=True):
        assert line.startswith(f"{profile.id} ")
        assert f" {profile.basis} " in line
        assert line.endswith(profile.title)
        threads = ", ".join(map(str, profile.threads)) or "-"
        assert f"threads {threads} " in line


@pytest.mark.parametrize(
    ("device", "output", "threads"), [(COMPUTER, (1920, 1080), 1), (PHONE, (640, 360), None)]
)
def test_estimate_says_what_the_library_computes(
    shell: Shell, root: Path, device: str, output: tuple[int, int], threads: int | None
) -> None:
    words = ["--model", "x4-wide-block50", "--device", device, "--size", f"{output[0]}x{output[1]}"]
    words += [] if threads is None else ["--threads", str(threads)]
    catalogue = Catalogue(root)
    candidate = catalogue.find("x4-wide-block50")
    expected = estimate(catalogue.device(device), candidate, output=output, threads=threads)
    assert as_json(shell, "estimate", *words) == json.loads(json.dumps(asdict(expected)))

    text = shell("estimate", *words)
    for layer in expected.per_layer:
        line = rf"^{re.escape(layer.name)} +{layer.ms:.3f} ms +\d+%  {layer.basis}$"
        assert re.search(line, text, re.M), line
    total = rf"^total, estimated +{expected.total_ms:.3f} ms +"
    interval = rf"\(90% interval {expected.low_ms:.1f} to {expected.high_ms:.1f}\)$"
    assert re.search(total + interval, text, re.M)
    assert f"basis: {expected.basis}, {expected.coverage:.0%} of the time inside" in text
    assert f"output {output[0]}x{output[1]}; " in text
    assert ("1 thread(s)" in text) == (threads == 1)
    assert expected.notes
    assert set(expected.notes) <= set(text.splitlines())


def test_estimate_takes_the_best_founded_device(
    shell: Shell, user_data: Path, made_up: MadeUp
) -> None:
    before = as_json(shell, "estimate", "--model", "x4-wide")
    assert before["profile_id"] == Catalogue().devices[0].id
    shell("measure")
    data = as_json(shell, "estimate", "--model", "x4-wide")
    assert (data["profile_id"], data["basis"]) == (OWN["onnx"], "measured here")
    assert data["output"] == [1280, 720]
    assert data["threads"] == 2


def test_estimate_takes_a_candidate_file(shell: Shell, tmp_path: Path) -> None:
    candidate = uniform(scale=2, width=16, blocks=("skip", "wide"))
    (tmp_path / "own.json").write_text(json.dumps(candidate.to_json()))
    data = as_json(shell, "estimate", "--model", tmp_path / "own.json", "--device", PHONE)
    assert [layer["name"] for layer in data["per_layer"]][1] == "cells.1.wide.expand"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--device", "galaxy-s20-gpu"), "no device 'galaxy-s20-gpu': expected one of"),
        (("--threads", 3), "has no coefficients for 3 threads: expected 1, 2"),
        (("--device", PHONE, "--threads", 1), "1 threads: expected no thread count"),
        (("--size", "1281x720"), "Output 1281x720 has no x4 input"),
        (("--size", "99999x720"), "up to 8192"),
        (("--size", "0x0"), "Output 0x0 has no x4 input"),
        (("--model", "x4-huge"), "There is no model 'x4-huge'"),
    ],
)
def test_estimate_refuses(shell: Shell, words: tuple[object, ...], message: str) -> None:
    assert message in shell.error("estimate", "--model", "x4-wide", *words)


@pytest.mark.parametrize("size", ["720p", "1280", "1280x", "-4x4", "1280x720x3", "1e3x720", ""])
def test_what_is_no_size_is_wrong_usage(size: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["estimate", "--model", "x4-wide", f"--size={size}"])
    assert "is no size: expected WIDTHxHEIGHT" in capsys.readouterr().err


def test_estimate_without_devices_says_what_to_do(
    own_root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shell = Shell(own_root, capsys)
    assert as_json(shell, "devices") == []
    assert "run `python -m sr_core measure` first" in shell.error("estimate", "--model", "x4-wide")


def test_measure_keeps_the_profile_in_the_users_folder(
    shell: Shell, root: Path, user_data: Path, made_up: MadeUp
) -> None:
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    path = own_device_path("onnx")
    first, *lines = shell("measure").splitlines()
    assert first == str(path)
    profile = read_profile(path)
    assert lines[0] == f"{profile.title}: 90 % interval x/÷ {profile.spread.inside:.2f}"
    for line, setting in zip(lines[1:], profile.settings, strict=True):
        check = setting.held_out
        assert check is not None
        assert line == (
            f"{setting.threads} thread(s): 12 unseen candidates, mean error "
            f"{check.mape_percent:.1f} %, {check.coverage:.0%} inside the interval"
        )
    assert {path: path.read_bytes() for path in before} == before
    assert Catalogue(root).device(OWN["onnx"]) == profile
    assert shell("devices").startswith(OWN["onnx"])


def test_measure_as_json(shell: Shell, user_data: Path, made_up: MadeUp) -> None:
    (data,) = as_json(shell, "measure", "--held-out", 0, "--seed", 4)
    profile = read_profile(own_device_path("onnx"))
    assert DeviceProfile.model_validate_json(json.dumps(data)) == profile
    assert "1 thread(s): not checked\n" in shell("measure", "--held-out", 0)


def test_measuring_again_replaces_even_a_damaged_profile(
    shell: Shell, user_data: Path, made_up: MadeUp
) -> None:
    path = own_device_path("onnx")
    path.parent.mkdir(parents=True)
    path.write_text("{")
    shell("devices")  # the shipped ones, and a warning
    shell("measure", "--held-out", 0)
    assert read_profile(path).basis == "measured here"


def test_a_busy_computer_keeps_its_earlier_profile(
    shell: Shell, user_data: Path, made_up: MadeUp, monkeypatch: pytest.MonkeyPatch
) -> None:
    shell("measure", "--held-out", 0)
    before = own_device_path("onnx").read_bytes()
    monkeypatch.setattr("sr_core.latency.calm.MOST_DIFFERENT", -1.0)
    error = shell.error("measure", "--held-out", 0, "--seed", 1)
    assert "too busy to measure" in error
    assert "Close other programs and measure again; nothing was stored." in error
    assert own_device_path("onnx").read_bytes() == before


@pytest.fixture
def with_engine(monkeypatch: pytest.MonkeyPatch, root: Path) -> Path:
    """A catalogue that has a shipped engine, which nothing runs. Returns its path."""
    path = root / "engine/made-up.so"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"made up")
    write_manifest(root)
    fake = SimpleNamespace(lanes=16, chunk_columns=64, path=path)
    monkeypatch.setattr(Catalogue, "engine", fake)
    return path


@pytest.mark.parametrize(
    ("engine", "measured"),
    [(None, ["sparse", "onnx"]), ("both", ["sparse", "onnx"]), ("sparse", ["sparse"]),
     ("onnx", ["onnx"])],
)  # fmt: skip
def test_measure_times_the_chosen_runtimes(
    shell: Shell, made_up: MadeUp, with_engine: None, user_data: Path,
    engine: str | None, measured: list[Runtime],
) -> None:  # fmt: skip
    words = ("--engine", engine) if engine else ()
    data = as_json(shell, "measure", "--held-out", 0, *words)
    assert [profile["runtime_id"] for profile in data] == measured
    assert [profile["id"] for profile in data] == [OWN[name] for name in measured]
    kept = {path.stem for path in (user_data / "devices").iterdir()}
    assert kept == {OWN[name] for name in measured}
    assert shell("devices").splitlines()[0].startswith(f"{OWN[measured[0]]} ")


def test_measure_ships_both_profiles(
    shell: Shell, root: Path, made_up: MadeUp, with_engine: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "processor", lambda: "Fast CPU")
    shell("measure", "--ship", "--held-out", 0)
    assert verify(Catalogue(root)) == []
    names = [f"fast-2-threads-{name}" for name in ("engine", "onnx")]
    assert [Catalogue(root).device(name).id for name in names] == names


def test_measure_ships_no_times_of_a_library_that_was_built_here(
    shell: Shell, root: Path, user_data: Path, made_up: MadeUp, with_engine: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    own = with_engine.rename(tmp_path / "own.so")
    write_manifest(root)
    fake = SimpleNamespace(lanes=16, chunk_columns=64, path=own)
    monkeypatch.setattr(Catalogue, "engine", fake)
    error = shell.error("measure", "--ship", "--held-out", 0)
    assert f"{own} was built here: move it away first." in error
    shell("measure", "--held-out", 0)  # for this computer it counts


def test_measure_without_an_engine(
    shell: Shell, root: Path, user_data: Path, made_up: MadeUp, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "The engine cannot be measured. " in shell.error("measure", "--engine", "sparse")
    assert not user_data.exists()
    assert main(["--root", str(root), "measure", "--held-out", "0"]) == 0
    warning = r"warning: only ONNX Runtime is measured\. .+ is missing: .+\.$"
    assert re.search(warning, capsys.readouterr().err, re.M)


def test_measure_ships_a_profile_named_after_the_processor(
    shell: Shell, root: Path, user_data: Path, made_up: MadeUp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "processor", lambda: "Made-up(R) CPU 3000 @ 2 GHz")
    text = shell("measure", "--ship", "--held-out", 0)
    path = root / "devices/made-up-3000-2-threads-onnx.json"
    assert text.startswith(f"{path}\nMade-up(R) CPU 3000 @ 2 GHz, ONNX Runtime: 90 % interval")
    assert not user_data.exists()
    assert verify(Catalogue(root)) == []
    assert Catalogue(root).device(path.stem).basis == "measured elsewhere"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--seconds", 0), "--seconds 0: expected a time above 0."),
        (("--seconds", -1), "--seconds -1: expected"),
        (("--seconds", "nan"), "--seconds nan: expected"),
        (("--seconds", "inf"), "--seconds inf: expected"),
        (("--held-out", -1), "--held-out -1: expected 0 or more."),
        (("--seed", -1), "--seed -1: expected 0 or more."),
    ],
)
def test_measure_refuses_before_the_work(
    shell: Shell,
    user_data: Path,
    monkeypatch: pytest.MonkeyPatch,
    words: tuple[object, ...],
    message: str,
) -> None:
    def work(*_: object, **__: object) -> NoReturn:
        raise AssertionError("measured first")

    monkeypatch.setattr(module, "measure_all", work)
    assert message in shell.error("measure", *words)
    assert not user_data.exists()


def test_a_failed_measurement_writes_nothing(
    shell: Shell, user_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> NoReturn:
        raise MeasurementError("Only 3 timings.")

    monkeypatch.setattr(module, "measure", fail)
    assert main(["measure", "--engine", "onnx"]) == 1
    assert not user_data.exists()


@pytest.mark.parametrize("ship", [True, False])
def test_a_measurement_that_cannot_be_stored_is_kept(
    shell: Shell, root: Path, user_data: Path, made_up: MadeUp, full: set[Path], ship: bool
) -> None:
    full.update([root, user_data / "devices"])
    message = shell.error("measure", *(["--ship"] if ship else []))
    (place,) = re.findall(r"No space left.* kept in (.*\.json): move", message)
    assert json.loads(Path(place).read_text())[0]["processor"]


def test_measure_into_a_folder_that_cannot_be_is_one_sentence(
    shell: Shell, user_data: Path, made_up: MadeUp
) -> None:
    user_data.write_text("a file in its place")
    assert main(["measure", "--engine", "onnx", "--held-out", "0"]) == 1


def test_galaxy_writes_the_profiles_and_seals(
    shell: Shell, root: Path, tmp_path: Path, rng: np.random.Generator
) -> None:
    (tmp_path / "blocks.csv").write_text(drawn_table(rng))
    lines = shell("galaxy", tmp_path / "blocks.csv").splitlines()
    assert verify(Catalogue(root)) == []
    for line, target in zip(lines, TARGETS, strict=True):
        profile = Catalogue(root).device(target.id)
        assert line == f"{target.title}: {profile.anchors[0].error}"
        assert profile != read_profile(PRECOMPUTED / f"devices/{target.id}.json")
        assert re.fullmatch(r"\d{4}-\d\d-\d\d", profile.date)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "Cannot read"),
        ("", "blocks.csv has no device, expand_channels"),
        ("device,latency_ms\nphone,1\n", "blocks.csv has no expand_channels, in_channels"),
    ],
)
def test_galaxy_refuses_and_writes_nothing(
    shell: Shell, root: Path, tmp_path: Path, content: str | None, message: str
) -> None:
    if content is not None:
        (tmp_path / "blocks.csv").write_text(content)
    before = Catalogue(root).devices
    assert message in shell.error("galaxy", tmp_path / "blocks.csv")
    assert Catalogue(root).devices == before
    assert verify(Catalogue(root)) == []


@pytest.mark.shared
def test_galaxy_of_the_published_table_is_what_is_shipped(
    shell: Shell, root: Path, shared_data: Path
) -> None:
    shell("galaxy", shared_data.parent / "latency/galaxy_block_latency.csv")
    for target in TARGETS:
        fitted, shipped = (
            json.loads((folder / f"devices/{target.id}.json").read_text())
            for folder in (root, PRECOMPUTED)
        )
        assert fitted["settings"] == shipped["settings"]
        assert {**fitted, "date": shipped["date"]} == shipped
