"""The one reader of records: whatever a file holds, it is a record or one short sentence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sr_core.errors import CatalogueError, LatencyError
from sr_core.results.record import Count, Finite, Record, read_record, to_json


class Part(Record):
    n: Count
    cost_ms: Finite = 0.0
    known: dict[str, Count] = {}


class Whole(Record):
    parts: tuple[Part, ...]
    part: Part | None = None


SOUND: dict[str, Any] = {"parts": [{"n": 1, "cost_ms": 0.5, "known": {}}], "part": None}
LONG = "k" * 1_000_000
FAULTS: list[tuple[object, str]] = [
    (SOUND | {"more": 1}, "more: Extra inputs are not permitted"),
    ({}, "parts: Field required"),
    ({"parts": [{"n": 1}, {"n": "2"}]}, "parts.1.n: Input should be a valid integer, got '2'"),
    ({"parts": [{"n": True}]}, "parts.0.n: Input should be a valid integer, got True"),
    ({"parts": [{"n": 0}]}, "parts.0.n: Input should be greater than or equal to 1, got 0"),
    ({"parts": [{"n": 1, "cost_ms": float("nan")}]}, "parts.0.cost_ms: Input should be a finite"),
    ({"parts": [{"n": 1, "cost_ms": 10**400}]}, "parts.0.cost_ms: Input should be a finite"),
    ({"parts": [{"n": 1, "known": {LONG: 0}}]}, "parts.0.known.kkk"),
    ({"parts": [{"n": 1, "known": {"a\n\x1b[31m": 0}}]}, r"parts.0.known.a\n\x1b[31m: Input"),
    ({"parts": [{"n": LONG}]}, "parts.0.n: Input should be a valid integer, got 'kkk"),
    ({"parts": LONG}, "parts: Input should be a valid array, got 'kkk"),
    ([], "the file: Input should be an object, got []"),
    (None, "the file: Input should be an object, got None"),
]
NO_JSON = [
    b"", b"{", b"no json", b'"' + b"x" * 1_000_000, b"\xff\xfe", b"\xef\xbb\xbf{", b"\0",
    b"[" * 100_000, b'{"parts":' * 100_000, b'{"parts": [{"n": ' + b"1" * 10_000 + b"}]}",
    b'{"\\ud800": 1}',
]  # fmt: skip


def refusal(path: Path, kind: Any = Whole) -> str:
    with pytest.raises(CatalogueError) as caught:
        read_record(path, kind, remake="restore it")
    text = str(caught.value)
    assert text.startswith(f"{path.parent.name}/{path.name} ")
    assert text.endswith(": restore it.")
    assert text.isprintable()
    assert len(text) < 500
    return text


@pytest.mark.parametrize(("content", "fault"), FAULTS, ids=lambda value: str(value)[:40])
def test_the_first_fault_is_named(tmp_path: Path, content: object, fault: str) -> None:
    path = tmp_path / "whole.json"
    path.write_text(json.dumps(content))
    assert f"whole.json is damaged ({fault}" in refusal(path)


@pytest.mark.parametrize("content", NO_JSON, ids=lambda value: str(value[:12]))
def test_what_is_no_json_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "whole.json"
    path.write_bytes(content)
    assert "whole.json is damaged (the file: Invalid JSON: " in refusal(path)


@given(st.binary() | st.text().map(lambda text: json.dumps({"parts": text}).encode()))
def test_any_bytes_are_refused(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.json"
    path.write_bytes(content)
    refusal(path)


def test_rows_of_a_list_are_counted_from_one(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    path.write_text('[{"n": 1}, {"n": 0}]')
    assert "(row 2, n: " in refusal(path, list[Part])
    path.write_text('[{"n": 1}, 3]')
    assert "(row 2: Input should be an object, got 3)" in refusal(path, tuple[Part, ...])


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    assert "whole.json is missing: " in refusal(tmp_path / "whole.json")
    (tmp_path / "whole.json").mkdir()
    assert "whole.json cannot be read (Is a directory): " in refusal(tmp_path / "whole.json")


def test_the_caller_chooses_the_error(tmp_path: Path) -> None:
    with pytest.raises(LatencyError, match=r"phone\.json is missing: measure again\.$"):
        read_record(tmp_path / "phone.json", Part, remake="measure again", error=LatencyError)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_byte_order_mark_is_no_damage(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "part.json").write_text(to_json(Part(n=3)), encoding)
    assert read_record(tmp_path / "part.json", Part, remake="") == Part(n=3)


def test_what_is_written_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "whole.json"
    whole = Whole(parts=(Part(n=1, cost_ms=1e-7, known={"é": 3}),))
    path.write_text(to_json(whole), encoding="utf-8")
    assert read_record(path, Whole, remake="") == whole
    path.write_text(to_json(whole.parts), encoding="utf-8")
    assert read_record(path, tuple[Part, ...], remake="") == whole.parts
    assert to_json(Part(n=1), exclude_defaults=True) == '{\n "n": 1\n}\n'
