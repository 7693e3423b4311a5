"""`python -m sr_core.engine.self_test LIBRARY`: run small networks and compare with ONNX Runtime.

Meant for a process of its own: a library for another processor may end it.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnxruntime as ort

from sr_core.engine.library import Library
from sr_core.engine.session import Session
from sr_core.errors import EngineError
from sr_core.network.blocks import Scheme, trainable
from sr_core.network.candidate import Candidate, uniform
from sr_core.network.colour import CHANNELS, Colour
from sr_core.network.extract import ExtractedNetwork, extract
from sr_core.network.onnx_graph import INPUT, build
from sr_core.network.weights import SupernetSpec, random_supernet

TOLERANCE = 1e-4
"""Largest difference to ONNX Runtime, for results near 0..1."""
_SIZES = ((1, 1), (19, 70))
"""Heights and widths: smaller than every kernel, and more than a chunk of the widest vectors."""


def check(library: Library) -> None:
    """Raise `EngineError` if a network that uses every kind of group comes out wrong."""
    rng = np.random.default_rng(0)
    for scale in (2, 4):
        for colour in CHANNELS:
            spec = SupernetSpec(scale, 16, len(trainable()), trainable(), colour=colour)
            supernet = random_supernet(spec, rng)
            for candidate in _candidates(scale, colour):
                network = extract(supernet, candidate)
                for rgb in {colour == "rgb", True}:
                    _check(network, library, rng, rgb=rgb)


def _check(
    network: ExtractedNetwork, library: Library, rng: np.random.Generator, *, rgb: bool
) -> None:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    reference = ort.InferenceSession(
        build(network, rgb=rgb).SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    session = Session(network, library, threads=2, rgb=rgb)
    for height, width in _SIZES:
        lr = rng.random((1, session.channels, height, width), dtype=np.float32)
        result = session.run(lr)
        difference = np.abs(result - np.asarray(reference.run(None, {INPUT: lr})[0])).max()
        if not difference <= TOLERANCE:
            raise EngineError(f"a result differs by {difference:.2g} from ONNX Runtime's")
        rounded = np.rint(np.clip(result, 0, 1) * np.float32(255)).transpose(0, 2, 3, 1)
        if not np.array_equal(session.run_bytes(lr), rounded):
            raise EngineError("a result in 8 bits is not the rounded one")


def _candidates(scale: int, colour: Colour) -> list[Candidate]:
    pruned: list[tuple[Scheme, float]] = [("block", 0.5), ("unstructured", 0.8)]
    return [
        uniform(
            scale=scale, width=16, blocks=trainable(), scheme=scheme, ratio=ratio, colour=colour
        )
        for scheme, ratio in pruned
    ]


if __name__ == "__main__":
    try:
        check(Library(Path(sys.argv[1])))
    except EngineError as error:
        sys.exit(str(error))
