"""Put a trained rival into precomputed/rivals/, measured as our own models are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from sr_core.catalogue.publish import benchmark_sets, score_sets
from sr_core.catalogue.store import Catalogue
from sr_core.catalogue.writer import LICENCE, changing, check_writable, install_rival
from sr_core.engine.library import Library
from sr_core.engine.session import Session
from sr_core.errors import CatalogueError
from sr_core.machine import cores
from sr_core.network.onnx_graph import INPUT, build
from sr_core.network.plain import PlainNetwork
from sr_core.quality.benchmark import Upscale, score_crops
from sr_core.quality.datasets import validation_crops
from sr_core.quality.metrics import Image8
from sr_core.rivals.weights import read_rival
from sr_core.runtime.image import network_input, quantise

Run = Callable[[NDArray[np.float32]], NDArray[np.float32]]


def publish_rival(
    root: Path, folder: Path, benchmark: Path, val: Path, *, report: Callable[[str], None]
) -> None:
    """Measure the rival of a run folder, then install it in `root` and seal the manifest.

    Args:
        root: the precomputed folder.
        folder: where `train --arch` wrote `NAME-xS.safetensors` and its descriptor.
        benchmark: holds Set5, Set14 and BSD100, each with HR/ and LRx<scale>/.
        val: validation images. The crops made of them compare rivals with the stored front.
        report: gets a line with the results.
    """
    weights = _weights(folder)
    rival = read_rival(weights)
    check_writable(root, f"rivals/{weights.name}")
    scale, crops = rival.network.scale, validation_crops(val, rival.network.scale)
    run = runner(rival.network, Catalogue(root).engine)
    psnr_db = score_crops(run, crops, scale=scale)
    quality = list(score_sets(rival.id, benchmark_sets(benchmark, scale), _upscale(run), scale))
    changes = {
        "validation_crops_sha256": crops.checksum,
        "validation_psnr_y_db": {rival.arch.name: psnr_db},
        "quality": quality,
        "licence": LICENCE,
    }
    with changing(root):
        install_rival(root, weights, rival.descriptor.model_copy(update=changes))
    values = "  ".join(f"{q.image_set} {q.psnr_y:.2f} dB {q.ssim_y:.4f}" for q in quality)
    report(f"{rival.id}: validation {psnr_db:.3f} dB  {values}")


def runner(network: PlainNetwork, library: Library | None) -> Run:
    """Return the network as a function: (N, 3, H, W) -> (N, 3, s H, s W), all in 0..1.

    It runs on the engine, or without one on ONNX Runtime.
    """
    if library:
        return Session(network, library, rgb=True).run
    options = ort.SessionOptions()
    options.intra_op_num_threads = cores()
    data = build(network, rgb=True).SerializeToString()
    session = ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    return lambda lr: np.asarray(session.run(None, {INPUT: lr})[0])


def _upscale(run: Run) -> Upscale:
    """Return a function that upscales whole images. Those of the benchmarks are small."""

    def upscale(lr: Image8) -> Image8:
        return quantise(run(network_input(lr))[0], lr).astype(np.uint8)

    return upscale


def _weights(folder: Path) -> Path:
    paths = sorted(folder.glob("*-x?.safetensors"))
    if len(paths) != 1:
        raise CatalogueError(
            f"{folder} holds {len(paths)} trained rivals: expected the run folder of one "
            "`train --arch`."
        )
    return paths[0]
