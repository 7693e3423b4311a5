"""The page's callbacks, the server around them, and that nothing of it needs torch."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn
from urllib.parse import parse_qsl, unquote

import gradio as gr
import numpy as np
import pytest
from PIL import Image

from sr_core.catalogue.store import Catalogue
from sr_core.errors import MeasurementError
from sr_core.files import REPOSITORY
from sr_core.latency.estimate import estimate
from sr_core.latency.profile import DeviceProfile
from sr_core.machine import processor
from sr_core.network.candidate import Candidate, Family
from sr_core.network.notation import to_text
from sr_core.runtime.choice import runtime_version
from sr_core.ui import comparison, samples
from sr_core.ui.components.image_input import ImageInput
from sr_core.ui.components.layer_table import vocabulary
from sr_core.ui.page import Page, build_page
from sr_core.ui.prune import EDITED
from tests import app_root, tiny
from tests.search.profiles import device, on_engine
from tests.ui.held import built, held, image_held


@pytest.fixture(scope="module")
def page(page_root: Path) -> Page:
    """The page, built, for calling its callbacks."""
    return built(Catalogue(page_root))


def shown_value(update: Any) -> Any:
    """The value of a component in a callback's answer, which may be a `gr.update`."""
    return update.get("value") if isinstance(update, dict) and "__type__" in update else update


def link_after(page: Page, values: dict[Any, Any], answer: dict[Any, Any]) -> str:
    """The link that follows an answer: it is made of what the components hold by then."""
    shown = {part: shown_value(update) for part, update in answer.items() if part in values}
    told: dict[Any, Any] = values | shown | {page.state.address: "http://here/"}
    return page.state.on_link(told)[page.state.link].removeprefix("http://here/")


def test_the_start_is_the_best_founded_device_and_the_knee(page: Page) -> None:
    start = page.start
    assert start.view.scale == 4
    assert start.view.device == app_root.ENGINE
    assert start.current == page.pricing.points(start.view).knee()


def test_another_device_prices_everything_anew(page: Page) -> None:
    on_computer = page.state.on_view(held(page, device=app_root.COMPUTER))
    on_phone = page.state.on_view(held(page, device=app_root.PHONE))
    plots = [shown_value(answer[page.explore.plot]) for answer in (on_computer, on_phone)]
    assert [point.id for point in plots[0].points] == [point.id for point in plots[1].points]
    assert plots[0].points[1].x > plots[1].points[1].x, "only the phone gains from masks"
    assert f"device={app_root.PHONE}" in link_after(page, held(page), on_phone)
    assert on_phone[page.target.share]["visible"]
    assert not on_computer[page.target.share]["visible"]


def test_another_size_changes_latency_and_no_quality(page: Page) -> None:
    answers = [
        shown_value(page.state.on_view(held(page, size=size))[page.explore.plot])
        for size in ("1280x720", "1920x1080")
    ]
    for small, large in zip(answers[0].points, answers[1].points, strict=True):
        assert large.x > small.x
        assert large.y == small.y


def test_another_scale_takes_the_network_along(page: Page) -> None:
    answer = page.state.on_view(held(page, family="x2", picks=["x4c16_2w"]))
    current = Candidate.from_json(shown_value(answer[page.prune.table]))
    assert current == replace(page.start.current, scale=2)
    assert shown_value(answer[page.compare.picks]) == []
    assert "search --scale 2" in shown_value(answer[page.explore.plot]).note
    assert shown_value(answer[page.explore.plot]).points == ()


def test_selecting_a_point_reaches_every_tab(page: Page) -> None:
    wanted = app_root.networks()[5]
    event: Any = SimpleNamespace(value=wanted.id)
    answer = page.explore.on_select(held(page), event)
    assert Candidate.from_json(shown_value(answer[page.prune.table])) == wanted
    assert answer[page.explore.plot]["selected"] == wanted.id
    assert to_text(wanted) in answer[page.explore.card]
    assert f"net={to_text(wanted)}" in link_after(page, held(page), answer)


