"""`search` and `front`, end to end on tiny supernets."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

import jsonschema
import pytest

from sr_core.bench import workers as bench_workers
from sr_core.catalogue.store import Catalogue
from sr_core.catalogue.verify import verify
from sr_core.cli import search as cli_search
from sr_core.cli.main import main
from sr_core.errors import CatalogueError
from sr_core.network.candidate import Family
from sr_core.search.evaluate import Evaluation, Evaluator
from sr_core.search.events import End, Failure, Start, Trial, parse_event
from sr_core.search.result import read_result
from sr_core.search.settings import SearchArgs
from sr_core.search.study import search
from tests import tiny
from tests.cli.test_main import COUNT, NUMBER, SHARE, SSIM, TEXT, Shell, record
from tests.search.profiles import device, install
from tests.tiny import write_manifest

POINT = record(
    id={"type": "string", "pattern": "^[0-9a-f]{10}$"},
    network={"type": "string", "pattern": r"^x4c16_"}, psnr_y_db=NUMBER, ssim_y=SSIM,
    total_ms=NUMBER, low_ms=NUMBER, high_ms=NUMBER, coverage=SHARE,
    basis={"enum": ["calibrated", "extrapolated", "assumed"]}, macs_kept_g=NUMBER,
    params_kept=COUNT,
)  # fmt: skip
FRONT = record(
    scale={"const": 4}, colour={"const": "rgb"}, device={"const": "phone"},
    threads={"type": ["integer", "null"]},
    output={"type": "array", "items": COUNT, "minItems": 2, "maxItems": 2}, stored=COUNT,
    on_front=COUNT, knee=TEXT, budget_ms={"type": ["number", "null"]},
    best_within_budget={"type": ["string", "null"]}, hypervolume_ms_db=NUMBER,
    reference=record(ms=NUMBER, psnr_y_db=NUMBER),
    points={"type": "array", "items": POINT},
)  # fmt: skip


@pytest.fixture
def root(own_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A precomputed folder with one device, and no profile of this computer."""
    monkeypatch.setenv("UPFRONT_DATA", str(tmp_path / "data"))
    install(own_root, device("phone"))
    write_manifest(own_root)
    return own_root


