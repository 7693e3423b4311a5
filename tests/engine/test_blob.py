"""Packed networks that are damaged or made up: refused with a sentence, and never a crash.

A blob that `sr_check` accepts must be safe to run whatever it computes. A build with sanitizers
(`make sanitize`) shows that it is.
"""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from sr_core.engine import library as module
from sr_core.engine.library import Library, TileArea
from sr_core.engine.pack import MAGIC, VERSION, checksum, pack
from sr_core.errors import EngineError
from sr_core.network.candidate import Candidate, Cell, LayerPruning
from tests.engine.networks import images, network

Words = NDArray[np.uint32]
HEADER = ("magic", "version", "words", "checksum", "scale", "planes", "buffers", "steps", "ops",
          "lists", "groups", "positions", "values")  # fmt: skip
UNCHECKED = 4
"""Words that the checksum does not cover."""
SIZES = (0, 1, 2, 3, 4, 5, 7, 48, 255, 1024, 4096, 1 << 16, 1 << 24, 2**31 - 1)
EXTREMES = np.array([*SIZES, *(-size for size in SIZES[1:]), -(2**31)]).astype(np.uint32)
NEAR = np.array([-2, -1, 1, 2]).astype(np.uint32)
HEIGHT, WIDTH = 6, 70


@pytest.fixture(scope="module", params=["rgb", "luma", "luma in rgb"])
def words(request: pytest.FixtureRequest) -> Words:
    """A small network with groups of four and of one, large and small kernels, and a residual.

    Those that see luma are smaller still.
    """
    lone, shared = LayerPruning("unstructured", 0.95), LayerPruning("block", 0.95)
    cells = (Cell("wide", (shared, shared, shared)), Cell("residual", (lone, lone)))
    candidate = Candidate(2, 16, cells, lone)
    if request.param != "rgb":
        candidate = Candidate(2, 8, cells[1:], lone, lone, "luma")
    blob = pack(network(candidate), rgb=request.param == "luma in rgb").blob
    return np.frombuffer(blob, dtype=np.uint32)


def changed(words: Words, name: str, value: int) -> Words:
    """With another word in the header."""
    words = words.copy()
    words[HEADER.index(name)] = value
    return words


def tables(words: Words) -> int:
    """Words before the biases and weights, whose values no one has to check."""
    return len(words) - int(words[HEADER.index("values")])


def repaired(words: Words) -> bytes:
    """As bytes, with the right length and checksum."""
    words = changed(words, "words", len(words))
    return changed(words, "checksum", checksum(words[UNCHECKED:])).tobytes()


def accepts(library: Library, blob: bytes) -> bool:
    """Whether the library takes a blob; what it takes is run on parts of an image."""
    try:
        memory = library.checked(blob)
    except EngineError:
        return False
    header = memory.view(np.uint32)
    scale, planes = (int(header[HEADER.index(name)]) for name in ("scale", "planes"))
    plan = library.tile_plan(memory, WIDTH)
    arena = module.aligned_bytes(library.arena_bytes(plan))
    arena[:] = 0
    lr = images(HEIGHT, WIDTH, channels=planes)[0]
    sr = np.empty((planes, HEIGHT * scale, WIDTH * scale), dtype=np.float32)
    rounded = np.empty((*sr.shape[1:], planes), dtype=np.uint8)
    for rows, columns in (((0, HEIGHT), (0, WIDTH)), ((1, 3), (5, 9))):
        for out in (sr, rounded):
            library.run(plan, arena, lr, out, TileArea(HEIGHT, WIDTH, *rows, *columns))
    return True


def test_accepts_what_pack_makes(library: Library, words: Words) -> None:
    assert repaired(words) == words.tobytes()
    assert accepts(library, words.tobytes())


