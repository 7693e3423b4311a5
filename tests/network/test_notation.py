from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sr_core.errors import InvalidCandidate
from sr_core.network.blocks import Scheme
from sr_core.network.candidate import (
    MAX_CELLS,
    MAX_RATIO,
    TAIL_SCHEMES,
    Candidate,
    Cell,
    LayerPruning,
    uniform,
)
from sr_core.network.notation import EXAMPLE, MAX_LENGTH, from_text, looks_like_text, to_text
from sr_core.network.presets import presets
from sr_core.network.weights import SupernetSpec
from tests.conftest import candidates

BLOCK50 = LayerPruning("block", 0.5)
EXAMPLES = {
    EXAMPLE: uniform(scale=4, width=32, blocks=("wide",) * 12, scheme="block", ratio=0.5),
    "x2c16_w": uniform(scale=2, width=16, blocks=("wide",)),
    "x2c24_r_2s_r": uniform(scale=2, width=24, blocks=("residual", "skip", "skip", "residual")),
    "x4c32_2wb50db33.33_w_tb50": Candidate(
        4,
        32,
        (Cell("wide", (BLOCK50, LayerPruning(), LayerPruning("block", 0.3333))),) * 2
        + (Cell("wide"),),
        BLOCK50,
    ),
    "x4c16y_r_tb50_iu80": Candidate(
        4, 16, (Cell("residual"),), BLOCK50, LayerPruning("unstructured", 0.8), "luma"
    ),
    "x2c8_r_ib50": Candidate(2, 8, (Cell("residual"),), input_skip=BLOCK50),
    "x4c32_rc25p55.56_ru0.01u95": Candidate(
        4,
        32,
        (
            Cell("residual", (LayerPruning("channel", 0.25), LayerPruning("pattern", 0.5556))),
            Cell(
                "residual",
                (LayerPruning("unstructured", 0.0001), LayerPruning("unstructured", MAX_RATIO)),
            ),
        ),
    ),
}


@pytest.mark.parametrize("text", EXAMPLES)
def test_examples_read_and_write(text: str) -> None:
    assert to_text(EXAMPLES[text]) == text
    assert from_text(text) == EXAMPLES[text]


@given(candidates())
def test_round_trip_is_exact(candidate: Candidate) -> None:
    text = to_text(candidate)
    assert from_text(text) == candidate
    assert from_text(text).id == candidate.id
    assert re.fullmatch(r"[a-z0-9._]+", text)  # nothing that a URL has to escape
    assert looks_like_text(text)


@pytest.mark.parametrize("scheme", TAIL_SCHEMES)
def test_every_ratio_survives(scheme: Scheme) -> None:
    for step in range(round(MAX_RATIO * 10_000) + 1):
        candidate = Candidate(4, 16, (Cell("skip"),), LayerPruning(scheme, step / 10_000))
        assert from_text(to_text(candidate)) == candidate


@given(candidates(), candidates())
def test_equal_text_means_equal_network(one: Candidate, other: Candidate) -> None:
    assert (to_text(one) == to_text(other)) == (one == other)


@pytest.mark.parametrize(
    ("loose", "canonical"),
    [
        ("x4c32_w_w", "x4c32_2w"),
        ("x4c32_wddd", "x4c32_w"),
        ("x4c32_wb50.0b50.00d", "x4c32_wb50b50d"),
        ("x4c32_rb0d_tb0", "x4c32_r"),
        ("x4c32_rb05d", "x4c32_rb5d"),
        ("x4c32_sb50_w", "x4c32_s_w"),
    ],
)
def test_other_spellings_are_understood(loose: str, canonical: str) -> None:
    assert to_text(from_text(loose)) == canonical


def test_presets_are_short() -> None:
    texts = [to_text(preset.candidate) for preset in presets(SupernetSpec(4))]
    assert len(set(texts)) == len(texts)
    assert max(map(len, texts)) <= len("x4c32" + 6 * "_w_s")


def test_the_longest_text_is_within_the_limit() -> None:
    cells = [
        Cell("wide", tuple(LayerPruning("block", 0.1111 + step / 1e4) for _ in range(3)))
        for step in range(MAX_CELLS)
    ]
    text = to_text(Candidate(4, 32, tuple(cells), LayerPruning("block", 0.1111)))
    assert 640 <= len(text) <= 653 < MAX_LENGTH


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "'' is not understood; expected a form like x4c32_12wb50b50b50"),
        ("x4", "'x4' is not understood"),
        ("x4c32", "Got 0 cells"),
        ("x4c32_", "'' is not understood"),
        ("x4c32_tb50", "Got 0 cells"),
        ("x4c32_w_tb50_w", "'tb50' is not understood"),
        ("x4c32_w_td", "'td' is not understood"),
        ("x4c32_w_tc50", "does not fit the tail"),
        ("x4c32_1w", "'1w' is not understood"),
        ("x4c32_02w", "'02w' is not understood"),
        ("x4c32_100w", "'100w' is not understood"),
        ("x4c32_33w", "Got 33 cells"),
        ("x3c32_w", "Scale 3"),
        ("x4c20_w", "Width 20"),
        ("x4c32_q", "'q' is not understood"),
        ("x4c32_wb50", "Block 'wide' has 3 layers .* got 1"),
        ("x4c32_wb50b50p96", "Ratio 0.96 is outside"),
        ("x4c32_rp50d", "Pattern ratio 0.5 is too low"),
        ("x4c32_rdc50", "'channel' does not fit layer residual.conv2"),
        ("x4c32_rb50.123d", "is not understood"),
        ("x4c32_rb-5d", "is not understood"),
        ("x4c32_r\u0663b50d", "is not understood"),
        ("X4C32_W", "is not understood"),
        ("x4c32_w\n", "is not understood"),
        ("x4c32" + "_w" * 400, "has 805 characters: expected at most 700"),
    ],
)
def test_anything_else_is_refused_in_one_sentence(text: str, message: str) -> None:
    with pytest.raises(InvalidCandidate, match=message) as refusal:
        from_text(text)
    assert len(str(refusal.value)) < 300
    assert "\n" not in str(refusal.value)


@given(st.text(alphabet="x4c32_wrsdbput0159.", max_size=40))
def test_any_text_is_a_candidate_or_refused(text: str) -> None:
    try:
        candidate = from_text(text)
    except InvalidCandidate:
        return
    assert from_text(to_text(candidate)) == candidate


@pytest.mark.parametrize(
    ("text", "expected"),
    [("x4c32_", True), ("x4c32_??", True), ("x4-wide", False), ("x4c32", False), ("", False)],
)
def test_what_looks_like_the_notation(text: str, expected: bool) -> None:
    assert looks_like_text(text) == expected
