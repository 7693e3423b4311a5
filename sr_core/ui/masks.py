"""Pictures of pruning masks: which weights of a layer stay. Pure functions, no Gradio.

A picture has a row per output channel and a column per input channel; where they cross lies
their k x k kernel, drawn as such, so that patterns look like patterns.
"""

from __future__ import annotations

import base64
import io
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sr_core.errors import InvalidCandidate
from sr_core.network.blocks import GROUP, SKIP, Scheme, cell_name, cell_of
from sr_core.network.candidate import DENSE, Candidate, Cell
from sr_core.network.checks import brief
from sr_core.network.layers import PATTERN_TAPS
from sr_core.network.masks import Mask, candidate_masks
from sr_core.network.weights import SupernetWeights

SCHEME_COLOURS: dict[Scheme, str] = {
    "dense": "#808080",
    "channel": "#0072B2",
    "block": "#E69F00",
    "pattern": "#009E73",
    "unstructured": "#CC79A7",
}
"""Okabe-Ito and grey, the same as in layer_table.css."""
_REMOVED = "#808080"
_OPACITY = bytes((0, 56, 255))
"""Of borders, removed and kept weights: the first two let a light or dark page shine through."""
_WIDEST, _HIGHEST = 384, 512
"""Pixels that a picture fills at most when its cells are not given, unless 1 is too large."""
_LARGEST_CELL = 8

Cells = tuple[int, int]
"""Width and height in pixels of one weight."""


def mask_picture(mask: Mask, scheme: Scheme, cell: Cells | None = None) -> Image.Image:
    """Draw kept weights in the colour of `scheme`, removed ones pale, on no ground.

    Args:
        mask: (out, in, k, k), True = kept.
        cell: None takes the largest that fits the page's side panel. It is square for k > 1.

    Returns:
        A palette image: 0 = border, 1 = removed, 2 = kept.
    """
    out_channels, in_channels, kernel, _ = mask.shape
    width, height = cell or _fitting(out_channels, in_channels, kernel)
    rows = _places(out_channels, kernel, height, GROUP)
    columns = _places(in_channels, kernel, width, in_channels)
    weights = mask.transpose(0, 2, 1, 3).reshape(out_channels * kernel, in_channels * kernel)
    pixels = weights[rows][:, columns].astype(np.uint8) + 1
    pixels[rows < 0] = 0
    pixels[:, columns < 0] = 0
    picture = Image.fromarray(pixels, mode="P")
    picture.putpalette(b"\0\0\0" + bytes.fromhex(_REMOVED[1:] + SCHEME_COLOURS[scheme][1:]))
    picture.info["transparency"] = _OPACITY
    return picture


def _fitting(out_channels: int, in_channels: int, kernel: int) -> Cells:
    """Return the largest cells that keep the picture within its limits."""

    def largest(channels: int, group: int, limit: int) -> int:
        sizes = range(_LARGEST_CELL, 1, -1)
        fits = (s for s in sizes if len(_places(channels, kernel, s, group)) <= limit)
        return next(fits, 1)

    width = largest(in_channels, in_channels, _WIDEST)
    height = largest(out_channels, GROUP, _HIGHEST)
    side = min(width, height)
    return (width, height) if kernel == 1 else (side, side)


def _places(channels: int, kernel: int, cell: int, group: int) -> NDArray[np.intp]:
    """Map pixels to rows (or columns) of weights, borders to -1.

    A border follows each kernel, a wider one each group.
    """
    kernel_border = int(kernel > 1)
    places: list[int] = []
    for channel in range(channels):
        if channel:
            places += [-1] * (kernel_border + (channel % group == 0) * (1 + kernel_border))
        for tap in range(kernel):
            places += [channel * kernel + tap] * cell
    return np.array(places)


def mask_caption(mask: Mask, scheme: Scheme) -> str:
    """Say how many weights (and channels) are kept, and what the picture's axes mean."""
    out_channels, in_channels, kernel, _ = mask.shape
    facts = [f"{share_text(mask)} (counted)."]
    if scheme == "channel":
        count = int(mask.any(axis=(1, 2, 3)).sum())
        facts.append(f"{count} of {out_channels} output channels left.")
    elif scheme in _RULES:
        facts.append(_RULES[scheme])
    if unused := in_channels - int(mask.any(axis=(0, 2, 3)).sum()):
        facts.append(f"{unused} of {in_channels} input channels are not read.")
    each = "a weight" if kernel == 1 else f"a {kernel}×{kernel} kernel"
    facts.append(
        f"Rows: {out_channels} output channels in groups of {GROUP}; columns: {in_channels} input "
        f"channels; where they cross, {each}."
    )
    return " ".join(facts)


_RULES: dict[Scheme, str] = {
    "block": "The rows of a group keep the same positions.",
    "pattern": f"The rows of a group keep the same {PATTERN_TAPS} of 9 taps of a kernel, or none.",
    "unstructured": "Each weight stays or goes on its own.",
}


def share_text(mask: Mask) -> str:
    """Return text such as `2,016 of 8,064 weights kept, 25 %`."""
    count = int(mask.sum())
    return f"{count:,} of {mask.size:,} weights kept, {100 * count / mask.size:.0f} %"


def layer_mask(supernet: SupernetWeights, candidate: Candidate, layer: str) -> Mask:
    """Return the (out, in, k, k) mask of one layer at its full shape.

    Channels removed, here or upstream, are False. Raises `InvalidCandidate` if `candidate` is not
    in `supernet` or has no such layer.
    """
    supernet.spec.check(candidate)
    names = ["head", *dict(candidate.layers())]
    if layer not in names:
        raise InvalidCandidate(
            f"There is no layer {brief(layer)}: expected one of {', '.join(names)}."
        )
    shapes = replace(supernet.spec, width=candidate.width).weight_shapes()
    weights = {
        name: supernet.tensors[f"{name}.weight"][: shape[0], : shape[1]]
        for name, shape in shapes.items()
    }
    # A mask depends on no other cell, and there are many.
    cells = (
        cell if cell_of(layer) == cell_name(index) else Cell(SKIP)
        for index, cell in enumerate(candidate.cells)
    )
    masks = candidate_masks(replace(candidate, cells=tuple(cells)), weights)
    return masks.get(layer, np.ones(shapes[layer], dtype=np.bool_))


def layer_view(supernet: SupernetWeights, candidate: Candidate, layer: str) -> dict[str, str]:
    """Return a layer's mask for the layer table: `src` (a data URL), `caption`, `alt`.

    Errors are those of `layer_mask`.
    """
    mask = layer_mask(supernet, candidate, layer)
    scheme = dict(candidate.layers()).get(layer, DENSE).scheme
    png = io.BytesIO()
    mask_picture(mask, scheme).save(png, format="PNG", optimize=True)
    return {
        "src": "data:image/png;base64," + base64.b64encode(png.getvalue()).decode("ascii"),
        "caption": mask_caption(mask, scheme),
        "alt": f"Mask of {layer}, {scheme}: {share_text(mask)}.",
    }
