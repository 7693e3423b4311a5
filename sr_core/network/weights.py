"""A supernet on disk: one safetensors file of EMA weights plus a JSON descriptor. No torch.

Tensor names are the layer names of `sr_core.network.layers` at full width, plus `.weight` or
`.bias`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save

from sr_core.errors import CatalogueError, InvalidCandidate
from sr_core.files import read_tensors, write_atomic
from sr_core.network.blocks import (
    FIRST_BLOCKS,
    SKIP,
    Block,
    Scheme,
    block_spec,
    layer_names,
    trainable,
)
from sr_core.network.candidate import (
    FIRST_WIDTHS,
    MAX_CELLS,
    SCALES,
    TAIL_SCHEMES,
    WIDTHS,
    Candidate,
    Family,
)
from sr_core.network.checks import listing
from sr_core.network.colour import CHANNELS, Colour
from sr_core.network.layers import INPUT_SKIP_KERNEL
from sr_core.network.refit import Moments
from sr_core.results.record import read_record

Array = NDArray[np.float32]

INPUT_MEAN = 0.5
"""Subtracted before the head, so that zero padding means mid-grey."""


_FIRST: dict[str, Any] = {
    "blocks": FIRST_BLOCKS, "widths": FIRST_WIDTHS, "skip_schemes": ("dense",), "colour": "rgb",
}  # fmt: skip
"""What a descriptor means that does not name these: the first supernets."""


@dataclass(frozen=True)
class SupernetSpec:
    """Size and vocabulary of a supernet. Candidates have its scale, number of cells and colour."""

    scale: int
    width: int = max(WIDTHS)
    cells: int = 12
    blocks: tuple[Block, ...] = FIRST_BLOCKS
    """What its cells may hold besides `skip`, in the order of the menu."""
    widths: tuple[int, ...] = FIRST_WIDTHS
    """Channels C that candidates may have, as far as they are at most `width`."""
    skip_schemes: tuple[Scheme, ...] = ("dense",)
    """Schemes of the input skip. It is trained dense; a pruned one is refitted."""
    colour: Colour = "rgb"

    def __post_init__(self) -> None:
        if self.scale not in SCALES or self.width not in WIDTHS:
            raise InvalidCandidate(
                f"Supernet x{self.scale}, width {self.width}: expected a scale of {SCALES} and "
                f"a width of {WIDTHS}."
            )
        if not 1 <= self.cells <= MAX_CELLS:
            raise InvalidCandidate(f"Supernet of {self.cells} cells: expected 1 to {MAX_CELLS}.")
        if not self.blocks or len(set(self.blocks)) < len(self.blocks) or SKIP in self.blocks:
            raise InvalidCandidate(
                f"Supernet of the blocks {listing(self.blocks)}: expected different ones of "
                f"{listing(trainable())}."
            )
        for block in self.blocks:
            block_spec(block)
        if not set(self.widths) <= set(WIDTHS) or not set(self.skip_schemes) <= set(TAIL_SCHEMES):
            raise InvalidCandidate(
                f"Supernet of widths {listing(self.widths)} and skip schemes "
                f"{listing(self.skip_schemes)}: expected some of {listing(WIDTHS)}, and of "
                f"{listing(TAIL_SCHEMES)}."
            )
        if self.colour not in CHANNELS:
            raise InvalidCandidate(
                f"Supernet of colour {self.colour!r}: expected one of {listing(CHANNELS)}."
            )
        within = {width for width in self.widths if width <= self.width}
        object.__setattr__(self, "widths", tuple(sorted({*within, self.width})))

    @classmethod
    def around(cls, candidate: Candidate) -> SupernetSpec:
        """Return the spec of a network alone: what it has, and no more."""
        held = {cell.block for cell in candidate.cells}
        blocks = tuple(block for block in trainable() if block in held) or FIRST_BLOCKS
        return cls(
            candidate.scale, candidate.width, len(candidate.cells), blocks,
            (candidate.width,), TAIL_SCHEMES, candidate.colour,
        )  # fmt: skip

    @property
    def family(self) -> Family:
        """The networks that it holds, by name of its files."""
        return Family(self.scale, self.colour)

    @property
    def channels(self) -> int:
        """Channels of the image that its networks see."""
        return CHANNELS[self.colour]

    def check(self, candidate: Candidate) -> None:
        """Raise `InvalidCandidate` unless the candidate is a sub-network of this supernet."""
        got = (candidate.family, len(candidate.cells))
        if got != (self.family, self.cells) or candidate.width not in self.widths:
            raise InvalidCandidate(
                f"The candidate is {got[0].name} with {got[1]} cells, width {candidate.width}; "
                f"this supernet is {self.family.name} with {self.cells} cells, widths "
                f"{listing(self.widths)}."
            )
        if candidate.input_skip.scheme not in self.skip_schemes:
            raise InvalidCandidate(
                f"The candidate's input skip is {candidate.input_skip.scheme}; this supernet has "
                f"{listing(self.skip_schemes)}."
            )
        for cell in candidate.cells:
            if cell.block not in (SKIP, *self.blocks):
                raise InvalidCandidate(
                    f"The candidate has a cell of block {cell.block}; this supernet has "
                    f"{listing(self.blocks)}."
                )

    def holds(self, candidate: Candidate) -> bool:
        """Tell whether the candidate is a sub-network of this supernet."""
        try:
            self.check(candidate)
        except InvalidCandidate:
            return False
        return True

    def weight_shapes(self) -> dict[str, tuple[int, int, int, int]]:
        """Return (out, in, k, k) of every convolution by layer name, all `blocks` in all cells."""
        phases = self.channels * self.scale**2
        shapes = {"head": (self.width, self.channels, 3, 3)}
        for index in range(self.cells):
            for block in self.blocks:
                in_channels = self.width
                for name, conv in layer_names(index, block):
                    out_channels, kernel = conv.out_channels(self.width), conv.kernel
                    shapes[name] = (out_channels, in_channels, kernel, kernel)
                    in_channels = out_channels
        shapes["tail"] = (phases, self.width, 3, 3)
        shapes["input_skip"] = (phases, self.channels, INPUT_SKIP_KERNEL, INPUT_SKIP_KERNEL)
        return shapes

    def to_json(self) -> dict[str, Any]:
        """Return the descriptor's fields, without those that are as in the first supernets."""
        fields = asdict(self)
        first = SupernetSpec(self.scale, self.width, self.cells)
        for name in _FIRST:
            if getattr(self, name) == getattr(first, name):
                del fields[name]
        return {k: list(v) if isinstance(v, tuple) else v for k, v in fields.items()}

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> SupernetSpec:
        """Parse the form of `to_json`. Raises `InvalidCandidate` or `TypeError` otherwise."""
        sizes = {name: value for name, value in fields.items() if name not in _FIRST}
        if any(type(value) is not int for value in sizes.values()):
            raise TypeError("scale, width and cells must be whole numbers")
        others = _FIRST | {name: value for name, value in fields.items() if name in _FIRST}
        lists: dict[str, Any] = {k: tuple(v) for k, v in others.items() if k != "colour"}
        return cls(**sizes, **lists, colour=others["colour"])


