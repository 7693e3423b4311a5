"""The torch network with masks, and the extracted one on ONNX Runtime, are the same function."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from numpy.typing import NDArray

from sr_core.errors import InvalidCandidate
from sr_core.files import REPOSITORY
from sr_core.network.blocks import BLOCKS, Block, Scheme
from sr_core.network.candidate import (
    SCALES,
    Candidate,
    LayerPruning,
    model_id,
    uniform,
)
from sr_core.network.extract import ExtractedNetwork, extract
from sr_core.network.layers import describe
from sr_core.network.onnx_graph import build
from sr_core.network.sampling import sample_candidate
from sr_core.network.weights import SupernetWeights
from tests import tiny

SCHEMES: tuple[Scheme, ...] = ("dense", "channel", "block", "pattern", "unstructured")
SUPERNETS = {scale: tiny.supernet(scale, 32, cells=2) for scale in SCALES}
MIXED = [
    sample_candidate(np.random.default_rng(seed), SUPERNETS[scale].spec)
    for scale in SCALES
    for seed in range(20)
]


def onnx_output(network: ExtractedNetwork, lr: NDArray[np.float32]) -> NDArray[np.float32]:
    model = build(network)
    onnx.checker.check_model(model, full_check=True)
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return np.asarray(session.run(["sr"], {"lr": lr})[0], dtype=np.float32)


def torch_output(
    supernet: SupernetWeights, candidate: Candidate, lr: NDArray[np.float32]
) -> NDArray[np.float32]:
    import torch

    from sr_core.supernet.module import Supernet

    net = Supernet(supernet.spec)
    net.load_state_dict({name: torch.from_numpy(t) for name, t in supernet.tensors.items()})
    with torch.no_grad():
        return net(torch.from_numpy(lr), candidate, net.torch_masks(candidate)).numpy()


def check(candidate: Candidate, rng: np.random.Generator) -> None:
    supernet = SUPERNETS[candidate.scale]
    network = extract(supernet, candidate)
    lr = rng.random((2, 3, 9, 7), dtype=np.float32)
    expected = torch_output(supernet, candidate, lr)
    assert expected.shape == (2, 3, 9 * candidate.scale, 7 * candidate.scale)
    np.testing.assert_allclose(
        onnx_output(network, lr), expected, rtol=0, atol=1e-4 * float(np.abs(expected).max())
    )
    for layer, described in zip(network.layers, describe(candidate, 9, 7), strict=True):
        kernel = (described.kernel, described.kernel)
        shape = (described.out_channels, described.in_channels, *kernel)
        assert (layer.name, layer.weight.shape, layer.bias.shape) == (
            described.name, shape, shape[:1],
        )  # fmt: skip
        assert layer.mask.sum() == np.count_nonzero(layer.weight) == described.weights_kept
        assert (layer.weight[~layer.mask] == 0).all()


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("width", tiny.SOME_WIDTHS)
@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("block", list(BLOCKS))
def test_extracted_network_is_the_trained_one(
    block: Block, scheme: Scheme, width: int, scale: int, rng: np.random.Generator
) -> None:
    ratio = 0.0 if scheme == "dense" else 0.6
    blocks: tuple[Block, ...] = (block, "skip" if block == "residual" else "residual")
    check(
        uniform(
            scale=scale, width=width, blocks=blocks, scheme=scheme, ratio=ratio, prune_tail=True
        ),
        rng,
    )


@pytest.mark.parametrize("candidate", MIXED, ids=lambda c: f"x{c.scale}-{c.id}")
def test_mixed_candidate_is_the_trained_one(candidate: Candidate, rng: np.random.Generator) -> None:
    check(candidate, rng)


def test_mixed_candidates_cover_the_vocabulary() -> None:
    assert {p.scheme for c in MIXED for _, p in c.layers()} == set(SCHEMES)
    assert {cell.block for c in MIXED for cell in c.cells} == set(BLOCKS)
    assert len({candidate.width for candidate in MIXED}) >= 4


def test_removed_channels_are_gone_from_the_onnx_file() -> None:
    """Half of wide's 96 and 12 inner channels: 48, and 8 (6 rounded to a multiple of 4)."""
    candidate = uniform(scale=4, width=16, blocks=("wide",) * 2, scheme="channel", ratio=0.5)
    model = build(extract(SUPERNETS[4], candidate))
    shapes = {item.name: tuple(item.dims) for item in model.graph.initializer}
    for cell in range(2):
        assert shapes[f"cells.{cell}.wide.expand.weight"] == (48, 16, 1, 1)
        assert shapes[f"cells.{cell}.wide.expand.bias"] == (48,)
        assert shapes[f"cells.{cell}.wide.linear.weight"] == (8, 48, 1, 1)
        assert shapes[f"cells.{cell}.wide.conv.weight"] == (16, 8, 3, 3)


def test_strongest_channels_stay() -> None:
    supernet = SUPERNETS[2]
    candidate = uniform(scale=2, width=32, blocks=("residual",) * 2, scheme="channel", ratio=0.75)
    network = extract(supernet, candidate)
    full = supernet.tensors["cells.1.residual.conv1.weight"]
    strongest = np.sort(np.argsort(-np.abs(full).sum(axis=(1, 2, 3)))[:8])
    first, second = network.cells[1]
    np.testing.assert_array_equal(first.weight, full[strongest])
    np.testing.assert_array_equal(
        second.weight, supernet.tensors["cells.1.residual.conv2.weight"][:, strongest]
    )


def test_network_carries_its_identity() -> None:
    candidate, supernet = MIXED[0], SUPERNETS[2]
    network = extract(supernet, candidate)
    other = extract(replace(supernet, sha256="f" * 64), candidate)
    assert network.candidate == candidate
    assert network.model_id == model_id(candidate, supernet.sha256)
    assert network.model_id != other.model_id
    metadata = {item.key: item.value for item in build(network).metadata_props}
    assert metadata == {"model_id": network.model_id, "scale": "2"}


def test_supernet_weights_are_not_changed() -> None:
    before = {name: tensor.copy() for name, tensor in SUPERNETS[4].tensors.items()}
    pruned = LayerPruning("unstructured", 0.9)
    blocks: tuple[Block, ...] = ("wide", "residual")
    extract(SUPERNETS[4], uniform(scale=4, width=32, blocks=blocks, scheme="block", ratio=0.9))
    extract(SUPERNETS[4], replace(uniform(scale=4, width=16, blocks=("skip",) * 2), tail=pruned))
    for name, tensor in SUPERNETS[4].tensors.items():
        np.testing.assert_array_equal(tensor, before[name], err_msg=name)


def test_foreign_candidate_is_refused() -> None:
    with pytest.raises(InvalidCandidate, match=r"x4 with 3 cells.*supernet is x4 with 2 cells"):
        extract(SUPERNETS[4], uniform(scale=4, width=32, blocks=("wide",) * 3))


def test_extraction_and_export_need_no_torch(tiny_root: Path) -> None:
    code = """
import sys
sys.modules["torch"] = None
from pathlib import Path
from sr_core.catalogue.store import Catalogue
from sr_core.network.candidate import Family
from sr_core.network.onnx_graph import build
catalogue = Catalogue(Path(sys.argv[1]))
print(build(catalogue.network(catalogue.models(Family(2))[0].candidate)).graph.name)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, tiny_root],
        capture_output=True,
        text=True,
        check=False,
        cwd=REPOSITORY,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("upfront-")
