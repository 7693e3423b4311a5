"""On what a training runs, and in which precision: the one place that decides it.

In bf16 (autocast) convolutions read and write half the bytes, and hardware that multiplies bf16
does it faster. Other processors emulate it, many times slower than their fp32. Weights, sums of
gradients and the optimizer are fp32 in both.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

import torch
from torch import nn

from sr_core.machine import cpu_flags
from sr_core.training.settings import Precision, TakenPrecision

Step = Callable[[bool], None]
"""Computes the gradients of a batch, in bf16 or not, and returns when they are there."""
TRIAL_RUNS = 3
WORTH_IT = 0.95
"""Share of fp32's time below which a trial takes bf16. Nearly as fast is no reason to round."""
_NATIVE = {"avx512_bf16", "amx_bf16", "bf16", "svebf16"}
"""Flags, in Linux's names, of processors that multiply bf16; the last two are Arm's."""
_ARM, _X86 = "asimd", "sse2"
"""Flags that all 64-bit processors of a kind have."""


@dataclass(frozen=True)
class Choice:
    """The precision of a run."""

    taken: TakenPrecision
    reason: str
    """Why, for the log and the descriptor."""


def device() -> torch.device:
    """Return the CUDA GPU if there is one, else Apple's (MPS), else the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


def device_name(where: torch.device) -> str:
    """Return the name of a device for records."""
    if where.type == "cuda":
        return torch.cuda.get_device_name(where)
    return "Apple GPU (MPS)" if where.type == "mps" else "CPU"


def image_layout(where: torch.device) -> torch.memory_format:
    """Return the order in memory of a batch of images: channels last where that is faster.

    MPS has returned wrong gradients of ReLU for that order (PyTorch issue 107214).
    """
    return torch.contiguous_format if where.type == "mps" else torch.channels_last


def autocast(where: torch.device, half: bool) -> torch.autocast:
    """Return the context for a forward pass: bf16 where it is safe, or plain fp32."""
    return torch.autocast(where.type, dtype=torch.bfloat16, enabled=half)


def choose(
    wanted: Precision,
    where: torch.device,
    step: Step,
    clock: Callable[[], float] = time.perf_counter,
) -> Choice:
    """Decide the precision of a run. `step` is timed only if the hardware does not say enough."""
    if wanted != "auto":
        return Choice(wanted, "as asked")
    native, reason = native_bf16(where)
    if native is None:
        return _by_trial(step, reason, clock)
    return Choice("bf16" if native else "fp32", reason)


def native_bf16(where: torch.device) -> tuple[bool | None, str]:
    """Tell whether the hardware multiplies bf16, None if that is not certain, and how one knows."""
    if where.type == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
        return native, "the GPU computes in bf16" if native else "the GPU has no bf16 of its own"
    if where.type == "mps":
        return None, "Apple's GPU does not tell"
    flags = cpu_flags()
    if native := flags & _NATIVE:
        return True, f"the processor has {', '.join(sorted(native))}"
    if "avx512f" in flags:  # emulated with wide vectors, and half the bytes may make up for that
        return None, "AVX-512 without bf16 may be faster or slower"
    if flags & {_ARM, _X86}:
        return False, "the processor has no bf16 of its own"
    return None, "the processor does not tell"


def wait_for_gradients(net: nn.Module) -> None:
    """Return when the gradients of `net` are computed: a GPU works on after the call."""
    for parameter in net.parameters():
        if parameter.grad is not None:
            parameter.grad.sum().item()


def times_ms(
    step: Step, runs: int, clock: Callable[[], float] = time.perf_counter
) -> dict[TakenPrecision, list[float]]:
    """Time a step in both precisions in turn, in ms, after one of each that does not count."""
    times: dict[TakenPrecision, list[float]] = {"fp32": [], "bf16": []}
    for _ in range(1 + runs):
        for name, of_one in times.items():
            start = clock()
            step(name == "bf16")
            of_one.append((clock() - start) * 1e3)
    return {name: of_one[1:] for name, of_one in times.items()}


def _by_trial(step: Step, doubt: str, clock: Callable[[], float]) -> Choice:
    """Take the faster precision."""
    try:
        times = times_ms(step, TRIAL_RUNS, clock)
    except (RuntimeError, TypeError) as error:  # an older macOS, say
        lines = str(error).splitlines() or ["no reason given"]
        return Choice("fp32", f"{doubt}, and a trial failed: {lines[0]}")
    fp32_ms, bf16_ms = median(times["fp32"]), median(times["bf16"])
    taken = "bf16" if bf16_ms < WORTH_IT * fp32_ms else "fp32"
    return Choice(taken, f"{doubt}; a trial: {fp32_ms:.3g} ms in fp32, {bf16_ms:.3g} ms in bf16")
