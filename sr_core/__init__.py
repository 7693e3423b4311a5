"""UpFront: search, prune and run real-time super-resolution networks.

The public names load what they need on first use, so that `import sr_core` stays light.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

from sr_core.machine import cores

if TYPE_CHECKING:
    from sr_core.catalogue.store import Catalogue
    from sr_core.errors import UpFrontError
    from sr_core.network.candidate import Candidate
    from sr_core.runtime.read import open_image
    from sr_core.runtime.upscale import Upscaler
    from sr_core.runtime.write import save_image

__all__ = ["Candidate", "Catalogue", "UpFrontError", "Upscaler", "open_image", "save_image"]
_HOMES = {
    "Candidate": "network.candidate",
    "Catalogue": "catalogue.store",
    "UpFrontError": "errors",
    "Upscaler": "runtime.upscale",
    "open_image": "runtime.read",
    "save_image": "runtime.write",
}

_OPT_OUTS = {
    "ORT_DISABLE_TELEMETRY": "1",
    "GRADIO_ANALYTICS_ENABLED": "False",
    "HF_HUB_DISABLE_TELEMETRY": "1",
}
"""ONNX Runtime, Gradio and its client would report their use over the network, and ONNX Runtime
keeps a device id in the home folder. They ask these variables when they are first imported, and
this module runs before all others; child processes inherit them."""
for _name, _value in _OPT_OUTS.items():
    os.environ.setdefault(_name, _value)
if "OMP_NUM_THREADS" not in os.environ:  # which OpenBLAS would obey, too, if its own is not set
    # NumPy's OpenBLAS honours affinity by itself, but no container's quota.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", str(cores()))


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
