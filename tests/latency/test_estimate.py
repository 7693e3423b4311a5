from __future__ import annotations

import math
from dataclasses import asdict, replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sr_core.errors import LatencyError
from sr_core.files import PRECOMPUTED
from sr_core.latency.estimate import FINE_GRAINED, LatencyEstimate, estimate, part
from sr_core.latency.profile import BASES, Costs, DeviceProfile, SparsityAssumption, read_profile
from sr_core.latency.work import kind
from sr_core.network.blocks import BLOCKS, Block, Scheme
from sr_core.network.candidate import Candidate, Cell, LayerPruning, uniform
from sr_core.network.layers import describe, lr_size, timed, totals
from tests.conftest import candidates
from tests.search.profiles import device, on_engine

SHIPPED = [read_profile(path) for path in sorted((PRECOMPUTED / "devices").glob("*.json"))]
PHONES = [profile for profile in SHIPPED if profile.sparsity is not None]
ON_ONNX = [profile for profile in SHIPPED if "ONNX Runtime" in profile.runtime]
ENGINE = on_engine()
MADE_UP = [device(sparse=True), device(sparse=False), ENGINE]


def each(profiles: list[DeviceProfile]) -> Any:
    return pytest.mark.parametrize("profile", profiles, ids=lambda profile: profile.id)


def wide(
    cells: int = 2, width: int = 32, scale: int = 2, scheme: Scheme = "dense", ratio: float = 0.0
) -> Candidate:
    blocks: tuple[Block, ...] = ("wide",) * cells
    return uniform(scale=scale, width=width, blocks=blocks, scheme=scheme, ratio=ratio)


def relative_width(result: LatencyEstimate) -> float:
    return result.high_ms / result.low_ms


def test_there_are_phones_and_a_computer_to_test_with() -> None:
    assert {"galaxy-s10-gpu", "galaxy-s21-gpu", "galaxy-s10-dsp"} <= {p.id for p in PHONES}
    assert ON_ONNX
    assert all(profile.sparsity is None for profile in ON_ONNX)


def check(result: LatencyEstimate, candidate: Candidate) -> None:
    """What holds of every estimate."""
    ms = [one.ms for one in result.per_layer]
    assert [one.name for one in result.per_layer] == [
        one.name for one in timed(candidate, *lr_size(candidate.scale, result.output))
    ]
    assert min(ms) >= 0
    assert sum(ms) == pytest.approx(result.total_ms, rel=1e-12)
    assert 0 < result.low_ms <= result.total_ms <= result.high_ms < math.inf
    assert 0 <= result.coverage <= 1
    assert result.basis == max((one.basis for one in result.per_layer), key=BASES.index)


@each([*SHIPPED, *MADE_UP])
@settings(max_examples=25)
@given(candidate=candidates())
def test_any_candidate_has_an_estimate_on_any_device(
    profile: DeviceProfile, candidate: Candidate
) -> None:
    for threads in profile.threads or [None]:
        result = estimate(profile, candidate, threads=threads)
        check(result, candidate)
        assert (result.profile_id, result.threads) == (profile.id, threads)


@each(PHONES)
@settings(max_examples=25)
@given(
    candidate=candidates(),
    side=st.tuples(st.integers(1, 2048), st.integers(1, 2048)),
    share=st.floats(0, 1),
)
def test_any_size_and_share_has_an_estimate(
    profile: DeviceProfile, candidate: Candidate, side: tuple[int, int], share: float
) -> None:
    output = (side[0] * candidate.scale, side[1] * candidate.scale)
    result = estimate(profile, candidate, output=output, sparsity_share=share)
    check(result, candidate)
    assert result.output == output


