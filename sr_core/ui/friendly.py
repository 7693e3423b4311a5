"""Expected errors as messages on the page."""

from __future__ import annotations

import html
from collections.abc import Generator
from contextlib import contextmanager

import gradio as gr

from sr_core.errors import UpFrontError


@contextmanager
def friendly() -> Generator[None, None, None]:
    """Show the sentence of an `UpFrontError` to the visitor. Other errors are bugs."""
    try:
        yield
    except UpFrontError as error:
        raise gr.Error(plain(error), print_exception=False) from None


def plain(error: UpFrontError) -> str:
    """Escape the sentence: Gradio shows messages as HTML, and they may repeat bad input."""
    return html.escape(str(error), quote=False)
