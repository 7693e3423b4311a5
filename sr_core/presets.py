"""Named candidates: the dense anchors and the uniformly pruned networks every table lists."""

from __future__ import annotations

from dataclasses import dataclass

from sr_core.candidate import Block, Candidate, Scheme, uniform


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


_PRUNED: dict[Scheme, tuple[int, ...]] = {
    "block": (25, 50, 75),
    "pattern": (60, 75),
    "channel": (25, 50),
    "unstructured": (50, 75),
}
