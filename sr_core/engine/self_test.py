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
from sr_core.network.blocks import trainable
from sr_core.network.candidate import Candidate, uniform
from sr_core.network.colour import RGB
from sr_core.network.extract import extract
from sr_core.network.onnx_graph import INPUT, build
from sr_core.network.weights import SupernetSpec, random_supernet

TOLERANCE = 1e-4
"""Largest difference to ONNX Runtime, for results near 0..1."""
_SIZES = ((1, 1), (19, 70))
"""Heights and widths: smaller than every kernel, and more than a chunk of the widest vectors."""


def check(library: Library) -> None:
    """Raise `EngineError` if a network that uses every kind of group comes out wrong."""
    rng, options = np.random.default_rng(0), ort.SessionOptions()
    options.intra_op_num_threads = 1
    for scale in (2, 4):
        supernet = random_supernet(SupernetSpec(scale, 16, len(trainable()), trainable()), rng)
        for candidate in _candidates(scale):
            network = extract(supernet, candidate)
            reference = ort.InferenceSession(
                build(network).SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
            session = Session(network, library, threads=2)
            for height, width in _SIZES:
                lr = rng.random((1, RGB, height, width), dtype=np.float32)
                expected = np.asarray(reference.run(None, {INPUT: lr})[0])
                difference = np.abs(session.run(lr) - expected).max()
                if not difference <= TOLERANCE:
                    raise EngineError(f"a result differs by {difference:.2g} from ONNX Runtime's")


def _candidates(scale: int) -> list[Candidate]:
    blocks = trainable()
    return [
        uniform(scale=scale, width=16, blocks=blocks, scheme="block", ratio=0.5),
        uniform(scale=scale, width=16, blocks=blocks, scheme="unstructured", ratio=0.8),
    ]


if __name__ == "__main__":
    try:
        check(Library(Path(sys.argv[1])))
    except EngineError as error:
        sys.exit(str(error))
