"""Texts of the page: titles, cards, tables."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sr_core.catalogue.store import Catalogue
from sr_core.latency.estimate import estimate
from sr_core.latency.savings import Saving, SchemeRow, SchemeTiming
from sr_core.network.candidate import Candidate
from sr_core.network.layers import describe, lr_size
from sr_core.network.notation import from_text
from sr_core.ui import cards, quick_look
from sr_core.ui.pricing import Pricing, cost_of
from sr_core.ui.titles import title
from sr_core.ui.view import make_view
from tests import app_root
from tests.search.profiles import device


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x4c32_12w", "32 ch, 12 wide, dense"),
        ("x4c16_2s", "16 ch, no cells, dense"),
        ("x4c24_3wb50b50b50_r_tb50", "24 ch, 3 wide + 1 residual, block 50 %"),
        ("x4c24_wb20dd_ru20p60", "24 ch, 1 wide + 1 residual, 3 schemes 20–60 %"),
        ("x4c24_wb20dd_rdp60", "24 ch, 1 wide + 1 residual, block/pattern 20–60 %"),
        ("x4c16_12r_ib80", "16 ch, 12 residual, dense, skip block 80 %"),
        ("x4c16_rb50b50_s_ib80", "16 ch, 1 residual, block 50 %, skip block 80 %"),
    ],
)
def test_titles(text: str, expected: str) -> None:
    assert title(from_text(text)) == expected


def card(catalogue: Catalogue, candidate: Candidate, device_id: str) -> str:
    pricing = Pricing(catalogue)
    view = make_view(catalogue, scale=4, device=device_id)
    return cards.network_card(
        candidate,
        catalogue.model_of(candidate),
        pricing.stored_quality(candidate),
        pricing.estimate(view, candidate),
        pricing.profile(view),
        cost_of(candidate),
        catalogue.bicubic(4),
    )


def test_the_card_gives_every_number_its_origin(catalogue: Catalogue) -> None:
    candidate = app_root.networks()[1]
    shown = card(catalogue, candidate, app_root.PHONE)
    priced = estimate(device(app_root.PHONE), candidate)
    assert f"<strong>{priced.total_ms:.1f} ms</strong>" in shown
    assert f"{priced.low_ms:.1f}–{priced.high_ms:.1f} ms" in shown
    for origin in ("estimated", "measured", "counted"):
        assert f"class='mark {origin}'" in shown
    assert "Set5</th><td>30.50 dB</td><td>0.8500</td>" in shown, "the stored benchmark result"
    assert "nan" not in shown
    assert "python -m sr_core estimate --model x4c16_2wb40b40b40 --device phone" in shown


def test_the_strip_has_a_segment_per_layer_as_wide_as_its_time(catalogue: Catalogue) -> None:
    candidate = app_root.networks()[1]
    priced = estimate(device(app_root.PHONE), candidate)
    layers = describe(candidate, *lr_size(4))
    shown = cards.strip(priced, layers)
    assert shown.count("flex-grow") == len(layers)
    for layer in priced.per_layer:
        assert f"flex-grow:{layer.ms:.4f}" in shown
    assert "var(--scheme-block)" in shown


def test_whatever_a_profile_says_is_escaped() -> None:
    hostile = device().model_copy(update={"title": "<script>", "caveats": ("<b>x</b>",)})
    shown = cards.device_facts(hostile, 1)
    assert "<b>" not in shown
    assert "&lt;b&gt;" in shown
    priced = estimate(hostile, app_root.networks()[0])
    text = cards.network_card(
        app_root.networks()[0], None, {}, priced, hostile, cost_of(app_root.networks()[0]), ()
    )
    assert "<script" not in text


def test_schemes_show_counted_estimated_and_measured_savings() -> None:
    profile = device().model_copy(update={"title": "a <phone>"})
    here = SchemeTiming("block", 0.5, 10.01, 10.0, 7, "onnx")
    rows = [
        SchemeRow("block", 0.5, 0.5, {"phone": Saving(0.25, 0.0, 0.5)}, {"onnx": here}),
        SchemeRow("channel", 0.5, 0.45, {"phone": Saving(0.4, 0.4, 0.4)}, {}),
    ]
    shown = cards.scheme_table(
        rows, profile, {"sparse": "ours", "onnx": "theirs"}, {("block", "sparse"): 0.48}, "how"
    )
    assert "<td>50%</td><td>25% (0% to 50%)</td><td>48% (elsewhere)</td><td>0% (10.0 ms)</td>" in (
        shown
    )
    assert "<td>45%</td><td>40%</td><td>not measured</td><td>not measured</td>" in shown
    assert "a &lt;phone&gt;" in shown


def test_the_quick_look_is_a_real_evaluation(catalogue: Catalogue) -> None:
    look = quick_look.QuickLook(catalogue)
    dense, pruned = (
        catalogue.candidate_by_name("x4-wide"),
        catalogue.candidate_by_name("x4-wide-block75"),
    )
    first, second = look.score(dense), look.score(pruned)
    assert first.psnr_y_db == first.dense_psnr_y_db == second.dense_psnr_y_db
    assert second.psnr_y_db != first.psnr_y_db
    assert look.score(pruned) == replace(second, picture=look.score(pruned).picture)
    assert second.picture.size == (192, 192)
    assert 26 < first.bicubic_psnr_y_db < 32
