"""Compile kernel.c: the shipped libraries with a pinned zig, or one for the computer at hand.

The shipped ones need no C library and hold no path or date, so that the same zig gives the same
bytes everywhere.
"""

from __future__ import annotations

import platform
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from sr_core.errors import EngineError
from sr_core.files import sha256, write_atomic
from sr_core.machine import cpu_flags, user_data

SOURCE = Path(__file__).with_name("kernel.c")
ZIG = "0.17.0"
"""Version of the `ziglang` package that made the shipped libraries (requirements-dev.txt)."""
FLAGS = (
    "-std=c11", "-O3", "-ffp-contract=fast", "-fno-math-errno", "-fPIC", "-shared",
    "-fvisibility=hidden", "-Wall", "-Wextra",
)  # fmt: skip
_FREESTANDING = (
    "-ffreestanding", "-fno-builtin", "-nostdlib", "-g0", "-Werror", "-Wl,--strip-all",
    "-Wl,--build-id=none",
)  # fmt: skip
_BUILD_SECONDS = 300


@dataclass(frozen=True)
class Target:
    """A kind of computer that a library is shipped for."""

    name: str
    triple: str
    cpu: str
    """zig's name of the instruction set."""
    machine: str
    """What `platform.machine` says there."""
    needs: frozenset[str] = frozenset()
    """Processor flags, in Linux's names."""


TARGETS = (  # the best first
    Target(
        "linux-x86_64-avx512", "x86_64-linux-gnu", "x86_64_v4", "x86_64",
        frozenset({"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl", "avx2", "fma"}),
    ),
    Target(
        "linux-x86_64-avx2", "x86_64-linux-gnu", "x86_64_v3", "x86_64",
        frozenset({"avx2", "fma", "bmi1", "bmi2", "f16c", "movbe"}),
    ),
    Target("linux-aarch64", "aarch64-linux-gnu", "generic", "aarch64"),
)  # fmt: skip


def target_here() -> Target:
    """The best target for this computer; `EngineError` if none is shipped for it."""
    system, machine = platform.system(), platform.machine()
    for target in TARGETS:
        fits = system == "Linux" and machine == target.machine
        if fits and target.needs <= cpu_flags():
            return target
    raise EngineError(
        f"No engine is shipped for {system} on {machine} without AVX2: "
        "`python -m sr_core engine build` makes one, if a C compiler or zig is installed."
        if machine == "x86_64"
        else f"No engine is shipped for {system} on {machine}: `python -m sr_core engine build` "
        "makes one, if a C compiler or zig is installed."
    )


def file_name(target: Target) -> str:
    """Of a shipped library."""
    return f"upfront-{target.name}.so"


def own_path() -> Path:
    """Of the library that `engine build` makes here; a changed kernel.c has another one."""
    return user_data() / "engine" / f"upfront-{sha256(SOURCE)[:12]}.so"


def build_shipped(folder: Path) -> list[Path]:
    """Compile every target into `folder`; `EngineError` unless the pinned zig is installed."""
    try:
        found = version("ziglang")
    except PackageNotFoundError:
        found = "none"
    if found != ZIG:
        raise EngineError(
            f"Shipped libraries are built by ziglang {ZIG}, found {found}: "
            "`pip install -r requirements-dev.txt`."
        )
    paths: list[Path] = []
    for target in TARGETS:
        options = ("-target", target.triple, f"-mcpu={target.cpu}", *FLAGS, *_FREESTANDING)
        paths.append(folder / file_name(target))
        write_atomic(paths[-1], _compiled((*_zig(), *options)))
    return paths


def build_here() -> Path:
    """Compile for this computer, with zig or the system's C compiler; returns the library."""
    compilers = [_zig()] if shutil.which("zig") or _has_ziglang() else []
    compilers += [(name,) for name in ("cc", "clang", "gcc") if shutil.which(name)]
    if not compilers:
        raise EngineError(
            "No C compiler was found: install gcc or clang, or `pip install ziglang`."
        )
    faults: list[str] = []
    for compiler in compilers:
        try:
            data = _compiled((*compiler, "-march=native", *FLAGS))
        except EngineError as error:
            faults.append(str(error))
            continue
        write_atomic(own_path(), data)
        return own_path()
    raise EngineError(" ".join(faults))


def _has_ziglang() -> bool:
    try:
        return bool(version("ziglang"))
    except PackageNotFoundError:
        return False


def _zig() -> tuple[str, ...]:
    return (sys.executable, "-m", "ziglang", "cc") if _has_ziglang() else ("zig", "cc")


def _compiled(command: tuple[str, ...]) -> bytes:
    """The library that a compiler's command line makes of the source."""
    with tempfile.TemporaryDirectory() as folder:
        # A relative name, and no name of the output, so that no path gets into the bytes.
        out = Path(folder) / "kernel.so"
        shutil.copy(SOURCE, folder)
        try:
            done = subprocess.run(
                [*command, SOURCE.name, "-o", out.name], cwd=folder, capture_output=True, text=True,
                timeout=_BUILD_SECONDS, check=False,
            )  # fmt: skip
        except (OSError, subprocess.TimeoutExpired) as error:
            raise EngineError(f"{command[0]} cannot compile the kernel ({error}).") from None
        if done.returncode:
            lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
            raise EngineError(f"{command[0]} cannot compile the kernel ({lines[0]}).")
        return out.read_bytes()
