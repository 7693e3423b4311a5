"""Named candidates that every table lists, and the uniform networks that a search starts from."""

from __future__ import annotations

from dataclasses import dataclass, replace

from sr_core.network.blocks import SKIP, Block, Scheme
from sr_core.network.candidate import DENSE, Candidate, uniform
from sr_core.network.weights import SupernetSpec


@dataclass(frozen=True)
class Preset:
    """A candidate with a name people can type, and a title they can read."""

    name: str
    title: str
    candidate: Candidate


def presets(spec: SupernetSpec) -> list[Preset]:
    """List a supernet's presets. The first is its anchor: dense, of its first block throughout."""
    first = spec.blocks[0]
    deep = (first,) * spec.cells

    def preset(
        name: str,
        title: str,
        blocks: tuple[Block, ...],
        scheme: Scheme = "dense",
        ratio: float = 0.0,
        channels: int = spec.width,
    ) -> Preset:
        candidate = uniform(
            scale=spec.scale, width=channels, blocks=blocks, scheme=scheme, ratio=ratio,
            colour=spec.colour,
        )  # fmt: skip
        return Preset(f"{spec.family.name}-{name}", title, candidate)

    entries = [preset(block, f"All {block}, dense", (block,) * spec.cells) for block in spec.blocks]
    if len(spec.blocks) > 1:
        in_turn = tuple(spec.blocks[i % len(spec.blocks)] for i in range(spec.cells))
        *names, last = spec.blocks
        title = f"{', '.join(names)} and {last} in turn, dense"
        entries.append(preset("mixed", title[0].upper() + title[1:], in_turn))
    for block, schemes in zip(spec.blocks, (_PRUNED, _PRUNED_ELSE), strict=False):
        entries += [
            preset(
                f"{block}-{scheme}{p}", f"All {block}, {scheme} {p} %", (block,) * spec.cells,
                scheme, p / 100,
            )
            for scheme, percents in schemes.items()
            for p in percents
        ]  # fmt: skip
    if spec.cells > 1:
        skipped = tuple(SKIP if i % 2 else first for i in range(spec.cells))
        depth = (spec.cells + 1) // 2
        entries.append(preset("half-depth", f"{depth} {first} cells, dense", skipped))
    entries += [
        preset(
            f"width{channels}", f"All {first}, {channels} channels, dense", deep, channels=channels
        )
        for channels in reversed(spec.widths)
        if channels < spec.width
    ]
    return entries


def uniform_networks(spec: SupernetSpec) -> list[Candidate]:
    """List the plain part of the search space: one block, scheme and ratio throughout.

    It has all channel counts of the supernet, depths of a third to all of the cells (kept ones
    evenly spread), dense layers, and every scheme at 20 to 80 %. The tail is dense. Where the
    input skip can be pruned, each network is there once more with both ends pruned as its cells.
    """
    depths = sorted({max(1, round(spec.cells * share / 6)) for share in range(2, 7)})
    networks = [
        uniform(
            scale=spec.scale, width=channels, blocks=_evenly_spread(block, depth, spec.cells),
            scheme=s, ratio=r, colour=spec.colour,
        )
        for channels in spec.widths
        for block in spec.blocks
        for depth in depths
        for s, ratios in _UNIFORM_RATIOS.items()
        for r in ratios
    ]  # fmt: skip
    return list(dict.fromkeys([*networks, *(_with_ends(one, spec) for one in networks)]))


def _with_ends(candidate: Candidate, spec: SupernetSpec) -> Candidate:
    """Prune tail and input skip as the first pruned layer is, as far as that fits the skip."""
    first = next((one for _, one in candidate.layers() if one != DENSE), DENSE)
    skip = first.fitted_to(spec.skip_schemes)
    if skip == DENSE or skip.scheme not in spec.skip_schemes:
        return candidate
    return replace(candidate, tail=skip, input_skip=skip)


def _evenly_spread(block: Block, depth: int, cells: int) -> tuple[Block, ...]:
    """Spread `depth` blocks evenly over the cells. The others are skipped."""
    places = {(2 * i + 1) * cells // (2 * depth) for i in range(depth)}
    return tuple(block if i in places else SKIP for i in range(cells))


_UNIFORM_RATIOS: dict[Scheme, tuple[float, ...]] = {
    "dense": (0.0,),
    "channel": (0.2, 0.4, 0.6, 0.8),
    "block": (0.2, 0.4, 0.6, 0.8),
    "pattern": (0.6, 0.8),
    "unstructured": (0.2, 0.4, 0.6, 0.8),
}
_PRUNED: dict[Scheme, tuple[int, ...]] = {
    "block": (25, 50, 75),
    "pattern": (60, 75),
    "channel": (25, 50),
    "unstructured": (50, 75),
}
"""Percents removed in the pruned presets of the first block."""
_PRUNED_ELSE: dict[Scheme, tuple[int, ...]] = {"pattern": (75,)}
"""Percents removed in the pruned presets of the second block."""
