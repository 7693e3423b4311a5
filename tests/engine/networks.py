"""Networks for the engine's tests, and what ONNX Runtime and NumPy make of them."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import onnxruntime as ort
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from sr_core.network.bicubic import bicubic_kernel
from sr_core.network.bt601 import OFFSET, TO_RGB, YCBCR
from sr_core.network.candidate import TAIL_SCHEMES, Candidate
from sr_core.network.colour import RGB, Colour
from sr_core.network.extract import ExtractedLayer, ExtractedNetwork, extract
from sr_core.network.onnx_graph import INPUT, build
from sr_core.network.plain import Network, plain
from sr_core.network.weights import SupernetSpec, SupernetWeights
from tests import tiny

TOLERANCE = 1e-4
"""Largest difference to ONNX Runtime, for results near 0..1."""
Images = NDArray[np.float32]


def network(candidate: Candidate) -> ExtractedNetwork:
    """`candidate` with random weights and biases, whose results are near 0..1."""
    size = (candidate.scale, candidate.width, len(candidate.cells))
    return extract(_supernet(*size, candidate.colour), candidate)


@lru_cache
def _supernet(scale: int, width: int, cells: int, colour: Colour) -> SupernetWeights:
    spec = SupernetSpec(scale, width, cells, skip_schemes=TAIL_SCHEMES, colour=colour)
    return SupernetWeights(spec, tiny.weights(spec), f"{0:064x}")


class Reference:
    """ONNX Runtime on the masked dense network."""

    def __init__(self, of: Network, *, rgb: bool = False) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        model = build(of, rgb=rgb).SerializeToString()
        self._session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    def run(self, lr: Images) -> Images:
        """(N, C, H, W) -> (N, C, s H, s W)."""
        return np.asarray(self._session.run(None, {INPUT: lr})[0])


def images(height: int, width: int, count: int = 1, seed: int = 0, channels: int = RGB) -> Images:
    """Noise in 0..1, (count, channels, height, width)."""
    shape = (count, channels, height, width)
    return np.random.default_rng(seed).random(shape, dtype=np.float32)


def rounded_by_numpy(values: Images) -> NDArray[np.uint8]:
    """0..1 to 0..255, clipped and rounded in single precision, as images are."""
    return np.rint(np.clip(values, 0, 1) * np.float32(255)).astype(np.uint8)


def by_numpy(of: Network, lr: Images) -> Images:
    """The network itself, (C, H, W) -> (C, s H, s W), in NumPy and double precision."""
    net = plain(of)
    stream = lr.astype(np.float64) - net.input_mean
    for layer in net.head:
        stream = _layer(stream, layer)
    for cell in net.cells:
        branch = stream
        for layer in cell:
            branch = _layer(branch, layer)
        stream = stream + branch
    phases = _layer(stream, net.tail)
    if net.input_skip:
        phases = phases + _layer(lr, net.input_skip, padding="edge")
    return _shuffled(phases, net.scale)


def in_colours_by_numpy(of: Network, lr: Images) -> Images:
    """A luma network on RGB (3, H, W), with bicubic Cb and Cr."""
    scale = plain(of).scale
    ycbcr = np.einsum("oc,chw->ohw", YCBCR, lr) + OFFSET[:, None, None]
    luma = by_numpy(of, ycbcr[:1].astype(np.float32))
    grown = _shuffled(_convolved(ycbcr[1:], bicubic_kernel(scale, 2), "edge"), scale)
    whole = np.concatenate([luma, grown]) - OFFSET[:, None, None]
    return np.einsum("oc,chw->ohw", TO_RGB, whole)


def _layer(x: NDArray[np.floating], layer: ExtractedLayer, padding: str = "constant") -> Images:
    result = _convolved(x, layer.weight * layer.mask, padding) + layer.bias[:, None, None]
    if layer.slope is not None:
        return np.where(result > 0, result, result * layer.slope[:, None, None])
    return np.maximum(result, 0) if layer.relu else result


def _convolved(x: NDArray[np.floating], weight: Images, padding: str) -> Images:
    edge = weight.shape[-1] // 2
    padded = np.pad(x, ((0, 0), (edge, edge), (edge, edge)), mode=padding)  # pyright: ignore[reportCallIssue, reportArgumentType]
    windows = sliding_window_view(padded, weight.shape[2:], axis=(1, 2))
    return np.einsum("chwij,ocij->ohw", windows, weight)


def _shuffled(phases: Images, scale: int) -> Images:
    count, height, width = phases.shape
    blocks = phases.reshape(count // scale**2, scale, scale, height, width)
    return blocks.transpose(0, 3, 1, 4, 2).reshape(-1, height * scale, width * scale)
