"""The search vocabulary: what a candidate network may look like. Pure Python, no torch.

A candidate is a point of the paper's search space: one SR block per cell and one pruning
scheme (here with its ratio) per layer. The paper (arXiv 2108.08910) names both choices; the
block menu, the schemes' exact rules and the ratio limits below are UpFront's own.

`BLOCKS` is the one place where a block is defined. A block is a chain of convolutions, each
with an optional ReLU, plus the residual addition; cost, masks, torch forward and ONNX export
are all derived from that description.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, get_args

from sr_core.errors import InvalidCandidate
from sr_core.network.checks import integer, json_array, json_object, listed, number, shown

Block = Literal["skip", "wide", "residual"]
Scheme = Literal["dense", "channel", "block", "pattern", "unstructured"]

SCALES: tuple[int, ...] = (2, 4)
WIDTHS: tuple[int, ...] = (16, 24, 32)
MAX_CELLS = 32
GROUP = 4
"""Output channels that share kept positions (block, pattern), and the step of `channel`."""
PATTERN_MIN_RATIO = 0.5556
"""A pattern keeps 4 of 9 taps, so it removes at least 5/9 of the weights."""
MAX_RATIO = 0.95
RATIO_DECIMALS = 4


@dataclass(frozen=True)
class ConvSpec:
    """One convolution of a block, as a function of the network width C."""

    name: str
    kernel: int
    """Side of the square kernel: 1 or 3."""
    out_channels: Callable[[int], int]
    """C -> output channels; always a multiple of `GROUP`."""
    relu: bool
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
class BlockSpec:
    """A chain of convolutions whose output is added to its input."""

    name: Block
    convs: tuple[ConvSpec, ...]
    summary: str


def _wide_linear_channels(width: int) -> int:
    return 4 * round(0.84 * width / 4)  # 12, 20, 28: WDSR-B's 0.84 C, rounded to whole groups


BLOCKS: dict[str, BlockSpec] = {
    "skip": BlockSpec("skip", (), "identity: the cell is left out"),
    "wide": BlockSpec(
        "wide",
        (
            ConvSpec("expand", 1, lambda c: 6 * c, relu=True, inner=True),
            ConvSpec("linear", 1, _wide_linear_channels, relu=False, inner=True),
            ConvSpec("conv", 3, lambda c: c, relu=False, inner=False),
        ),
        "WDSR-B: 1x1 to 6C, ReLU, 1x1 to 0.84C, 3x3 to C, add",
    ),
    "residual": BlockSpec(
        "residual",
        (
            ConvSpec("conv1", 3, lambda c: c, relu=True, inner=True),
            ConvSpec("conv2", 3, lambda c: c, relu=False, inner=False),
        ),
        "3x3, ReLU, 3x3, add",
    ),
}
TAIL_SCHEMES: tuple[Scheme, ...] = ("dense", "block", "unstructured")
_MAX_LAYERS = max(len(block.convs) for block in BLOCKS.values())


def block_spec(name: object) -> BlockSpec:
    """The block called `name`; `InvalidCandidate` lists the valid names otherwise."""
    spec = BLOCKS.get(name) if isinstance(name, str) else None
    if spec is None:
        raise InvalidCandidate(f"Unknown block {shown(name)}: expected one of {', '.join(BLOCKS)}.")
    return spec


@dataclass(frozen=True)
class LayerPruning:
    """Scheme and ratio of one layer.

    `ratio` is the share removed of the weights that are left after upstream channel removal,
    in [0, 0.95]; it is rounded to 4 decimals, and ratio 0 *is* `dense`.
    """

    scheme: Scheme = "dense"
    ratio: float = 0.0

    def __post_init__(self) -> None:
        if self.scheme not in get_args(Scheme):
            names = ", ".join(get_args(Scheme))
            raise InvalidCandidate(f"Unknown scheme {shown(self.scheme)}: expected one of {names}.")
        ratio = number(self.ratio, "ratio")
        if not 0.0 <= ratio <= MAX_RATIO:
            raise InvalidCandidate(
                f"Ratio {shown(self.ratio)} is outside 0 to {MAX_RATIO}: it is the share of "
                "weights removed, and a layer must keep some."
            )
        ratio = round(float(ratio), RATIO_DECIMALS)
        if self.scheme == "pattern" and 0.0 < ratio < PATTERN_MIN_RATIO:
            raise InvalidCandidate(
                f"Pattern ratio {ratio} is too low: keeping 4 of 9 taps removes at least 5/9, "
                f"so give {PATTERN_MIN_RATIO} to {MAX_RATIO}, or 0 for dense."
            )
        if self.scheme == "dense" or ratio == 0.0:
            object.__setattr__(self, "scheme", "dense")
            ratio = 0.0
        object.__setattr__(self, "ratio", ratio)

    def fitted_to(self, schemes: tuple[Scheme, ...]) -> LayerPruning:
        """This pruning where the layer can take it, else what a network-wide wish means there.

        "Pattern p" of a network is pattern on 3x3 layers and block on 1x1 layers; a layer that
        cannot take the scheme at all (a block's output layer under `channel`) stays dense.
        """
        if self.scheme in schemes:
            return self
        return LayerPruning("block", self.ratio) if self.scheme == "pattern" else DENSE

    def applied_to(self, cell: Cell) -> Cell:
        """`cell` with this pruning on each of its layers, as far as it fits (`fitted_to`)."""
        convs = BLOCKS[cell.block].convs
        return Cell(cell.block, tuple(self.fitted_to(conv.schemes) for conv in convs))

    def to_json(self) -> dict[str, Any]:
        """`{"scheme", "ratio"}`."""
        return {"scheme": self.scheme, "ratio": self.ratio}

    @classmethod
    def from_json(cls, data: object, where: str = "layer") -> LayerPruning:
        """Parse `to_json`'s form; `where` names the layer in the error text."""
        fields = json_object(data, where, required={"scheme"}, optional={"ratio"})
        try:
            return cls(fields["scheme"], fields.get("ratio", 0.0))
        except InvalidCandidate as error:
            raise InvalidCandidate(f"{where}: {error}") from None


DENSE = LayerPruning()


@dataclass(frozen=True)
class Cell:
    """One cell: a block and the pruning of each of its layers (none for `skip`)."""

    block: Block
    layers: tuple[LayerPruning, ...] = field(default=())

    def __post_init__(self) -> None:
        convs = block_spec(self.block).convs
        if not self.layers and convs:
            object.__setattr__(self, "layers", (DENSE,) * len(convs))
        if self.block == "skip":
            object.__setattr__(self, "layers", ())
        if len(self.layers) != len(convs):
            raise InvalidCandidate(
                f"Block {self.block!r} has {len(convs)} layers "
                f"({', '.join(conv.name for conv in convs)}), got {len(self.layers)}."
            )
        for conv, pruning in zip(convs, self.layers, strict=True):
            if pruning.scheme not in conv.schemes:
                raise InvalidCandidate(
                    f"Scheme {pruning.scheme!r} does not fit layer {self.block}.{conv.name} "
                    f"({conv.kernel}x{conv.kernel}): expected one of {', '.join(conv.schemes)}."
                )

    def to_json(self) -> dict[str, Any]:
        """`{"block", "layers"}`."""
        return {"block": self.block, "layers": [layer.to_json() for layer in self.layers]}

    @classmethod
    def from_json(cls, data: object, where: str = "cell") -> Cell:
        """Parse `to_json`'s form; a missing `layers` means all dense."""
        fields = json_object(data, where, required={"block"}, optional={"layers"})
        raw = json_array(fields.get("layers", []), where, "layers", most=_MAX_LAYERS)
        layers = tuple(
            LayerPruning.from_json(layer, f"{where}, layer {index}")
            for index, layer in enumerate(raw)
        )
        try:
            return cls(fields["block"], layers)
        except InvalidCandidate as error:
            raise InvalidCandidate(f"{where}: {error}") from None


@dataclass(frozen=True)
class Candidate:
    """One network of the family: scale, width C, a cell after a cell, and the tail's pruning.

    Always in canonical form (skipped cells carry no layers, ratio 0 is dense), so equal
    networks compare equal and share `id`.
    """

    scale: int
    width: int
    cells: tuple[Cell, ...]
    tail: LayerPruning = DENSE

    def __post_init__(self) -> None:
        integer(self.scale, "scale")
        integer(self.width, "width")
        if self.scale not in SCALES:
            raise InvalidCandidate(f"Scale {shown(self.scale)}: expected one of {listed(SCALES)}.")
        if self.width not in WIDTHS:
            raise InvalidCandidate(f"Width {shown(self.width)}: expected one of {listed(WIDTHS)}.")
        if not 1 <= len(self.cells) <= MAX_CELLS:
            raise InvalidCandidate(f"Got {len(self.cells)} cells: expected 1 to {MAX_CELLS}.")
        if self.tail.scheme not in TAIL_SCHEMES:
            raise InvalidCandidate(
                f"Scheme {self.tail.scheme!r} does not fit the tail, whose output order is fixed "
                f"by the pixel shuffle: expected one of {', '.join(TAIL_SCHEMES)}."
            )

    def layers(self) -> Iterator[tuple[str, LayerPruning]]:
        """(name, pruning) of every prunable layer in forward order: `cells.0.wide.expand`..."""
        for index, cell in enumerate(self.cells):
            for conv, pruning in zip(BLOCKS[cell.block].convs, cell.layers, strict=True):
                yield f"cells.{index}.{cell.block}.{conv.name}", pruning
        yield "tail", self.tail

    def to_json(self) -> dict[str, Any]:
        """The canonical JSON object, the one that `id` hashes."""
        return {
            "scale": self.scale,
            "width": self.width,
            "cells": [cell.to_json() for cell in self.cells],
            "tail": self.tail.to_json(),
        }

    @classmethod
    def from_json(cls, data: object) -> Candidate:
        """Parse a decoded JSON object; `InvalidCandidate` names the first thing that is wrong."""
        fields = json_object(
            data, "candidate", required={"scale", "width", "cells"}, optional={"tail"}
        )
        raw = json_array(fields["cells"], "candidate", "cells", most=MAX_CELLS)
        cells = tuple(Cell.from_json(cell, f"cell {index}") for index, cell in enumerate(raw))
        tail = LayerPruning.from_json(fields.get("tail", DENSE.to_json()), "tail")
        return cls(fields["scale"], fields["width"], cells, tail)

    @classmethod
    def loads(cls, text: str) -> Candidate:
        """Parse JSON text (`InvalidCandidate` for malformed JSON too)."""
        try:
            data = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise InvalidCandidate(f"The candidate is not valid JSON: {error}.") from None
        return cls.from_json(data)

    @cached_property
    def id(self) -> str:
        """First 10 hex digits of the SHA-256 of the canonical JSON."""
        canonical = json.dumps(self.to_json(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:10]


def uniform(
    *,
    scale: int,
    width: int,
    blocks: tuple[Block, ...],
    scheme: Scheme = "dense",
    ratio: float = 0.0,
    prune_tail: bool = False,
) -> Candidate:
    """A candidate with one scheme and ratio wherever they fit (`LayerPruning.fitted_to`)."""
    wish = LayerPruning(scheme, ratio)
    cells = tuple(wish.applied_to(Cell(block)) for block in blocks)
    return Candidate(scale, width, cells, wish.fitted_to(TAIL_SCHEMES) if prune_tail else DENSE)


def model_id(candidate: Candidate, weights_sha256: str) -> str:
    """Identity of a network *with* weights: candidate id, dash, 8 hex of the weights' SHA-256."""
    return f"{candidate.id}-{weights_sha256[:8]}"