def test_a_layer_costs_the_sum_of_its_terms() -> None:
    costs = Costs(
        launch_ms=2.0, ms_per_gmac=30.0, ms_per_mpx=500.0, ms_per_mpx_in=7.0, ms_per_mpx_out=11.0
    )
    profile = MADE_UP[1].model_copy(
        update={
            "channel_step": 1,
            "settings": (
                MADE_UP[1].settings[0].model_copy(
                    update={"costs": dict.fromkeys(("conv1x1", "conv3x3", "conv5x5"), costs)}
                ),
            ),
        }
    )  # fmt: skip
    result = estimate(profile, wide(cells=1, width=16, scale=4), output=(2000, 800))  # 0.1 Mpx
    expected = {
        name: 2 + 30 * (inputs * outputs * taps * 1e-4) + 50 + 0.7 * inputs + 1.1 * outputs
        for name, inputs, outputs, taps in (
            ("head", 3, 16, 9),
            ("cells.0.wide.expand", 16, 96, 1),
            ("cells.0.wide.linear", 96, 12, 1),
            ("cells.0.wide.conv", 12, 16, 9),
            ("tail", 16, 48, 9),
            ("input_skip", 3, 48, 25),
        )
    }
    assert {one.name: one.ms for one in result.per_layer} == pytest.approx(expected)
    assert result.total_ms == pytest.approx(sum(expected.values()))
    assert result.low_ms == pytest.approx(result.total_ms / 1.1)
    assert result.high_ms == pytest.approx(result.total_ms * 1.1)


def test_channels_up_to_the_next_step_cost_the_same() -> None:
    profile = device(sparse=False).model_copy(update={"channel_step": 16})
    by_width = {n: estimate(profile, wide(width=n, scheme="channel", ratio=0.0)) for n in (24, 32)}
    inner = {n: [one.ms for one in found.per_layer[:2]] for n, found in by_width.items()}
    assert inner[24][0] == inner[32][0]  # the head: 24 channels are written as 32
    assert inner[24][1] < inner[32][1]  # the expansion: 144 of 192


def test_kinds_and_parts_of_a_network() -> None:
    layers = describe(uniform(scale=4, width=16, blocks=("wide", "residual")), 4, 4)
    assert [kind(one) for one in layers] == [
        f"conv{k}x{k}" for k in (3, 1, 1, 3, 3, 3, 3, 5)
    ]  # fmt: skip
    assert [part(one) for one in layers] == [
        "head", "wide", "wide", "wide", "residual", "residual", "tail", "input_skip",
    ]  # fmt: skip


@each([*SHIPPED, *MADE_UP])
@pytest.mark.parametrize("block", ["wide", "residual"])
@pytest.mark.parametrize("scale", [2, 4])
def test_more_work_never_takes_less_time(profile: DeviceProfile, block: Block, scale: int) -> None:
    def total_ms(cells: int, width: int, **options: Any) -> float:
        blocks: tuple[Block, ...] = (block,) * cells
        candidate = uniform(scale=scale, width=width, blocks=blocks)
        return estimate(profile, candidate, **options).total_ms

    by_width = [total_ms(6, width) for width in (16, 24, 32)]
    assert by_width[0] < by_width[2]
    assert by_width == sorted(by_width)
    by_cells = [total_ms(cells, 32) for cells in (1, 2, 6, 12, 32)]
    assert all(less < more for less, more in pairwise(by_cells))
    sizes = [(320, 180), (640, 360), (1280, 720), (1920, 1080), (3840, 2160)]
    by_size = [total_ms(6, 32, output=size) for size in sizes]
    assert all(less < more for less, more in pairwise(by_size))


@each([*SHIPPED, *MADE_UP])
def test_fewer_channels_never_take_more_time(profile: DeviceProfile) -> None:
    ratios = [index / 40 for index in range(39)]
    found = [wide(12, scale=4, scheme="channel", ratio=ratio) for ratio in ratios]
    macs = [totals(describe(one, *lr_size(4))).macs_kept for one in found]
    ms = [estimate(profile, one).total_ms for one in found]
    assert macs == sorted(macs, reverse=True)
    assert ms == sorted(ms, reverse=True)
    assert ms[-1] < 0.75 * ms[0]


@pytest.mark.parametrize(
    "basis",
    ["measured here", "measured elsewhere", "measured with an earlier engine", "calibrated"],
)
def test_a_fully_covered_network_has_the_basis_of_the_profile(basis: str) -> None:
    result = estimate(device().model_copy(update={"basis": basis}), wide())
    assert result.coverage == 1.0
    assert result.basis == basis
    assert {one.basis for one in result.per_layer} == {basis}
    assert bool(result.notes) == (basis == "measured with an earlier engine")
    assert relative_width(result) == pytest.approx(1.1**2)