@pytest.fixture
def shell(root: Path, capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(root, capsys)


def searched(shell: Shell, photos: Path, *words: object) -> str:
    return shell("search", "--scale", 4, "--val", photos / "val", *words)


def front_json(shell: Shell, *words: object) -> dict[str, Any]:
    data = json.loads(shell("front", "--scale", 4, "--json", *words))
    jsonschema.validate(data, FRONT)
    return data


def test_from_search_to_front(shell: Shell, root: Path, photos: Path) -> None:
    n = len(Catalogue(root).models(Family(4)))
    text = searched(shell, photos, "--sampler", "presets")
    assert re.match(
        rf"{n} trials: {n} networks evaluated in .* a second, .* dB\. {n} networks sto", text
    )
    searched(shell, photos, "--sampler", "random", "--trials", n + 6, "--objective", "phone")
    searched(
        shell, photos, "--trials", n + 20, "--objective", "phone", "--budget-ms", 9, "--seed", 1,
        "--threads", 1,
    )  # fmt: skip
    assert "intact" in shell("verify")
    front = Catalogue(root).front(Family(4))
    assert front is not None
    assert [run.sampler for run in front.header.runs] == ["presets", "random", "nsga2"]
    data = front_json(shell)
    assert data["stored"] == len(front.rows) > n
    assert data["on_front"] == len(data["points"])
    assert data["knee"] in {point["id"] for point in data["points"]}
    for point in data["points"]:
        assert 0 < point["low_ms"] <= point["total_ms"] <= point["high_ms"]
        assert Catalogue(root).find(point["network"]).id == point["id"]


@pytest.fixture
def stored(shell: Shell, photos: Path, monkeypatch: pytest.MonkeyPatch) -> Shell:
    """A shell on a root with a front of all presets, of made-up quality."""

    def evaluate(_: Evaluator, candidate: Any) -> Evaluation:
        return Evaluation(20 + int(candidate.id, 16) / 16**10, 0.8, 0.01)

    monkeypatch.setattr(Evaluator, "evaluate", evaluate)
    searched(shell, photos, "--sampler", "presets")
    return shell


def test_front_with_size_threads_and_budget(stored: Shell) -> None:
    whole = front_json(stored)
    assert whole["threads"] == 2
    small = front_json(stored, "--size", "640x360", "--threads", 1, "--device", "phone")
    assert (small["threads"], small["output"]) == (1, [640, 360])
    middle = whole["points"][len(whole["points"]) // 2]
    cut = front_json(stored, "--budget-ms", middle["total_ms"])
    assert cut["best_within_budget"] == middle["id"] == cut["points"][-1]["id"]
    assert cut["on_front"] == whole["on_front"] > len(cut["points"])
    assert front_json(stored, "--budget-ms", 1e-6)["points"] == []


def test_front_as_text_says_where_its_numbers_come_from(stored: Shell) -> None:
    lines = stored("front", "--scale", 4, "--budget-ms", 1e6).splitlines()
    data = front_json(stored)
    assert len(lines) == 3 + len(data["points"])
    assert "measured on validation crops; ms: estimated, 90% interval" in lines[0]
    assert "Made-up phone" in lines[0]
    for line, point in zip(lines[2:], data["points"], strict=False):
        assert line.startswith(point["id"])
        assert point["network"] in line
        assert ("knee" in line) == (point["id"] == data["knee"])
    assert lines[-2].endswith("best within the budget")
    assert f"of {data['stored']} networks are on the front; hypervolume" in lines[-1]


def test_network_texts_go_wherever_a_model_goes(stored: Shell) -> None:
    network = front_json(stored)["points"][0]["network"]
    described = json.loads(stored("describe", "--model", network, "--json"))
    assert described["id"] == front_json(stored)["points"][0]["id"]


def test_benchmark_fills_in_what_is_on_a_front(stored: Shell, root: Path, tmp_path: Path) -> None:
    folder = tiny.save_benchmark(tmp_path / "benchmark", 4)
    text = stored("search", "--scale", 4, "--benchmark", folder)
    front = Catalogue(root).front(Family(4))
    assert front is not None
    measured = front.rows["psnr_y_bsd100"].notna()
    assert text == f"{measured.sum()} networks measured on Set5, Set14, BSD100.\n"
    assert set(front_json(stored)["points"][0]) == set(POINT["properties"])
    assert {point["id"] for point in front_json(stored)["points"]} <= set(
        front.rows["id"][measured]
    )
    assert "intact" in stored("verify")
    assert stored("search", "--scale", 4, "--benchmark", folder).startswith("0 networks measured")
    assert len(front.header.runs) == 1


def test_ctrl_c_keeps_the_results(
    root: Path, photos: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    left = iter([Evaluation(30.0, 0.9, 0.1)] * 3)

    def evaluate(*_: object) -> Evaluation:
        result = next(left, None)
        if result is None:
            raise KeyboardInterrupt
        return result

    monkeypatch.setattr(Evaluator, "evaluate", evaluate)
    words = ["--root", root, "search", "--scale", 4, "--val", photos / "val"]
    assert main([*map(str, words)]) == 130
    assert capsys.readouterr().err.endswith("Stopped.\n")
    front = Catalogue(root).front(Family(4))
    assert front is not None
    assert len(front.rows) == 3
    assert verify(Catalogue(root)) == []


@pytest.fixture
def parent(monkeypatch: pytest.MonkeyPatch) -> Iterator[TextIO]:
    """The other end of our standard input."""
    reading, writing = os.pipe()
    with os.fdopen(reading) as ours, os.fdopen(writing, "w") as theirs:
        monkeypatch.setattr(sys, "stdin", ours)
        yield theirs


EVENTS = ("search", "--scale", 4, "--objective", "phone", "--events", "--out")


def test_events_are_all_that_is_printed(stored: Shell, parent: TextIO, tmp_path: Path) -> None:
    out = tmp_path / "result.json"
    first, *trials, last = map(parse_event, stored(*EVENTS, out, "--trials", 18).splitlines())
    assert isinstance(first, Start)
    assert isinstance(last, End)
    assert (first.trials, first.finished_before, first.study) == (18, 0, "x4-phone-nsga2-0")
    assert [trial.number for trial in trials if isinstance(trial, Trial)] == list(range(18))
    assert last.trials == 18
    assert read_result(out.read_bytes(), out.name).trials == trials
    parent.close()  # so that nobody waits for it any more


@pytest.mark.parametrize("how", ["stop\n", ""])
def test_a_search_ends_with_its_parent(
    stored: Shell, parent: TextIO, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    def evaluate(_: Evaluator, candidate: Any) -> Evaluation:
        if not parent.closed:
            parent.write(how)
            parent.close()
        time.sleep(0.05)
        return Evaluation(30.0, 0.8, 0.05)

    monkeypatch.setattr(Evaluator, "evaluate", evaluate)
    printed = stored(*EVENTS, tmp_path / "result.json", "--trials", 500).splitlines()
    last = parse_event(printed[-1])
    assert isinstance(last, End)
    assert 1 <= last.trials == len(printed) - 2 < 100
    assert len(read_result((tmp_path / "result.json").read_bytes(), "").trials) == last.trials


def test_an_error_is_an_event_too(
    root: Path, parent: TextIO, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--root", root, *EVENTS, "out.json", "--budget-ms", 1]
    assert main([*map(str, words)]) == 1
    failure = parse_event(capsys.readouterr().out)
    assert isinstance(failure, Failure)
    assert failure.message.startswith("No network fits a budget of 1 ms")
    parent.close()


@pytest.mark.usefixtures("stored")
def test_samplers_are_compared_and_stored(shell: Shell, root: Path) -> None:
    words = ("bench", "samplers", "--scale", 4, "--objective", "phone", "--seeds", 1)
    text = shell(*words, "--evaluations", 20, "--store")
    bench = Catalogue(root).sampler_bench
    assert bench is not None
    assert [run.sampler for run in bench.runs] == ["random", "nsga2", "tpe", "bayes"]
    for run in bench.runs:
        assert run.evaluated == len(run.hypervolume) == 20 <= run.trials
        assert run.hypervolume == sorted(run.hypervolume)
        assert run.hypervolume[:14] == bench.runs[0].hypervolume[:14]  # the same start
        assert re.search(rf"{run.sampler} +{bench.final(run.sampler)[1]:.4g} ", text)
    assert "intact" in shell("verify")
    assert "more evaluations than the 14 of the start" in shell.error(*words, "--evaluations", 14)
    (root / "results/samplers.json").write_text("{}")
    write_manifest(root)
    with pytest.raises(CatalogueError, match=r"samplers\.json is damaged .*bench samplers --store"):
        _ = Catalogue(root).sampler_bench


@pytest.mark.usefixtures("stored")
def test_two_workers_are_compared_with_one(
    shell: Shell, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[int] = []

    def work(_: Path, args: SearchArgs, workers: int) -> None:
        """In this process: another would take seconds to start."""
        assert (args.worker, args.threads, args.val) == (True, 1, None)
        started.append(workers)
        search(Catalogue(root), args)

    monkeypatch.setattr(bench_workers, "_work", work)
    text = shell("bench", "workers", "--scale", 4, "--trials", 10, "--store")
    bench = Catalogue(root).worker_bench
    assert bench is not None
    assert [row.workers for row in bench.rows] == started == [1, 2]
    assert f"2 workers are {bench.speed_up:.2f} times as fast as one." in text
    assert "--trials 9: expected at least 10" in shell.error(
        "bench", "workers", "--scale", 4, "--trials", 9
    )


def test_a_worker_of_the_comparison_is_tied_to_us_and_tells_why_it_failed() -> None:
    code = "import sys; print('up', flush=True); sys.stdin.read(); sys.exit(3)"
    with bench_workers._worker([sys.executable, "-c", code]) as (process, _):  # pyright: ignore
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait() == 3
    with bench_workers._worker([sys.executable, "-c", code]) as (process, _):  # pyright: ignore
        pass
    assert process.returncode == -signal.SIGKILL
    told = f"a warning\n{Failure(message='It is cold.').model_dump_json()}\n".encode()
    assert bench_workers._reason(told) == "It is cold."  # pyright: ignore
    assert bench_workers._reason(b"Traceback\nValueError: x\n") == "ValueError: x"  # pyright: ignore


def test_what_is_not_text_stops_a_search_too(monkeypatch: pytest.MonkeyPatch) -> None:
    stop = threading.Event()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"\xff\n"), "utf-8"))
    cli_search._wait_for_stop(stop)  # pyright: ignore
    assert stop.is_set()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["front", "--scale", "4"], "There is no x4 front in .*: run `python -m sr_core search"),
        (["front", "--scale", "3"], "no x3 supernet here: expected x2, x4"),
        (["front", "--scale", "4", "--device", "fridge"], "no device 'fridge'"),
        (["search", "--scale", "3", "--val", "."], "no x3 supernet here: expected x2, x4"),
        (["search", "--scale", "4", "--val", "nowhere"], "nowhere is not a folder"),
        (["search", "--scale", "4", "--val", ".", "--objective", "fridge"], "no device 'fridge'"),
        (["search", "--scale", "4", "--val", ".", "--budget-ms", "5"], "needs a device"),
        (["search", "--scale", "4", "--val", ".", "--trials", "0"], "--trials 0: expected"),
        (["search", "--scale", "4", "--val", ".", "--seed", "-1"], "--seed -1: expected 0 to 42"),
        (["search", "--scale", "4", "--val", ".", "--seed", "5000000000"], "--seed 5000000000: ex"),
        (
            ["search", "--scale", "4", "--objective", "phone", "--budget-ms", "inf", "--out", "x"],
            "The budget must be above 0 ms and finite, got inf",
        ),
        (["search", "--scale", "4", "--benchmark", "."], "There is no x4 front"),
        (["search", "--scale", "4"], "give --out FILE.json for its result, or a --storage"),
    ],
)
def test_errors_are_one_sentence(shell: Shell, words: list[str], message: str) -> None:
    assert re.search(message, shell.error(*words))


def test_without_a_device_the_front_says_so(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (root / "devices/phone.json").unlink()
    write_manifest(root)
    error = Shell(root, capsys).error("front", "--scale", 4)
    assert "no device profile: run `python -m sr_core measure`" in error


@pytest.mark.parametrize("words", [["--val", "a", "--benchmark", "b"], ["--sampler", "grid"]])
def test_wrong_usage_exits_with_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["search", "--scale", "4", *words])
    assert "usage: python -m sr_core search" in capsys.readouterr().err


def test_help_says_what_benchmarks_are_not_for(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["search", "--help"])
    assert "these images never choose a network" in " ".join(capsys.readouterr().out.split())
