"""A network that is fine-tuned is the function that the runtimes and the supernet compute."""

from __future__ import annotations

import numpy as np
import pytest

from sr_core.network.weights import SupernetSpec

pytest.importorskip("torch")
import torch

from sr_core.network.candidate import Candidate, uniform
from sr_core.network.extract import extract
from sr_core.network.notation import from_text
from sr_core.network.sampling import sample_candidate
from sr_core.pruning.module import Network
from sr_core.runtime.upscale import Upscaler
from sr_core.supernet.module import Supernet
from tests import tiny

pytestmark = pytest.mark.usefixtures("one_thread")
SUPERNET = tiny.supernet(2, 24, cells=2)
CANDIDATES = [
    from_text("x2c16_wc50b30p70_rc25u60_tb40"),
    from_text("x2c24_s_rp60b50"),
    *(sample_candidate(np.random.default_rng(s), SupernetSpec(2, 24, 2)) for s in range(8)),
]


@pytest.fixture(scope="module")
def supernet() -> Supernet:
    net = Supernet(SUPERNET.spec)
    net.load_state_dict({name: torch.from_numpy(t) for name, t in SUPERNET.tensors.items()})
    return net


@pytest.mark.parametrize("candidate", CANDIDATES)
def test_it_computes_what_the_runtime_and_the_supernet_compute(
    candidate: Candidate, supernet: Supernet, rng: np.random.Generator
) -> None:
    lr = rng.random((1, 3, 12, 9), dtype=np.float32)
    extracted = extract(SUPERNET, candidate)
    got = Network(extracted).run(lr)
    np.testing.assert_allclose(got, Upscaler(extracted, threads=1).run(lr), atol=1e-4)
    with torch.no_grad():
        whole = supernet(torch.from_numpy(lr), candidate, supernet.torch_masks(candidate))
    np.testing.assert_allclose(got, whole.numpy(), atol=1e-4)


@pytest.mark.parametrize("candidate", CANDIDATES[:4])
def test_it_gives_back_what_it_was_made_of(candidate: Candidate) -> None:
    before = extract(SUPERNET, candidate)
    for one, two in zip(before.layers, Network(before).extracted().layers, strict=True):
        assert (one.weight == two.weight).all()
        assert (one.mask == two.mask).all()


def test_only_what_the_candidate_has_is_there() -> None:
    net = Network(extract(SUPERNET, from_text("x2c16_s_wc50dd")))
    assert sum(p.numel() for p in net.parameters()) < sum(
        p.numel() for p in Network(extract(SUPERNET, from_text("x2c16_s_w"))).parameters()
    )
    assert not any("residual" in name or "cells.0" in name for name, _ in net.named_parameters())
    assert net.get_parameter("cells.1.wide.linear.weight").shape == (12, 48, 1, 1)


def test_a_tap_too_small_to_be_seen_in_a_sum_is_given_up() -> None:
    """The pattern that a kernel keeps is found again from sums in float32."""
    candidate = uniform(scale=2, width=16, blocks=("residual", "skip"), scheme="pattern", ratio=0.6)
    net = Network(extract(SUPERNET, candidate))
    name = "cells.0.residual.conv2"
    mask = net.get_buffer(f"{name}.mask")
    taps = mask[:4, :1].flatten(2).bool()
    with torch.no_grad():
        kernel = net.get_parameter(f"{name}.weight")[:4, :1].flatten(2)
        kernel[taps] = torch.tensor([1.0, 1.0, 1.0, 1e-9]).repeat(4)
        net.get_parameter(f"{name}.weight")[:4, :1] = kernel.reshape(4, 1, 3, 3)
    kept = next(layer for layer in net.extracted().layers if layer.name == name)
    assert np.abs(kept.weight[:4, 0]).sum() == pytest.approx(12)
