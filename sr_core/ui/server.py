"""Start the page: host, port, look, health check."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import gradio as gr
from fastapi import FastAPI
from gradio.themes import Base, Soft

from sr_core.store import Catalogue
from sr_core.ui.page import build_page

DEFAULT_PORT = 7860
_STYLE = Path(__file__).parent / "style.css"


def serve(argv: Sequence[str] | None = None) -> int:
    """Parse the command line and serve until interrupted; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python app.py", description="Start UpFront's web page.")
    parser.add_argument(
        "--host", default=os.environ.get("GRADIO_SERVER_NAME", "127.0.0.1"),
        help="address to listen on (default: GRADIO_SERVER_NAME, else 127.0.0.1)",
    )  # fmt: skip
    parser.add_argument(
        "--port", type=int, default=int(os.environ.get("GRADIO_SERVER_PORT", DEFAULT_PORT)),
        help=f"port (default: GRADIO_SERVER_PORT, else {DEFAULT_PORT})",
    )  # fmt: skip
    args = parser.parse_args(argv)
    page = build_page(Catalogue())
    try:
        launch(page, host=args.host, port=args.port, quiet=False)
    except OSError:
        sys.stderr.write(
            f"error: port {args.port} on {args.host} is taken or not allowed: choose another "
            "with --port.\n"
        )
        return 1
    page.block_thread()
    return 0


def launch(page: gr.Blocks, *, host: str, port: int | None, quiet: bool = True) -> str:
    """Start serving in the background, `/healthz` included; returns the local address.

    Raises `OSError` if the port is taken. `port=None` takes a free one.
    """
    app, url, _ = page.launch(
        server_name=host,
        server_port=port,
        prevent_thread_lock=True,
        quiet=quiet,
        show_error=True,
        ssr_mode=False,
        run_history=False,
        footer_links=["settings"],
        max_file_size="40mb",
        theme=_theme(),
        css_paths=_STYLE,
    )
    _add_health_check(app)
    return url


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


def _add_health_check(app: FastAPI) -> None:
    def healthz() -> dict[str, str]:
        return {"status": "ok"}

    app.add_api_route("/healthz", healthz)