def test_the_best_under_a_budget(page: Page) -> None:
    shown = page.pricing.points(page.start.view)
    budget_ms = float(np.median(shown.cost))
    answer = page.explore.on_best(held(page, budget=budget_ms))
    best = Candidate.from_json(shown_value(answer[page.prune.table]))
    affordable = shown.cost <= budget_ms
    assert shown.quality[shown.candidates.index(best)] == shown.quality[affordable].max()
    with pytest.raises(gr.Error, match=rf"cheapest takes {shown.cost.min():.1f} ms"):
        page.explore.on_best(held(page, budget=1e-6))


def test_choosing_a_preset_fills_table_card_and_json(page: Page) -> None:
    answer = page.prune.on_preset({**held(page), page.prune.preset: "x4-wide-block50"})
    wanted = page.catalogue.candidate_by_name("x4-wide-block50")
    assert Candidate.from_json(answer[page.prune.table]) == wanted
    assert Candidate.loads(answer[page.prune.json]) == wanted
    assert answer[page.prune.preset] == "x4-wide-block50"
    (psnr_db,) = (
        q.psnr_y
        for model in page.catalogue.models(Family(4))
        if model.candidate == wanted
        for q in model.quality
        if q.image_set == "Set5"
    )
    assert f"{psnr_db:.2f} dB" in answer[page.explore.card]


def test_editing_the_table_makes_it_an_edited_network(page: Page) -> None:
    table = page.catalogue.candidate_by_name("x4-wide").to_json()
    table["cells"][0]["layers"][0] = {"scheme": "block", "ratio": 0.33}
    answer = page.prune.on_table(held(page, table=table))
    assert answer[page.prune.preset] == EDITED
    assert page.prune.table not in answer, "the table would jump under the person's hands"
    assert "not stored" in answer[page.explore.card]
    assert Candidate.loads(answer[page.prune.json]).cells[0].layers[0].ratio == 0.33


def test_applying_a_scheme_to_all_layers_reaches_the_preset(page: Page) -> None:
    table = page.catalogue.candidate_by_name("x4-wide").to_json()
    values = held(page, table=table, ratio=50)
    answer = page.prune.on_apply({**values, page.prune.scheme: "block"})
    assert answer[page.prune.preset] == "x4-wide-block50"


def test_quality_follows_with_a_real_evaluation(page: Page) -> None:
    wide, pruned = (
        page.catalogue.candidate_by_name(name) for name in ("x4-wide", "x4-wide-block75")
    )
    answers = [page.prune.on_quality(json.dumps(c.to_json())) for c in (wide, pruned)]
    assert "+0.00 dB" in answers[0][page.prune.quality], "the dense anchor against itself"
    assert answers[0][page.prune.quality] != answers[1][page.prune.quality]
    left, right = answers[1][page.prune.picture]
    assert left.size == right.size == (192, 192)
    assert left.tobytes() != right.tobytes()


def test_timing_the_schemes_says_where(page: Page) -> None:
    answer = page.prune.on_time(held(page, size="640x360", threads=1))
    table = answer[page.prune.schemes]
    assert "Measured just now" in table
    assert table.count("ms)</td>") == 4 * 2, "four schemes in two runtimes"
    assert "not measured" not in table


def test_before_they_are_timed_the_stored_benchmark_speaks(page: Page) -> None:
    table = page.catalogue.candidate_by_name("x4-wide").to_json()
    start = page.state.on_view(held(page, table=table, ratio=50))[page.prune.schemes]
    assert "<td>50% (elsewhere)</td>" in start, "block 50 % in our engine: 14 of 28 ms"
    assert "Made-up &lt;processor&gt; (UpFront engine, AVX9" in start
    other = page.state.on_view(held(page, table=table, ratio=35))[page.prune.schemes]
    assert other.count("(elsewhere)") == 1, "only pattern, which cannot remove less than 5/9"
    assert other.count("not measured") == 4 * 2 - 1


