"""One network in MNN, in a process of its own: converted, run, and timed here.

`python -m sr_core.bench.mnn_worker FOLDER THREADS OUTPUTS` reads FOLDER's network.onnx and
frame.npy (1, 3, H, W). OUTPUTS are the output channels that share kept positions: 4, 1, or 0 for a
dense network. It writes output.npy and prints a line; then every line on standard input runs a
frame, and its milliseconds are printed. Whatever MNN prints goes to standard error.

MNN's own converter module, `MNN.tools.mnnconvert`, is never imported: it installs a package that
reports its use over the network.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from numpy.typing import NDArray

INPUT, OUTPUT = "lr", "sr"
"""Names in our ONNX graphs, as in `network.onnx_graph`, which would load ONNX beside MNN."""


def pipeline(outputs: int) -> bytes:
    """Return MNN's description of block pruning as the protobuf message `Pipeline`.

    Version "0.0.0", one algorithm of type PRUNE, its parameters of type SIMD_OC with one
    `oc_blocks`. Without it MNN takes every output channel by itself.
    """
    blocks = _message(3, bytes([4 << 3, outputs]))
    parameters = _message(3, bytes([1 << 3, 1]) + blocks)
    algorithm = _message(2, bytes([1 << 3, 1]) + parameters)
    return _message(1, b"0.0.0") + algorithm


def _message(field: int, data: bytes) -> bytes:
    """Return a field of a protobuf message that holds bytes."""
    return bytes([field << 3 | 2, len(data)]) + data


def main(folder: Path, threads: int, outputs: int) -> None:
    """Convert the network, answer with its output, then time a frame for each line."""
    answers = _own_standard_output()
    _convert(folder, outputs)
    frame = np.load(folder / "frame.npy")
    run = _ready(folder / "network.mnn", frame, threads)
    np.save(folder / "output.npy", run())
    print("ready", file=answers, flush=True)
    for _ in sys.stdin:
        start = time.perf_counter()
        run()
        print((time.perf_counter() - start) * 1e3, file=answers, flush=True)


def _own_standard_output() -> TextIO:
    """Return the standard output. From now on, what else writes there writes to the errors."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    return answers


def _convert(folder: Path, outputs: int) -> None:
    options = ["--modelFile", folder / "network.onnx", "--MNNModel", folder / "network.mnn"]
    if outputs:
        (folder / "pruning.bin").write_bytes(pipeline(outputs))
        options += ["--compressionParamsFile", folder / "pruning.bin", "--detectSparseSpeedUp"]
    import_module("_tools").mnnconvert(
        ["mnnconvert", "-f", "ONNX", "--bizCode", "upfront", *map(str, options)]
    )


def _ready(model: Path, frame: NDArray[np.float32], threads: int) -> Callable[[], Any]:
    """Return one run: the frame goes in as an array, and the result is an array."""
    nn, expr = import_module("MNN.nn"), import_module("MNN.expr")
    manager = nn.create_runtime_manager(
        ({"backend": "CPU", "precision": "high", "numThread": threads},)
    )
    # Fixed shapes are faster.
    module = nn.load_module_from_file(
        str(model), [INPUT], [OUTPUT], runtime_manager=manager, shape_mutable=False
    )

    def run() -> Any:
        lr = expr.placeholder(list(frame.shape), expr.NCHW)
        lr.write(frame)
        return expr.convert(module.forward(lr), expr.NCHW).read()

    return run


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
