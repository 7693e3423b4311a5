"""A candidate as one short line of text, for URLs, tables, Parquet rows and `--model`.

`x4c32_12wb50b50b50` reads: x4, 32 channels, 12 wide cells whose three layers each lose 50 % to
block pruning. In full:

    text    x<scale>c<width>[y] _ cells [_ cells ...] [_ t<pruning>] [_ i<pruning>]
    cells   [count] block [one item per layer]     count: equal neighbouring cells, 2 or more
    block   letter of an entry of `BLOCKS`: w (wide), r (residual), s (skip)
    item    d (dense) or <pruning>; no items at all: all layers are dense
    pruning c (channel), b (block), p (pattern), u (unstructured), then the percent removed

`y` stands for a network of luma alone. The last parts, `t...` and `i...`, are the pruning of the
tail and of the input skip; without them these are dense. Percentages have up to 2 decimals, which
is all that a `LayerPruning` holds, so nothing is lost on the way.
"""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import groupby

from sr_core.errors import InvalidCandidate
from sr_core.network.blocks import BLOCKS, SKIP, Scheme
from sr_core.network.candidate import DENSE, Candidate, Cell, LayerPruning
from sr_core.network.checks import brief
from sr_core.network.colour import Colour

EXAMPLE = "x4c32_12wb50b50b50"
MAX_LENGTH = 700
"""Characters; 32 cells that all differ need 653."""
_SCHEMES: dict[str, Scheme] = {
    "d": "dense", "c": "channel", "b": "block", "p": "pattern", "u": "unstructured",
}  # fmt: skip
_SCHEME_LETTERS = {name: letter for letter, name in _SCHEMES.items()}
_PRUNED = r"[cbpu][0-9]{1,2}(?:\.[0-9]{1,2})?"
_HEAD = re.compile(r"x([0-9]{1,2})c([0-9]{1,3})(y?)")
_CELLS = re.compile(rf"([2-9]|[1-9][0-9])?([a-z])((?:d|{_PRUNED})*)")
_LAST = {name: re.compile(rf"{name[0]}({_PRUNED})") for name in ("tail", "input_skip")}
"""Parts behind the cells, in their order."""
_ITEM = re.compile(rf"d|{_PRUNED}")


def to_text(candidate: Candidate) -> str:
    """Return the one canonical text of a candidate. `from_text` gives an equal candidate back."""
    parts = [f"x{candidate.scale}c{candidate.width}{'y' * (candidate.colour == 'luma')}"]
    for cell, run in groupby(candidate.cells):
        count = len(list(run))
        parts.append(f"{count if count > 1 else ''}{_cell_text(cell)}")
    for name in _LAST:
        if (pruning := getattr(candidate, name)) != DENSE:
            parts.append(name[0] + _item_text(pruning))
    return "_".join(parts)


def looks_like_text(text: str) -> bool:
    """Tell whether `text` starts as the notation does (`x4c32_...`), whatever follows."""
    return _HEAD.fullmatch(text.partition("_")[0]) is not None and "_" in text


def from_text(text: str) -> Candidate:
    """Parse the notation, also where it is not canonical (`w_w` for `2w`, `b50.0` for `b50`).

    Raises:
        InvalidCandidate: too long, not in the notation, or not a network of the vocabulary.
    """
    if len(text) > MAX_LENGTH:
        raise InvalidCandidate(
            f"The network text has {len(text)} characters: expected at most {MAX_LENGTH}."
        )
    first, *parts = text.split("_")
    head = _HEAD.fullmatch(first)
    if not head:
        raise _not_understood(first)
    last: dict[str, LayerPruning] = {}
    for name, form in reversed(_LAST.items()):
        if parts and (ending := form.fullmatch(parts[-1])):
            last[name] = _item(ending[1])
            parts.pop()
    cells = tuple(cell for part in parts for cell in _cells(part))
    colour: Colour = "luma" if head[3] else "rgb"
    return Candidate(int(head[1]), int(head[2]), cells, **last, colour=colour)


def _cell_text(cell: Cell) -> str:
    pruned = any(layer != DENSE for layer in cell.layers)
    items = "".join(map(_item_text, cell.layers)) if pruned else ""
    return BLOCKS[cell.block].letter + items


def _item_text(pruning: LayerPruning) -> str:
    if pruning == DENSE:
        return _SCHEME_LETTERS["dense"]
    percent = f"{100 * pruning.ratio:.2f}".rstrip("0").rstrip(".")
    return _SCHEME_LETTERS[pruning.scheme] + percent


@lru_cache(maxsize=4096)  # a stored front repeats the same few cells thousands of times
def _cells(part: str) -> tuple[Cell, ...]:
    match = _CELLS.fullmatch(part)
    block = match and {block.letter: block.name for block in BLOCKS.values()}.get(match[2])
    if not match or not block:
        raise _not_understood(part)
    layers = tuple(map(_item, _ITEM.findall(match[3])))
    return (Cell(block, layers),) * int(match[1] or 1)


def _item(text: str) -> LayerPruning:
    return LayerPruning(_SCHEMES[text[0]], float(text[1:] or 0) / 100)


def _not_understood(part: str) -> InvalidCandidate:
    letters = ", ".join(block.letter for block in BLOCKS.values() if block.name != SKIP)
    return InvalidCandidate(
        f"Network text: {brief(part)} is not understood; expected a form like {EXAMPLE}: scale "
        f"and channels, then cells (count, block {letters} or {BLOCKS[SKIP].letter}, per "
        "layer d or c, b, p, u with the percent removed)."
    )