def test_an_unknown_block_lowers_coverage_and_widens() -> None:
    profile = device()
    blocks: tuple[Block, ...] = ("wide", "residual")
    result = estimate(profile, uniform(scale=2, width=32, blocks=blocks))
    outside_ms = sum(one.ms for one in result.per_layer if "residual" in one.name)
    inside_ms = result.total_ms - outside_ms
    assert result.coverage == pytest.approx(inside_ms / result.total_ms)
    assert 0.2 < result.coverage < 0.9
    assert result.basis == "extrapolated"
    assert result.high_ms == pytest.approx(inside_ms * 1.1 + outside_ms * 1.5)
    assert result.low_ms == pytest.approx(inside_ms / 1.1 + outside_ms / 1.5)
    assert result.notes == ("Extrapolated, not among the fitted layers: residual blocks.",)


@pytest.mark.parametrize(
    ("missing", "name"),
    [("tail", "tail"), ("head", "head"), ("input_skip", "input skip and pixel shuffle")],
)
def test_parts_that_were_not_fitted_are_extrapolated(missing: str, name: str) -> None:
    profile = device()
    known = tuple(one for one in profile.scope.parts if one != missing)
    partial = profile.model_copy(
        update={"scope": profile.scope.model_copy(update={"parts": known})}
    )
    whole, result = estimate(profile, wide()), estimate(partial, wide())
    assert result.total_ms == whole.total_ms
    assert result.coverage < whole.coverage == 1
    assert relative_width(result) > relative_width(whole)
    assert {one.name for one in result.per_layer if one.basis == "extrapolated"} == {missing}
    assert result.notes == (f"Extrapolated, not among the fitted layers: {name}.",)


def test_channels_that_were_not_fitted_are_extrapolated() -> None:
    profile = device()
    channels = {**profile.scope.channels, "conv1x1": ((16.0, 192.0), (8.0, 100.0))}
    narrow = profile.model_copy(
        update={"scope": profile.scope.model_copy(update={"channels": channels})}
    )
    result = estimate(narrow, wide(cells=1))
    outside = {one.name for one in result.per_layer if one.basis == "extrapolated"}
    assert outside == {"cells.0.wide.expand"}  # writes 192
    assert result.notes == (
        "Extrapolated, not among the fitted layers: wide blocks of these widths.",
    )
    assert estimate(narrow, wide(cells=1, width=16)).coverage == 1


def test_another_size_covers_nothing_and_widens() -> None:
    profile, largest = device(), (2000, 2000)  # 1 Mpx LR: just inside
    assert estimate(profile, wide(), output=largest).coverage == 1
    for output in ((2002, 2000), (200, 198)):
        result = estimate(profile, wide(), output=output)
        assert result.coverage == 0
        assert result.basis == "extrapolated"
        assert relative_width(result) == pytest.approx((1.1 * 1.2) ** 2)
        assert result.notes == (
            "Extrapolated: the frame size is outside what the profile was fitted to.",
        )


@each(PHONES)
def test_phones_cover_wide_blocks_of_their_scales_only(profile: DeviceProfile) -> None:
    known = estimate(profile, wide(12))
    assert 0.8 < known.coverage < 1
    assert known.basis == "extrapolated"  # head, tail and input skip
    assert "head, input skip and pixel shuffle, tail" in known.notes[0]
    inside = [one for one in known.per_layer if one.basis == profile.basis == "calibrated"]
    assert {one.name.split(".")[0] for one in inside} == {"cells"}
    residual = estimate(profile, uniform(scale=2, width=32, blocks=("residual",) * 12))
    assert residual.coverage == 0
    assert relative_width(residual) > relative_width(known)
    x4 = estimate(profile, wide(12, scale=4))
    assert (x4.coverage > 0.8) == (profile.id == "galaxy-s10-dsp")
    if profile.processor == "GPU":
        assert x4.coverage == 0
        assert relative_width(x4) > relative_width(known)


FINE = [(scheme, 0.9) for scheme in FINE_GRAINED]


