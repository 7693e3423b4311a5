"""Second moments of LR patches on disk, which `network.refit` solves with.

supernets/moments.safetensors   a tensor per scale, `x2` and `x4`: (76, 76) float64, of RGB
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load

from sr_core.errors import CatalogueError
from sr_core.network.candidate import SCALES
from sr_core.network.colour import RGB
from sr_core.network.refit import TAPS, Moments

MOMENTS = "supernets/moments.safetensors"
_SIDE = RGB * TAPS + 1


def read_moments(path: Path) -> dict[int, Moments]:
    """Return the moments by scale. Raises `CatalogueError` if the file is damaged."""
    try:
        tensors = load(path.read_bytes())
    except (OSError, SafetensorError) as error:
        raise CatalogueError(f"{path.name} is damaged ({error}): restore the file.") from None
    moments: dict[int, Moments] = {}
    for name, tensor in tensors.items():
        scale = next((one for one in SCALES if f"x{one}" == name), None)
        right = tensor.shape == (_SIDE, _SIDE) and tensor.dtype == np.float64
        if scale is None or not right or not np.isfinite(tensor).all():
            raise CatalogueError(
                f"{path.name}: {name} is {tensor.dtype} {tensor.shape}; expected finite float64 "
                f"{(_SIDE, _SIDE)} of {', '.join(f'x{one}' for one in SCALES)}: restore the file."
            )
        moments[scale] = tensor
    return moments
