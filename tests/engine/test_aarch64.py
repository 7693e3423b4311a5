"""The shipped library for 64-bit Arm, run by an emulator: results, not speed.

A small C program (driver.c) loads it; zig compiles that, QEMU runs it, with Debian's C library
for Arm.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from sr_core.engine.build import TARGETS, file_name, zig
from sr_core.engine.pack import pack
from sr_core.network.blocks import Scheme
from sr_core.network.candidate import Candidate, uniform
from sr_core.network.colour import RGB
from tests.engine.conftest import SHIPPED
from tests.engine.networks import (
    TOLERANCE,
    Images,
    Reference,
    images,
    network,
    rounded_by_numpy,
)
from tests.needs import ARM_LIBC, QEMU, ZIGLANG, lacking
from tests.waiting import PATIENCE_S

TARGET = next(target for target in TARGETS if target.machine == "aarch64")
EMULATOR, C_LIBRARY = "qemu-aarch64-static", Path("/usr/aarch64-linux-gnu")
"""Debian's packages qemu-user-static and libc6-arm64-cross."""
GLIBC = "2.31"
"""The driver asks for no newer one."""
SIZES = ((1, 1), (1, 17), (5, 3), (13, 66))


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """driver.c, compiled."""
    if shutil.which(EMULATOR) is None:
        lacking(QEMU)
    if not (C_LIBRARY / "lib").is_dir():
        lacking(ARM_LIBC)
    path = tmp_path_factory.mktemp("aarch64") / "driver"
    source = Path(__file__).with_name("driver.c")
    options = ("-target", f"{TARGET.triple}.{GLIBC}", "-std=c11", "-O1", "-Wall", "-Wextra")
    try:
        done = subprocess.run(
            [*zig(), *options, source, "-o", path], capture_output=True, text=True, check=False
        )
    except OSError as error:
        lacking(ZIGLANG, error)
    assert done.returncode == 0, done.stderr
    return path


def emulated(
    driver: Path, candidate: Candidate, lr: Images, tile: tuple[int, int]
) -> tuple[Images, NDArray[np.uint8]]:
    """What the library makes of an image (C, H, W), in tiles of rows x columns; rounded as well."""
    folder, (planes, height, width) = driver.parent, lr.shape
    blob = pack(network(candidate), rgb=planes == RGB).blob
    (folder / "blob").write_bytes(blob)
    (folder / "image").write_bytes(lr.tobytes())
    library = SHIPPED / file_name(TARGET)
    files = [folder / name for name in ("blob", "image", "result")]
    sizes = [str(size) for size in (candidate.scale, planes, height, width, *tile)]
    command = [EMULATOR, "-L", C_LIBRARY, driver, library, *files, *sizes]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert done.returncode == 0, done.stderr
    data, scale = (folder / "result").read_bytes(), candidate.scale
    count = lr.size * scale**2
    result = np.frombuffer(data, np.float32, count).reshape(planes, scale * height, scale * width)
    rows, columns = result.shape[1:]
    return result, np.frombuffer(data, np.uint8, offset=4 * count).reshape(rows, columns, planes)


def equal(driver: Path, candidate: Candidate, planes: int = RGB) -> None:
    """To ONNX Runtime; and tiles change no bit, nor does rounding in the engine."""
    reference = Reference(network(candidate), rgb=planes == RGB)
    for height, width in SIZES:
        lr = images(height, width, channels=planes)
        whole, pixels = emulated(driver, candidate, lr[0], (height, width))
        assert np.abs(whole - reference.run(lr)[0]).max() <= TOLERANCE
        assert np.array_equal(pixels, rounded_by_numpy(whole).transpose(1, 2, 0))
    lr = images(*SIZES[-1], channels=planes)[0]
    whole, tiled = (emulated(driver, candidate, lr, tile) for tile in (SIZES[-1], (2, 5)))
    assert all(np.array_equal(one, other) for one, other in zip(whole, tiled, strict=True))


@pytest.mark.parametrize("scheme", ["dense", "channel", "block", "pattern", "unstructured"])
@pytest.mark.parametrize("scale", [2, 4])
def test_equals_onnx_runtime(driver: Path, scheme: Scheme, scale: int) -> None:
    blocks = ("wide", "residual")
    equal(driver, uniform(scale=scale, width=16, blocks=blocks, scheme=scheme, ratio=0.7,
                          prune_tail=True))  # fmt: skip


@pytest.mark.parametrize("planes", [1, RGB])
@pytest.mark.parametrize("scale", [2, 4])
def test_luma_networks_equal_onnx_runtime(driver: Path, scale: int, planes: int) -> None:
    equal(driver, uniform(scale=scale, width=8, blocks=("residual",), colour="luma"), planes)
