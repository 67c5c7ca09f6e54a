"""Tiny runs share a Ray task, others never do."""

from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raysched.core.orders import Order, Shape
from raysched.core.sharing import LONGEST_S, MOST, TASKS, Pace, share

ONE, TWO = Shape(key="one", options={}), Shape(key="two", options={})


def an_order(n, shape=ONE, attempt=1):
    return Order(
        key=f"job@{n}#{attempt}",
        run_id=f"job@{n}",
        attempt=attempt,
        job="job",
        version="v",
        code_hash="h",
        shape=shape,
    )


def sizes(tasks):
    return [len(task) for task in tasks]


def shared(orders, *, expected_s=0.0001, waiting=10_000, most=MOST):
    return share(orders, lambda order: expected_s, lambda shape: waiting, most)


def test_runs_of_a_long_line_share_tasks_up_to_the_most():
    assert sizes(shared([an_order(n) for n in range(2 * MOST + 1)])) == [MOST, MOST, 1]


def test_runs_share_only_as_far_as_enough_tasks_are_left_to_run_side_by_side():
    orders = [an_order(n) for n in range(3 * TASKS)]
    assert sizes(shared(orders, waiting=0)) == [3] * TASKS
    assert sizes(shared(orders[:TASKS], waiting=0)) == [1] * TASKS


def test_a_run_of_unknown_duration_rides_alone():
    assert sizes(shared([an_order(n) for n in range(5)], expected_s=None)) == [1] * 5


def test_a_run_that_is_tried_again_rides_alone():
    orders = [an_order(0), an_order(1, attempt=2), an_order(2)]
    assert sorted(sizes(shared(orders))) == [1, 2]


def test_runs_share_no_task_that_would_take_long():
    assert sizes(shared([an_order(n) for n in range(6)], expected_s=LONGEST_S / 2)) == [2, 2, 2]
    assert sizes(shared([an_order(n) for n in range(3)], expected_s=LONGEST_S * 2)) == [1, 1, 1]


def test_one_at_most_means_that_nothing_is_shared():
    assert sizes(shared([an_order(n) for n in range(9)], most=1)) == [1] * 9


@given(
    st.lists(
        st.tuples(st.sampled_from([ONE, TWO]), st.integers(1, 2), st.none() | st.floats(0, 0.1)),
        max_size=200,
    ),
    st.integers(0, 1000),
)
def test_each_order_is_in_one_task_with_its_like_in_its_order(rows, waiting):
    orders = [an_order(n, shape, attempt) for n, (shape, attempt, _) in enumerate(rows)]
    expected = {order.key: row[2] for order, row in zip(orders, rows, strict=True)}
    tasks = share(orders, lambda order: expected[order.key], lambda shape: waiting)
    assert Counter(order.key for task in tasks for order in task) == Counter(expected.keys())
    place = {order.key: n for n, order in enumerate(orders)}
    for task in tasks:
        assert task
        assert len({order.shape.key for order in task}) == 1
        assert all(place[a.key] < place[b.key] for a, b in pairwise(task))


def test_a_version_is_tiny_once_enough_of_its_ends_are_known():
    pace = Pace()
    for n in range(8):
        assert pace.expected_s is None
        pace.note(n / 1000)
    assert pace.expected_s == pytest.approx(0.007)


def test_one_attempt_that_did_not_return_makes_a_version_unknown_again():
    pace = Pace()
    for _ in range(20):
        pace.note(0.001)
    pace.note(None)
    assert pace.expected_s is None


def test_one_long_run_is_remembered_until_enough_short_ones_have_followed():
    pace = Pace()
    for seconds in (9.0, *[0.001] * 7):
        pace.note(seconds)
    assert pace.expected_s == 9.0
    pace.note(0.001)
    assert pace.expected_s == 0.001
