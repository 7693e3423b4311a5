"""Named candidates that every table lists, and the uniform networks that a search starts from."""

from __future__ import annotations

from dataclasses import dataclass

from sr_core.network.candidate import WIDTHS, Block, Candidate, Scheme, uniform


@dataclass(frozen=True)
class Preset:
    """A candidate with a name people can type, and a title they can read."""

    name: str
    title: str
    candidate: Candidate


def presets(*, scale: int, width: int = 32, cells: int = 12) -> list[Preset]:
    """All presets of a supernet of the given size; the first is its all-wide anchor."""
    wide: tuple[Block, ...] = ("wide",) * cells
    residual: tuple[Block, ...] = ("residual",) * cells
    mixed: tuple[Block, ...] = tuple("residual" if i % 2 else "wide" for i in range(cells))
    skipped: tuple[Block, ...] = tuple("skip" if i % 2 else "wide" for i in range(cells))

    def preset(
        name: str,
        title: str,
        blocks: tuple[Block, ...],
        scheme: Scheme = "dense",
        ratio: float = 0.0,
        channels: int = width,
    ) -> Preset:
        candidate = uniform(scale=scale, width=channels, blocks=blocks, scheme=scheme, ratio=ratio)
        return Preset(f"x{scale}-{name}", title, candidate)

    listed = [
        preset("wide", "All wide, dense", wide),
        preset("residual", "All residual, dense", residual),
        preset("mixed", "Wide and residual in turn, dense", mixed),
    ]
    for scheme, percents in _PRUNED.items():
        listed += [
            preset(f"wide-{scheme}{p}", f"All wide, {scheme} {p} %", wide, scheme, p / 100)
            for p in percents
        ]
    listed.append(
        preset("residual-pattern75", "All residual, pattern 75 %", residual, "pattern", 0.75)
    )
    if cells > 1:
        listed.append(preset("half-depth", f"{(cells + 1) // 2} wide cells, dense", skipped))
    listed += [
        preset(f"width{channels}", f"All wide, {channels} channels, dense", wide, channels=channels)
        for channels in (24, 16)
        if channels < width
    ]
    return listed


def uniform_networks(*, scale: int, width: int, cells: int) -> list[Candidate]:
    """The plain part of the search space: one block, one scheme and one ratio throughout.

    All channel counts up to `width`, depths of a third to all of the cells (kept ones evenly
    spread), dense and every scheme at 20 to 80 %.
    """
    depths = sorted({max(1, round(cells * share / 6)) for share in range(2, 7)})
    made = [
        uniform(scale=scale, width=channels, blocks=_kept(block, depth, cells), scheme=s, ratio=r)
        for channels in WIDTHS
        if channels <= width
        for block in _PLAIN_BLOCKS
        for depth in depths
        for s, ratios in _UNIFORM_RATIOS.items()
        for r in ratios
    ]
    return list(dict.fromkeys(made))


def _kept(block: Block, depth: int, cells: int) -> tuple[Block, ...]:
    """`depth` blocks, evenly spread over the cells; the others are skipped."""
    kept = {(2 * i + 1) * cells // (2 * depth) for i in range(depth)}
    return tuple(block if i in kept else "skip" for i in range(cells))


_PLAIN_BLOCKS: tuple[Block, ...] = ("wide", "residual")
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
