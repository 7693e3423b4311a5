"""The documented endpoints, through the client that scripts use."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image

from sr_core.catalogue.store import Catalogue
from sr_core.runtime.upscale import Upscaler
from sr_core.ui.page import build_page
from sr_core.ui.server import launch
from tests import app_root, tiny
from tests.runtime.files import ORIENTATION, block, chunk, with_chunks
from tests.ui.findings.made_up import GOOD, OUTSIDE


@pytest.fixture(scope="module")
def client(findings_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    page = build_page(Catalogue(findings_root))
    url = launch(page, host="127.0.0.1", port=None)
    yield Client(url, verbose=False, download_files=tmp_path_factory.mktemp("downloads"))
    page.close()


def test_four_endpoints_and_nothing_else(client: Client) -> None:
    described = client.view_api(return_format="dict")
    assert isinstance(described, dict)
    assert set(described["named_endpoints"]) == {"/models", "/front", "/estimate", "/upscale"}
    assert not described["unnamed_endpoints"]


@pytest.fixture
def catalogue(findings_root: Path) -> Catalogue:
    return Catalogue(findings_root)


def test_models(client: Client, catalogue: Catalogue) -> None:
    rows = client.predict(api_name="/models")
    named = [one.name for one in (*catalogue.models(), *catalogue.finals())]
    assert [row["name"] for row in rows] == named
    assert [row["name"] for row in rows if row["kind"] == "final"] == [GOOD, OUTSIDE]
    assert all(
        catalogue.candidate_by_name(row["network"]) == catalogue.candidate_by_name(row["name"])
        for row in rows
    )


def test_front(client: Client) -> None:
    rows = client.predict(scale=4, device=app_root.PHONE, api_name="/front")
    assert rows
    ordered = sorted(rows, key=lambda row: row["latency_ms"])
    psnr_db = [row["psnr_y_db"] for row in ordered]
    assert psnr_db == sorted(psnr_db), "more time, more quality: that is a front"
    for row in rows:
        assert row["low_ms"] < row["latency_ms"] < row["high_ms"]
        assert row["device"] == app_root.PHONE


def test_estimate(client: Client) -> None:
    answer = client.predict("x4-wide-block50", device=app_root.PHONE, api_name="/estimate")
    assert sum(layer["ms"] for layer in answer["per_layer"]) == pytest.approx(answer["total_ms"])
    assert answer["basis"] == "assumed"
    assert answer["params_kept"] < answer["params_dense"]


@pytest.mark.parametrize("name", ["x4-wide", GOOD])
def test_upscale_gives_the_exact_picture(
    client: Client, catalogue: Catalogue, tmp_path: Path, name: str
) -> None:
    photo = tiny.save_drawn(tmp_path / "photo.png", 24, 16)
    answer = client.predict(handle_file(photo), name, api_name="/upscale")
    upscaler = Upscaler(catalogue.network_of(name), catalogue.engine)
    with Image.open(photo) as image:
        expected = upscaler.upscale(image)
    with Image.open(answer) as got:
        assert (got.format, got.size) == ("PNG", (96, 64))
        assert got.convert("RGB").tobytes() == expected.tobytes()


def test_upscale_reads_and_keeps_what_the_command_line_does(client: Client, tmp_path: Path) -> None:
    """More than 1 MB of text, which Pillow refuses; an odd tag beside an orientation; a gamma."""
    text = chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(3_000_000)))
    exif = chunk(b"eXIf", block({ORIENTATION: (3, [6]), 271: (10, [0, -1]), 272: (2, b"model\0")}))
    gamma = chunk(b"gAMA", struct.pack(">I", 100_000))
    photo = tmp_path / "photo.png"
    photo.write_bytes(with_chunks(tiny.drawn(24, 16), gamma, text, exif))
    answer = client.predict(handle_file(photo), "x4-wide", api_name="/upscale")
    with Image.open(answer) as got:
        assert got.size == (64, 96)
        assert got.info["gamma"] == 1
        assert got.getexif()[272].rstrip("\0") == "model"


@pytest.mark.parametrize(
    ("endpoint", "arguments", "message"),
    [
        ("/front", {"scale": 3}, "no scale 3"),
        ("/front", {"device": "toaster"}, "no device 'toaster'"),
        ("/front", {"size": "1x1"}, "no size"),
        ("/estimate", {"network": "nobody"}, "There is no model 'nobody'"),
        ("/estimate", {"network": "/etc/hostname.json"}, "There is no model"),
        ("/estimate", {"network": "x4c16_2q"}, "not understood"),
        ("/upscale", {"image": None, "network": "x4-wide"}, "no image"),
    ],
)
def test_bad_requests_get_a_sentence(
    client: Client, endpoint: str, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(AppError, match=message):
        client.predict(**arguments, api_name=endpoint)
