"""Which runtime computes a network, and what it is called: the sparse engine or ONNX Runtime."""

from __future__ import annotations

import argparse
import platform
import sys
from importlib.metadata import PackageNotFoundError, version

from sr_core.engine.library import Library
from sr_core.engine.pack import VERSION
from sr_core.files import sha256

_INSTRUCTIONS = {16: "AVX-512", 8: "AVX2"}
_DIGITS = 8


def runtime_name(library: Library | None) -> str:
    """Return the short name: "UpFront engine, AVX-512" or "ONNX Runtime 1.31.1".

    Without a library it is ONNX Runtime.
    """
    if library is None:
        return _onnx()
    return f"UpFront engine, {instructions(library)}"


def runtime_version(library: Library | None) -> str:
    """Return the name with all that timings depend on.

    Another text means that timings are of another runtime ("UpFront engine 1, AVX-512, library
    1a2b3c4d").
    """
    if library is None:
        return _onnx()
    digest = sha256(library.path)[:_DIGITS]
    return f"UpFront engine {VERSION}, {instructions(library)}, library {digest}"


def instructions(library: Library) -> str:
    """Return the name of the instruction set that a library uses."""
    arm = platform.machine() in {"aarch64", "arm64"}
    return _INSTRUCTIONS.get(library.lanes, "NEON" if arm else "128-bit vectors")


def _onnx() -> str:
    try:
        return f"ONNX Runtime {version('onnxruntime')}"
    except PackageNotFoundError:  # a build under another name (onnxruntime-gpu, say)
        return "ONNX Runtime"


def add_engine_option(parser: argparse.ArgumentParser) -> None:
    """Add the option `--engine`, which every command has that runs networks."""
    parser.add_argument(
        "--engine", choices=("sparse", "onnx"), default="sparse",
        help="the sparse engine (default), or ONNX Runtime",
    )  # fmt: skip


def engine_or_none(engine: str, library: Library | None, problem: str) -> Library | None:
    """Return the library for what `--engine` says. None is ONNX Runtime, also as fallback.

    `problem` says why there is no library. It becomes a warning on standard error.
    """
    if engine == "onnx":
        return None
    if library is None:
        sys.stderr.write(f"warning: ONNX Runtime computes instead. {problem}\n")
    return library
