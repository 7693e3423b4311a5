"""What is served, and what Gradio may do."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest

from sr_core.catalogue.store import Catalogue
from sr_core.ui.page import build_page
from sr_core.ui.server import launch


def ask(url: str) -> bytes:
    with urllib.request.urlopen(url) as answer:
        return answer.read()


@pytest.fixture
def url(catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A server in an environment that asks Gradio for all that it must not do."""
    for name in ("SSR_MODE", "RUN_HISTORY", "MCP_SERVER", "SHARE"):
        monkeypatch.setenv(f"GRADIO_{name}", "True")
    page = build_page(catalogue)
    yield launch(page, host="127.0.0.1", port=None, health={"runtime": "one"})
    page.close(verbose=False)
    assert not page.ssr_mode
    assert not page.share


def test_the_health_check_answers_as_soon_as_the_port_does(url: str) -> None:
    assert json.loads(ask(f"{url}healthz")) == {"status": "ok", "runtime": "one"}


def test_neither_server_side_rendering_nor_run_history_whatever_the_environment_says(
    url: str,
) -> None:
    """Both together have let strangers use the host's token."""
    config = json.loads(ask(f"{url}config"))
    assert config["run_history"] is False
    assert config["mcp_server"] is False
    assert config["footer_links"] == ["settings"]
    with pytest.raises(urllib.error.HTTPError, match="404"):
        ask(f"{url}gradio_api/runs")
    # Server-side rendering would have put the components into the page that is sent.
    assert b"Every number says" not in ask(url).partition(b"<body")[2].partition(b"<script")[0]


def test_a_closed_page_serves_no_more(catalogue: Catalogue) -> None:
    page = build_page(catalogue)
    url = launch(page, host="127.0.0.1", port=None)
    ask(url)
    with urllib.request.urlopen(f"{url}gradio_api/heartbeat/one") as stream:
        assert stream.readline() == b"data: ALIVE\n"  # a page is open
        page.close(verbose=False)
    with pytest.raises(urllib.error.URLError):
        ask(url)