@each([*ON_ONNX, MADE_UP[1]])
@pytest.mark.parametrize(("scheme", "ratio"), FINE)
def test_masks_change_nothing_in_onnx_runtime(
    profile: DeviceProfile, scheme: Scheme, ratio: float
) -> None:
    blocks: tuple[Block, ...] = ("wide", "residual", "skip")

    def with_scheme(scheme: Scheme, ratio: float) -> LatencyEstimate:
        candidate = uniform(
            scale=4, width=24, blocks=blocks, scheme=scheme, ratio=ratio, prune_tail=True
        )
        return estimate(profile, candidate)

    dense, masked = with_scheme("dense", 0.0), with_scheme(scheme, ratio)
    (note,) = set(masked.notes) - set(dense.notes)
    assert note.startswith("No gain from masks: this runtime computes block, pattern and unstruct")
    assert replace(masked, notes=dense.notes) == dense


@each(ON_ONNX)
def test_width_channels_and_skips_change_the_time_in_onnx_runtime(profile: DeviceProfile) -> None:
    full_ms = estimate(profile, wide(12)).total_ms
    for fewer in (
        wide(12, width=16),
        wide(12, scheme="channel", ratio=0.5),
        replace(wide(12), cells=(Cell("skip"), *wide(11).cells)),
    ):
        assert estimate(profile, fewer).total_ms < 0.97 * full_ms


@each(PHONES)
@pytest.mark.parametrize(("scheme", "ratio"), FINE)
def test_the_share_moves_the_time_from_dense_to_the_kept_macs(
    profile: DeviceProfile, scheme: Scheme, ratio: float
) -> None:
    candidate = wide(3, scheme=scheme, ratio=ratio)
    dense = estimate(profile, wide(3))
    none, half, full = (estimate(profile, candidate, sparsity_share=share) for share in (0, 0.5, 1))
    assert none.total_ms == pytest.approx(dense.total_ms)
    layers = describe(candidate, *lr_size(2))
    for index, one in enumerate(layers):
        ms_per_gmac = profile.setting(None).costs[kind(one)].ms_per_gmac
        saved_ms = ms_per_gmac * (one.macs_dense - one.macs_kept) / 1e9
        at_none, at_half, at_full = (found.per_layer[index].ms for found in (none, half, full))
        assert at_full == pytest.approx(at_none - saved_ms)
        assert at_half == pytest.approx(at_none - saved_ms / 2)
    arithmetic_costs = profile.processor == "GPU"  # on the DSP it is almost free
    assert (full.total_ms < half.total_ms < none.total_ms) == arithmetic_costs


@each(PHONES)
def test_the_default_share_is_the_profiles(profile: DeviceProfile) -> None:
    assert profile.sparsity is not None
    candidate = wide(3, scheme="block", ratio=0.5)
    by_default = estimate(profile, candidate)
    assert by_default == estimate(profile, candidate, sparsity_share=profile.sparsity.share)


@each(PHONES)
@pytest.mark.parametrize(("scheme", "ratio"), FINE)
def test_masks_on_a_phone_lower_coverage_and_widen(
    profile: DeviceProfile, scheme: Scheme, ratio: float
) -> None:
    dense, masked = (
        estimate(profile, wide(6)),
        estimate(profile, wide(6, scheme=scheme, ratio=ratio)),
    )
    assert masked.basis == "assumed"
    assert masked.coverage < dense.coverage
    assert relative_width(masked) > relative_width(dense)
    assert any(note.startswith("Assumed: how much time fine-grained") for note in masked.notes)
    assert not any(note.startswith("Assumed") for note in dense.notes)


def test_the_interval_holds_what_each_assumed_share_would_give() -> None:
    profile = device().model_copy(
        update={"sparsity": SparsityAssumption(share=0.5, low=0.25, high=0.75)}
    )
    candidate = wide(3, scheme="block", ratio=0.75)
    default = estimate(profile, candidate)
    for share in (0.25, 0.5, 0.75):
        one = estimate(profile, candidate, sparsity_share=share)
        assert default.low_ms < one.total_ms < default.high_ms
        assert (one.low_ms, one.high_ms) == (default.low_ms, default.high_ms)
    bold = estimate(profile, candidate, sparsity_share=1)  # beyond: the interval follows
    assert bold.low_ms < default.low_ms
    assert bold.high_ms == default.high_ms
    timid = estimate(profile, candidate, sparsity_share=0)
    assert timid.low_ms == default.low_ms
    assert timid.high_ms > default.high_ms


def test_a_pruned_tail_alone_is_assumed() -> None:
    candidate = replace(wide(), tail=LayerPruning("block", 0.5))
    result = estimate(device(), candidate)
    assert {one.name for one in result.per_layer if one.basis == "assumed"} == {"tail"}


