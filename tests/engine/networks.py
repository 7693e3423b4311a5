"""Networks for the engine's tests, and what ONNX Runtime makes of them."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from sr_core.network.candidate import Candidate
from sr_core.network.colour import RGB
from sr_core.network.extract import ExtractedNetwork, extract
from sr_core.network.onnx_graph import INPUT, build
from sr_core.network.plain import Network
from sr_core.network.weights import SupernetWeights
from tests import tiny

TOLERANCE = 1e-4
"""Largest difference to ONNX Runtime, for results near 0..1."""
Images = NDArray[np.float32]


def network(candidate: Candidate) -> ExtractedNetwork:
    """`candidate` with random weights and biases, whose results are near 0..1."""
    return extract(_supernet(candidate.scale, candidate.width, len(candidate.cells)), candidate)


@lru_cache
def _supernet(scale: int, width: int, cells: int) -> SupernetWeights:
    return tiny.supernet(scale, width, cells)


class Reference:
    """ONNX Runtime on the masked dense network."""

    def __init__(self, of: Network) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        model = build(of).SerializeToString()
        self._session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    def run(self, lr: Images) -> Images:
        """(N, 3, H, W) -> (N, 3, s H, s W)."""
        return np.asarray(self._session.run(None, {INPUT: lr})[0])


def images(height: int, width: int, count: int = 1, seed: int = 0) -> Images:
    """Noise in 0..1, (count, 3, height, width)."""
    return np.random.default_rng(seed).random((count, RGB, height, width), dtype=np.float32)
