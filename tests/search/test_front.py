from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from sr_core.errors import SearchError
from sr_core.search.front import best_under, hypervolume, knee, non_dominated
from tests.work import instructions, peak_bytes

Points = list[tuple[float, float]]


def points(*, least: int = 0) -> st.SearchStrategy[Points]:
    """Points with many ties (whole numbers) or hardly any."""
    ties = st.integers(0, 6).map(float)
    wide = st.floats(-1e6, 1e6)
    return st.one_of(
        st.lists(st.tuples(ties, ties), min_size=least, max_size=30),
        st.lists(st.tuples(wide, wide), min_size=least, max_size=30),
    )


def split(found: Points) -> tuple[list[float], list[float]]:
    return [c for c, _ in found], [v for _, v in found]


def by_definition(found: Points) -> list[bool]:
    """The O(n^2) definition: nobody is at least as good in both and better in one."""

    def beats(one: tuple[float, float], other: tuple[float, float]) -> bool:
        return one[0] <= other[0] and one[1] >= other[1] and one != other

    return [not any(beats(other, point) for other in found) for point in found]


@given(points())
def test_non_dominated_is_the_definition(found: Points) -> None:
    assert non_dominated(*split(found)).tolist() == by_definition(found)


def test_equal_points_are_all_kept() -> None:
    assert non_dominated([1, 1, 2, 2], [5, 5, 5, 6]).tolist() == [True, True, False, True]


def test_a_front_takes_no_loop_and_no_table_over_its_points(rng: np.random.Generator) -> None:
    """All points are on the front, which is the worst case of most algorithms."""
    few, many = rng.random(1_000), rng.random(10_000)
    assert non_dominated(many, many).all()
    short, long = (instructions(partial(non_dominated, c, c)) for c in (few, many))
    assert long == short
    small, large = (peak_bytes(partial(non_dominated, c, c)) for c in (few, many))
    assert large < 20 * small


def brute_volume(found: Points, reference: tuple[float, float]) -> float:
    """Counts unit squares; for whole numbers only."""
    return sum(
        any(c <= x and v > y for c, v in found)
        for x in range(int(reference[0]))
        for y in range(int(reference[1]), 7)
    )


@given(
    st.lists(st.tuples(st.integers(0, 6).map(float), st.integers(0, 6).map(float)), max_size=12),
    st.integers(0, 7),
    st.integers(0, 7),
)
def test_hypervolume_is_the_area(found: Points, cost: int, value: int) -> None:
    assert hypervolume(*split(found), (cost, value)) == brute_volume(found, (cost, value))


@given(points(least=1))
def test_the_front_alone_has_the_same_hypervolume(found: Points) -> None:
    cost, value = map(np.array, split(found))
    front = non_dominated(cost, value)
    reference = (1e6, -1e6)
    assert hypervolume(cost[front], value[front], reference) == pytest.approx(
        hypervolume(cost, value, reference)
    )


def test_hypervolume_of_what_does_not_count_is_zero() -> None:
    assert hypervolume([], [], (1, 0)) == 0
    assert hypervolume([1, 0.5], [3, 0], (1, 0)) == 0  # on the reference, not better


def concave(n: int = 21) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """A front with a corner at index 5."""
    cost = np.linspace(10, 30, n)
    return cost, np.where(cost <= 15, 26 + 0.4 * (cost - 10), 28 + 0.02 * (cost - 15))


def test_knee_is_the_corner_in_any_unit_and_order(rng: np.random.Generator) -> None:
    cost, value = concave()
    assert knee(cost, value) == 5
    assert knee(cost * 1e6, value / 1e3) == 5
    order = rng.permutation(cost.size)
    assert order[knee(cost[order], value[order])] == 5


def test_knee_ignores_dominated_points() -> None:
    cost, value = concave()
    assert knee(np.append(cost, 100), np.append(value, 0)) == 5


@pytest.mark.parametrize(
    ("cost", "value"),
    [
        ([3], [1]),
        ([3, 3], [1, 1]),
        ([3, 4], [1, 2]),
        ([3, 4, 5], [1, 2, 3]),
        ([3, 4, 5], [1, 1.1, 3]),
    ],
)
def test_without_a_bulge_the_knee_is_the_cheapest(cost: list[float], value: list[float]) -> None:
    assert knee(cost, value) == 0


def test_knee_of_nothing_is_refused() -> None:
    with pytest.raises(SearchError, match="at least one point"):
        knee([], [])


def test_best_under_a_budget() -> None:
    cost, value = [1, 2, 3, 4], [10, 30, 30, 40]
    assert [best_under(cost, value, b) for b in (0.5, 1, 2.9, 3, 4, 9)] == [None, 0, 1, 1, 3, 3]
    assert best_under([], [], 1) is None


@given(points(), st.floats(-1e6, 1e6))
def test_best_under_is_on_the_front(found: Points, budget: float) -> None:
    index = best_under(*split(found), budget)
    assert (index is None) == all(cost > budget for cost, _ in found)
    if index is not None:
        assert found[index][0] <= budget
        assert non_dominated(*split(found))[index]


@pytest.mark.parametrize("bad", [float("inf"), float("-inf"), float("nan")])
def test_what_is_not_finite_is_refused(bad: float) -> None:
    for cost, value in (([1, bad], [1, 2]), ([1, 2], [bad, 2])):
        for function in (non_dominated, knee):
            with pytest.raises(SearchError, match="must be finite"):
                function(cost, value)
        with pytest.raises(SearchError, match="must be finite"):
            hypervolume(cost, value, (3, 0))
        with pytest.raises(SearchError, match="must be finite"):
            best_under(cost, value, 3)


@pytest.mark.parametrize(("cost", "value"), [([1, 2], [1]), ([[1]], [[1]]), (1, 1)])
def test_other_shapes_are_refused(cost: object, value: object) -> None:
    with pytest.raises(SearchError, match="vectors of one length"):
        non_dominated(cost, value)  # pyright: ignore[reportArgumentType]
