from __future__ import annotations

import json
from pathlib import Path

import pytest

from sr_core.errors import SearchError
from sr_core.search.events import CropSet, End, Event, Failure, Start, Trial, line, parse_event
from sr_core.search.result import SearchResult, read_result, write_result
from sr_core.search.tally import Tally

START = Start(
    study="s", scale=4, objective="macs", unit="GMACs", budget_ms=None, sampler="bayes", trials=3,
    seed=0, crops=CropSet(sha256="0" * 64, n=2, bicubic_psnr_y_db=26.5, about="two crops"),
    reference_cost=5.0, command="python -m sr_core search", finished_before=0,
)  # fmt: skip
TRIAL = Trial(
    number=3, network="x4c16_2w", psnr_y_db=27.0, ssim_y=0.8, cost=2.0, feasible=True, known=False,
    proposal_s=0.1, evaluation_s=0.2, trials=1, evaluated=1, hypervolume=1.5,
)  # fmt: skip
END = End(trials=1, evaluated=1, hypervolume=1.5, seconds=3.0)
FACTS = {"started": "now", "commit": "c", "processor": "p", "versions": {}, "threads": 1}


@pytest.mark.parametrize("event", [START, TRIAL, END, Failure(message="No.")])
def test_an_event_is_one_line(event: Event) -> None:
    text = line(event)
    assert "\n" not in text
    assert json.loads(text)["event"] == event.event
    assert parse_event(text) == event == parse_event(text.encode())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the line: Invalid JSON"),
        ("{}", "the line: Unable to extract tag"),
        ('{"event":"pause"}', "does not match any of the expected tags: 'start', 'trial'"),
        (line(END).replace('"seconds"', '"minutes"'), r"end\.seconds: Field required"),
        (line(END).replace("3.0", "NaN"), r"end\.seconds"),
    ],
)
def test_what_is_no_event_is_refused(text: str, message: str) -> None:
    with pytest.raises(SearchError, match=message):
        parse_event(text)


def test_a_result_survives_its_file(tmp_path: Path) -> None:
    result = SearchResult(
        weights_sha256="0" * 64, protocol="p", start=START, run=Tally(START, FACTS).run(),
        trials=[TRIAL],
    )  # fmt: skip
    path = tmp_path / "new" / "result.json"
    write_result(path, result)
    assert read_result(path.read_bytes(), path.name) == result
    for encoding in ("utf-8-sig", "utf-16"):  # edited on Windows
        assert read_result(path.read_text().encode(encoding), path.name) == result
    with pytest.raises(SearchError, match=r"mine\.json holds no search result \(start"):
        read_result(path.read_text().replace('"start"', '"begin"'), "mine.json")
    with pytest.raises(SearchError, match=r"Cannot write .* The result is kept in .*\.json: move"):
        write_result(path / "below-a-file.json", result)
