"""The page's callbacks, the server around them, and that nothing of it needs torch."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import urllib.request
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest
from PIL import Image

from sr_core.candidate import Candidate
from sr_core.store import Catalogue
from sr_core.ui import facts, jobs, samples
from sr_core.ui.components.image_input import ImageInput
from sr_core.ui.components.layer_table import vocabulary
from sr_core.ui.page import EDITED, Page, build_page
from sr_core.ui.server import launch, serve
from tests import tiny

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def page(tiny_root: Path) -> Page:
    catalogue = Catalogue(tiny_root)
    return Page(catalogue, catalogue.find("x4-wide"))


def test_choosing_a_preset_fills_the_table(page: Page) -> None:
    table, width, preset, shown, text = page.on_preset("x4-wide-block50", None)
    assert Candidate.from_json(table) == Candidate.loads(text)
    assert (width, preset) == (16, "x4-wide-block50")
    model = next(m for m in page.catalogue.models(4) if m.name == preset)
    (psnr_db,) = (q.psnr_y for q in model.quality if q.image_set == "Set5")
    assert f"<strong>{psnr_db:.2f} dB</strong>" in shown


def test_editing_the_table_makes_it_an_edited_network(page: Page) -> None:
    table = page.first.to_json()
    table["cells"][0]["layers"][0] = {"scheme": "block", "ratio": 0.33}
    _, preset, shown, text = page.on_table(table)
    assert preset == EDITED
    assert "not measured" in shown
    assert Candidate.loads(text).cells[0].layers[0].ratio == 0.33


def test_applying_a_scheme_to_all_layers_reaches_the_preset(page: Page) -> None:
    _, _, preset, *_ = page.on_apply(page.first.to_json(), "block", 50)
    assert preset == "x4-wide-block50"


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"scale": 4, "width": 16, "cells": [{"block": "widest"}]}, "widest"),
        ({"scale": 4, "width": 16, "cells": []}, "0 cells"),
        ("<script>", "JSON object"),
        (None, "JSON object"),
        ({"scale": 4, "width": 16, "cells": [{"block": "skip"}] * 3}, "this supernet is x4"),
        ({"scale": 4, "width": 32, "cells": [{"block": "skip"}] * 2}, "width up to 16"),
    ],
)
def test_whatever_the_browser_sends_gets_a_sentence(page: Page, table: Any, message: str) -> None:
    with pytest.raises(gr.Error, match=message):
        page.on_table(table)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ratio": 1.0, "scheme": "block"}, "outside 0 to 0.95"),
        ({"ratio": 0.8, "scheme": "pattern"}, "does not fit layer wide.expand"),
        ({"ratio": 0.8, "scheme": "wavelet"}, "Unknown scheme"),
    ],
)
def test_pasted_json_is_checked(page: Page, change: dict[str, Any], message: str) -> None:
    data = page.first.to_json()
    data["cells"][0]["layers"][0] = change
    with pytest.raises(gr.Error, match=message):
        page.on_json(json.dumps(data))


def test_pasted_json_must_fit_the_supernet(page: Page) -> None:
    data = page.first.to_json()
    data["cells"].append({"block": "skip"})
    with pytest.raises(gr.Error, match="this supernet is x4 with 2 cells"):
        page.on_json(json.dumps(data))


def _nothing(*_: object, **__: object) -> None: ...


no_progress: Any = _nothing  # in the place of `gr.Progress`


def test_upscaling_without_an_image_asks_for_one(page: Page) -> None:
    request: Any = SimpleNamespace(session_hash="s")
    with pytest.raises(gr.Error, match="no image yet"):
        next(page.on_start(None, "upscale", page.first.to_json(), request))


def test_a_run_gives_views_facts_and_the_exact_png(page: Page) -> None:
    request: Any = SimpleNamespace(session_hash="s")
    image = tiny.drawn(80, 48)
    run = page.on_start(image, "test", page.first.to_json(), request, no_progress)
    slider, shown, download = next(run)
    assert [view.size for view in slider["value"]] == [(80, 48)] * 2
    assert "PSNR-Y" in shown
    assert "measured just now" in shown
    upscaler = jobs.Upscalers(page.catalogue).get(page.first)
    again = jobs.run(upscaler, image, "test").result
    path = Path(download["value"])
    with Image.open(path) as saved:
        assert saved.tobytes() == again.tobytes()
    run.close()
    assert not path.parent.exists()
    assert page.stops == {}


def test_a_full_disk_is_one_sentence(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("sr_core.files.os.fsync", full)
    request: Any = SimpleNamespace(session_hash="s")
    with pytest.raises(gr.Error, match="No space left"):
        next(
            page.on_start(tiny.drawn(20, 20), "upscale", page.first.to_json(), request, no_progress)
        )


def test_stop_reaches_the_running_job(page: Page) -> None:
    request: Any = SimpleNamespace(session_hash="mine")

    def stop(*_: object, **__: object) -> None:
        page.on_stop(request)

    stop_at_once: Any = stop

    wide = tiny.drawn(600, 20)
    with pytest.raises(gr.Error, match="Stopped after 1 of 3 tiles"):
        next(page.on_start(wide, "upscale", page.first.to_json(), request, stop_at_once))


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


def test_facts_escape_what_they_show(page: Page) -> None:
    upscaler = jobs.Upscalers(page.catalogue).get(page.first)
    outcome = jobs.run(upscaler, tiny.drawn(48, 48), "test")
    shown = facts.outcome_facts(replace(outcome, note="<script>"), None)
    assert "&lt;script&gt;" in shown
    assert "<script" not in shown


@pytest.mark.parametrize("psnr_db", [30.0, float("inf")])
def test_equal_images_have_no_gain_to_show(page: Page, psnr_db: float) -> None:
    """A flat image: bicubic interpolation gives it back exactly."""
    upscaler = jobs.Upscalers(page.catalogue).get(page.first)
    outcome = jobs.run(upscaler, Image.new("RGB", (64, 64), (90, 90, 90)), "test")
    shown = facts.outcome_facts(replace(outcome, score=jobs.Score(psnr_db, 1.0)), None)
    assert "identical" in shown
    assert "against bicubic" not in shown
    assert "inf" not in shown
    assert "nan" not in shown


def test_samples_are_there() -> None:
    assert len(samples.paths()) >= 5


def test_a_damaged_catalogue_gives_a_page_not_a_crash(own_root: Path) -> None:
    (own_root / "supernets/x4.safetensors").write_bytes(b"damaged")
    blocks = build_page(Catalogue(own_root))
    texts = [str(getattr(block, "value", "")) for block in blocks.blocks.values()]
    assert any("The models cannot be loaded" in text and "x4" in text for text in texts)


def test_health_check_and_busy_port(tiny_root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    blocks = build_page(Catalogue(tiny_root))
    url = launch(blocks, host="127.0.0.1", port=None)
    try:
        with urllib.request.urlopen(f"{url.rstrip('/')}/healthz") as answer:
            assert json.load(answer) == {"status": "ok"}
    finally:
        blocks.close()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert serve(["--port", str(port)]) == 1
    assert f"cannot listen on 127.0.0.1, port {port}" in capsys.readouterr().err
    assert serve(["--host", "no-such-host.invalid"]) == 1
    assert "cannot listen on no-such-host.invalid" in capsys.readouterr().err


@pytest.mark.parametrize("port", ["0", "99999", "-1", "abc"])
def test_a_bad_port_is_one_sentence(
    port: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GRADIO_SERVER_PORT", port)
    with pytest.raises(SystemExit):
        serve([])
    assert "is no port: expected 1 to 65535" in capsys.readouterr().err


def test_editing_does_not_wait_in_the_queue(tiny_root: Path) -> None:
    blocks = build_page(Catalogue(tiny_root))
    waiting = {fn.name: fn.queue is not False for fn in blocks.fns.values()}
    assert waiting["on_start"]
    for edit in ("on_preset", "on_table", "on_width", "on_apply"):
        assert not waiting[edit], edit
    start = next(index for index, fn in blocks.fns.items() if fn.name == "on_start")
    assert [start] in [fn.cancels for fn in blocks.fns.values()], "Stop cancels waiting jobs"


_WITHOUT_TORCH = """
import sys
from pathlib import Path
from sr_core.store import Catalogue
from sr_core.ui import jobs
from sr_core.ui.page import build_page
from tests import tiny

catalogue = Catalogue(Path(sys.argv[1]))
build_page(catalogue)
upscaler = jobs.Upscalers(catalogue).get(catalogue.find("x4-wide-pattern75"))
assert jobs.run(upscaler, tiny.drawn(64, 64), "test").score.psnr_y_db > 0
assert "torch" not in sys.modules
"""


def test_the_app_builds_evaluates_and_upscales_without_torch(tiny_root: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _WITHOUT_TORCH, str(tiny_root)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
