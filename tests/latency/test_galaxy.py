from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sr_core.errors import DatasetError, MeasurementError
from sr_core.files import PRECOMPUTED
from sr_core.latency.estimate import estimate
from sr_core.latency.galaxy import SOURCE, TARGETS, galaxy_profiles
from sr_core.latency.profile import DeviceProfile, profile_json, read_profile
from sr_core.network.candidate import uniform
from sr_core.network.layers import describe, lr_size

HEADER = (
    "device,processor,scale,in_channels,expand_channels,linear_channels,out_channels,latency_ms"
)
ANCHORS = [
    ("galaxy-s10-gpu", 2, 533.0),
    ("galaxy-s21-gpu", 2, 390.8),
    ("galaxy-s10-dsp", 2, 192.7),
    ("galaxy-s10-dsp", 4, 62.7),
]
"""The published models' ms of 16 blocks of 24 -> 144 -> 20 -> 24 channels, per scale."""


def shipped(identity: str) -> DeviceProfile:
    return read_profile(PRECOMPUTED / "devices" / f"{identity}.json")


def block_ms(scale: int, channels: int, expand: int, linear: int) -> float:
    """A made-up device: 1 ms a block, 10 ms a GMAC, 2 ms a Mpx and channel written."""
    height, width = lr_size(scale)
    mpx = height * width / 1e6
    macs = channels * expand + expand * linear + 9 * linear * channels
    return 1 + 10 * macs * mpx / 1e3 + 2 * mpx * (expand + linear + channels)


def drawn_table(rng: np.random.Generator) -> str:
    """A table of all three devices as the made-up one would be."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(HEADER.split(","))
    for target in TARGETS:
        for scale in target.scales:
            for _ in range(60):
                c, e, m = (int(rng.integers(8, high)) for high in (33, 193, 29))
                ms = block_ms(scale, c, e, m)
                rows.writerow([target.device, target.processor, scale, c, e, m, c, f"{ms:.6f}"])
    return text.getvalue()


def saved(folder: Path, text: str | bytes) -> Path:
    path = folder / "blocks.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_profiles_of_a_made_up_device(tmp_path: Path, rng: np.random.Generator) -> None:
    profiles = galaxy_profiles(saved(tmp_path, drawn_table(rng)), "2025-01-02")
    assert [profile.id for profile in profiles] == [target.id for target in TARGETS]
    for profile, target in zip(profiles, TARGETS, strict=True):
        assert (profile.basis, profile.date, profile.threads) == ("calibrated", "2025-01-02", [])
        for scale in target.scales:
            blocks = uniform(scale=scale, width=24, blocks=("wide", "wide"))
            layers = estimate(profile, blocks).per_layer
            predicted_ms = sum(one.ms for one in layers if one.name.startswith("cells.1."))
            assert predicted_ms == pytest.approx(block_ms(scale, 24, 144, 20), rel=0.01)
        assert profile.anchors[0].n == 60 * len(target.scales)
        assert profile.anchors[0].source == SOURCE
        assert "cross-validated: mean 0.0 %" in profile.anchors[0].error
        assert (tmp_path / "profile.json").write_text(profile_json(profile))
        assert read_profile(tmp_path / "profile.json") == profile


def replaced(old: str, new: str) -> Callable[[str], str]:
    def change(text: str) -> str:
        assert old in text
        return text.replace(old, new, 1)

    return change


def last_cell(value: str) -> Callable[[str], str]:
    """`value` for the latency of the second block."""

    def change(text: str) -> str:
        lines = text.splitlines()
        lines[2] = f"{lines[2].rpartition(',')[0]},{value}"
        return "\n".join(lines)

    return change


def only(text: str) -> Callable[[str], str]:
    return lambda _: text


def third_line(line: str) -> Callable[[str], str]:
    """`line` in place of the second block and all after it."""
    return lambda text: "\n".join([*text.splitlines()[:2], line])


def with_a_huge_cell(text: str) -> str:
    return f"{text}{'x' * 200_000}\n"


def without_dsp(text: str) -> str:
    return "\n".join(line for line in text.splitlines() if ",DSP," not in line)


NUMBERS = "line 3: expected numbers of scale, channels and ms"
ABOVE = "line 3: expected scale 2 or 4, and channels and ms above 0"


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (only(""), "has no device, expand_channels, in_channels, latency_ms"),
        (only("\n"), "has no device, expand_channels, in_channels, latency_ms"),
        (only(HEADER), "has no block of Galaxy S10 GPU"),
        (only("a,b\n1,2\n"), "has no device, expand_channels"),
        (replaced("latency_ms", "ms"), "has no latency_ms: expected a table of block latencies"),
        (replaced("device,processor", "phone,chip"), "has no device, processor: expected"),
        (without_dsp, "has no block of Galaxy S10 DSP: expected its rows"),
        (last_cell("slow"), NUMBERS),
        (last_cell(""), NUMBERS),
        (last_cell("0"), ABOVE),
        (last_cell("-1.5"), ABOVE),
        (last_cell("nan"), ABOVE),
        (last_cell("inf"), ABOVE),
        (third_line("Samsung Galaxy S10,GPU,2"), NUMBERS),
        (third_line("phone,GPU,3,8,8,8,8,1"), ABOVE),
        (third_line("phone,GPU,2,8,0,8,8,1"), ABOVE),
        (with_a_huge_cell, "Cannot read"),
    ],
)
def test_a_table_that_is_none_is_refused(
    tmp_path: Path, rng: np.random.Generator, damage: Callable[[str], str], message: str
) -> None:
    with pytest.raises(DatasetError) as caught:
        galaxy_profiles(saved(tmp_path, damage(drawn_table(rng))), "2025-01-02")
    assert message in str(caught.value)
    assert "blocks.csv" in str(caught.value)
    assert str(caught.value).endswith(".")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"device\xff"])
def test_a_table_that_is_no_text_is_refused(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(DatasetError, match=r"Cannot read .*blocks\.csv"):
        galaxy_profiles(saved(tmp_path, content), "2025-01-02")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_byte_order_mark_is_no_column(
    tmp_path: Path, rng: np.random.Generator, encoding: str
) -> None:
    text = drawn_table(rng)
    plain = galaxy_profiles(saved(tmp_path, text), "2025-01-02")
    assert galaxy_profiles(saved(tmp_path, text.encode(encoding)), "2025-01-02") == plain


def test_a_missing_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"Cannot read .*none\.csv .*No such file"):
        galaxy_profiles(tmp_path / "none.csv", "2025-01-02")


def test_a_table_of_few_blocks_is_refused(tmp_path: Path, rng: np.random.Generator) -> None:
    few = "\n".join(drawn_table(rng).splitlines()[:8])
    with pytest.raises(MeasurementError, match="Only 7 timings"):
        galaxy_profiles(saved(tmp_path, few), "2025-01-02")


@pytest.mark.parametrize(("identity", "scale", "published_ms"), ANCHORS)
def test_shipped_profiles_reproduce_the_published_anchor(
    identity: str, scale: int, published_ms: float
) -> None:
    """Prices 16 dense wide cells of 24 channels; the frame's own layers are not in the anchor."""
    candidate = uniform(scale=scale, width=24, blocks=("wide",) * 16)
    layers = describe(candidate, *lr_size(scale))
    widths = [(one.in_channels, one.out_channels) for one in layers if one.role == "cell"]
    assert widths == [(24, 144), (144, 20), (20, 24)] * 16
    result = estimate(shipped(identity), candidate)
    cells_ms = sum(one.ms for one in result.per_layer if one.name.startswith("cells."))
    assert cells_ms == pytest.approx(published_ms, rel=0.10)
    assert result.total_ms > cells_ms


