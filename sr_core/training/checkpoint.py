"""Exact resume: network, EMA, optimizers, step, log and history in one safetensors file.

Patches (and the supernet's candidates) are drawn from a generator seeded with (seed, step), so
no generator state needs saving. A module's buffers are saved too: masks, penalties.
The file replaces the previous one atomically.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes
from torch import Tensor, nn

from sr_core.errors import TrainingError
from sr_core.training.optimizers import Muon

NAME = "checkpoint.safetensors"
Log = list[dict[str, float]]
"""One row per validation."""
History = list[dict[str, Any]]
"""One entry per command that led to these weights."""
_ADAM, _MUON = ("exp_avg", "exp_avg_sq", "step"), ("momentum",)
_PLACES = {**dict.fromkeys(_ADAM, "adam"), **dict.fromkeys(_MUON, "muon")}
"""What an optimizer keeps of a parameter, and whose it is."""


def dump(
    net: nn.Module,
    ema: dict[str, Tensor],
    optimizers: Sequence[torch.optim.Optimizer],
    step: int,
    log: Log,
    history: History,
) -> bytes:
    """Return the content of a checkpoint."""
    tensors = {f"net.{name}": p.detach() for name, p in net.named_parameters()}
    tensors |= {f"buffer.{name}": value for name, value in net.named_buffers()}
    tensors |= {f"ema.{name}": value for name, value in ema.items()}
    for name, parameter in net.named_parameters():
        state = _of(parameter, optimizers).state.get(parameter, {})
        tensors |= {f"{_PLACES[key]}.{key}.{name}": value for key, value in state.items()}
    whole = {name: value.contiguous() for name, value in tensors.items()}
    metadata = {"step": str(step), "log": json.dumps(log), "history": json.dumps(history)}
    return to_bytes(whole, metadata)


def load(
    folder: Path,
    net: nn.Module,
    ema: dict[str, Tensor],
    optimizers: Sequence[torch.optim.Optimizer],
) -> tuple[int, Log, History]:
    """Restore a run in place. Returns (step, log, history)."""
    path = folder / NAME
    if not path.is_file():
        raise TrainingError(f"No checkpoint in {folder}: leave out --resume to start a run.")
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            metadata = file.metadata()
        if {n for n in tensors if n.startswith("net.")} != {f"net.{n}" for n in ema}:
            raise ValueError("it has other layers")
        with torch.no_grad():
            for name, buffer in net.named_buffers():
                buffer.copy_(tensors[f"buffer.{name}"])
            for name, parameter in net.named_parameters():
                parameter.copy_(tensors[f"net.{name}"])
                ema[name].copy_(tensors[f"ema.{name}"])
                optimizer = _of(parameter, optimizers)
                keys = _MUON if isinstance(optimizer, Muon) else _ADAM
                optimizer.state[parameter] = {
                    key: _like(tensors[f"{_PLACES[key]}.{key}.{name}"], parameter)
                    for key in keys
                    if f"{_PLACES[key]}.{key}.{name}" in tensors
                }
        return int(metadata["step"]), json.loads(metadata["log"]), json.loads(metadata["history"])
    except (OSError, SafetensorError, KeyError, ValueError, RuntimeError) as error:
        raise TrainingError(
            f"The checkpoint in {folder} does not fit this run ({error}): give the settings it "
            "was made with."
        ) from None


def _of(
    parameter: nn.Parameter, optimizers: Sequence[torch.optim.Optimizer]
) -> torch.optim.Optimizer:
    """Return the optimizer that trains a parameter."""
    groups = ((one, group["params"]) for one in optimizers for group in one.param_groups)
    return next(one for one, parameters in groups if any(p is parameter for p in parameters))


def _like(value: Tensor, parameter: Tensor) -> Tensor:
    """Put a value on the parameter's device. Moments get its memory layout (Adam mixes them)."""
    if value.ndim == 0:
        return value.to(parameter.device)
    return torch.empty_like(parameter).copy_(value)
