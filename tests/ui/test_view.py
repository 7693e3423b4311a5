"""The state of the page as a link."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from urllib.parse import parse_qsl

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sr_core.catalogue.store import Catalogue
from sr_core.errors import UpFrontError
from sr_core.network.candidate import Candidate, Family
from sr_core.ui.view import MAX_LINK, SIZES, Link, Pick, View, make_view, parse_query, query
from tests import app_root, tiny
from tests.conftest import candidates

TABS = ("explore", "prune")
many = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def start(catalogue: Catalogue) -> Link:
    return Link(make_view(catalogue, scale=4), catalogue.models(Family(4))[0].candidate)


def fitting(candidate: Candidate) -> Candidate:
    """`candidate` with the tiny supernet's width and number of cells."""
    cells = (candidate.cells * tiny.CELLS)[: tiny.CELLS]
    return Candidate(4, tiny.WIDTH, cells, candidate.tail)


@many
@given(
    current=candidates().map(fitting),
    picked=st.lists(candidates().map(fitting), max_size=4, unique=True),
    size=st.sampled_from(SIZES),
    budget_ms=st.one_of(st.none(), st.integers(1, 500).map(float)),
    phone=st.booleans(),
    share=st.integers(0, 20),
)
def test_a_link_gives_back_what_it_was_made_from(
    catalogue: Catalogue, start: Link, current: Candidate, picked: list[Candidate],
    size: tuple[int, int], budget_ms: float | None, phone: bool, share: int,
) -> None:  # fmt: skip
    view = View(
        4, app_root.PHONE if phone else app_root.COMPUTER, size, 1,
        share / 20 if phone and share != 12 else None, budget_ms, "macs", "ssim_y",
    )  # fmt: skip
    link = Link(view, current, tuple(map(Pick, picked)), "prune")
    text = query(link)
    assert text.isascii()
    assert parse_query(catalogue, start, dict(parse_qsl(text)), TABS) == link


def test_an_empty_link_is_the_start(catalogue: Catalogue, start: Link) -> None:
    assert parse_query(catalogue, start, {}, TABS) == start
    assert parse_query(catalogue, start, {"utm_source": "x"}, TABS) == start


def test_a_link_is_short(catalogue: Catalogue, start: Link) -> None:
    named = catalogue.candidate_by_name("x4-wide-block50")
    assert len(query(replace(start, current=named))) < 80


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"net": "x" * MAX_LINK}, "characters: expected at most"),
        ({"net": "x4c32_12w"}, "this supernet is x4 with 2 cells"),
        ({"net": "x2c16_2w"}, "this supernet is x4"),
        ({"net": "/etc/passwd"}, "There is no model"),
        ({"net": "notes.json"}, "There is no model"),
        ({"net": "x4c16_2q"}, "not understood"),
        ({"scale": "four"}, "no scale 'four'"),
        ({"device": "<script>"}, "There is no device"),
        ({"size": "1x1"}, "no size '1x1'"),
        ({"budget": "-1"}, "budget '-1'"),
        ({"budget": "inf"}, "budget 'inf'"),
        ({"device": app_root.PHONE, "share": "2"}, "share '2'"),
        ({"axis": "money"}, "no axis"),
        ({"tab": "secret"}, "no tab 'secret': expected explore, prune"),
        ({"compare": "x4c16_2w x4c16_2r x4c16_w_r x4c16_r_w x4c16_s_w"}, "compares 5 networks"),
    ],
)
def test_a_bad_link_is_one_sentence(
    catalogue: Catalogue, start: Link, fields: dict[str, str], message: str
) -> None:
    with pytest.raises(UpFrontError, match=message):
        parse_query(catalogue, start, fields, TABS)


@pytest.mark.parametrize(("threads", "expected"), [(1, 1), ("2", 2), (64, 2), (None, 2), ("x", 2)])
def test_threads_that_the_device_lacks_fall_to_its_default(
    catalogue: Catalogue, threads: Any, expected: int
) -> None:
    assert make_view(catalogue, scale=4, threads=threads).threads == expected


def test_an_assumed_share_is_dropped_where_nothing_is_assumed(catalogue: Catalogue) -> None:
    assert make_view(catalogue, scale=4, device=app_root.COMPUTER, share=0.5).share is None
    assert make_view(catalogue, scale=4, device=app_root.PHONE, share=0.5).share == 0.5
    own = make_view(catalogue, scale=4, device=app_root.PHONE, share=0.6)
    assert own.share is None, "what the profile assumes anyway"
