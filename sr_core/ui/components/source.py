"""The .js and .css files beside the components."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

_HERE = Path(__file__).parent


def css(name: str) -> str:
    """Read the style sheet of a component."""
    return (_HERE / f"{name}.css").read_text(encoding="utf-8")


def js(name: str, **constants: Any) -> str:
    """Return the script of a component, with `constants` (any JSON) defined before it.

    They are no properties: an update that arrives before a component is on the page (it may be in
    a tab that was never opened) replaces all of those.
    """
    definitions = "".join(
        f"const {key} = {json.dumps(value)};\n" for key, value in constants.items()
    )
    return definitions + (_HERE / f"{name}.js").read_text(encoding="utf-8")
