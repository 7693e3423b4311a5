"""Adam for all parameters, or Muon for the convolutions and Adam for the rest."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from sr_core.network.blocks import BLOCKS
from sr_core.training.settings import RunArgs

MOMENTUM = 0.95
_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Of the Newton-Schulz iteration, by K. Jordan: https://kellerjordan.github.io/posts/muon."""
_ITERATIONS = 5
_RMS = 0.2
"""Of a step's elements, at a rate of 1: about that of Adam's (Moonlight, arXiv 2502.16982)."""


def make(module: nn.Module, args: RunArgs) -> list[torch.optim.Optimizer]:
    """Return the optimizers of a run. Each group of parameters has its `peak_lr`."""
    # beta2 = 0.99: with 0.999, wide cells diverged at rates where this stays stable.
    betas = (0.9, 0.99)
    if args.optimizer == "adam":
        made = [torch.optim.Adam(module.parameters(), args.lr, betas=betas, fused=True)]
        return _with_peaks(made)
    named = dict(module.named_parameters())
    matrices = [p for name, p in named.items() if takes_muon(name, p)]
    others = [p for name, p in named.items() if not takes_muon(name, p)]
    adam = torch.optim.Adam(others, args.adam_lr, betas=betas, fused=True)
    return _with_peaks([Muon(matrices, args.lr), adam] if matrices else [adam])


def _with_peaks(made: Iterable[torch.optim.Optimizer]) -> list[torch.optim.Optimizer]:
    optimizers = list(made)
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["peak_lr"] = group["lr"]
    return optimizers


def takes_muon(name: str, parameter: Tensor) -> bool:
    """Tell whether Muon trains a parameter: a convolution's weight, with two exceptions.

    The input skip starts as bicubic interpolation and stays near it. The last convolution of a
    cell starts near zero, where a step of a fixed size would be large.
    """
    last = tuple(
        f".{block}.{kind.convs[-1].name}.weight" for block, kind in BLOCKS.items() if kind.convs
    )
    return parameter.ndim == 4 and not name.endswith(("input_skip.weight", *last))


class Muon(torch.optim.Optimizer):
    """Momentum, made orthogonal: each step moves a weight alike in all directions.

    A convolution's weight (out, in, k, k) is a matrix (out, in k k). `torch.optim.Muon` takes
    matrices only. What never had a gradient stays as it is: masked weights.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], lr: float) -> None:
        super().__init__(parameters, {"lr": lr})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Move all parameters that have a gradient."""
        assert closure is None
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._move(parameter, parameter.grad, group["lr"])

    def _move(self, parameter: Tensor, gradient: Tensor, rate: float) -> None:
        state: dict[str, Any] = self.state[parameter]
        if "momentum" not in state:
            state["momentum"] = torch.zeros_like(parameter)
        momentum = state["momentum"].lerp_(gradient, 1 - MOMENTUM)
        ahead = gradient.lerp(momentum, MOMENTUM)  # Nesterov's
        direction = orthogonal(ahead.flatten(1)).view_as(parameter) * (momentum != 0)
        rows = parameter.shape[0]
        scale = _RMS * math.sqrt(max(rows, parameter.numel() // rows))
        parameter.add_(direction, alpha=-rate * scale)


def orthogonal(matrix: Tensor) -> Tensor:
    """Return about the nearest matrix whose singular values are all 1 (0.7 to 1.2, in fact).

    Directions that the matrix does not have stay out.
    """
    x = matrix / (matrix.norm() + 1e-12)
    is_tall = x.shape[0] > x.shape[1]
    if is_tall:
        x = x.T
    a, b, c = _COEFFICIENTS
    for _ in range(_ITERATIONS):
        square = x @ x.T
        x = a * x + (b * square + c * square @ square) @ x
    return x.T if is_tall else x
