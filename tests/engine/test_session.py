"""Sessions: batches, buffers of the caller, threads, and arrays that are refused."""

from __future__ import annotations

import platform
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from sr_core.engine.library import Library
from sr_core.engine.session import Session
from sr_core.errors import EngineError
from sr_core.network import chroma
from sr_core.network.candidate import uniform
from tests.engine.networks import TOLERANCE, Images, Reference, images, network

NETWORK = network(
    uniform(scale=2, width=16, blocks=("wide", "residual"), scheme="block", ratio=0.5)
)


@pytest.fixture(scope="module")
def session(library: Library) -> Session:
    return Session(NETWORK, library, threads=2)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_batch_is_its_images_one_by_one(library: Library, threads: int) -> None:
    session, lr = Session(NETWORK, library, threads=threads), images(9, 21, count=3)
    result = session.run(lr)
    assert np.abs(result - Reference(NETWORK).run(lr)).max() <= TOLERANCE
    for image, expected in zip(lr, result, strict=True):
        assert np.array_equal(session.run(image[None])[0], expected)


def test_concurrent_runs_of_many_sizes(session: Session) -> None:
    """More sizes than the session keeps layouts for, from more threads than it has."""
    inputs = [images(3 + i, 5 + 9 * i, seed=i) for i in range(7)]
    expected = [session.run(lr) for lr in inputs]
    order = [i % len(inputs) for i in range(70)]
    with ThreadPoolExecutor(5) as pool:
        results = pool.map(session.run, [inputs[i] for i in order])
        for i, result in zip(order, results, strict=True):
            assert np.array_equal(result, expected[i])


def test_zero_threads_are_one_per_core(library: Library) -> None:
    lr = images(5, 6)
    session = Session(NETWORK, library)
    assert session.threads >= 1
    assert np.array_equal(session.run(lr), Session(NETWORK, library, threads=1).run(lr))


def test_writes_into_the_callers_array(session: Session) -> None:
    lr = images(4, 6)
    out = np.full((1, 3, 8, 12), np.nan, dtype=np.float32)
    assert session.run(lr, out) is out
    assert np.array_equal(out, session.run(lr))


def test_writes_bytes_into_the_callers_array(session: Session) -> None:
    lr = images(4, 6, count=2)
    out = np.full((2, 8, 12, 3), 7, dtype=np.uint8)
    assert session.run_bytes(lr, out) is out
    assert np.array_equal(out, session.run_bytes(lr))
    with pytest.raises(EngineError, match=r"expected .* uint8 \(1, 8, 12, 3\)"):
        session.run_bytes(lr[:1], out)
    with pytest.raises(EngineError, match=r"expected .* uint8"):
        session.run_bytes(lr, out.astype(np.int8))  # pyright: ignore[reportArgumentType]


def test_a_session_of_a_plane_takes_no_rgb(library: Library) -> None:
    net = network(uniform(scale=2, width=8, blocks=("wide",), colour="luma"))
    plane, colours = Session(net, library), Session(net, library, rgb=True)
    assert (plane.channels, colours.channels) == (1, 3)
    with pytest.raises(EngineError, match=r"expected float32 \(N, 1, H, W\)"):
        plane.run(images(4, 4))
    with pytest.raises(EngineError, match=r"expected float32 \(N, 3, H, W\)"):
        colours.run(images(4, 4, channels=1))


def test_strided_input(session: Session) -> None:
    """A crop, columns backwards: no contiguous array."""
    lr = images(12, 20)[:, :, 2:9, ::-2]
    assert np.array_equal(session.run(lr), session.run(lr.copy()))


@pytest.mark.parametrize(
    "lr",
    [
        np.zeros((3, 4, 4), dtype=np.float32),
        np.zeros((1, 4, 4, 4), dtype=np.float32),
        np.zeros((1, 3, 4, 4), dtype=np.float64),
        np.zeros((1, 3, 4, 4), dtype=">f4"),
        np.zeros((1, 3, 0, 4), dtype=np.float32),
        np.zeros((0, 3, 4, 4), dtype=np.float32),
    ],
    ids=lambda lr: f"{lr.shape}-{lr.dtype.str}",
)
def test_refuses_other_inputs(session: Session, lr: Images) -> None:
    with pytest.raises(EngineError, match=r"^Got an input of shape .* expected float32 \(N, 3, H"):
        session.run(lr)


def read_only() -> Images:
    out = np.zeros((1, 3, 8, 8), dtype=np.float32)
    out.flags.writeable = False
    return out


def misaligned() -> Images:
    raw = np.zeros(1 * 3 * 8 * 8 * 4 + 1, dtype=np.uint8)
    return raw[1:].view(np.float32).reshape(1, 3, 8, 8)


@pytest.mark.parametrize(
    "out",
    [
        np.zeros((1, 3, 8, 9), dtype=np.float32),
        np.zeros((1, 3, 8, 8), dtype=np.float64),
        np.zeros((1, 3, 8, 16), dtype=np.float32)[..., ::2],
        read_only(),
        misaligned(),
    ],
    ids=["shape", "type", "strided", "read-only", "misaligned"],
)
def test_refuses_other_outputs(session: Session, out: Images) -> None:
    with pytest.raises(EngineError, match=r"^Got an output of .* expected .* float32"):
        session.run(images(4, 4), out)


def test_misaligned_input(session: Session) -> None:
    lr = misaligned()
    lr[:] = images(8, 8)
    assert np.array_equal(session.run(lr), session.run(images(8, 8)))


def test_refuses_an_image_too_wide(session: Session) -> None:
    lr = np.broadcast_to(np.float32(0.5), (1, 3, 1, (1 << 20) + 1))
    with pytest.raises(EngineError, match="The engine refuses the image: the tile is out of range"):
        session.run(lr)


def test_a_timed_run_is_the_same_and_fills_the_clock(library: Library) -> None:
    """Of each operation; on a processor without such a clock all stay 0."""
    net = network(uniform(scale=2, width=8, blocks=("wide",), colour="luma"))
    session, lr = Session(net, library, threads=2, rgb=True), images(20, 70, count=2)
    kinds = [part.kind for part in session.parts]
    assert kinds == [
        "read", "head", "1x1", "1x1", "3x3", "read", "input skip", "chroma", "tail", "write",
    ]  # fmt: skip
    assert sum(part.weights for part in session.parts) == sum(
        int(layer.mask.sum()) for layer in (*net.layers, chroma.chroma(2))
    )
    ticks = np.zeros(len(kinds), dtype=np.int64)
    assert np.array_equal(session.run_timed(lr, ticks), session.run(lr))
    assert (ticks > 0).all() or platform.machine() not in {"x86_64", "aarch64"}
