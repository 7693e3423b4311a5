"""Rivals with random weights, as a training run or `publish-rival` leaves them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sr_core.catalogue.store import Quality
from sr_core.catalogue.writer import LICENCE, install_rival
from sr_core.quality.metrics import PROTOCOL
from sr_core.rivals.arch import ARCHITECTURES, Architecture, layout
from sr_core.rivals.weights import assemble, file_name, read_rival, write_rival


def described(
    arch: Architecture, psnr_db: float = 27.5, crops_sha256: str = "1" * 64
) -> dict[str, Any]:
    """What `train --arch` says of its weights."""
    return {
        "training": [{"command": "drawn at random", "from_step": 0, "to_step": 7}],
        "data_sha256": "0" * 64,
        "validation_crops_sha256": crops_sha256,
        "validation_psnr_y_db": {arch.name: psnr_db},
    }


def random_tensors(
    arch: Architecture, scale: int, seed: int = 0, *, published: bool = False
) -> dict[str, NDArray[np.float32]]:
    """Draw weights that keep values near 0..1, and mean nothing."""
    rng = np.random.default_rng(seed)
    tensors: dict[str, NDArray[np.float32]] = {}
    for conv in layout(arch, scale, published=published).convs:
        shape = (conv.out_channels, conv.in_channels, conv.kernel, conv.kernel)
        spread = np.sqrt(2 / np.prod(shape[1:]))
        tensors[f"{conv.name}.weight"] = rng.normal(0, spread, shape).astype(np.float32)
        tensors[f"{conv.name}.bias"] = rng.normal(0, 0.05, shape[:1]).astype(np.float32)
        if conv.prelu:
            tensors[f"{conv.name}.slope"] = rng.uniform(-0.3, 0.9, shape[:1]).astype(np.float32)
    tensors["tail.weight"] *= assemble(arch, scale, tensors, published=published).tail.mask
    return tensors


def install(root: Path, name: str, scale: int, psnr_db: float, folder: Path, crops: str) -> None:
    """Put a published rival into `root`; the caller re-seals the manifest."""
    arch = ARCHITECTURES[name]
    path = folder / file_name(arch, scale)
    write_rival(path, arch, scale, random_tensors(arch, scale), described(arch, psnr_db, crops))
    rival = read_rival(path)
    quality = [
        Quality(
            model_id=rival.id, image_set="Set5", image_set_sha256="0" * 64, protocol=PROTOCOL,
            n=5, psnr_y=30.5, ssim_y=0.86,
        )
    ]  # fmt: skip
    measured = {"quality": quality, "licence": LICENCE}
    install_rival(root, path, rival.descriptor.model_copy(update=measured))
