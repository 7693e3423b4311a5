"""MNN beside our engine (`bench engine --peers`): the same networks and masks, outputs compared.

MNN runs block-sparse convolutions on processors: rows of four output channels that share their
positions, as our masks have them. Each network gets a process of its own (`mnn_worker`): MNN
prints to standard output, keeps its threads, and a crash in it must not end the benchmark.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from sr_core.bench.engine_nets import Entry
from sr_core.bench.sitting import Elapsed
from sr_core.engine.session import Images
from sr_core.errors import MeasurementError
from sr_core.files import REPOSITORY
from sr_core.network.blocks import GROUP
from sr_core.network.onnx_graph import build
from sr_core.results.engine import Variant

TOLERANCE = 2e-3
"""Largest difference from our output, as a share of its largest value. MNN's fast convolutions
(Winograd) differ by 6e-4, wrong masks by far more."""
_SHARED_OUTPUTS: dict[Variant, int] = {"block": GROUP, "pattern": GROUP, "unstructured": 1}


def mnn_name() -> str:
    """Return the name with the version. Raises `MeasurementError` if MNN is not installed."""
    if find_spec("MNN") is None or find_spec("_tools") is None:
        raise MeasurementError(
            "MNN is not installed, which --peers compares with: "
            "`pip install -r requirements-peers.txt`, or leave out --peers."
        )
    try:
        return f"MNN {version('mnn')}"
    except PackageNotFoundError:  # on the path, but not installed by pip
        return "MNN"


class Peer:
    """One network in MNN, in a process of its own that is ready to run. Close it after use."""

    def __init__(self, entry: Entry, frame: Images, threads: int) -> None:
        """Start, convert and run once. Raises `MeasurementError` if MNN fails."""
        self._scheme = entry.scheme
        self._folder = tempfile.TemporaryDirectory()
        folder = Path(self._folder.name)
        (folder / "network.onnx").write_bytes(build(entry.network).SerializeToString())
        np.save(folder / "frame.npy", frame)
        self._errors = (folder / "errors.txt").open("w+b")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "sr_core.bench.mnn_worker", str(folder), str(threads),
             str(_SHARED_OUTPUTS.get(entry.scheme, 0))],
            cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors,
            text=True,
        )  # fmt: skip
        try:
            self._answer()
            self._output: NDArray[np.float32] = np.load(folder / "output.npy")
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Peer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def check(self, ours: Images) -> None:
        """Raise `MeasurementError` unless MNN computed what our engine computes."""
        if self._output.shape != ours.shape:
            raise MeasurementError(
                f"MNN's output of the {self._scheme} network has the shape {self._output.shape}, "
                f"ours {ours.shape}: its time would mean nothing."
            )
        off = float(np.abs(self._output - ours).max() / np.abs(ours).max())
        if not off <= TOLERANCE:  # also if it is not a number
            raise MeasurementError(
                f"MNN's output of the {self._scheme} network differs from ours by {off:.1e} of "
                f"the largest value, more than {TOLERANCE:.0e}: its time would mean nothing."
            )

    def run(self) -> Elapsed:
        """Run one frame. The time is taken inside the process."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write("\n")
            self._process.stdin.flush()
        except OSError:
            self._fail()
        return Elapsed(float(self._answer()))

    def close(self) -> None:
        """End the process, and remove its files."""
        self._process.kill()
        self._process.communicate()
        self._errors.close()
        self._folder.cleanup()

    def _answer(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self._fail()
        return line

    def _fail(self) -> NoReturn:
        code = self._process.wait()
        self._errors.seek(0)
        said = self._errors.read().decode(errors="replace").strip().rpartition("\n")[2]
        how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        raise MeasurementError(
            f"MNN failed with the {self._scheme} network ({how}{': ' * bool(said)}{said}): "
            "leave out --peers."
        )
