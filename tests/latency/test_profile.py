from __future__ import annotations

import json
import math
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import Any

import pytest
from platformdirs import user_data_dir

from sr_core.errors import LatencyError
from sr_core.files import PRECOMPUTED
from sr_core.latency.own import THIS_COMPUTER, own_device_path
from sr_core.latency.profile import Costs, DeviceProfile, profile_json, read_profile

SHIPPED = sorted((PRECOMPUTED / "devices").glob("*.json"))
PHONE = PRECOMPUTED / "devices/galaxy-s10-dsp.json"
COSTS = ("settings", 0, "costs", "conv1x1", "ms_per_gmac")
DELETED = Enum("Damage", "DELETED").DELETED  # its name is the same in every process
REQUIRED = [name for name, field in DeviceProfile.model_fields.items() if field.is_required()]
LONG = "k" * 1_000_000


def saved(folder: Path, content: str | bytes) -> Path:
    path = folder / "phone.json"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def changed(place: tuple[str | int, ...], value: object) -> str:
    """A shipped profile's JSON with one value replaced, added or deleted."""
    data = json.loads(PHONE.read_text(encoding="utf-8"))
    inner: Any = data
    for key in place[:-1]:
        inner = inner[key]
    if value is DELETED:
        del inner[place[-1]]
    else:
        inner[place[-1]] = value
    return json.dumps(data)


def refusal(folder: Path, content: str | bytes) -> str:
    """The one short sentence with which a file is refused, which names the file."""
    folder = folder / "devices"
    folder.mkdir(exist_ok=True)
    with pytest.raises(LatencyError) as caught:
        read_profile(saved(folder, content))
    message = str(caught.value)
    assert message.startswith("devices/phone.json is damaged (")
    assert message.endswith(": restore or measure it again.")
    assert "\n" not in message
    assert len(message) < 300
    return message


def test_profiles_are_shipped() -> None:
    assert len(SHIPPED) >= 4


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_json_round_trip(path: Path, tmp_path: Path) -> None:
    profile = read_profile(path)
    assert profile.id == path.stem
    text = profile_json(profile)
    assert text == path.read_text(encoding="utf-8")
    assert read_profile(saved(tmp_path, text)) == profile


@pytest.mark.parametrize("key", REQUIRED)
def test_a_missing_key_is_named(tmp_path: Path, key: str) -> None:
    assert f"({key}: Field required)" in refusal(tmp_path, changed((key,), DELETED))


def test_what_an_old_profile_does_not_say_is_usual(tmp_path: Path) -> None:
    profile = read_profile(saved(tmp_path, changed(("caveats",), DELETED)))
    assert profile.caveats == ()
    assert (profile.runtime_id, profile.column_step, profile.near_mib) == (None, 1, 0)


NUMBER_FAULTS = (math.nan, math.inf, -math.inf, -0.1, 1e308, 10**400, "5", None, True, [1.0], {})


