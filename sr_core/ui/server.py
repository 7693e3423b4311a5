"""Start the page: host, port, look, health check."""

from __future__ import annotations

import argparse
import os
import socket
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import gradio as gr
from fastapi import FastAPI
from gradio.themes import Base, Soft

from sr_core.catalogue.store import Catalogue
from sr_core.runtime.choice import add_engine_option, engine_or_none, runtime_name
from sr_core.ui.page import build_page

DEFAULT_PORT = 7860
_STYLE = Path(__file__).parent / "style.css"


def serve(argv: Sequence[str] | None = None) -> int:
    """Parse the command line and serve until interrupted. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python app.py", description="Start UpFront's web page.")
    parser.add_argument(
        "--host", default=os.environ.get("GRADIO_SERVER_NAME", "127.0.0.1"),
        help="address to listen on (default: GRADIO_SERVER_NAME, else 127.0.0.1)",
    )  # fmt: skip
    parser.add_argument(
        "--port", type=_port, default=os.environ.get("GRADIO_SERVER_PORT", str(DEFAULT_PORT)),
        help=f"port (default: GRADIO_SERVER_PORT, else {DEFAULT_PORT})",
    )  # fmt: skip
    add_engine_option(parser)
    args = parser.parse_args(argv)
    catalogue = Catalogue(use_engine=args.engine == "sparse")
    library = engine_or_none(args.engine, catalogue.engine, catalogue.engine_problem)
    health = {"runtime": runtime_name(library), "engine_problem": catalogue.engine_problem}
    page = build_page(catalogue)
    try:
        launch(page, host=args.host, port=args.port, quiet=False, health=health)
    except OSError as error:
        sys.stderr.write(
            f"error: cannot listen on {args.host}, port {args.port} ({error.strerror or error}): "
            "choose others with --host and --port.\n"
        )
        return 1
    page.block_thread()
    return 0


def _port(text: str) -> int:
    """Read a port for argparse, also the default, which may come from the environment."""
    if not text.isdecimal() or not 1 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is no port: expected 1 to 65535")
    return int(text)


def launch(
    page: gr.Blocks,
    *,
    host: str,
    port: int | None,
    quiet: bool = True,
    health: Mapping[str, str] | None = None,
) -> str:
    """Start serving in the background, `/healthz` included. Returns the local address.

    Raises `OSError` if the port is taken or the host unknown. `port=None` takes a free one.
    `health` is what `/healthz` tells besides that all is well.
    """
    if port is not None:
        # Gradio blames the port whatever is wrong; the system says what it is.
        with socket.create_server((host, port)):
            pass
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
    _add_health_check(app, {"status": "ok", **(health or {})})
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


def _add_health_check(app: FastAPI, health: dict[str, str]) -> None:
    def healthz() -> dict[str, str]:
        return health

    app.add_api_route("/healthz", healthz)
