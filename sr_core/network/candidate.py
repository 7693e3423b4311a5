"""The search vocabulary: what a candidate network may look like. Pure Python, no torch.

A candidate is a point of the paper's search space: one SR block per cell and one pruning
scheme (here with its ratio) per layer. The paper (arXiv 2108.08910) names both choices; the
block menu, the schemes' exact rules and the ratio limits below are UpFront's own.

Blocks are defined in `network.blocks`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, get_args

from sr_core.errors import InvalidCandidate
from sr_core.network.blocks import BLOCKS, SKIP, Block, ConvSpec, Scheme, block_spec, layer_names
from sr_core.network.checks import brief, integer, json_array, json_object, listing, number
from sr_core.network.colour import CHANNELS, Colour

SCALES: tuple[int, ...] = (2, 4)
WIDTHS: tuple[int, ...] = (8, 12, 16, 24, 32)
FIRST_WIDTHS: tuple[int, ...] = (16, 24, 32)
"""Those of supernets and studies that name none."""
MAX_CELLS = 32
PATTERN_MIN_RATIO = 0.5556
"""A pattern keeps 4 of 9 taps, so it removes at least 5/9 of the weights."""
MAX_RATIO = 0.95
RATIO_DECIMALS = 4


TAIL_SCHEMES: tuple[Scheme, ...] = ("dense", "block", "unstructured")
"""Of the tail and the input skip, whose output order is fixed by the pixel shuffle."""


@dataclass(frozen=True, order=True)
class Family:
    """The networks that share a supernet: those of one scale and colour."""

    scale: int
    colour: Colour = "rgb"

    @property
    def name(self) -> str:
        """Stem of files and part of names: `x4`, `x4-luma`."""
        return f"x{self.scale}" + ("" if self.colour == "rgb" else f"-{self.colour}")

    @property
    def title(self) -> str:
        """For people: `×4`, `×4 luma`."""
        return f"×{self.scale}" + ("" if self.colour == "rgb" else f" {self.colour}")

    @classmethod
    def named(cls, name: str) -> Family | None:
        """Return the family of this name, None if it is none."""
        families = (cls(scale, colour) for scale in SCALES for colour in CHANNELS)
        return next((family for family in families if family.name == name), None)


@dataclass(frozen=True)
class LayerPruning:
    """Scheme and ratio of one layer.

    `ratio` is the share removed of the weights that are left after upstream channel removal,
    in [0, 0.95]. It is rounded to 4 decimals, and ratio 0 *is* `dense`.
    """

    scheme: Scheme = "dense"
    ratio: float = 0.0

    def __post_init__(self) -> None:
        if self.scheme not in get_args(Scheme):
            names = ", ".join(get_args(Scheme))
            raise InvalidCandidate(f"Unknown scheme {brief(self.scheme)}: expected one of {names}.")
        ratio = number(self.ratio, "ratio")
        if not 0.0 <= ratio <= MAX_RATIO:
            raise InvalidCandidate(
                f"Ratio {brief(self.ratio)} is outside 0 to {MAX_RATIO}: it is the share of "
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
        """Return this pruning if the layer can take it, else what it means for such a layer.

        "Pattern p" of a network is pattern on 3x3 layers and block on 1x1 layers. A layer that
        cannot take the scheme at all (a block's output layer under `channel`) stays dense.
        """
        if self.scheme in schemes:
            return self
        return LayerPruning("block", self.ratio) if self.scheme == "pattern" else DENSE

    def applied_to(self, cell: Cell) -> Cell:
        """Return `cell` with this pruning on each of its layers, as far as it fits."""
        convs = BLOCKS[cell.block].convs
        return Cell(cell.block, tuple(self.fitted_to(conv.schemes) for conv in convs))

    def to_json(self) -> dict[str, Any]:
        """Return `{"scheme", "ratio"}`."""
        return {"scheme": self.scheme, "ratio": self.ratio}

    @classmethod
    def from_json(cls, data: object, where: str = "layer") -> LayerPruning:
        """Parse the form of `to_json`. `where` names the layer in the error text."""
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
        if self.block == SKIP:
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
        """Return `{"block", "layers"}`."""
        return {"block": self.block, "layers": [layer.to_json() for layer in self.layers]}

    @classmethod
    def from_json(cls, data: object, where: str = "cell") -> Cell:
        """Parse the form of `to_json`. Without `layers`, all are dense."""
        fields = json_object(data, where, required={"block"}, optional={"layers"})
        most = max(len(block.convs) for block in BLOCKS.values())
        raw = json_array(fields.get("layers", []), where, "layers", most=most)
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
    """One network of the family: scale, width C, a cell after a cell, and what is around them.

    It is always in canonical form (skipped cells carry no layers, ratio 0 is dense). So equal
    networks compare equal and share `id`.
    """

    scale: int
    width: int
    cells: tuple[Cell, ...]
    tail: LayerPruning = DENSE
    input_skip: LayerPruning = DENSE
    """Pruned, its kept taps are refitted (`network.refit`)."""
    colour: Colour = "rgb"

    def __post_init__(self) -> None:
        integer(self.scale, "scale")
        integer(self.width, "width")
        if self.scale not in SCALES:
            raise InvalidCandidate(f"Scale {brief(self.scale)}: expected one of {listing(SCALES)}.")
        if self.width not in WIDTHS:
            raise InvalidCandidate(f"Width {brief(self.width)}: expected one of {listing(WIDTHS)}.")
        if not 1 <= len(self.cells) <= MAX_CELLS:
            raise InvalidCandidate(f"Got {len(self.cells)} cells: expected 1 to {MAX_CELLS}.")
        for name, pruning in (("tail", self.tail), ("input skip", self.input_skip)):
            if pruning.scheme not in TAIL_SCHEMES:
                raise InvalidCandidate(
                    f"Scheme {pruning.scheme!r} does not fit the {name}, whose output order is "
                    f"fixed by the pixel shuffle: expected one of {', '.join(TAIL_SCHEMES)}."
                )
        if self.colour not in tuple(CHANNELS):  # it may be anything, a list too
            raise InvalidCandidate(
                f"Colour {brief(self.colour)}: expected one of {', '.join(CHANNELS)}."
            )

    def layers(self) -> Iterator[tuple[str, LayerPruning]]:
        """Yield (name, pruning) of every prunable layer in forward order: `cells.0.wide.expand`."""
        for index in range(len(self.cells)):
            for name, _, pruning in self.cell_layers(index):
                yield name, pruning
        yield "tail", self.tail
        yield "input_skip", self.input_skip

    @property
    def family(self) -> Family:
        """The networks that it shares a supernet with."""
        return Family(self.scale, self.colour)

    @property
    def channels(self) -> int:
        """Channels of the image that the network sees."""
        return CHANNELS[self.colour]

    def cell_layers(self, index: int) -> Iterator[tuple[str, ConvSpec, LayerPruning]]:
        """Yield (name, convolution, pruning) of every layer of one cell, in forward order."""
        cell = self.cells[index]
        names = layer_names(index, cell.block)
        for (name, conv), pruning in zip(names, cell.layers, strict=True):
            yield name, conv, pruning

    def to_json(self) -> dict[str, Any]:
        """Return the canonical JSON object, the one that `id` hashes.

        Fields that came later are left out at their old meaning, so that no id ever changes.
        """
        fields: dict[str, Any] = {
            "scale": self.scale,
            "width": self.width,
            "cells": [cell.to_json() for cell in self.cells],
            "tail": self.tail.to_json(),
        }
        if self.input_skip != DENSE:
            fields["input_skip"] = self.input_skip.to_json()
        if self.colour != "rgb":
            fields["colour"] = self.colour
        return fields

    @classmethod
    def from_json(cls, data: object) -> Candidate:
        """Parse a decoded JSON object. `InvalidCandidate` names the first thing that is wrong."""
        fields = json_object(
            data, "candidate", required={"scale", "width", "cells"},
            optional={"tail", "input_skip", "colour"},
        )  # fmt: skip
        raw = json_array(fields["cells"], "candidate", "cells", most=MAX_CELLS)
        cells = tuple(Cell.from_json(cell, f"cell {index}") for index, cell in enumerate(raw))
        tail, skip = (
            LayerPruning.from_json(fields.get(name, DENSE.to_json()), name)
            for name in ("tail", "input_skip")
        )
        colour = fields.get("colour", "rgb")
        return cls(fields["scale"], fields["width"], cells, tail, skip, colour)

    @classmethod
    def loads(cls, text: str) -> Candidate:
        """Parse JSON text. `InvalidCandidate` stands for malformed JSON too."""
        try:
            data = json.loads(text.removeprefix("\ufeff"))  # a mark that came along
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
    colour: Colour = "rgb",
) -> Candidate:
    """Return a candidate with one scheme and ratio wherever they fit (`LayerPruning.fitted_to`)."""
    wish = LayerPruning(scheme, ratio)
    cells = tuple(wish.applied_to(Cell(block)) for block in blocks)
    tail = wish.fitted_to(TAIL_SCHEMES) if prune_tail else DENSE
    return Candidate(scale, width, cells, tail, colour=colour)


def model_id(candidate: Candidate, weights_sha256: str) -> str:
    """Return the identity of a network *with* weights.

    It is the candidate's id, a dash, and 8 hex digits of the SHA-256 of the weights.
    """
    return f"{candidate.id}-{weights_sha256[:8]}"
