"""Serve the page: its look, what Gradio is allowed to do, and the health check.

The server is our own, around Gradio's app: Gradio's launcher opens its port before everything
answers, cannot listen on IPv6 alone, and needs its own address to be reachable through a proxy.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path

import gradio as gr
import uvicorn
from fastapi import FastAPI
from gradio.routes import App
from gradio.themes import Base, Soft
from starlette.routing import Mount

from sr_core.ui.sockets import address, listen

_STYLE = Path(__file__).parent / "style.css"
_LAST_ANSWERS_S = 3
"""For what is being answered as the server ends."""


class Server(uvicorn.Server):
    """Serves one page, in the thread that calls `run` or in the background."""

    def __init__(self, app: FastAPI, page: gr.Blocks) -> None:
        super().__init__(
            uvicorn.Config(
                app, log_level="warning", timeout_graceful_shutdown=_LAST_ANSWERS_S, ws="none"
            )
        )
        self._page = page
        self._thread: threading.Thread | None = None

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        """Leave the signals to who started the server."""
        yield

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End the streams of open pages, which last as long as they are open, and all else."""
        self._page.close(verbose=False)
        await super().shutdown(sockets)

    def start(self, sockets: list[socket.socket]) -> None:
        """Serve in the background."""
        self._thread = threading.Thread(target=self.run, args=[sockets], daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End, and wait for it. `gr.Blocks.close` calls this."""
        self.should_exit = True
        if self._thread and self._thread is not threading.current_thread():
            self._thread.join()


def launch(
    page: gr.Blocks,
    *,
    host: str,
    port: int | None,
    health: Mapping[str, str] | None = None,
) -> str:
    """Serve in the background, until `page.close()`. Returns the local address.

    Raises `OSError` if the port is taken or the host unknown. `port=None` takes a free one.
    `health` is what `/healthz` tells besides that all is well.
    """
    sockets = listen(host, port or 0)
    make_server(page, health).start(sockets)
    return f"{address(host, sockets[0].getsockname()[1])}/"


def make_server(page: gr.Blocks, health: Mapping[str, str] | None = None) -> Server:
    """Return a server of the page and of `/healthz`."""
    app = FastAPI(openapi_url=None)

    def healthz() -> dict[str, str]:
        return {"status": "ok", **(health or {})}

    app.add_api_route("/healthz", healthz)
    gr.mount_gradio_app(
        app,
        page,
        path="/",
        # Both together have let strangers use the host's token (CVE-2026-134825, Gradio 6.27 to
        # before 6.32): off whatever the environment says, and the page needs neither.
        ssr_mode=False,
        run_history=False,
        mcp_server=False,
        show_error=True,
        footer_links=["settings"],
        max_file_size="40mb",
        theme=_theme(),
        css_paths=_STYLE,
    )
    server = Server(app, page)
    (mounted,) = (route.app for route in app.routes if isinstance(route, Mount))
    assert isinstance(mounted, App)
    page.app = mounted  # `page.close()` ends its streams, and closes the server
    page.server = server  # pyright: ignore[reportAttributeAccessIssue]
    return server


def _theme() -> Base:
    # System fonts need no download; the 600 shade gives white text enough contrast.
    theme = Soft(
        primary_hue="blue", secondary_hue="blue", font=["system-ui", "sans-serif"],
        font_mono=["ui-monospace", "monospace"],
    )  # fmt: skip
    return theme.set(
        button_primary_background_fill="*primary_600",
        button_primary_background_fill_hover="*primary_700",
        button_primary_background_fill_dark="*primary_600",
        button_primary_background_fill_hover_dark="*primary_700",
        block_title_text_color="*primary_800",
        block_label_text_color="*primary_800",
        checkbox_label_background_fill_selected="*primary_600",
        checkbox_label_background_fill_selected_dark="*primary_600",
    )
