"""What `bench engine` measured, in Markdown: every instruction set side by side, none left out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

from sr_core.catalogue.store import Catalogue
from sr_core.report.facts import bullets, span
from sr_core.report.tables import row
from sr_core.results.engine import (
    TARGETS,
    Contender,
    EngineBench,
    EngineRow,
    LayerTime,
    Network,
    Variant,
    ratio_vs_mnn,
)

NAMES: dict[Contender, str] = {"sparse": "ours", "onnx": "ONNX Runtime", "mnn": "MNN"}
COMPARED: tuple[Network, ...] = ((24, 8, "wide"), (16, 10, "residual"))
"""The x4 networks of the comparison."""
_MASKS: tuple[tuple[Variant, float], ...] = (
    ("dense", 1.0), ("block", 0.25), ("pattern", 0.25), ("unstructured", 0.25),
)  # fmt: skip
_NEAR = 0.02
"""Densities that count as the same."""
_LARGE = ((4, 32, 12), (2, 32, 12))
"""Scale, channels and cells of large networks of wide cells."""


def comparison_table(benches: Sequence[EngineBench]) -> str:
    """Return a row per network and masks, and columns of each instruction set, on one thread."""
    header = ["×4 network", "masks, weights kept"]
    for bench in benches:
        header += [f"ours, {bench.instructions}", f"MNN, measured beside {bench.instructions}"]
    lines = [row(header), row(["---", "---", *("--:" for _ in header[2:])])]
    for network in COMPARED:
        for scheme, density in _MASKS:
            cells = [network_title(network), f"{scheme}, {density:.0%}"]
            for bench in benches:
                for runtime in ("sparse", "mnn"):
                    found = find(bench, network, scheme, density, runtime)
                    cells.append(
                        f"{found.ratio_vs_ort_dense:.2f}× ({found.median_ms:.1f} ms)"
                        if found
                        else "not measured"
                    )
            lines.append(row(cells))
    return "\n".join(lines)


def find(
    bench: EngineBench,
    network: Network,
    scheme: Variant,
    density: float,
    runtime: Contender,
    threads: int = 1,
) -> EngineRow | None:
    """Return the row of a x4 network, None if it was not measured."""
    for one in bench.rows:
        if (
            (one.scale, one.channels, one.cells, one.block) == (4, *network)
            and (one.scheme, one.runtime, one.threads) == (scheme, runtime, threads)
            and abs(one.density - density) < _NEAR
        ):
            return one
    return None


def network_title(network: Network) -> str:
    """Return "24 channels, 8 wide cells"."""
    channels, cells, block = network
    return f"{channels} channels, {cells} {block} cells"


def tables(benches: Sequence[EngineBench]) -> str:
    """Return for each instruction set its conditions, and a table of each network compared."""
    texts: list[str] = []
    for bench in benches:
        texts.append(f"**{bench.instructions}:** {conditions(bench)}")
        for network in COMPARED:
            rows = [
                one
                for one in bench.rows
                if (one.scale, one.channels, one.cells, one.block) == (4, *network)
            ]
            if rows:
                texts += [f"×4, {network_title(network)}:", _table(rows)]
            if layers := _of(bench.layers, network):
                texts += [
                    f"Where the time goes on 1 thread (share of the multiply-adds' peak), ×4, "
                    f"{network_title(network)}:",
                    _layer_table(layers),
                ]
    return "\n\n".join(texts)


def conditions(bench: EngineBench) -> str:
    """Say on what a record was measured."""
    others = [name for runtime, name in bench.runtimes.items() if runtime != "sparse"]
    return (
        f"{bench.processor}, {bench.cores} cores, `{bench.library}` "
        f"({bench.library_sha256[:8]}) beside {' and '.join(others)}, {bench.date}. "
        f"{bench.handicap}"
    ).rstrip()


def _table(rows: Sequence[EngineRow]) -> str:
    threads = sorted({one.threads for one in rows})
    times = [f"ms, {n} thread{'s' * (n > 1)} (× as fast as dense ONNX Runtime)" for n in threads]
    header = ["runtime", "network", "cells' weights kept", "GMACs", *times]
    lines = [row(header), row(["---", "---", *("--:" for _ in header[2:])])]

    def network(one: EngineRow) -> tuple[float, str, str]:
        return one.density, one.scheme, one.runtime

    for _, same in groupby(sorted(rows, key=network, reverse=True), key=network):
        by_threads = sorted(same, key=lambda one: one.threads)
        first = by_threads[0]
        cells = [f"{one.median_ms:.1f} ({one.ratio_vs_ort_dense:.2f})" for one in by_threads]
        name = [NAMES[first.runtime], first.scheme]
        lines.append(row([*name, f"{first.density:.0%}", f"{first.macs_g:.2f}", *cells]))
    return "\n".join(lines)


def _of(layers: Sequence[LayerTime], network: Network) -> list[LayerTime]:
    """Return those of a x4 network."""
    return [
        one for one in layers if (one.scale, one.channels, one.cells, one.block) == (4, *network)
    ]


def _layer_table(layers: Sequence[LayerTime]) -> str:
    """Return a row for each kind of layer, and a column for each network that was watched."""
    watched = list(dict.fromkeys((one.scheme, one.density, one.colour) for one in layers))
    found = {(one.kind, (one.scheme, one.density, one.colour)): one for one in layers}
    header = ["layers", *(f"{scheme}, {density:.0%}, {seen}" for scheme, density, seen in watched)]
    lines = [row(header), row(["---", *("--:" for _ in watched)])]
    for kind in dict.fromkeys(one.kind for one in layers):
        cells = [_layer_cell(found.get((kind, network))) for network in watched]
        lines.append(row([kind, *cells]))
    return "\n".join(lines)


def _layer_cell(layer: LayerTime | None) -> str:
    if layer is None:
        return ""
    peak = f" ({layer.share_of_peak:.0%})" if layer.share_of_peak else ""
    return f"{layer.share_of_time:.0%}{peak}"


def facts(catalogue: Catalogue, benches: Sequence[EngineBench]) -> str:
    """Say what the records came to, and the size of the shipped libraries."""
    lines = [line for bench in benches for line in bench_facts(bench)]
    sizes_kb = [path.stat().st_size / 1e3 for path in (catalogue.root / "engine").glob("*.so")]
    if sizes_kb:
        lines.append(f"The shipped libraries have {span(sizes_kb, 0)} KB each.")
    return bullets(lines)


def bench_facts(bench: EngineBench) -> Iterator[str]:
    """Say what one instruction set came to."""
    for network in COMPARED:
        yield from _speed_ups(bench, (4, *network))
        yield from _beside_mnn(bench, network)
    for scale, channels, cells in _LARGE:
        yield from _speed_ups(bench, (scale, channels, cells, "wide"))
    yield from _equal_macs(bench)
    for network in COMPARED:
        yield from _memory(bench, network)
    for model in dict.fromkeys(frame.model for frame in bench.frames):
        ms = {frame.runtime: frame.median_ms for frame in bench.frames if frame.model == model}
        yield (
            f"{bench.instructions}: one photograph through the whole upscaler with `{model}` takes "
            f"{ms['onnx']:.0f} ms in ONNX Runtime and {ms['sparse']:.0f} ms in our engine."
        )
    if bench.sittings:
        drift = max(abs(sitting.drift) for sitting in bench.sittings)
        yield f"{bench.instructions}: the largest drift of a sitting was {drift:.0%}."
    yield from _targets(bench)


def _memory(bench: EngineBench, network: Network) -> Iterator[str]:
    """Say what reading and writing frames takes alone, beside what the networks take."""
    times = {
        (one.scheme, one.colour, one.depth): one.median_ms
        for one in bench.outputs
        if (one.scale, one.channels, one.cells, one.block) == (4, *network)
    }
    for scheme, seen in (("dense", "rgb"), ("block", "rgb"), ("block", "luma")):
        if (scheme, seen, "fp32") in times:
            yield (
                f"{bench.instructions}, ×4, {network_title(network)}, {scheme}, {seen}: a frame in "
                f"fp32 takes {times[scheme, seen, 'fp32']:.1f} ms and in 8 bits "
                f"{times[scheme, seen, '8-bit']:.1f} ms; reading and writing it alone takes "
                f"{times[None, 'rgb', 'fp32']:.1f} and {times[None, 'rgb', '8-bit']:.1f} ms "
                "(1 thread)."
            )


def _targets(bench: EngineBench) -> Iterator[str]:
    reached = [target.is_reached(bench.rows) for target in TARGETS.get(bench.instructions, ())]
    if reached:
        unknown = reached.count(None)
        yield (
            f"{bench.instructions}: the engine reaches {sum(map(bool, reached))} of its "
            f"{len(reached)} speed targets{f'; {unknown} were not measured' * bool(unknown)}."
        )


def _speed_ups(bench: EngineBench, network: tuple[int, int, int, str]) -> Iterator[str]:
    """Say the speed-ups over dense ONNX Runtime: dense, and with a quarter of the weights."""
    dense = _most_threads(bench, network, "dense")
    block = _most_threads(bench, network, "block")
    if dense and block:
        quarter = min(block, key=lambda one: abs(one.density - 1 / 4))
        scale, *_ = network
        yield (
            f"{bench.instructions}, ×{scale}, {network_title(network[1:])}: our "
            f"engine is {dense[0].ratio_vs_ort_dense:.2f} times as fast as dense ONNX Runtime with "
            f"the dense network, and {quarter.ratio_vs_ort_dense:.2f} times with "
            f"{quarter.density:.0%} kept by blocks ({threads_text(quarter.threads)})."
        )


def _beside_mnn(bench: EngineBench, network: Network) -> Iterator[str]:
    """Say how many times as fast as MNN our engine is, on one thread, whoever is faster."""
    ratios = [
        f"{ratio:.2f} ({scheme}, {density:.0%} kept)"
        for scheme, density in _MASKS
        if (ours := find(bench, network, scheme, density, "sparse"))
        and (ratio := ratio_vs_mnn(ours, bench.rows))
    ]
    if ratios:
        yield (
            f"{bench.instructions}, ×4, {network_title(network)}: times as fast as "
            f"{bench.runtimes['mnn']} with the same masks on 1 thread: {', '.join(ratios)}."
        )


def _equal_macs(bench: EngineBench) -> Iterator[str]:
    """Compare the smallest channel-pruned network with a block-pruned one of its MACs."""
    channels, blocks = (
        _most_threads(bench, (4, *COMPARED[0]), scheme) for scheme in ("channel", "block")
    )
    if channels and blocks:
        channel = min(channels, key=lambda one: one.macs_g)
        block = min(blocks, key=lambda one: abs(one.macs_g - channel.macs_g))
        yield (
            f"{bench.instructions}: at nearly equal MACs ({channel.macs_g:.2f} and "
            f"{block.macs_g:.2f} G) the channel-pruned network takes {channel.median_ms:.1f} ms "
            f"and the block-pruned one {block.median_ms:.1f} ms."
        )


def _most_threads(
    bench: EngineBench, network: tuple[int, int, int, str], scheme: Variant
) -> list[EngineRow]:
    """Return the rows of a network in our engine with the most threads that were timed."""
    most = max(one.threads for one in bench.rows)
    key = (*network, "sparse", scheme, most)
    return [
        one
        for one in bench.rows
        if (one.scale, one.channels, one.cells, one.block, one.runtime, one.scheme, one.threads)
        == key
    ]


def threads_text(count: int) -> str:
    """Return "1 thread" or "2 threads"."""
    return f"{count} thread{'s' * (count > 1)}"
