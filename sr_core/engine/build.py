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


_X86_64_V3 = frozenset({"avx2", "fma", "bmi1", "bmi2", "f16c", "movbe", "abm"})
_X86_64_V4 = _X86_64_V3 | {f"avx512{part}" for part in ("f", "bw", "cd", "dq", "vl")}
TARGETS = (  # the best first
    Target("linux-x86_64-avx512", "x86_64-linux-gnu", "x86_64_v4", "x86_64", _X86_64_V4),
    Target("linux-x86_64-avx2", "x86_64-linux-gnu", "x86_64_v3", "x86_64", _X86_64_V3),
    Target("linux-aarch64", "aarch64-linux-gnu", "generic", "aarch64"),
)


def target_here() -> Target:
    """Return the best target for this computer. Raises `EngineError` if none is shipped for it."""
    system, machine = platform.system(), platform.machine()
    fitting = [t for t in TARGETS if system == "Linux" and machine == t.machine]
    for target in fitting:
        if target.needs <= cpu_flags():
            return target
    lacking = " without AVX2" if fitting else ""
    raise EngineError(
        f"No engine is shipped for {system} on {machine}{lacking}: `python -m sr_core engine "
        "build` makes one, if a C compiler or zig is installed."
    )


def file_name(target: Target) -> str:
    """Return the file name of a shipped library."""
    return f"upfront-{target.name}.so"


def own_path() -> Path:
    """Return the path of the library that is built here. Its name changes with kernel.c."""
    return user_data() / "engine" / f"upfront-{sha256(SOURCE)[:12]}.so"


def build_shipped(folder: Path) -> list[Path]:
    """Compile every target into `folder`, and return the paths.

    Raises `EngineError` unless the pinned zig is installed.
    """
    if (installed := _ziglang()) != ZIG:
        raise EngineError(
            f"Shipped libraries are built by ziglang {ZIG}, found {installed or 'none'}: "
            "`pip install -r requirements-dev.txt`."
        )
    paths: list[Path] = []
    for target in TARGETS:
        options = ("-target", target.triple, f"-mcpu={target.cpu}", *FLAGS, *_FREESTANDING)
        paths.append(folder / file_name(target))
        write_atomic(paths[-1], compiled((*zig(), *options)))
    return paths


def build_here() -> Path:
    """Compile for this computer, with zig or the system's C compiler, and return the path."""
    # Compilers for Arm know the instruction set by the processor's name only.
    native = "-mcpu=native" if platform.machine() in ("aarch64", "arm64") else "-march=native"
    faults: list[str] = []
    for compiler in compilers():
        try:
            data = compiled((*compiler, native, *FLAGS))
        except EngineError as error:
            faults.append(str(error))
            continue
        write_atomic(own_path(), data)
        return own_path()
    raise EngineError(
        " ".join(faults)
        or "No C compiler was found: install gcc or clang, or `pip install ziglang`."
    )


def compilers() -> list[tuple[str, ...]]:
    """List the compilers found here, the best first: the first words of their commands."""
    zigs = [zig()] if _ziglang() or shutil.which("zig") else []
    return zigs + [(name,) for name in ("cc", "clang", "gcc") if shutil.which(name)]


def _ziglang() -> str:
    """Return the version of the Python package `ziglang`, empty if it is not installed."""
    try:
        return version("ziglang")
    except PackageNotFoundError:
        return ""


def zig() -> tuple[str, ...]:
    """Return the first words of zig's command for C, preferring the Python package's zig."""
    return (sys.executable, "-m", "ziglang", "cc") if _ziglang() else ("zig", "cc")


def compiled(command: tuple[str, ...], source: Path = SOURCE) -> bytes:
    """Return the library that a compiler's command line makes of the source."""
    name = "zig" if "ziglang" in command else command[0]
    with tempfile.TemporaryDirectory() as folder:
        # A relative name, and no name of the output, so that no path gets into the bytes.
        out = Path(folder) / "kernel.so"
        shutil.copy(source, folder)
        try:
            process = subprocess.run(
                [*command, source.name, "-o", out.name], cwd=folder, capture_output=True, text=True,
                timeout=_BUILD_SECONDS, check=False,
            )  # fmt: skip
        except (OSError, subprocess.TimeoutExpired) as error:
            raise EngineError(f"{name} cannot compile the kernel ({error}).") from None
        if process.returncode:
            lines = process.stderr.strip().splitlines()
            errors = [line for line in lines if "error" in line] or lines
            reason = errors[0] if errors else f"exit code {process.returncode}"
            raise EngineError(f"{name} cannot compile the kernel ({reason}).")
        return out.read_bytes()