def test_picking_fills_compare_up_to_four(page: Page) -> None:
    picked: list[str] = []
    four, fifth = app_root.networks()[:4], app_root.networks()[4]
    for candidate in four:
        values = held(page, table=candidate.to_json(), picks=picked)
        picked = shown_value(page.state.on_pick(values)[page.compare.picks])
    assert picked == [to_text(candidate) for candidate in four]
    again = page.state.on_pick(held(page, table=four[3].to_json(), picks=picked))
    assert shown_value(again[page.compare.picks]) == picked, "no network twice"
    with pytest.raises(gr.Error, match="holds 4 networks already"):
        page.state.on_pick(held(page, table=fifth.to_json(), picks=picked))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"table": {"scale": 4, "width": 16, "cells": [{"block": "widest"}]}}, "widest"),
        ({"table": {"scale": 4, "width": 16, "cells": []}}, "0 cells"),
        ({"table": "<script>"}, "JSON object"),
        ({"table": None}, "JSON object"),
        (
            {"table": {"scale": 4, "width": 16, "cells": [{"block": "skip"}] * 3}},
            "this supernet is x4",
        ),
        ({"family": 3}, "no scale 3: expected 2, 4"),
        ({"family": [4]}, "no scale"),
        ({"device": "toaster"}, "no device 'toaster': expected one of engine, computer, phone"),
        ({"size": "0x0"}, "no size"),
        ({"budget": "soon"}, "budget 'soon' is not a number"),
        ({"budget": float("nan")}, "budget"),
        ({"axis": "price"}, "no axis 'price'"),
        ({"metric": "beauty"}, "no metric 'beauty'"),
        ({"device": "phone", "share": 7}, "share 7 is not a number of 0 to 1"),
        ({"picks": ["../../etc/passwd.json"]}, "There is no model"),
    ],
)
def test_whatever_the_browser_sends_gets_a_sentence(
    page: Page, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(gr.Error, match=message):
        page.state.on_view(held(page, **change))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ratio": 1.0, "scheme": "block"}, "outside 0 to 0.95"),
        ({"ratio": 0.8, "scheme": "pattern"}, "does not fit layer wide.expand"),
        ({"ratio": 0.8, "scheme": "wavelet"}, "Unknown scheme"),
    ],
)
def test_pasted_json_is_checked(page: Page, change: dict[str, Any], message: str) -> None:
    data = page.catalogue.candidate_by_name("x4-wide").to_json()
    data["cells"][0]["layers"][0] = change
    with pytest.raises(gr.Error, match=message):
        page.prune.on_json({**held(page), page.prune.json: json.dumps(data)})


def test_pasted_json_of_another_scale_changes_the_scale(page: Page) -> None:
    candidate = page.catalogue.candidate_by_name("x2-wide")
    text = json.dumps(candidate.to_json())
    answer = page.prune.on_json({**held(page), page.prune.json: text})
    assert answer[page.target.family] == "x2"
    assert Candidate.from_json(shown_value(answer[page.prune.table])) == candidate


def _nothing(*_: object, **__: object) -> None: ...


no_progress: Any = _nothing  # in the place of `gr.Progress`
REQUEST: Any = SimpleNamespace(session_hash="s", query_params={})


