"""A block that is one entry of `BLOCKS` works everywhere: in training, every runtime, the page."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import gradio as gr
import numpy as np
import onnxruntime as ort
import pytest

from sr_core.catalogue.store import Catalogue
from sr_core.catalogue.verify import verify
from sr_core.catalogue.writer import changing, install_supernet, write_quality
from sr_core.cli.main import main
from sr_core.engine.library import Library
from sr_core.engine.session import Session
from sr_core.errors import InvalidCandidate
from sr_core.files import PRECOMPUTED
from sr_core.latency.estimate import estimate
from sr_core.latency.profile import read_profile
from sr_core.network.blocks import BLOCKS, BlockSpec, ConvSpec, Relu
from sr_core.network.candidate import Candidate, Family
from sr_core.network.colour import RGB
from sr_core.network.layers import describe, totals
from sr_core.network.notation import from_text, to_text
from sr_core.network.onnx_graph import INPUT, build
from sr_core.search.space import Space
from sr_core.ui.components.layer_table import LayerTable, vocabulary
from sr_core.ui.page import build_page
from sr_core.ui.titles import title
from tests.search.profiles import device, install

pytestmark = pytest.mark.usefixtures("one_thread")

TOY = BlockSpec(
    "toy",
    "q",
    (
        ConvSpec("narrow", 1, lambda c: c // 2, inner=True),
        Relu(),
        ConvSpec("spread", 3, lambda c: c, inner=True),
        Relu(),
        ConvSpec("merge", 1, lambda c: c, inner=False),
    ),
    "1x1 to C/2, ReLU, 3x3 to C, ReLU, 1x1, add",
)
NETWORK = "x2c16_qb50p60u30_wc50dd_tb25"


@pytest.fixture(scope="module", autouse=True)
def toy() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(BLOCKS, TOY.name, TOY)
        yield


@pytest.fixture(scope="module")
def root(toy: None, photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose only supernet was trained with the blocks `wide` and `toy`."""
    run, root = tmp_path_factory.mktemp("run"), tmp_path_factory.mktemp("made") / "precomputed"
    words = [
        "train", "--data", photos / "train", "--val", photos / "val", "--out", run,
        "--scale", 2, "--width", 16, "--cells", 2, "--blocks", "wide,toy", "--steps", 3,
        "--patch", 8, "--batch", 2, "--warmup", 1, "--validate-every", 3, "--precision", "fp32",
    ]  # fmt: skip
    assert main(list(map(str, words))) == 0
    with changing(root):
        install_supernet(root, run / "supernet.safetensors")
        write_quality(root, [])
        install(root, device("phone"))  # the page needs one
    return root


@pytest.fixture
def catalogue(root: Path) -> Catalogue:
    return Catalogue(root)


@pytest.fixture
def candidate() -> Candidate:
    return from_text(NETWORK)


def test_notation_and_json_know_it(candidate: Candidate) -> None:
    assert to_text(candidate) == NETWORK
    assert [cell.block for cell in candidate.cells] == ["toy", "wide"]
    assert Candidate.loads(str(candidate.to_json()).replace("'", '"')) == candidate
    with pytest.raises(InvalidCandidate, match="block w, r, q or s"):
        from_text("x2c16_2z")
    assert title(candidate).startswith("16 ch, 1 wide + 1 toy")


def test_the_descriptor_names_what_was_trained(catalogue: Catalogue, candidate: Candidate) -> None:
    assert catalogue.supernet(Family(2)).spec.blocks == ("wide", "toy")
    assert catalogue.descriptor(Family(2))["spec"]["blocks"] == ["wide", "toy"]
    assert "--blocks wide,toy" in catalogue.descriptor(Family(2))["training"][0]["command"]
    assert verify(catalogue) == []
    names = [model.name for model in catalogue.models(Family(2))]
    assert {"x2-wide", "x2-toy", "x2-mixed", "x2-wide-block50"} <= set(names)
    assert "x2-residual" not in names
    with pytest.raises(InvalidCandidate, match="a cell of block residual; this supernet has wide"):
        catalogue.check(from_text("x2c16_2r"))


