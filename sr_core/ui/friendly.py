"""Expected errors as messages on the page."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

import gradio as gr

from sr_core.errors import UpFrontError


@contextmanager
def friendly() -> Generator[None, None, None]:
    """Show the sentence of an `UpFrontError` to the visitor; other errors are bugs."""
    try:
        yield
    except UpFrontError as error:
        raise gr.Error(str(error), print_exception=False) from None
