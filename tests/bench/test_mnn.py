"""MNN as a peer: a made-up one that ONNX Runtime computes for, and the real one if installed."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from sr_core.bench import engine as bench_engine
from sr_core.bench import sitting
from sr_core.bench.engine import Job
from sr_core.bench.engine_nets import Entry, Net, entries
from sr_core.bench.mnn import TOLERANCE, Peer, mnn_name
from sr_core.bench.mnn_worker import INPUT, OUTPUT, pipeline
from sr_core.catalogue.store import Catalogue
from sr_core.engine.library import Library
from sr_core.engine.session import Session
from sr_core.errors import MeasurementError
from sr_core.network import onnx_graph
from sr_core.network.onnx_graph import build
from tests.cli.test_main import Shell

NET = Net(16, 1, 4)
FRAME = np.random.default_rng(0).random((1, 3, 12, 16), dtype=np.float32)
MNN: dict[str, str] = {
    "_tools.py": """
import shutil
def mnnconvert(words):
    print("Start to Convert")
    options = dict(zip(words[1::2], words[2::2]))
    shutil.copy(options["--modelFile"], options["--MNNModel"])
    folder = options["--modelFile"].rpartition("/")[0]
    with open(LOG, "a") as log:
        log.write(" ".join(word.replace(folder + "/", "") for word in words) + "\\n")
""",
    "MNN/__init__.py": "print('The device supports nothing')\n",
    "MNN/nn.py": """
import onnxruntime
class Module:
    def __init__(self, path, inputs, outputs, runtime_manager, shape_mutable):
        assert runtime_manager["backend"] == "CPU" and runtime_manager["precision"] == "high"
        assert not shape_mutable
        self.names, self.outputs = inputs, outputs
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = runtime_manager["numThread"]
        self.session = onnxruntime.InferenceSession(open(path, "rb").read(), options)
    def forward(self, lr):
        return self.session.run(self.outputs, {self.names[0]: lr.values})[0]
def create_runtime_manager(configs):
    return configs[0]
load_module_from_file = Module
""",
    "MNN/expr.py": """
NCHW = "NCHW"
class Variable:
    def __init__(self, values=None):
        self.values = values
    def write(self, values):
        self.values = values
    def read(self):
        return self.values
def placeholder(shape, order):
    assert order == NCHW
    return Variable()
def convert(values, order):
    assert order == NCHW
    return Variable(ALTERED(values))
""",
}
Install = Callable[..., Path]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Put a made-up MNN where Python finds it, here and in processes. Returns its log."""

    def write(altered: str = "lambda values: values") -> Path:
        log = tmp_path / "log.txt"
        for name, text in MNN.items():
            path = tmp_path / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(f"ALTERED = {altered}\nLOG = {str(log)!r}\n" + text)
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))
        monkeypatch.syspath_prepend(tmp_path)
        return log

    yield write
    for name in [name for name in sys.modules if name.split(".")[0] in {"MNN", "_tools"}]:
        del sys.modules[name]


def entry(scheme: str) -> Entry:
    found = entries(NET, peers=True)
    return next(one for one in found if one.scheme == scheme and "mnn" in one.runtimes)


def ours(one: Entry, library: Library) -> NDArray[np.float32]:
    return Session(one.network, library, threads=1).run(FRAME)


@pytest.mark.parametrize(
    ("scheme", "pruning"), [("dense", False), ("block", True), ("unstructured", True)]
)
def test_a_peer_computes_the_same_network(
    install: Install, library: Library, scheme: str, pruning: bool
) -> None:
    log = install()
    one = entry(scheme)
    with Peer(one, FRAME, threads=1) as peer:
        peer.check(ours(one, library))
        assert peer.run().ms > 0
    words = log.read_text().split()
    assert words[:3] == ["mnnconvert", "-f", "ONNX"]
    assert ("--detectSparseSpeedUp" in words) == ("--compressionParamsFile" in words) == pruning


def test_names_are_those_of_our_graphs() -> None:
    assert (INPUT, OUTPUT) == (onnx_graph.INPUT, onnx_graph.OUTPUT)


