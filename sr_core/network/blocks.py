"""The blocks that a cell may hold: the one place where a block is defined.

A block lists its *operations* in forward order, and its output is added to its input. Cost,
masks, the torch forward, ONNX, the engine, the notation and the page all follow from the list, so
a new block is one entry in `BLOCKS`. A new kind of operation is a class here, and a case in each
`match` over `Operation`: training (`supernet.module`) and what runs trained weights (`fused`).

The paper (arXiv 2108.08910) chooses a block per cell; the menu is UpFront's own.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, TypeAlias

from sr_core.errors import InvalidCandidate
from sr_core.network.checks import brief

Block: TypeAlias = str
"""Name of an entry of `BLOCKS`."""
Scheme = Literal["dense", "channel", "block", "pattern", "unstructured"]
GROUP = 4
"""Output channels that share kept positions (block, pattern), and the step of `channel`."""
SKIP: Block = "skip"
"""The block of a cell that is left out."""
_NO_LETTERS = "ti"
"""Start the tail's and the input skip's parts of the notation."""


@dataclass(frozen=True)
class ConvSpec:
    """A convolution of stride 1, as a function of the network width C."""

    name: str
    kernel: int
    """Side of the square kernel: 1 or 3."""
    out_channels: Callable[[int], int]
    """C -> output channels; always a multiple of `GROUP`."""
    inner: bool
    """True if only the next convolution of the same block reads the output (not the residual
    stream), so that its channels can be removed for good."""

    @property
    def schemes(self) -> tuple[Scheme, ...]:
        """Pruning schemes this layer may take, in menu order."""
        options: list[Scheme] = ["dense"]
        if self.inner:
            options.append("channel")
        options.append("block")
        if self.kernel == 3:
            options.append("pattern")
        options.append("unstructured")
        return tuple(options)


@dataclass(frozen=True)
class Relu:
    """max(x, 0), directly behind a convolution."""


Operation = ConvSpec | Relu


@dataclass(frozen=True)
class BlockSpec:
    """A chain of operations whose output is added to its input."""

    name: Block
    letter: str
    """In the notation of `network.notation`."""
    operations: tuple[Operation, ...]
    summary: str

    def __post_init__(self) -> None:
        if not re.fullmatch("[a-z]", self.letter) or self.letter in _NO_LETTERS:
            raise ValueError(f"Block {self.name}: expected a small letter, none of {_NO_LETTERS}.")
        if self.operations and not isinstance(self.operations[-1], ConvSpec):
            raise ValueError(f"Block {self.name}: expected a convolution as its last operation.")
        _ = self.fused

    @cached_property
    def convs(self) -> tuple[ConvSpec, ...]:
        """The convolutions, in forward order: the layers that can be pruned."""
        return tuple(op for op in self.operations if isinstance(op, ConvSpec))

    @cached_property
    def fused(self) -> tuple[tuple[ConvSpec, bool], ...]:
        """Each convolution, and whether a ReLU follows: ONNX and the engine compute them as one."""
        layers: list[tuple[ConvSpec, bool]] = []
        for operation in self.operations:
            match operation:
                case ConvSpec():
                    layers.append((operation, False))
                case Relu():
                    if not layers or layers[-1][1]:
                        raise ValueError(f"Block {self.name}: a ReLU has to follow a convolution.")
                    layers[-1] = (layers[-1][0], True)
        return tuple(layers)


def _wide_linear_channels(width: int) -> int:
    return 4 * round(0.84 * width / 4)  # 12, 20, 28: WDSR-B's 0.84 C, rounded to whole groups


BLOCKS: dict[Block, BlockSpec] = {
    block.name: block
    for block in (
        BlockSpec(SKIP, "s", (), "identity: the cell is left out"),
        BlockSpec(
            "wide",
            "w",
            (
                ConvSpec("expand", 1, lambda c: 6 * c, inner=True),
                Relu(),
                ConvSpec("linear", 1, _wide_linear_channels, inner=True),
                ConvSpec("conv", 3, lambda c: c, inner=False),
            ),
            "WDSR-B: 1x1 to 6C, ReLU, 1x1 to 0.84C, 3x3 to C, add",
        ),
        BlockSpec(
            "residual",
            "r",
            (
                ConvSpec("conv1", 3, lambda c: c, inner=True),
                Relu(),
                ConvSpec("conv2", 3, lambda c: c, inner=False),
            ),
            "3x3, ReLU, 3x3, add",
        ),
    )
}
"""Name -> block, in menu order."""
FIRST_BLOCKS: tuple[Block, ...] = ("wide", "residual")
"""What supernets hold whose descriptor names no blocks."""


def trainable() -> tuple[Block, ...]:
    """Return the names of all blocks but `skip`."""
    return tuple(name for name in BLOCKS if name != SKIP)


def block_spec(name: object) -> BlockSpec:
    """Return the block called `name`. Raises `InvalidCandidate`, which lists the valid names."""
    spec = BLOCKS.get(name) if isinstance(name, str) else None
    if spec is None:
        raise InvalidCandidate(f"Unknown block {brief(name)}: expected one of {', '.join(BLOCKS)}.")
    return spec


def cell_name(cell: int) -> str:
    """Return a cell's name, such as `cells.3`."""
    return f"cells.{cell}"


def layer_name(cell: int, block: Block, conv: str) -> str:
    """Return a layer's name, such as `cells.3.wide.expand`.

    It is the key of weights, masks, costs and search parameters.
    """
    return f"{cell_name(cell)}.{block}.{conv}"


def layer_names(cell: int, block: Block) -> Iterator[tuple[str, ConvSpec]]:
    """Yield the name and the convolution of each layer of a cell, in forward order."""
    for conv in BLOCKS[block].convs:
        yield layer_name(cell, block, conv.name), conv


def name_in_cell(layer: str) -> str:
    """Return a layer's name without its cell: `wide.expand` of `cells.3.wide.expand`.

    The tail is in no cell: `tail` stays `tail`.
    """
    return layer.split(".", 2)[-1]


def cell_of(layer: str) -> str:
    """Return the cell of a layer: `cells.3` of `cells.3.wide.expand`."""
    return ".".join(layer.split(".", 2)[:2])


def block_of(layer: str) -> Block:
    """Return the block of a layer in a cell: `wide` of `cells.3.wide.expand`."""
    return name_in_cell(layer).split(".")[0]
