"""`bench engine`: what is timed, how rows are made of times, and what is stored."""

from __future__ import annotations

import json
import logging
import platform
import re
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

import jsonschema
import numpy as np
import onnxruntime as ort
import pytest

from sr_core.bench import engine as bench_engine
from sr_core.bench import sitting
from sr_core.bench.engine import Job
from sr_core.bench.engine_layers import Watch
from sr_core.bench.engine_nets import (
    ALIGNMENT,
    EQUAL_DENSITY,
    Net,
    cell_weights,
    entries,
    int8_model,
    kept_weights,
)
from sr_core.bench.sitting import Call, interleaved
from sr_core.catalogue.store import Catalogue
from sr_core.catalogue.verify import verify
from sr_core.catalogue.writer import write_engine_bench
from sr_core.cli.main import main
from sr_core.engine.build import file_name, own_path, target_here
from sr_core.errors import CatalogueError
from sr_core.files import PRECOMPUTED
from sr_core.network.extract import extract
from sr_core.network.layers import describe, lr_size, totals
from sr_core.network.onnx_graph import INPUT
from sr_core.report.engine import bench_facts, conditions, tables
from sr_core.results.engine import (
    TARGETS,
    EngineBench,
    EngineRow,
    Network,
    Target,
)
from sr_core.results.record import read_record, to_json
from tests.cli.test_main import COUNT, NUMBER, TEXT, Shell, record
from tests.needs import engine
from tests.tiny import write_manifest

RUNTIME = {"enum": ["sparse", "onnx"]}
POSITIVE = {"type": "number", "exclusiveMinimum": 0}
TIMES = {"median_ms": POSITIVE, "p10_ms": POSITIVE, "p90_ms": POSITIVE, "n": COUNT}
POSITIVE_OR_NULL = {"anyOf": [POSITIVE, {"type": "null"}]}
COLOUR = {"enum": ["rgb", "luma"]}
NET = {"channels": COUNT, "cells": COUNT, "block": TEXT, "scale": {"enum": [2, 4]}}
SCHEMA = record(
    processor=TEXT, cores=COUNT, runtimes=record(sparse=TEXT, onnx=TEXT), instructions=TEXT,
    better_instructions={"type": "array", "items": TEXT},
    library=TEXT,
    library_sha256={"type": "string", "pattern": "^[0-9a-f]{64}$"}, precision=TEXT,
    output={"type": "array", "items": COUNT, "minItems": 2, "maxItems": 2},
    date={"type": "string", "pattern": r"^\d{4}-\d\d-\d\d$"}, pause_ms=POSITIVE,
    warm_ups=COUNT, runs_per_visit=COUNT,
    sittings={
        "type": "array", "minItems": 1,
        "items": record(
            channels=COUNT, cells=COUNT, block=TEXT, scale={"enum": [2, 4]},
            threads={"enum": [1, 2]}, rounds=COUNT, peak_gflops_per_core=POSITIVE, drift=NUMBER,
        ),
    },
    rows={
        "type": "array", "minItems": 1,
        "items": record(
            channels=COUNT, cells=COUNT, block=TEXT, scale={"enum": [2, 4]},
            scheme={
                "enum": [
                    "dense", "channel", "block", "pattern", "unstructured", "aligned", "int8",
                ]
            },
            density=POSITIVE, threads={"enum": [1, 2]}, **TIMES, macs_g=POSITIVE,
            ratio_vs_ort_dense=POSITIVE, runtime=RUNTIME, gflops=POSITIVE,
            share_of_peak={"anyOf": [POSITIVE, {"type": "null"}]},
            cost_per_mac_vs_dense=POSITIVE,
        ),
    },
    frames={
        "type": "array", "minItems": 4, "maxItems": 4,
        "items": record(model=TEXT, runtime=RUNTIME, threads=COUNT, **TIMES),
    },
    outputs={
        "type": "array", "minItems": 3 * 8, "maxItems": 3 * 8,
        "items": record(
            **NET, scheme={"enum": [None, "dense", "block"]}, density=POSITIVE_OR_NULL,
            colour=COLOUR, depth={"enum": ["fp32", "8-bit"]}, **TIMES,
        ),
    },
    layers={
        "type": "array",
        "items": record(
            **NET, scheme={"enum": ["dense", "block"]}, density=POSITIVE, colour=COLOUR, kind=TEXT,
            took_ms=POSITIVE, share_of_time=POSITIVE, macs_g=POSITIVE_OR_NULL,
            share_of_peak=POSITIVE_OR_NULL,
        ),
    },
)  # fmt: skip
TINY = Job(
    (Net(16, 1, 4), Net(16, 1, 2), Net(16, 1, 4, "residual")),
    sitting_s=0, rounds=1, output=(64, 48),
)  # fmt: skip
ROW: dict[str, Any] = {
    "channels": 24, "cells": 8, "scale": 4, "scheme": "block", "density": 0.25, "threads": 2,
    "median_ms": 10.0, "p10_ms": 9.0, "p90_ms": 11.0, "n": 8, "macs_g": 2.07,
    "ratio_vs_ort_dense": 5.5, "runtime": "sparse", "gflops": 414.0, "share_of_peak": 0.8,
    "cost_per_mac_vs_dense": 1.05,
}  # fmt: skip
BENCH: dict[str, Any] = {
    "processor": "one", "cores": 2, "runtimes": {"sparse": "ours", "onnx": "theirs"},
    "instructions": "AVX2", "library": "a.so", "library_sha256": "0" * 64, "precision": "fp32",
    "output": [1280, 720],
    "date": "2026-01-01", "pause_ms": 25, "warm_ups": 1, "runs_per_visit": 2, "sittings": [],
    "rows": [ROW], "frames": [],
}  # fmt: skip


