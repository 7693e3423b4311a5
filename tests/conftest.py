"""Fixtures and helpers that several test files share."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from sr_core.catalogue.store import Catalogue
from sr_core.engine.library import Library
from sr_core.network.blocks import BLOCKS, Scheme
from sr_core.network.candidate import (
    MAX_RATIO,
    PATTERN_MIN_RATIO,
    SCALES,
    TAIL_SCHEMES,
    WIDTHS,
    Candidate,
    Cell,
    LayerPruning,
)
from sr_core.network.colour import CHANNELS
from sr_core.network.weights import SupernetSpec
from tests import needs, tiny

settings.register_profile("upfront", deadline=None, derandomize=True)
settings.load_profile("upfront")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what was skipped, and how to get what it needs."""
    if lines := list(needs.summary(terminalreporter.stats.get("skipped", []))):
        terminalreporter.section("skipped: number of tests, what is lacking, how to get it")
        for line in lines:
            terminalreporter.line(line)


@pytest.fixture(scope="session", autouse=True)
def _no_user_data(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:  # pyright: ignore[reportUnusedFunction]
    """Nothing reads or writes the data folder of whoever runs the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UPFRONT_DATA", str(tmp_path_factory.mktemp("user-data")))
        yield


@pytest.fixture
def user_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An own, empty data folder, for tests that write into it."""
    monkeypatch.setenv("UPFRONT_DATA", str(tmp_path / "user-data"))
    return tmp_path / "user-data"


@pytest.fixture
def full(monkeypatch: pytest.MonkeyPatch) -> set[Path]:
    """Paths to and below which nothing can be written: their disks are full."""
    places, replace = set[Path](), Path.replace

    def unless_full(self: Path, target: Path) -> Path:
        if any(target.is_relative_to(place) for place in places):
            raise OSError(errno.ENOSPC, "No space left on device", str(target))
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", unless_full)
    return places


@pytest.fixture(scope="session")
def library() -> Library:
    """The shipped sparse engine for this computer."""
    return needs.engine(Catalogue())


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of benchmark and training images; mark its users with `shared`."""
    beside = Path(__file__).resolve().parents[2] / "shared"
    folder = Path(os.environ.get("UPFRONT_SHARED", beside)) / "data"
    if not folder.is_dir():
        needs.lacking(needs.IMAGES)
    return folder


def random_weights(spec: SupernetSpec, rng: np.random.Generator) -> dict[str, NDArray[np.float32]]:
    """Supernet tensors as they are stored: `<layer>.weight` and `<layer>.bias`."""
    tensors: dict[str, NDArray[np.float32]] = {}
    for name, shape in spec.weight_shapes().items():
        tensors[f"{name}.weight"] = rng.standard_normal(shape, dtype=np.float32)
        tensors[f"{name}.bias"] = rng.standard_normal(shape[0], dtype=np.float32)
    return tensors


def prunings(schemes: tuple[Scheme, ...]) -> st.SearchStrategy[LayerPruning]:
    """A scheme of `schemes` with any ratio it takes."""

    def of(scheme: Scheme) -> st.SearchStrategy[LayerPruning]:
        lowest = PATTERN_MIN_RATIO if scheme == "pattern" else 0.0
        return st.builds(LayerPruning, st.just(scheme), st.floats(lowest, MAX_RATIO))

    return st.sampled_from(schemes).flatmap(of)


@st.composite
def cells(draw: st.DrawFn) -> Cell:
    block = draw(st.sampled_from(list(BLOCKS.values())))
    return Cell(block.name, tuple(draw(prunings(conv.schemes)) for conv in block.convs))


def candidates() -> st.SearchStrategy[Candidate]:
    """Any candidate of 1 to 4 cells."""
    return st.builds(
        Candidate,
        scale=st.sampled_from(SCALES),
        width=st.sampled_from(WIDTHS),
        cells=st.lists(cells(), min_size=1, max_size=4).map(tuple),
        tail=prunings(TAIL_SCHEMES),
        input_skip=prunings(TAIL_SCHEMES),
        colour=st.sampled_from(list(CHANNELS)),
    )


@pytest.fixture(scope="session")
def tiny_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A complete precomputed folder with tiny random supernets; only to be read."""
    root = tmp_path_factory.mktemp("precomputed")
    tiny.write_root(root)
    return root


@pytest.fixture
def own_root(tiny_root: Path, tmp_path: Path) -> Path:
    """A copy of `tiny_root` to change or damage."""
    return shutil.copytree(tiny_root, tmp_path / "precomputed")


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`train` and `val` folders of drawn images; only to be read."""
    return tiny.save_photos(tmp_path_factory.mktemp("photos"))


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Torch on one thread: networks as small as ours only lose time between threads."""
    torch = pytest.importorskip("torch")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