@dataclass(frozen=True)
class SupernetWeights:
    """Trained weights in memory."""

    spec: SupernetSpec
    tensors: Mapping[str, Array]
    sha256: str
    """Of the safetensors file; half of every model id."""
    moments: Moments | None = None
    """Of RGB LR patches, for `refit`. Without them a pruned input skip keeps its taps as they are,
    which is good enough for random weights only."""


def random_supernet(spec: SupernetSpec, rng: np.random.Generator) -> SupernetWeights:
    """Make random weights for timing and self-tests, which keep values near 0..1."""
    tensors: dict[str, Array] = {}
    for name, shape in spec.weight_shapes().items():
        spread = 1 / np.sqrt(np.prod(shape[1:]))
        tensors[f"{name}.weight"] = rng.normal(0, spread, shape).astype(np.float32)
        tensors[f"{name}.bias"] = np.zeros(shape[0], dtype=np.float32)
    return SupernetWeights(spec, tensors, "0" * 64)


def write_supernet(
    path: Path, spec: SupernetSpec, tensors: Mapping[str, Array], descriptor: Mapping[str, Any]
) -> str:
    """Write `path` (.safetensors) and its .json descriptor, and return the SHA-256 of the weights.

    `descriptor` says how the weights came about. `spec` and `weights_sha256` are added here.
    """
    data = save({name: np.ascontiguousarray(value) for name, value in tensors.items()})
    digest = hashlib.sha256(data).hexdigest()
    fields = {"spec": spec.to_json(), "weights_sha256": digest, **descriptor}
    write_atomic(path, data)
    write_atomic(path.with_suffix(".json"), json.dumps(fields, indent=2) + "\n")
    return digest


def read_supernet(path: Path) -> SupernetWeights:
    """Read `path` (.safetensors) with its descriptor. Raises `CatalogueError` if either is off."""
    spec, descriptor = read_spec(path), read_descriptor(path)
    checksum = descriptor.get("weights_sha256")
    tensors, digest = read_tensors(path, checksum, remake="train a supernet")
    for name, shape in spec.weight_shapes().items():
        for key, expected in ((f"{name}.weight", shape), (f"{name}.bias", shape[:1])):
            tensor = tensors.get(key)
            if tensor is None or tensor.shape != expected or not np.isfinite(tensor).all():
                got = "nothing" if tensor is None else f"{tensor.shape}"
                raise CatalogueError(f"{path.name}: {key} should be finite {expected}, got {got}.")
    return SupernetWeights(spec, tensors, digest)


def read_descriptor(path: Path) -> dict[str, Any]:
    """The JSON descriptor beside a supernet's `path` (.safetensors or .json)."""
    remake = "restore it beside its weights, or train again"
    return read_record(path.with_suffix(".json"), dict[str, Any], remake=remake)


def read_spec(path: Path) -> SupernetSpec:
    """Read the spec in the descriptor beside `path`."""
    try:
        return SupernetSpec.from_json(read_descriptor(path)["spec"])
    except (KeyError, TypeError, AttributeError, InvalidCandidate) as error:
        raise CatalogueError(f"{path.stem}.json has no valid spec ({error!r}).") from None