@pytest.mark.parametrize("identity", [target.id for target in TARGETS])
def test_shipped_profiles_say_what_they_are(identity: str) -> None:
    profile = shipped(identity)
    assert profile.basis == "calibrated"
    assert profile.scope.parts == ("wide",)
    assert "predicted by their published speed model" in profile.runtime
    assert "predicted" in profile.anchors[0].what
    assert "not a timing of a phone" in profile.caveats[0]
    assert "not measured" in profile.spread.source
    assert profile.sparsity is not None
    assert (profile.sparsity.low, profile.sparsity.high) == (0, 1)
    x4_mpx, x2_mpx = (height * width / 1e6 for height, width in map(lr_size, (4, 2)))
    assert profile.scope.lr_mpx == (x4_mpx if profile.processor == "DSP" else x2_mpx, x2_mpx)


@pytest.mark.shared
def test_the_table_gives_the_shipped_profiles(shared_data: Path) -> None:
    table = shared_data.parent / "latency/galaxy_block_latency.csv"
    for profile in galaxy_profiles(table, "2025-01-02"):
        expected = shipped(profile.id)
        assert profile.settings[0].costs.keys() == expected.settings[0].costs.keys()
        for name, costs in profile.settings[0].costs.items():
            stored = expected.settings[0].costs[name]
            assert costs.model_dump() == pytest.approx(stored.model_dump(), rel=1e-3)
        assert profile.anchors == expected.anchors  # with the sentence on the error
        dated = profile.model_copy(update={"date": expected.date, "settings": expected.settings})
        assert dated == expected
