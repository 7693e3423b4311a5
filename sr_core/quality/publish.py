"""Put a trained supernet into precomputed/ and measure every listed model on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from sr_core.errors import DatasetError
from sr_core.quality.benchmark import Upscale, bicubic_upscale, network_upscale, score
from sr_core.quality.datasets import benchmark_pairs, folder_checksum, list_images
from sr_core.quality.metrics import PROTOCOL
from sr_core.runtime.upscale import Upscaler
from sr_core.store import (
    Catalogue,
    Quality,
    bicubic_id,
    install_supernet,
    write_manifest,
    write_quality,
)
from sr_core.supernet.weights import read_spec

BENCHMARKS = ("Set5", "Set14", "BSD100")
VALIDATION = "Val"


def publish(
    root: Path,
    weights: Path,
    benchmark: Path,
    val: Path | None,
    *,
    report: Callable[[str], None],
) -> None:
    """Install `weights` in `root`, then measure bicubic and every preset, then seal the manifest.

    Args:
        root: the precomputed folder.
        weights: a trained supernet.safetensors with its descriptor.
        benchmark: holds Set5, Set14 and BSD100, each with HR/ and LRx<scale>/.
        val: validation images, scored as set "Val" with LR images made from them.
        report: gets a line per model.
    """
    scale = read_spec(weights).scale
    sets: dict[str, tuple[Path, Path | None]] = {
        name: _set_folders(benchmark / name, scale) for name in BENCHMARKS
    }
    if val:
        sets[VALIDATION] = (val, None)
    install_supernet(root, weights)
    write_manifest(root)
    catalogue = Catalogue(root)
    rows = [q for q in catalogue.quality if _scale_of(catalogue, q.model_id) not in (scale, None)]

    def measure(name: str, identity: str, upscale: Upscale) -> None:
        scored = list(_measure(identity, sets, upscale, scale))
        rows.extend(scored)
        values = "  ".join(f"{q.image_set} {q.psnr_y:.2f} dB {q.ssim_y:.4f}" for q in scored)
        report(f"{name:24} {values}")

    measure("bicubic", bicubic_id(scale), bicubic_upscale(scale))
    for model in catalogue.models(scale):
        upscaler = Upscaler(catalogue.network(model.candidate))
        measure(model.name, model.id, network_upscale(upscaler.upscale))
    write_quality(root, rows)
    write_manifest(root)


def _measure(
    identity: str, sets: dict[str, tuple[Path, Path | None]], upscale: Upscale, scale: int
) -> Iterator[Quality]:
    for name, (hr, lr) in sets.items():
        result = score(benchmark_pairs(hr, lr, scale), upscale, scale=scale)
        checksum = folder_checksum(hr, list_images(hr))
        yield Quality(identity, name, checksum, PROTOCOL, result.n, result.psnr_y, result.ssim_y)


def _set_folders(folder: Path, scale: int) -> tuple[Path, Path]:
    hr, lr = folder / "HR", folder / f"LRx{scale}"
    for path in (hr, lr):
        if not path.is_dir():
            raise DatasetError(f"{path} is missing: expected {folder.name}/HR and /LRx{scale}.")
    return hr, lr


def _scale_of(catalogue: Catalogue, identity: str) -> int | None:
    """Scale of a listed model or of bicubic; None if the id is of no shipped weights."""
    for scale in catalogue.scales:
        if identity == bicubic_id(scale) or identity in {m.id for m in catalogue.models(scale)}:
            return scale
    return None
