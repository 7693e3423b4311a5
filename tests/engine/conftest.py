"""Which library the engine's tests run."""

from __future__ import annotations

import ctypes
import os
import weakref
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from sr_core.engine import library as library_module
from sr_core.engine import session as session_module
from sr_core.engine.build import (
    FLAGS,
    TARGETS,
    build_here,
    compiled,
    file_name,
    target_here,
    zig,
)
from sr_core.engine.library import Bytes, Library
from sr_core.errors import EngineError
from sr_core.files import PRECOMPUTED
from tests.needs import COMPILER, SHIPPED_ENGINE, ZIGLANG, lacking

OWN = "UPFRONT_TEST_ENGINE"
"""Path of another library to test, such as a build with sanitizers."""
SHIPPED = PRECOMPUTED / "engine"


@pytest.fixture(scope="session")
def library() -> Library:
    """The best library for this computer, or the one in $UPFRONT_TEST_ENGINE."""
    if own := os.environ.get(OWN):
        return Library(Path(own))
    try:
        target = target_here()
    except EngineError:  # none is shipped for it
        try:
            return Library(build_here())
        except EngineError as error:
            lacking(COMPILER, error)
    return Library(SHIPPED / file_name(target))


@pytest.fixture(scope="session", params=["avx2", "four lanes"])
def other_library(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Library:
    """Libraries that are not the best for this computer, but run on it.

    `four lanes`: vectors as short as Arm's, compiled for the processor at hand.
    """
    if os.environ.get(OWN):
        pytest.skip(f"{OWN} names the one library to test")
    try:
        here = target_here()
    except EngineError as error:
        lacking(SHIPPED_ENGINE, error)
    avx2 = next(target for target in TARGETS if target.name.endswith("avx2"))
    if here.machine != avx2.machine:
        pytest.skip("the shipped engine is the only one for this processor")
    if request.param == "avx2":
        return Library(SHIPPED / file_name(avx2))
    path = tmp_path_factory.mktemp("engine") / "four-lanes.so"
    try:
        path.write_bytes(compiled((*zig(), "-target", avx2.triple, "-mcpu=x86_64", *FLAGS)))
    except EngineError as error:
        lacking(ZIGLANG, error)
    return Library(path)


@pytest.fixture(scope="session", autouse=True)
def _exact_memory() -> Iterator[None]:  # pyright: ignore[reportUnusedFunction]
    """For sanitizers: memory that ends where it should, so that they see what goes beyond."""
    with pytest.MonkeyPatch.context() as patch:
        if os.environ.get(OWN):
            patch.setattr(library_module, "aligned_bytes", _aligned)
            patch.setattr(session_module, "aligned_bytes", _aligned)
        yield


def _aligned(size: int) -> Bytes:
    c, pointer = ctypes.CDLL(None), ctypes.c_void_p()
    if c.posix_memalign(ctypes.byref(pointer), 64, ctypes.c_size_t(size)) or not pointer.value:
        raise MemoryError
    memory = (ctypes.c_uint8 * size).from_address(pointer.value)
    weakref.finalize(memory, c.free, pointer)
    return np.ctypeslib.as_array(memory)
