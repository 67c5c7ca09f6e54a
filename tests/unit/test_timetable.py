"""The timetable against a naive one: a dictionary that is sorted each time it is asked."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from raysched.core.timetable import Timetable

START = datetime(2026, 11, 22, tzinfo=UTC)
KEYS = st.sampled_from("abcdef")
MOMENTS = st.integers(0, 20).map(lambda n: START + timedelta(microseconds=n))


class TimetableModel(RuleBasedStateMachine):
    """One dictionary beside the timetable."""

    def __init__(self):
        super().__init__()
        self.table, self.model = Timetable(), {}

    @rule(key=KEYS, due=MOMENTS)
    def put(self, key, due):
        self.table.put(key, due)
        self.model[key] = due

    @rule(key=KEYS)
    def put_nothing(self, key):
        self.table.put(key, None)
        self.model.pop(key, None)

    @rule(key=KEYS)
    def drop(self, key):
        self.table.drop(key)
        self.model.pop(key, None)

    @rule(now=MOMENTS)
    def pop(self, now):
        due = self.table.pop_due(now)
        assert sorted(due) == sorted(key for key, at in self.model.items() if at <= now)
        assert [self.model[key] for key in due] == sorted(self.model[key] for key in due)
        for key in due:
            del self.model[key]

    @invariant()
    def the_next_is_the_earliest(self):
        assert self.table.next() == min(self.model.values(), default=None)
        assert len(self.table) == len(self.model)


TestTimetable = TimetableModel.TestCase
TestTimetable.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)


def test_keys_that_come_due_together_come_in_the_order_in_which_they_were_put():
    table = Timetable()
    for key in (3, 1, 2):
        table.put(key, START)
    assert table.pop_due(START) == [3, 1, 2]


def test_a_key_that_moves_a_million_times_keeps_the_heap_small():
    table = Timetable()
    for n in range(20_000):
        table.put("busy", START + timedelta(seconds=n))
    assert len(table) == 1
    assert len(table._heap) < 1100
    assert table.next() == START + timedelta(seconds=19_999)
