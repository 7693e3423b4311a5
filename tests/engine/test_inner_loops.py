"""The compiled inner loops of the shipped libraries: their sums stay in registers.

A compiler that finds no free register writes a sum to the stack and reads it back in every
position. Nothing but the time shows it, so the test reads the machine code.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest
from capstone import (
    CS_ARCH_ARM64,
    CS_ARCH_X86,
    CS_GRP_JUMP,
    CS_MODE_64,
    CS_MODE_LITTLE_ENDIAN,
    Cs,
)

from sr_core.engine.build import TARGETS, Target, compiled, file_name, zig
from sr_core.errors import EngineError
from tests.engine.conftest import SHIPPED
from tests.engine.networks import lacking

_EXECUTABLE, _LOADED = 1, 1
"""Flag and type of a segment in an ELF file."""
_FUSED = ("vfmadd", "fmla", "fmadd")
_MODES = {"x86_64": (CS_ARCH_X86, CS_MODE_64), "aarch64": (CS_ARCH_ARM64, CS_MODE_LITTLE_ENDIAN)}
_STACK_STORE = {
    "x86_64": re.compile(r"v?(mov|push)\w* (\w+ ptr )?\[r[sb]p[^\]]*\],|push"),
    "aarch64": re.compile(r"st\w+ .*\[(sp|x29|fp)\b"),
}
# Spills all its sums: too few registers for them.
_SPILLING = """
typedef float vec __attribute__((vector_size(32)));
void spill(const float *x, const float *w, vec *out, long n) {
    vec sum[20] = {0};
    for (long i = 0; i < n; i++)
        _Pragma("clang loop unroll(full)")
        for (int k = 0; k < 20; k++) sum[k] += ((const vec *)x)[20 * i + k] * w[i];
    for (int k = 0; k < 20; k++) out[k] = sum[k];
}
"""


class Instruction(NamedTuple):
    address: int
    text: str
    target: int | None
    """Of a jump."""


def code_of(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield (address, bytes) of the executable segments of a 64-bit ELF file."""
    (headers,) = struct.unpack_from("<Q", data, 32)
    size, count = struct.unpack_from("<HH", data, 54)
    for i in range(count):
        kind, flags, offset, address, _, length = struct.unpack_from(
            "<IIQQQQ", data, headers + i * size
        )
        if kind == _LOADED and flags & _EXECUTABLE:
            yield address, data[offset : offset + length]


def disassembled(data: bytes, machine: str) -> list[Instruction]:
    disassembler = Cs(*_MODES[machine])
    disassembler.detail = disassembler.skipdata = True
    return [
        Instruction(i.address, f"{i.mnemonic} {i.op_str}", _target(i.op_str, jump=_jumps(i)))
        for address, code in code_of(data)
        for i in disassembler.disasm(code, address)
    ]


def _jumps(instruction: object) -> bool:
    return getattr(instruction, "id", 0) != 0 and CS_GRP_JUMP in getattr(instruction, "groups", ())


def _target(operands: str, *, jump: bool) -> int | None:
    found = re.search(r"#?(0x[0-9a-f]+)$", operands)
    return int(found[1], 16) if jump and found else None


def inner_loops(code: Sequence[Instruction]) -> list[list[str]]:
    """List the loops with multiply-adds that hold no other loop: the texts of instructions."""
    index = {instruction.address: n for n, instruction in enumerate(code)}
    spans = [
        (index[one.target], n)
        for n, one in enumerate(code)
        if one.target is not None and one.target <= one.address and one.target in index
    ]
    innermost = [
        (first, last)
        for first, last in spans
        if not any((first, last) != (a, b) and first <= a and b <= last for a, b in spans)
    ]
    loops = [[one.text for one in code[first : last + 1]] for first, last in innermost]
    return [loop for loop in loops if any(text.startswith(_FUSED) for text in loop)]


def spills(loop: Sequence[str], machine: str) -> list[str]:
    return [text for text in loop if _STACK_STORE[machine].match(text)]


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_no_inner_loop_stores_to_the_stack(target: Target) -> None:
    code = disassembled((SHIPPED / file_name(target)).read_bytes(), target.machine)
    loops = inner_loops(code)
    # Loops of four channels and of one, for each number of vectors, and that of the peak.
    assert len(loops) >= 8
    for loop in loops:
        assert spills(loop, target.machine) == [], "\n".join(loop)


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_a_loop_that_spills_is_seen(machine: str, tmp_path: Path) -> None:
    cpu = {"x86_64": "x86_64_v3", "aarch64": "generic"}[machine]
    source = tmp_path / "spill.c"
    source.write_text(_SPILLING)
    options = (f"-target {machine}-linux-gnu -mcpu={cpu} -O3 -ffp-contract=fast -shared -fPIC "
               "-nostdlib -ffreestanding").split()  # fmt: skip
    try:
        data = compiled((*zig(), *options), source)
    except EngineError as error:
        lacking(str(error))
    loops = inner_loops(disassembled(data, machine))
    assert any(spills(loop, machine) for loop in loops)