@pytest.fixture
def engine_root(own_root: Path) -> Path:
    """Tiny supernets and the shipped engine."""
    shutil.copytree(PRECOMPUTED / "engine", own_root / "engine", dirs_exist_ok=True)
    write_manifest(own_root)
    engine(Catalogue(own_root))
    return own_root


@pytest.fixture
def shell(
    engine_root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Shell:
    """A shell whose `bench engine` takes a moment."""
    for name in ("QUICK", "FULL"):
        monkeypatch.setattr(bench_engine, name, TINY)
    monkeypatch.setattr(sitting, "PAUSE_S", 1e-3)
    return Shell(engine_root, capsys)


def row(**changes: Any) -> EngineRow:
    return EngineRow.model_validate(ROW | changes)


@pytest.mark.parametrize("width", sorted({net.channels for net in bench_engine.FULL.nets}))
def test_rivals_are_of_equal_macs(width: int) -> None:
    entered = list(entries(Net(width, 4, 4)))
    dense = entered[0].network
    shares = {
        (entry.scheme, runtime): cell_weights(entry.network) / cell_weights(dense)
        for entry in entered
        for runtime in entry.runtimes
    }
    assert [entry.scheme for entry in entered[:1]] == ["dense"]
    for runtime in ("sparse", "onnx"):  # the last one is the smallest
        assert shares["channel", runtime] == pytest.approx(EQUAL_DENSITY, rel=0.06)
    large, small = (entry.network for entry in entered if entry.scheme == "aligned")
    assert kept_weights(large) == pytest.approx(kept_weights(dense), rel=0.06)
    assert kept_weights(small) < kept_weights(large)
    inner = [layer for network in (large, small) for cell in network.cells for layer in cell]
    assert all(side % ALIGNMENT == 0 for layer in inner for side in layer.weight.shape[:2])


def test_multiply_accumulates_are_those_of_the_cost_model() -> None:
    net = Net(24, 2, 4)
    candidate = net.candidate("unstructured", 0.3)
    height, width = lr_size(4)
    expected = totals(describe(candidate, height, width)).macs_kept
    assert kept_weights(extract(net.supernet(), candidate)) * height * width == expected


def test_networks_of_other_blocks_have_the_same_rivals() -> None:
    """But no aligned one that is the dense network itself: 16 channels are a multiple of 16."""
    entered = list(entries(Net(16, 2, 4, "residual"), peers=True))
    dense = entered[0].network
    found = [
        (entry.scheme, round(cell_weights(entry.network) / cell_weights(dense), 2), entry.runtimes)
        for entry in entered
    ]
    assert found[0] == ("dense", 1.0, ("onnx", "sparse", "mnn"))
    assert ("block", 0.25, ("sparse", "mnn")) in found
    assert ("channel", 0.25, ("onnx", "sparse")) in found
    assert ("unstructured", 0.5, ("sparse",)) in found
    assert "aligned" not in {scheme for scheme, _, _ in found}


def test_a_call_that_was_timed_elsewhere_keeps_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sitting, "PAUSE_S", 0)
    assert interleaved([lambda: sitting.Elapsed(7.0)], 0, 1) == [[7.0, 7.0]]


