"""Which precision is taken, on every kind of hardware: the hardware is made up here."""

from __future__ import annotations

from typing import NoReturn

import pytest

pytest.importorskip("torch")
import torch

from sr_core.training import precision
from sr_core.training.precision import Choice, choose, device, native_bf16, times_ms

CPU, CUDA, MPS = (torch.device(name) for name in ("cpu", "cuda", "mps"))


def never(half: bool) -> NoReturn:
    raise AssertionError("nothing had to be tried")


class Clock:
    """A clock that each step moves on by its milliseconds, the first ones by ten times as many."""

    def __init__(self, fp32_ms: float, bf16_ms: float) -> None:
        self.now_s, self.steps = 0.0, list[bool]()
        self._ms = {False: fp32_ms, True: bf16_ms}

    def step(self, half: bool) -> None:
        first = half not in self.steps
        self.steps.append(half)
        self.now_s += self._ms[half] / 1e3 * (10 if first else 1)

    def __call__(self) -> float:
        return self.now_s


def flags(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr(precision, "cpu_flags", lambda: frozenset(text.split()))


@pytest.mark.parametrize(
    ("text", "native"),
    [
        ("fpu sse2 avx2 fma", False),
        ("fpu sse2 avx2 avx512f avx512_bf16", True),
        ("fpu sse2 avx2 avx512f amx_tile amx_bf16", True),
        ("fpu sse2 avx2 avx512f avx512bw", None),
        ("fp asimd fphp asimdhp", False),
        ("fp asimd i8mm bf16", True),
        ("fp asimd sve svebf16", True),
        ("", None),
        ("altivec vsx", None),
    ],
)
def test_processors(monkeypatch: pytest.MonkeyPatch, text: str, native: bool | None) -> None:
    flags(monkeypatch, text)
    assert native_bf16(CPU)[0] is native
    if native is not None:
        taken = choose("auto", CPU, never).taken
        assert taken == ("bf16" if native else "fp32")


@pytest.mark.parametrize("native", [True, False])
def test_cuda_is_asked_without_emulation(monkeypatch: pytest.MonkeyPatch, native: bool) -> None:
    def supported(including_emulation: bool = True) -> bool:
        return including_emulation or native

    monkeypatch.setattr(torch.cuda, "is_bf16_supported", supported)
    assert choose("auto", CUDA, never).taken == ("bf16" if native else "fp32")


@pytest.mark.parametrize(
    ("fp32_ms", "bf16_ms", "taken"),
    [(40, 20, "bf16"), (20, 40, "fp32"), (40, 39, "fp32"), (40, 37, "bf16")],
)
@pytest.mark.parametrize("where", [CPU, MPS], ids=str)
def test_a_trial_decides_where_nothing_is_known(
    monkeypatch: pytest.MonkeyPatch, where: torch.device, fp32_ms: float, bf16_ms: float, taken: str
) -> None:
    flags(monkeypatch, "")
    clock = Clock(fp32_ms, bf16_ms)
    choice = choose("auto", where, clock.step, clock)
    assert choice.taken == taken
    assert f"a trial: {fp32_ms} ms in fp32, {bf16_ms} ms in bf16" in choice.reason
    assert clock.steps == [False, True] * 4


def test_a_trial_in_which_bf16_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(half: bool) -> None:
        if half:
            raise TypeError("BFloat16 is not supported on MPS\nmore")

    choice = choose("auto", MPS, fail)
    assert choice.taken == "fp32"
    assert choice.reason.endswith("a trial failed: BFloat16 is not supported on MPS")


def test_what_is_asked_for_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    flags(monkeypatch, "sse2")
    assert choose("bf16", CPU, never) == Choice("bf16", "as asked")
    assert choose("fp32", MPS, never) == Choice("fp32", "as asked")


def test_first_runs_do_not_count() -> None:
    clock = Clock(3, 5)
    assert times_ms(clock.step, 2, clock) == {
        "fp32": pytest.approx([3, 3]), "bf16": pytest.approx([5, 5]),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("cuda", "mps", "expected"),
    [
        (True, True, CUDA),
        (True, False, CUDA),
        (False, True, MPS),
        (False, False, CPU),
    ],
)
def test_the_best_device_is_taken(
    monkeypatch: pytest.MonkeyPatch, cuda: bool, mps: bool, expected: torch.device
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    assert device() == expected


@pytest.mark.parametrize(
    ("where", "name", "layout"),
    [
        (CPU, "CPU", torch.channels_last),
        (CUDA, "cuda", torch.channels_last),
        (MPS, "Apple GPU (MPS)", torch.contiguous_format),
    ],
    ids=str,
)
def test_each_device_has_a_name_and_a_layout(
    monkeypatch: pytest.MonkeyPatch, where: torch.device, name: str, layout: torch.memory_format
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", str)
    assert precision.device_name(where) == name
    assert precision.image_layout(where) == layout