def test_the_description_of_blocks_is_a_protobuf_message() -> None:
    """Field numbers and types as MNN declares them; read by ONNX's protobuf, as an ONNX message."""
    assert pipeline(4) == b"\x0a\x050.0.0\x12\x0a\x08\x01\x1a\x06\x08\x01\x1a\x02\x20\x04"
    assert pipeline(1)[-1] == 1


def test_another_output_is_refused(install: Install, library: Library) -> None:
    install("lambda values: values * (1 + 1e-2)")
    one = entry("block")
    with Peer(one, FRAME, threads=1) as peer:
        with pytest.raises(MeasurementError, match=r"differs from ours by 1\.\de-02 of the larg"):
            peer.check(ours(one, library))
        with pytest.raises(MeasurementError, match="has the shape"):
            peer.check(ours(one, library)[:, :, 1:])
    install("lambda values: values * float('nan')")
    with Peer(one, FRAME, threads=1) as peer, pytest.raises(MeasurementError, match="differs"):
        peer.check(ours(one, library))


@pytest.mark.parametrize("factor", [1 - TOLERANCE / 2, 1 + TOLERANCE / 2])
def test_fast_convolutions_may_differ_a_little(
    install: Install, library: Library, factor: float
) -> None:
    install(f"lambda values: values * {factor}")
    one = entry("block")
    with Peer(one, FRAME, threads=1) as peer:
        peer.check(ours(one, library))


@pytest.mark.parametrize(
    ("altered", "said"),
    [
        ("lambda values: exec('raise ValueError(\"no such layer\")')", "exit code 1: .*no such la"),
        ("lambda values: __import__('os').kill(__import__('os').getpid(), 11)", "SIGSEGV"),
    ],
)
def test_a_crash_is_a_sentence(install: Install, altered: str, said: str) -> None:
    install(altered)
    with pytest.raises(MeasurementError, match=rf"^MNN failed with the block network \({said}.*: "):
        Peer(entry("block"), FRAME, threads=1)


def test_a_crash_in_a_later_run_is_one_too(install: Install) -> None:
    install("lambda values, left=[1]: values if left.pop() else 0")
    with Peer(entry("dense"), FRAME, threads=1) as peer:
        with pytest.raises(MeasurementError, match="MNN failed with the dense network"):
            peer.run()
        with pytest.raises(MeasurementError, match="MNN failed with the dense network"):
            peer.run()


def test_without_mnn_it_says_how_to_get_it(
    library: Library, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(_: str) -> None: ...

    monkeypatch.setattr("sr_core.bench.mnn.find_spec", missing)
    error = Shell(Catalogue().root, capsys).error("bench", "engine", "--quick", "--peers")
    assert "`pip install -r requirements-peers.txt`" in error


def test_peers_stand_in_the_same_sitting(
    install: Install, library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    install()
    monkeypatch.setattr(sitting, "PAUSE_S", 1e-3)
    job = Job((NET,), sitting_s=0, rounds=1, peers=True, output=(64, 48))
    bench = bench_engine.bench_engine(Catalogue(), library, job)
    assert bench.runtimes["mnn"].startswith("MNN")
    found = [row.scheme for row in bench.rows if (row.runtime, row.threads) == ("mnn", 1)]
    assert found == ["dense", "block", "pattern", "unstructured"]
    assert all(row.n == 2 for row in bench.rows)


def test_the_real_one_computes_our_masks(library: Library) -> None:
    if importlib.util.find_spec("MNN") is None:
        pytest.skip("no MNN: `pip install -r requirements-peers.txt`")
    assert mnn_name().startswith("MNN ")
    sizes: dict[str, int] = {}
    for scheme in ("dense", "block", "unstructured"):
        one = entry(scheme)
        with Peer(one, FRAME, threads=2) as peer:
            peer.check(ours(one, library))
            sizes[scheme] = (Path(peer._folder.name) / "network.mnn").stat().st_size  # pyright: ignore[reportPrivateUsage]
    assert sizes["block"] < sizes["dense"], "only kept weights are stored"


def test_a_graph_that_mnn_gets_holds_the_masked_weights() -> None:
    """The zeros are what MNN finds its blocks by."""
    model: Any = build(entry("block").network)
    weights = [onnx.numpy_helper.to_array(one) for one in model.graph.initializer]
    cells = [one for one in weights if one.ndim == 4 and (one == 0).mean() > 0.7]
    assert len(cells) == 3
