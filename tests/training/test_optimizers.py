from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
import torch
from torch import Tensor, nn

from sr_core.network.extract import extract
from sr_core.network.notation import from_text
from sr_core.network.weights import SupernetSpec
from sr_core.pruning.module import Network
from sr_core.supernet.module import Supernet
from sr_core.supernet.settings import TrainArgs
from sr_core.training.optimizers import Muon, make, orthogonal, takes_muon
from tests import tiny

SPEC = SupernetSpec(2, 16, 1)


def settings(**changes: Any) -> TrainArgs:
    return TrainArgs(Path("train"), Path("val"), Path("out"), **changes)


def random(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("shape", [(16, 144), (144, 16), (24, 24), (1, 9)])
def test_singular_values_become_one_and_directions_stay(shape: tuple[int, int]) -> None:
    matrix = random(*shape)
    left, _, right = torch.linalg.svd(matrix, full_matrices=False)
    found = left.T @ orthogonal(matrix) @ right.T
    assert found.diagonal().min() > 0.6
    assert found.diagonal().max() < 1.3
    assert (found - found.diagonal().diag()).abs().max() < 1e-4


def test_a_matrix_of_zeros_stays_zero() -> None:
    assert not orthogonal(torch.zeros(4, 9)).any()


def test_muon_takes_the_convolutions_but_the_skip_and_the_cells_ends() -> None:
    named = dict(Supernet(SPEC).named_parameters())
    taken = {name for name, parameter in named.items() if takes_muon(name, parameter)}
    assert {name for name in named if name.endswith(".weight")} - taken == {
        "input_skip.weight", "cells.0.wide.conv.weight", "cells.0.residual.conv2.weight",
    }  # fmt: skip
    assert all(name.endswith(".weight") for name in taken)
    muon, adam = make(Supernet(SPEC), settings(optimizer="muon", lr=5e-3, adam_lr=1e-3))
    assert (muon.param_groups[0]["peak_lr"], adam.param_groups[0]["peak_lr"]) == (5e-3, 1e-3)
    assert len(muon.param_groups[0]["params"]) == len(taken)
    assert len(adam.param_groups[0]["params"]) == len(named) - len(taken)


def test_a_step_has_the_size_that_the_rate_says_whatever_the_gradient() -> None:
    for size in (1e-6, 1.0):
        weight = nn.Parameter(torch.zeros(16, 16, 3, 3))
        weight.grad = size * random(16, 16, 3, 3)
        Muon([weight], 0.01).step()
        assert weight.pow(2).mean().sqrt().item() == pytest.approx(0.2 * 0.01, rel=0.25)
        assert (weight * weight.grad).sum() < 0, "it goes downhill"


def test_masked_weights_stay_as_they_are() -> None:
    network = Network(extract(tiny.supernet(2), from_text("x2c16_wb50b50b50_wc50dd")))
    before = {name: p.detach().clone() for name, p in network.named_parameters()}
    optimizers = make(network, settings(optimizer="muon", lr=0.01))
    for _ in range(2):
        network.zero_grad()
        network.upscale(random(1, 3, 8, 8).sigmoid()).square().mean().backward()
        for optimizer in optimizers:
            optimizer.step()
    masked = {name.removesuffix(".mask"): mask for name, mask in network.named_buffers()}
    assert masked
    for name, mask in masked.items():
        moved = network.get_parameter(f"{name}.weight") != before[f"{name}.weight"]
        assert not moved[mask == 0].any(), name
        assert moved[mask != 0].any(), name