@pytest.mark.parametrize("share", [-0.01, 1.01, math.nan, math.inf])
def test_a_share_outside_0_to_1_is_refused(share: float) -> None:
    with pytest.raises(LatencyError, match=rf"is 0 to 1, got {share}\.$"):
        estimate(device(), wide(), sparsity_share=share)


def test_the_share_is_ignored_where_masks_gain_nothing() -> None:
    profile, candidate = device(sparse=False), wide(scheme="block", ratio=0.5)
    assert estimate(profile, candidate, sparsity_share=1) == estimate(profile, candidate)


@pytest.mark.parametrize(
    ("scale", "output"),
    [
        (4, (1280, 722)), (2, (1281, 720)), (2, (0, 720)), (2, (1280, -2)), (4, (8196, 720)),
        (2, (1280, 10**9)),
    ],
)  # fmt: skip
def test_a_size_without_an_input_is_refused(scale: int, output: tuple[int, int]) -> None:
    message = rf"^Output {output[0]}x{output[1]} has no x{scale} input: .*of {scale}, up to 8192\.$"
    with pytest.raises(LatencyError, match=message):
        estimate(device(), wide(scale=scale), output=output)


def test_the_largest_size_is_not_refused() -> None:
    assert estimate(device(), wide(), output=(8192, 8192)).output == (8192, 8192)


@each([*SHIPPED, *MADE_UP])
def test_an_unknown_thread_count_is_refused(profile: DeviceProfile) -> None:
    with pytest.raises(LatencyError, match=r"has no coefficients for 77 threads: expected .*\.$"):
        estimate(profile, wide(), threads=77)


def test_threads_choose_the_coefficients() -> None:
    one, two = (estimate(device(), wide(), threads=threads) for threads in (1, 2))
    assert two.total_ms < one.total_ms
    assert estimate(device(), wide()) == two
    assert asdict(one)["threads"] == 1


@each(PHONES)
def test_a_network_of_nothing_but_skips_is_priced(profile: DeviceProfile) -> None:
    result = estimate(profile, uniform(scale=2, width=16, blocks=("skip",)))
    assert [one.name for one in result.per_layer] == ["head", "tail", "input_skip"]
    assert result.coverage == 0
    assert min(one.ms for one in result.per_layer) > 0


def test_every_block_has_a_name_in_the_notes() -> None:
    """A new block in the registry would be priced, and must be named."""
    profile = device()
    bare = profile.model_copy(update={"scope": profile.scope.model_copy(update={"parts": ()})})
    blocks: tuple[Block, ...] = tuple(spec.name for spec in BLOCKS.values())
    (note,) = estimate(bare, uniform(scale=2, width=16, blocks=blocks)).notes
    assert all(name in note for name in ("head", "tail", "input skip", "wide", "residual"))


@pytest.mark.parametrize("scheme", FINE_GRAINED)
def test_masks_save_time_in_the_engine(scheme: Scheme) -> None:
    ratios = [0.0, 0.6, 0.7, 0.8, 0.9, 0.95]
    found = [estimate(ENGINE, wide(6, scheme=scheme, ratio=ratio)) for ratio in ratios]
    ms = [one.total_ms for one in found]
    assert all(less < more for more, less in pairwise(ms))
    assert ms[-1] < 0.5 * ms[0]
    for one in found:
        assert (one.basis, one.coverage) == (ENGINE.basis, 1)
        assert (one.notes, one.sparsity_share) == ((), None)


def test_a_channel_alone_costs_more_than_a_group_of_four() -> None:
    block, unstructured = (
        estimate(ENGINE, wide(6, scheme=scheme, ratio=0.7)).total_ms
        for scheme in ("block", "unstructured")
    )
    assert block < unstructured < estimate(ENGINE, wide(6)).total_ms


@each(SHIPPED)
def test_chroma_takes_time_but_counts_no_macs(profile: DeviceProfile) -> None:
    luma = uniform(scale=4, width=16, blocks=("residual",), colour="luma")
    result = estimate(profile, luma)
    assert {one.name: one.ms for one in result.per_layer}["chroma"] > 0
    assert "chroma" not in [layer.name for layer in describe(luma, 4, 4)]