def test_a_bad_link_gives_a_notice_and_the_start(
    page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr(gr, "Warning", said.append)
    request: Any = SimpleNamespace(query_params={"device": "toaster", "__theme": "dark"})
    answer = page.on_load(request)
    assert page.explore.plot not in answer
    assert "device=engine" in link_after(page, held(page), answer)
    (text,) = said
    assert "no device 'toaster'" in text
    assert "start page" in text


def test_opening_a_tab_is_part_of_the_link_but_not_while_the_page_opens(page: Page) -> None:
    opened = page.state.on_opening("prune", page.prune)(held(page), REQUEST)
    assert link_after(page, held(page), opened).endswith("&tab=prune")
    assert opened[page.state.parts.tab] == "prune"
    # Gradio tells that the first tab is open before the page has followed its address.
    at_first = page.state.on_opening("explore", page.explore)(held(page), REQUEST)
    assert at_first == gr.skip()
    unknown: dict[Any, Any] = {page.state.address: ""}
    assert page.state.on_link(held(page) | unknown) == gr.skip()


def test_a_link_restores_what_it_was_made_from(page: Page) -> None:
    values = held(
        page, device=app_root.PHONE, size="1920x1080", budget=12.5, axis="macs",
        picks=["x4c16_2w", "x4c16_w_s"], tab="compare", share=0.25,
    )  # fmt: skip
    link = link_after(page, values, {})
    request: Any = SimpleNamespace(query_params=dict(parse_qsl(link.removeprefix("?"))))
    answer = page.on_load(request)
    assert link_after(page, held(page), answer) == link
    assert shown_value(answer[page.compare.picks]) == ["x4c16_2w", "x4c16_w_s"]
    assert answer[page.state.parts.tab] == "compare"
    assert answer[page.explore.axis] == "macs"


def test_comparing_without_an_image_asks_for_one(page: Page) -> None:
    with pytest.raises(gr.Error, match="no image yet"):
        page.compare.on_compare(image_held(page, None, "test"), REQUEST, no_progress)


def test_a_comparison_gives_exact_pngs_and_facts(page: Page) -> None:
    image, texts = tiny.drawn(80, 48), ["x4c16_2w", "x4c16_2wb50b50b50"]
    values = image_held(page, image, "test", picks=texts)
    answer = page.compare.on_compare(values, REQUEST, no_progress)
    tiles = answer[page.compare.grid]["tiles"]
    assert [tile["key"] for tile in tiles] == ["truth", "bicubic", "m1", "m2"]
    for tile, text in zip(tiles[2:], texts, strict=True):
        facts = {label: (value, origin) for label, value, origin in tile["facts"]}
        upscaler = page.compare.upscalers.get(page.catalogue.candidate_by_name(text))
        assert upscaler.runtime.startswith("UpFront engine")
        assert facts["PSNR-Y"][1] == facts[f"This run, {upscaler.runtime}"][1] == "measured"
        assert facts["1280×720 frame on the device"][1] == "estimated"
        again = comparison.compare([upscaler], image, "test").outcomes[0].result
        with Image.open(unquote(tile["src"].removeprefix("gradio_api/file="))) as saved:
            assert (saved.format, saved.tobytes()) == ("PNG", again.tobytes())
    assert "no phone latency" in answer[page.compare.outcome]


def test_a_result_with_alpha_is_downloaded_whole(page: Page) -> None:
    image = tiny.drawn(20, 12).convert("RGBA")
    answer = page.compare.on_compare(image_held(page, image, "upscale"), REQUEST, no_progress)
    bicubic, network = answer[page.compare.grid]["tiles"]
    assert bicubic["key"] == "bicubic"
    with Image.open(unquote(network["href"].removeprefix("gradio_api/file="))) as saved:
        assert (saved.mode, saved.size) == ("RGBA", (80, 48))


def test_a_full_disk_is_one_sentence(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    def nearly_full(_: object) -> SimpleNamespace:
        return SimpleNamespace(free=1000)

    monkeypatch.setattr("sr_core.ui.compare.shutil.disk_usage", nearly_full)
    values = image_held(page, tiny.drawn(40, 40), "test")
    with pytest.raises(gr.Error, match="disk is nearly full"):
        page.compare.on_compare(values, REQUEST, no_progress)


def test_stop_reaches_the_running_job(page: Page) -> None:
    def stop(*_: object, **__: object) -> None:
        page.compare.on_stop(REQUEST)

    stop_at_once: Any = stop
    values = image_held(page, tiny.drawn(1200, 20), "upscale")  # wider than a tile
    with pytest.raises(gr.Error, match="Stopped after 1 of 2 tiles"):
        page.compare.on_compare(values, REQUEST, stop_at_once)


def test_measuring_makes_this_computer_the_device(
    page_root: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("UPFRONT_DATA", str(tmp_path))
    catalogue = Catalogue(page_root)
    here = {"basis": "measured here", "processor": processor()}
    measured = [
        made.model_copy(update=here | {"runtime_id": name, "runtime": runtime_version(library)})
        for made, name, library in (
            (on_engine("this-computer"), "sparse", catalogue.engine),
            (device("this-computer-onnx", sparse=False), "onnx", None),
        )
    ]

    def at_once(*_: object, **__: object) -> list[DeviceProfile]:
        return measured

    monkeypatch.setattr("sr_core.ui.target.measure_all", at_once)
    own = built(catalogue)
    answer = own.target.on_measure(no_progress)
    assert shown_value(answer[own.target.device]) == "this-computer"
    shown = own.state.on_view(held(own, device="this-computer"))
    assert "measured here" in shown[own.explore.card]
    assert {path.name for path in (tmp_path / "devices").iterdir()} == {
        "this-computer.json", "this-computer-onnx.json",
    }  # fmt: skip
    with pytest.raises(gr.Error, match="was measured 0 minutes ago"):
        own.target.on_measure(no_progress)
    fresh = own.on_load(REQUEST)
    assert own.target.device in fresh, "the page was built before the measurement"


def test_a_busy_computer_is_said_so_and_keeps_its_profile(
    page_root: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("UPFRONT_DATA", str(tmp_path))
    catalogue = Catalogue(page_root)
    kept = catalogue.keep_device(on_engine("this-computer"))
    os.utime(kept, (0, 0))  # long ago
    before = kept.read_bytes()

    def busy(*_: object, **__: object) -> NoReturn:
        raise MeasurementError("This computer is too busy to measure: others. Close them.")

    monkeypatch.setattr("sr_core.ui.target.measure_all", busy)
    with pytest.raises(gr.Error, match="too busy to measure"):
        built(catalogue).target.on_measure(no_progress)
    assert kept.read_bytes() == before


def test_input_in_a_message_is_no_markup(page: Page) -> None:
    with pytest.raises(gr.Error, match="&lt;img src=x&gt;"):
        page.state.on_view(held(page, device="<img src=x>"))


def test_the_table_gets_its_prices(page: Page) -> None:
    candidate = page.catalogue.candidate_by_name("x4-wide-block50")
    view = {"device": app_root.PHONE, "size": "1280x720", "threads": 2, "share": 0.5}
    answer = page.prune.price({"candidate": candidate.to_json(), "view": view})
    expected = estimate(page.catalogue.device(app_root.PHONE), candidate, sparsity_share=0.5)
    assert answer["error"] == ""
    assert sum(layer["ms"] for layer in answer["layers"].values()) == pytest.approx(
        expected.total_ms
    )
    assert f"{expected.total_ms:.1f} ms" in str(answer["totals"])


@pytest.mark.parametrize(
    "question",
    [{}, {"candidate": 1}, {"candidate": {"scale": 4, "width": 16, "cells": [{"block": "x"}]}}],
)
def test_bad_questions_of_the_table_get_a_sentence(page: Page, question: dict[str, Any]) -> None:
    for ask in (page.prune.price, page.prune.mask):
        assert "." in ask(question)["error"]


def test_a_mask_is_a_picture_of_the_kept_weights(page: Page) -> None:
    candidate = page.catalogue.candidate_by_name("x4-wide-block50")
    question = {"candidate": candidate.to_json(), "layer": "cells.0.wide.expand"}
    answer = page.prune.mask(question)
    assert answer["src"].startswith("data:image/png;base64,")
    assert "50 %" in answer["caption"]
    assert "no layer" in page.prune.mask(question | {"layer": "nose"})["error"]


@pytest.mark.parametrize("name", ["empty.png", "text.png", "drawing.svg", "cut.png", "tiny.png"])
def test_bad_uploads_are_refused_in_one_sentence(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    whole = tiny.save_drawn(tmp_path / "whole.png", 64, 64).read_bytes()
    tiny.save_drawn(tmp_path / "tiny.png", 1, 1)
    content = {"empty.png": b"", "text.png": b"hello", "drawing.svg": b"<svg/>"}
    if name != "tiny.png":
        path.write_bytes(content.get(name, whole[: len(whole) // 2]))
    payload: Any = SimpleNamespace(path=str(path))
    with pytest.raises(gr.Error) as caught:
        ImageInput(type="pil", image_mode=None).preprocess(payload)
    assert str(tmp_path) not in str(caught.value)
    assert ": " in str(caught.value)


def test_the_table_offers_what_a_candidate_takes() -> None:
    offered = vocabulary()["blocks"]
    assert "pattern" not in offered["wide"][0]["schemes"]
    assert "channel" not in offered["residual"][1]["schemes"]
    assert offered["skip"] == []


def test_samples_are_there() -> None:
    assert len(samples.paths()) >= 5


def test_a_damaged_catalogue_gives_a_page_not_a_crash(own_root: Path) -> None:
    (own_root / "supernets/x4.safetensors").write_bytes(b"damaged")
    blocks = build_page(Catalogue(own_root))
    texts = [str(getattr(block, "value", "")) for block in blocks.blocks.values()]
    assert any("UpFront cannot start" in text and "x4" in text for text in texts)


@pytest.mark.parametrize("use_engine", [True, False])
def test_without_the_engine_the_app_works_and_says_so(
    page_root: Path, tmp_path: Path, use_engine: bool
) -> None:
    root = shutil.copytree(page_root, tmp_path / "precomputed")
    shutil.rmtree(root / "engine")
    catalogue = Catalogue(root, use_engine=use_engine)
    why = "is missing: restore it" if use_engine else "switched off by --engine onnx"
    texts = [str(getattr(block, "value", "")) for block in build_page(catalogue).blocks.values()]
    (notice,) = (text for text in texts if "ONNX Runtime computes the images here" in text)
    assert why in notice
    made = built(catalogue)
    answer = made.state.on_view(held(made))
    assert why in answer[made.target.about]
    assert "computed by ONNX Runtime" in answer[made.target.about]
    assert "UpFront engine" not in answer[made.prune.schemes].partition("</thead>")[0]
    values = image_held(made, tiny.drawn(40, 40), "test")
    compared = made.compare.on_compare(values, REQUEST, no_progress)
    labels = [label for label, *_ in compared[made.compare.grid]["tiles"][-1]["facts"]]
    assert any(label.startswith("This run, ONNX Runtime") for label in labels)


def test_with_the_engine_nothing_is_amiss(catalogue: Catalogue) -> None:
    texts = [str(getattr(block, "value", "")) for block in build_page(catalogue).blocks.values()]
    assert not any("ONNX Runtime computes the images here" in text for text in texts)
    assert any("computed by UpFront engine" in text for text in texts)


def test_no_callback_depends_on_the_order_of_its_inputs(catalogue: Catalogue) -> None:
    fns = [fn for fn in build_page(catalogue).fns.values() if fn.api_visibility == "private"]
    several = [fn for fn in fns if len(fn.inputs) > 1]
    names = {fn.name for fn in several}
    assert names >= {"on_view", "on_json", "on_compare", "on_network", "on_start", "open_tab"}
    assert [fn.name for fn in several if not fn.inputs_as_dict] == []


def test_editing_does_not_wait_in_the_queue(catalogue: Catalogue) -> None:
    blocks = build_page(catalogue)
    waiting = {fn.name: fn.queue is not False for fn in blocks.fns.values()}
    assert waiting["on_compare"]
    for edit in ("on_preset", "on_table", "on_width", "on_apply", "on_view", "on_select"):
        assert not waiting[edit], edit
    start = next(index for index, fn in blocks.fns.items() if fn.name == "on_compare")
    assert [start] in [fn.cancels for fn in blocks.fns.values()], "Stop cancels waiting jobs"


_WITHOUT_TORCH = """
import sys
from pathlib import Path
from sr_core.catalogue.store import Catalogue
from sr_core.ui import comparison
from sr_core.ui.page import build_page
from tests import tiny

catalogue = Catalogue(Path(sys.argv[1]))
build_page(catalogue)
upscaler = comparison.Upscalers(catalogue).get(catalogue.find("x4-wide-pattern75"))
compared = comparison.compare([upscaler], tiny.drawn(64, 64), "test")
assert compared.outcomes[0].score.psnr_y_db > 0
assert "torch" not in sys.modules
"""


def test_the_app_builds_evaluates_and_upscales_without_torch(page_root: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _WITHOUT_TORCH, str(page_root)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