@pytest.mark.parametrize("value", NUMBER_FAULTS, ids=lambda value: str(value)[:9])
@pytest.mark.parametrize(
    "place",
    [
        COSTS,
        ("scope", "channels", "conv3x3", 0, 1),
        ("spread", "inside"),
        ("sparsity", "share"),
        ("channel_step",),
        ("anchors", 0, "n"),
    ],
    ids=lambda place: ".".join(map(str, place)),
)
def test_what_is_no_sensible_number_is_named(
    tmp_path: Path, place: tuple[str | int, ...], value: object
) -> None:
    assert f"({'.'.join(map(str, place))}: " in refusal(tmp_path, changed(place, value))


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (("note",), 1, "(note: Extra inputs are not permitted)"),
        (("settings", 0, "costs", "conv1x1", "ms"), 1, "(settings.0.costs.conv1x1.ms: Extra"),
        (("settings", 0, "costs", "conv7x7"), {}, "(settings.0.costs.conv7x7"),
        (("settings", 0, "costs", "conv5x5"), DELETED, "(settings.0: costs of conv5x5 are missing"),
        (("settings", 0, "costs", "conv3x3"), {}, "(settings.0: conv3x3 costs nothing)"),
        (("settings", 0, "threads"), 0, "(settings.0.threads: "),
        (("settings", 0, "threads"), 2.5, "(settings.0.threads: "),
        (("settings",), [], "(settings: "),
        (("settings",), {}, "(settings: "),
        (("anchors",), [], "(anchors: "),
        (("anchors", 0, "source"), "", "(anchors.0.source: "),
        (("scope", "parts"), ["wide", "dense"], "(scope.parts.1: "),
        (("scope", "lr_mpx"), [1.0, 0.5], "(scope.lr_mpx: the lowest, 1.0, is above the highest"),
        (("scope", "lr_mpx"), [1.0], "(scope.lr_mpx"),
        (("spread", "outside"), 0.99, "(spread.outside: "),
        (("spread", "other_size"), 101, "(spread.other_size: "),
        (("spread", "source"), DELETED, "(spread.source: Field required)"),
        (("sparsity", "low"), 0.6, "(sparsity: expected low <= share <= high)"),
        (("sparsity", "high"), 0.4, "(sparsity: expected low <= share <= high)"),
        (("channel_step",), 65, "(channel_step: "),
        (("basis",), "guessed", "(basis: "),
        (("basis",), "assumed", "(basis: "),
        (("id",), "Two Words", "(id: "),
        (("id",), "../phone", "(id: "),
        (("id",), "p" * 65, "(id: "),
        (("title",), "", "(title: "),
        (("title",), 3, "(title: "),
        (("date",), "yesterday", "(date: "),
        (("a\nb",), 1, r"(a\nb: "),
        ((LONG,), 1, "(kkkk"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_damage_is_named(
    tmp_path: Path, place: tuple[str | int, ...], value: object, message: str
) -> None:
    assert message in refusal(tmp_path, changed(place, value))


def test_two_settings_of_one_thread_count_are_refused(tmp_path: Path) -> None:
    data = json.loads(PHONE.read_text(encoding="utf-8"))
    data["settings"] *= 2
    assert "two settings have the same number" in refusal(tmp_path, json.dumps(data))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "(the file: Invalid JSON"),
        (b"{", "(the file: Invalid JSON"),
        (b"no json", "(the file: Invalid JSON"),
        (b"[" * 100_000, "(the file: Invalid JSON"),
        (b'"' + b"x" * 1_000_000, "(the file: Invalid JSON"),
        (b"[]", "(the file: Input should be an object, got "),
        (b"null", "(the file: Input should be an object, got "),
        (b"\xff\xfe", "(the file: Invalid JSON"),
    ],
    ids=lambda value: str(value)[:12],
)
def test_what_is_no_json_object_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    assert message in refusal(tmp_path, content)


def test_a_file_cut_anywhere_is_refused(tmp_path: Path) -> None:
    raw = PHONE.read_bytes().rstrip()
    for length in range(0, len(raw), 97):
        refusal(tmp_path, raw[:length])


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LatencyError, match=r"phone\.json is missing: restore or measure it"):
        read_profile(tmp_path / "phone.json")


def test_a_folder_in_its_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "phone.json").mkdir()
    with pytest.raises(LatencyError, match=r"phone\.json cannot be read"):
        read_profile(tmp_path / "phone.json")


def with_threads(*counts: int) -> DeviceProfile:
    profile = read_profile(PHONE)
    settings = tuple(
        profile.settings[0].model_copy(
            update={"threads": n, "costs": dict.fromkeys(profile.settings[0].costs, Costs())}
        )
        for n in counts
    )
    return profile.model_copy(update={"settings": settings})


def test_the_last_setting_is_the_default() -> None:
    profile = with_threads(1, 8)
    assert profile.threads == [1, 8]
    assert profile.setting(None) is profile.setting(8) is profile.settings[1]
    assert profile.setting(1) is profile.settings[0]


@pytest.mark.parametrize(
    ("profile", "expected"),
    [
        (lambda: with_threads(1, 8), "expected 1, 8."),
        (lambda: read_profile(PRECOMPUTED / "devices/galaxy-s10-dsp.json"), "no thread count."),
    ],
)
def test_an_unknown_thread_count_is_refused(
    profile: Callable[[], DeviceProfile], expected: str
) -> None:
    with pytest.raises(LatencyError, match=r"has no coefficients for 3 threads: ") as caught:
        profile().setting(3)
    assert str(caught.value).endswith(expected)


def test_this_computers_profile_lies_in_the_users_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    users = Path(user_data_dir("upfront", appauthor=False))
    assert users not in own_device_path().parents  # never while testing
    monkeypatch.setenv("UPFRONT_DATA", str(tmp_path))
    assert own_device_path() == tmp_path / f"devices/{THIS_COMPUTER}.json"
    assert own_device_path("onnx") == tmp_path / f"devices/{THIS_COMPUTER}-onnx.json"
    monkeypatch.setenv("UPFRONT_DATA", "")
    assert own_device_path() == users / f"devices/{THIS_COMPUTER}.json"