@pytest.mark.parametrize(
    ("name", "value", "fault"),
    [
        ("magic", MAGIC + 1, "it does not start like one"),
        ("version", VERSION + 1, "it is of another version"),
        ("words", 12, "its size is wrong"),
        ("checksum", 0, "its checksum is wrong"),
        ("scale", 5, "its header is wrong"),
        ("planes", 2, "its header is wrong"),
        ("groups", 2**31, "its header is wrong"),
    ],
)
def test_says_what_is_wrong_with_the_header(
    library: Library, words: Words, name: str, value: int, fault: str
) -> None:
    with pytest.raises(EngineError, match=rf"^The engine refuses the packed network: {fault}\.$"):
        library.checked(changed(words, name, value).tobytes())


def test_checksum_finds_every_changed_word(library: Library, words: Words) -> None:
    for index in range(UNCHECKED, len(words)):
        damaged = words.copy()
        damaged[index] ^= 1 << index % 32
        with pytest.raises(EngineError):
            library.checked(damaged.tobytes())


def test_refuses_every_beginning(library: Library, words: Words) -> None:
    """Cut short, as it is and with a matching length and checksum; odd lengths; nothing."""
    blob = words.tobytes()
    for end in (*range(60), len(blob) - 1, len(blob) - 3):
        assert not accepts(library, blob[:end])
    for end in range(len(HEADER), len(words)):
        assert not accepts(library, repaired(words[:end]))
    assert not accepts(library, repaired(np.append(words, words[:1])))


def test_any_one_word(library: Library, words: Words) -> None:
    """Each word of the header and tables, with extreme values and with values nearby."""
    count = 0
    for index in range(UNCHECKED, tables(words)):
        for value in {*EXTREMES, *(words[index] + NEAR)}:
            mutant = words.copy()
            mutant[index] = value
            count += accepts(library, repaired(mutant))
    assert count > 500  # a list of positions may well be another one


def test_several_words(library: Library, words: Words, rng: np.random.Generator) -> None:
    """Up to six changes at once: most in the tables of buffers, steps and operations."""
    count, few = 0, tables(words) // 6
    for _ in range(20_000):
        mutant, changes = words.copy(), rng.integers(1, 7)
        at = np.where(
            rng.random(changes) < 0.7,
            rng.integers(UNCHECKED, few, changes),
            rng.integers(UNCHECKED, tables(words), changes),
        )
        values = (mutant[at] + rng.choice(NEAR, changes), rng.choice(EXTREMES, changes),
                  rng.choice(words[:few], changes))  # fmt: skip
        mutant[at] = np.choose(rng.integers(0, len(values), changes), values)
        count += accepts(library, repaired(mutant))
    assert count > 200


@pytest.mark.parametrize("columns", [-1, 0, (1 << 16) + 1, 2**31 - 1])
def test_refuses_other_widths_of_tiles(library: Library, words: Words, columns: int) -> None:
    memory = library.checked(words.tobytes())
    with pytest.raises(EngineError, match=rf"a tile of {columns} columns: the tile is out of"):
        library.tile_plan(memory, columns)


@pytest.mark.parametrize(
    "tile",
    [
        (0, 5, 0, 1, 0, 5), (5, -1, 0, 5, 0, 5), (1 << 21, 5, 0, 5, 0, 5),
        (5, 5, -1, 5, 0, 5), (5, 5, 3, 3, 0, 5), (5, 5, 0, 6, 0, 5),
        (5, 5, 0, 5, -1, 5), (5, 5, 0, 5, 2, 1), (5, 5, 0, 5, 0, 6),
        (5, 2**31 - 1, 0, 5, 0, 2**31 - 1), (5, 21, 0, 5, 0, 21),
    ],
)  # fmt: skip
def test_refuses_tiles_outside_the_image_and_the_plan(
    library: Library, words: Words, tile: tuple[int, ...]
) -> None:
    memory = library.checked(words.tobytes())
    plan = library.tile_plan(memory, 20)
    arena, nothing = module.aligned_bytes(library.arena_bytes(plan)), np.empty(0, dtype=np.float32)
    with pytest.raises(EngineError, match="the tile is out of range"):
        library.run(plan, arena, nothing, nothing, TileArea(*tile))