def test_it_is_extracted_and_both_runtimes_agree(
    catalogue: Catalogue, candidate: Candidate, library: Library, rng: np.random.Generator
) -> None:
    network = catalogue.network(candidate)
    kept = sum(int(layer.mask.sum()) + layer.bias.size for layer in network.layers)
    assert kept == totals(describe(candidate, 8, 8)).params_kept
    assert [layer.relu for layer in network.cells[0]] == [True, True, False]
    lr = rng.random((1, RGB, 9, 13), dtype=np.float32)
    session = ort.InferenceSession(
        build(network).SerializeToString(), providers=["CPUExecutionProvider"]
    )
    expected = np.asarray(session.run(None, {INPUT: lr})[0])
    assert np.abs(Session(network, library, threads=2).run(lr) - expected).max() < 1e-4


def test_training_and_onnx_compute_the_same(
    catalogue: Catalogue, candidate: Candidate, rng: np.random.Generator
) -> None:
    import torch

    from sr_core.supernet.module import Supernet

    supernet = catalogue.supernet(Family(2))
    module = Supernet(supernet.spec)
    module.load_state_dict({n: torch.from_numpy(t) for n, t in supernet.tensors.items()})
    lr = rng.random((1, RGB, 9, 13), dtype=np.float32)
    with torch.no_grad():
        y = module(torch.from_numpy(lr), candidate, module.torch_masks(candidate)).numpy()
    session = ort.InferenceSession(
        build(catalogue.network(candidate)).SerializeToString(), providers=["CPUExecutionProvider"]
    )
    assert np.abs(np.asarray(session.run(None, {INPUT: lr})[0]) - y).max() < 1e-4


def test_an_unfitted_block_is_extrapolated_and_said_so(candidate: Candidate) -> None:
    profile = read_profile(PRECOMPUTED / "devices/galaxy-s21-gpu.json")
    result = estimate(profile, candidate)
    toys = [layer for layer in result.per_layer if ".toy." in layer.name]
    assert len(toys) == 3
    assert all(layer.ms > 0 and layer.basis != profile.basis for layer in toys)
    assert "toy blocks" in result.notes[0]


def test_the_search_space_holds_what_was_trained(
    catalogue: Catalogue, candidate: Candidate
) -> None:
    space = Space(catalogue.supernet(Family(2)).spec)
    assert space.choices["cells.0"] == ("skip", "wide", "toy")
    assert "toy.spread" in space.kinds
    params = space.encode(from_text("x2c16_qb50b50b50_s"))
    assert params is not None
    assert space.decode(params) == from_text("x2c16_qb50b50b50_s")


def test_the_page_offers_it(catalogue: Catalogue) -> None:
    assert isinstance(build_page(catalogue), gr.Blocks)
    tables = [p for p in build_page(catalogue).blocks.values() if isinstance(p, LayerTable)]
    script = str(tables[0].js_on_load).splitlines()[0].removeprefix("const VOCABULARY = ")
    assert json.loads(script.rstrip(";"))["offered"]["x2"]["blocks"] == ["skip", "wide", "toy"]
    assert [layer["key"] for layer in vocabulary()["blocks"]["toy"]] == [
        "narrow",
        "spread",
        "merge",
    ]
    assert vocabulary()["summaries"]["toy"] == TOY.summary


@pytest.mark.parametrize(
    ("letter", "operations", "fault"),
    [
        ("t", TOY.operations, "a small letter"),
        ("qq", TOY.operations, "a small letter"),
        ("q", (Relu(), *TOY.operations), "a ReLU has to follow a convolution"),
        ("q", TOY.operations[:2], "a convolution as its last operation"),
    ],
)
def test_a_block_that_cannot_run_is_refused(
    letter: str, operations: tuple[ConvSpec | Relu, ...], fault: str
) -> None:
    with pytest.raises(ValueError, match=fault):
        BlockSpec("toy", letter, operations, "")
