"""Candidates as vectors, for the Gaussian process, and the pool of those it chooses from."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from sr_core.network.blocks import cell_name, cell_of, layer_names
from sr_core.network.candidate import Candidate
from sr_core.search.space import Choice, Params, Space

Matrix = NDArray[np.float64]
_MAX_MUTATIONS = 4


class Encoder:
    """One-hot encodings of canonical candidates.

    There is one entry per width, per block of each cell and per scheme of each layer. A pruned
    layer's entry is its ratio instead of 1. Layers that a candidate lacks encode as nothing.
    """

    def __init__(self, space: Space) -> None:
        options = [
            (name, option)
            for name, some in space.choices.items()
            if name not in space.ratio_names.values()
            for option in some
        ]
        self._names = frozenset(space.choices)
        self._place = {option: index for index, option in enumerate(options)}

    def encode(self, candidates: Sequence[Candidate]) -> Matrix:
        """Return the encodings, (n, entries), in 0..1."""
        rows = np.zeros((len(candidates), len(self._place)))
        for row, candidate in zip(rows, candidates, strict=True):
            row[self._place["width", candidate.width]] = 1
            for index, cell in enumerate(candidate.cells):
                row[self._place[cell_name(index), cell.block]] = 1
            for name, pruning in candidate.layers():
                if name in self._names:  # an input skip that is always dense says nothing
                    row[self._place[name, pruning.scheme]] = pruning.ratio or 1
        return rows


class Pool:
    """A source of candidates: mutated and crossed ones of some parents, and random ones."""

    def __init__(self, space: Space, rng: np.random.Generator) -> None:
        self._space, self._rng = space, rng
        self._names = list(space.choices)

    @cached_property
    def _of_cell(self) -> list[list[str]]:
        """Parameters of each cell."""
        cells = map(cell_name, range(self._space.spec.cells))
        return [[name for name in self._names if cell_of(name) == cell] for cell in cells]

    def draw(
        self, parents: Sequence[Candidate], size: int, exclude: Collection[Candidate]
    ) -> list[Candidate]:
        """Draw up to `size` different candidates outside of `exclude`. There may be fewer.

        Half of them mutate a parent, a quarter cross two, the others are random.
        """
        params_of_parents = [params for parent in parents if (params := self._space.encode(parent))]
        pool: dict[Candidate, None] = {}
        for _ in range(2 * size):
            if len(pool) == size:
                break
            candidate = self._space.decode(self._one(params_of_parents))
            if candidate not in exclude:
                pool[candidate] = None
        return list(pool)

    def _one(self, parents: Sequence[Params]) -> Params:
        kind = self._rng.random()
        if not parents or kind > 0.75:
            return {name: self._draw_choice(name) for name in self._names}
        first, second = (parents[self._index(len(parents))] for _ in range(2))
        if kind < 0.5:
            return self._mutate(first)
        return self._mutate(self._cross(first, second), 1)

    def _index(self, size: int) -> int:
        return int(self._rng.integers(size))

    def _draw_choice(self, name: str) -> Choice:
        options = self._space.choices[name]
        return options[self._index(len(options))]

    def _mutate(self, params: Params, most: int = _MAX_MUTATIONS) -> Params:
        """Draw 1 to `most` of the parameters that count anew."""
        child = dict(params)
        for _ in range(1 + self._index(most)):
            names = self._active(child)
            name = names[self._index(len(names))]
            child[name] = self._draw_choice(name)
            cell = next((names for names in self._of_cell if names[0] == name), None)
            if cell:  # a new block has new layers
                child |= {layer: self._draw_choice(layer) for layer in cell if layer != name}
        return child

    def _active(self, params: Params) -> list[str]:
        """Return the parameters that the candidate of `params` depends on."""
        of_cells = {name for names in self._of_cell for name in names}
        names = [name for name in self._names if name not in of_cells]
        for index in range(self._space.spec.cells):
            layers = layer_names(index, str(params[cell_name(index)]))
            names += [cell_name(index), *(name for name, _ in layers)]
        return names

    def _cross(self, first: Params, second: Params) -> Params:
        """Take each cell, and each other parameter, from one of the two."""
        child = {name: (first, second)[self._index(2)][name] for name in self._names}
        for names in self._of_cell:
            parent = (first, second)[self._index(2)]
            child |= {name: parent[name] for name in names}
        return child