def test_int8_runs_and_leaves_the_logger_alone() -> None:
    root = logging.getLogger()
    level = root.level
    network = next(entries(Net(16, 1, 4))).network
    options = ort.SessionOptions()
    options.log_severity_level = 3
    session = ort.InferenceSession(int8_model(network), options)
    frame = np.zeros((1, 3, 6, 8), dtype=np.float32)
    assert np.asarray(session.run(None, {INPUT: frame})[0]).shape == (1, 3, 24, 32)
    assert root.level == level


def test_calls_take_turns_and_untimed_runs_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sitting, "PAUSE_S", 0)
    log: list[str] = []

    def call(name: str) -> Call:
        return lambda: log.append(name)

    times = interleaved([call("a"), call("b")], 0, 2, call("."))
    assert "".join(log) == "ab" + ".aaabbb" * 2
    assert [len(times_ms) for times_ms in times] == [4, 4]


def test_rows_are_ratios_of_medians(engine_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """ONNX Runtime takes 21 ms for the dense network, all else half of that."""

    def fixed(
        calls: Sequence[Call], seconds: float, rounds: int, between: Callable[[], object] = int
    ) -> list[list[float]]:
        between()
        return [
            [10.0, 9.0, 11.0, 30.0] if i else [20.0, 20.0, 22.0, 22.0] for i in range(len(calls))
        ]

    monkeypatch.setattr(bench_engine, "interleaved", fixed)

    def peak(library: object, threads: int) -> float:
        return 1.0

    monkeypatch.setattr(bench_engine, "_peak_gflops_per_core", peak)
    catalogue = Catalogue(engine_root)
    assert catalogue.engine
    bench = bench_engine.bench_engine(catalogue, catalogue.engine, TINY)
    theirs, ours, pruned, *_ = bench.rows
    assert (theirs.runtime, theirs.scheme, theirs.median_ms) == ("onnx", "dense", 21)
    assert theirs.ratio_vs_ort_dense == theirs.cost_per_mac_vs_dense == 1
    assert (ours.median_ms, ours.p10_ms, ours.n) == (10.5, 9.3, 4)
    assert (ours.ratio_vs_ort_dense, ours.cost_per_mac_vs_dense) == (2, 1)
    assert ours.gflops == pytest.approx(2 * ours.macs_g / 10.5e-3, rel=1e-4)
    assert ours.share_of_peak == pytest.approx(ours.gflops, rel=1e-4)
    assert (pruned.scheme, pruned.density, pruned.ratio_vs_ort_dense) == ("block", 0.5, 2)
    assert pruned.cost_per_mac_vs_dense == pytest.approx(ours.macs_g / pruned.macs_g, rel=1e-4)
    assert bench.sittings[0].drift == pytest.approx(0.1)
    assert all((r.share_of_peak is None) == (r.scheme == "int8") for r in bench.rows)


def test_every_layer_has_its_time_and_its_share_of_the_peak(
    engine_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sitting, "PAUSE_S", 0)
    library = Catalogue(engine_root).engine
    assert library
    net = Net(16, 2, 2)
    watch = Watch.of(net, list(entries(net)), library, net.frame((64, 48)))
    nothing = [[4.0]] * len(watch.calls())
    assert watch.results(nothing, 1.0)[1] == []  # no clock has run
    interleaved(watch.calls(), 0, 1)
    outputs, layers = watch.results([[float(n)] for n in range(1, 12)], peak_gflops=0.5)
    assert [(one.scheme, one.colour, one.depth, one.median_ms) for one in outputs] == [
        (None, "rgb", "fp32", 1), (None, "rgb", "8-bit", 2),
        ("dense", "rgb", "fp32", 3), ("dense", "rgb", "8-bit", 4),
        ("block", "rgb", "fp32", 6), ("block", "rgb", "8-bit", 7),
        ("block", "luma", "fp32", 9), ("block", "luma", "8-bit", 10),
    ]  # fmt: skip
    if platform.machine() not in {"x86_64", "aarch64"}:
        return
    kinds = ["read", "head", "1x1", "3x3", "input skip", "tail", "write"]
    assert [one.kind for one in layers if one.scheme == "dense"] == kinds
    assert "chroma" in {one.kind for one in layers if one.colour == "luma"}
    dense = [one for one in layers if one.scheme == "dense"]
    assert sum(one.share_of_time for one in dense) == pytest.approx(1, abs=1e-3)
    assert sum(one.took_ms for one in dense) == pytest.approx(3, abs=1e-3)
    network = next(entries(net)).network
    macs_g = kept_weights(network) * 32 * 24 / 1e9
    assert sum(one.macs_g or 0 for one in dense) == pytest.approx(macs_g, rel=1e-3)
    (tail,) = (one for one in dense if one.kind == "tail")
    macs_g = 16 * 12 * 9 * 32 * 24 / 1e9
    assert tail.macs_g == pytest.approx(macs_g, rel=1e-4)
    assert tail.share_of_peak == pytest.approx(2 * macs_g / tail.took_ms * 1e3 / 0.5, rel=1e-3)
    assert dense[0].share_of_peak is dense[0].macs_g is None


def test_layers_and_memory_are_reported_where_they_were_measured() -> None:
    old = EngineBench.model_validate_json(json.dumps(BENCH))
    assert old.layers == old.outputs == ()
    assert "Where the time goes" not in tables([old])
    net = {"channels": 24, "cells": 8, "block": "wide", "scale": 4}
    block = net | {"scheme": "block", "density": 0.25}
    times = {"median_ms": 2.0, "p10_ms": 2.0, "p90_ms": 2.0, "n": 4}
    layer = block | {"kind": "3x3", "took_ms": 5.0, "share_of_time": 0.5, "macs_g": 1.0,
                     "share_of_peak": 0.8}  # fmt: skip
    write = layer | {"kind": "write", "macs_g": None, "share_of_peak": None}
    new = EngineBench.model_validate_json(json.dumps(BENCH | {
        "outputs": [one | times | {"depth": depth} for one in (net, block)
                    for depth in ("fp32", "8-bit")],
        "layers": [layer, write],
    }))  # fmt: skip
    assert "| 3x3 | 50% (80%) |\n| write | 50% |" in tables([new])
    assert "reading and writing it alone takes 2.0 and 2.0 ms" in "\n".join(bench_facts(new))
    assert read_back(new) == new


def read_back(bench: EngineBench) -> EngineBench:
    return EngineBench.model_validate_json(to_json(bench))


def test_a_target_is_reached_by_its_worst_row() -> None:
    network: Network = (24, 8, "wide")
    speed = Target(network, "block", 0.25, "ratio_vs_ort_dense", 5, 2)
    assert speed.is_reached([]) is None
    assert speed.is_reached([row()]) is True
    others = (
        row(runtime="onnx"), row(threads=1), row(cells=4), row(scale=2), row(density=0.5),
        row(channels=16), row(scheme="pattern"), row(block="residual"),
    )  # fmt: skip
    assert speed.value([row(ratio_vs_ort_dense=5.2), *others]) == 5.2
    assert speed.is_reached([row(), row(ratio_vs_ort_dense=4.9)]) is False
    cost = Target(network, "block", None, "cost_per_mac_vs_dense", 1.1, 2)
    assert cost.value([row(), row(density=0.5, cost_per_mac_vs_dense=1.2)]) == 1.2
    assert cost.is_reached([row()]) is True
    assert {name: len(set(targets)) for name, targets in TARGETS.items()} == {
        "AVX-512": 7, "AVX2": 9,
    }  # fmt: skip


def test_a_target_beside_mnn_is_of_the_same_masks_and_threads() -> None:
    target = Target((24, 8, "wide"), "block", 0.25, "ratio_vs_mnn", 2.5, 2)
    others = (
        row(runtime="onnx"), row(runtime="mnn", threads=1), row(runtime="mnn", scheme="dense"),
        row(runtime="mnn", block="residual"), row(runtime="mnn", density=0.5),
    )  # fmt: skip
    assert target.is_reached([row(), *others]) is None
    mnn = row(runtime="mnn", median_ms=26.0)
    assert target.value([*others, mnn, row()]) == 2.6
    assert target.is_reached([*others, mnn, row(median_ms=11)]) is False


def test_bench_engine_prints_json_and_a_table(shell: Shell) -> None:
    data = json.loads(shell("bench", "engine", "--quick", "--json"))
    jsonschema.validate(data, SCHEMA)
    networks = {
        (r["channels"], r["cells"], r["block"], r["scale"], r["threads"]) for r in data["rows"]
    }
    assert len(networks) == len(data["sittings"])
    text = shell("bench", "engine", "--quick")
    assert text.count("reading and writing the frames alone: fp32 ") == 3
    for words in (
        "x4, 16 channels, 1 wide cells",
        "1 residual cells",
        "ONNX Runtime  int8",
        "x4-wide-block75",
        "peak",
    ):
        assert words in text
    head, targets = text.split("Targets with ")[1].split(": x4\n")
    targets = targets.splitlines()
    assert head == data["instructions"]
    assert len(targets) == len(TARGETS[head])
    assert all(line.endswith("not measured") for line in targets)  # other networks


def test_full_results_are_stored(shell: Shell, engine_root: Path) -> None:
    assert "Only full results" in shell.error("bench", "engine", "--quick", "--store")
    assert Catalogue(engine_root).engine_benches == ()
    other = EngineBench.model_validate_json(json.dumps(BENCH | {"instructions": "NEON"}))
    write_engine_bench(engine_root, other)
    shell("bench", "engine", "--store")
    stored, kept = Catalogue(engine_root).engine_benches
    assert kept == other, "each instruction set has a record of its own"
    assert {row.runtime for row in stored.rows} == {"sparse", "onnx"}
    assert verify(Catalogue(engine_root)) == []
    (engine_root / "results/engine-aarch64.json").write_text(to_json(kept) + " ")
    with pytest.raises(CatalogueError, match="does not match its checksum"):
        _ = Catalogue(engine_root).engine_benches


def test_results_of_a_library_that_is_not_shipped_are_not_stored(
    shell: Shell, engine_root: Path, user_data: Path
) -> None:
    own_path().parent.mkdir(parents=True)
    shutil.copy(engine_root / "engine" / file_name(target_here()), own_path())
    for option in ([], ["--library", "own"]):
        error = shell.error("bench", "engine", "--store", *option)
        assert "Only results of shipped libraries are stored" in error


def test_a_place_that_cannot_be_written_is_found_before_the_work(
    engine_root: Path, shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    def work(*_: object, **__: object) -> NoReturn:
        raise AssertionError("measured first")

    for name in ("engine.bench_engine", "rivals.bench_rivals", "workers.bench_workers",
                 "samplers.bench_samplers", "ablation.bench_ablation"):  # fmt: skip
        monkeypatch.setattr(f"sr_core.bench.{name}", work)
    shutil.rmtree(engine_root / "results")
    (engine_root / "results").write_text("in the way")
    for words in (
        ("engine",), ("rivals",), ("workers", "--scale", "4"), ("samplers", "--scale", "4"),
        ("ablation", "schemes", "a=b", "--benchmark", engine_root),
    ):  # fmt: skip
        assert "Not a directory" in shell.error("bench", *words, "--store")


def test_results_that_cannot_be_stored_are_printed_and_kept(
    shell: Shell, engine_root: Path, capsys: pytest.CaptureFixture[str], full: set[Path]
) -> None:
    full.add(engine_root)
    assert main(["--root", str(engine_root), "bench", "engine", "--store"]) == 1
    printed, message = capsys.readouterr()
    assert "times as fast as ONNX Runtime dense" in printed
    (place,) = re.findall(r"No space left.* kept in (.*\.json): move", message)
    read_record(Path(place), EngineBench, remake="")


def test_a_processor_that_has_more_is_mentioned() -> None:
    bench = EngineBench.model_validate_json(json.dumps(BENCH))
    assert bench.handicap == ""
    more = bench.model_copy(update={"better_instructions": ("AVX-512",)})
    assert "has AVX-512 too" in conditions(more)
    assert conditions(bench).endswith("2026-01-01.")


def test_without_an_engine_it_says_why(own_root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "engine" in Shell(own_root, capsys).error("bench", "engine", "--quick")


def test_stored_results_come_back(own_root: Path) -> None:
    bench = EngineBench.model_validate_json(json.dumps(BENCH))
    write_engine_bench(own_root, bench)
    write_manifest(own_root)
    assert Catalogue(own_root).engine_benches == (bench,)


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"rows": []}, "rows"),
        ({"rows": [ROW | {"median_ms": 0}]}, "rows.0.median_ms"),
        ({"rows": [ROW | {"scheme": "magic"}]}, "rows.0.scheme"),
        ({"library_sha256": "0"}, "library_sha256"),
        ({"pause_ms": float("inf")}, "pause_ms"),
        ({"extra": 1}, "extra"),
    ],
)
def test_a_damaged_file_is_one_sentence(tmp_path: Path, change: dict[str, Any], place: str) -> None:
    path = tmp_path / "engine.json"
    path.write_text(json.dumps(BENCH | change))
    with pytest.raises(CatalogueError, match=rf"engine\.json is damaged \({place}: "):
        read_record(path, EngineBench, remake="restore it")
    path.write_text("{")
    with pytest.raises(CatalogueError, match=r"engine\.json is damaged \(the file: "):
        read_record(path, EngineBench, remake="restore it")
