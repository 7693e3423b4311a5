"""UpFront: search, prune and run real-time super-resolution networks.

The public names load what they need on first use, so that `import sr_core` stays light.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sr_core.catalogue.store import Catalogue
    from sr_core.errors import UpFrontError
    from sr_core.network.candidate import Candidate
    from sr_core.runtime.upscale import Upscaler

__all__ = ["Candidate", "Catalogue", "UpFrontError", "Upscaler"]
_HOMES = {
    "Candidate": "network.candidate",
    "Catalogue": "catalogue.store",
    "UpFrontError": "errors",
    "Upscaler": "runtime.upscale",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
