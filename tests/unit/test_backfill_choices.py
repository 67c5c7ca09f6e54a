"""Which slots a backfill runs: one by one in a table, and all of a range by enumeration."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raysched.core.backfill import (
    MOST_SLOTS,
    Reprocess,
    SlotRun,
    choices,
    choose,
    newest,
    slots_between,
)
from raysched.core.model import Line, Run, Trigger, run_from_json, run_to_json
from raysched.core.states import State
from raysched.errors import Conflict, InputError
from raysched.spec.definition import JobSpec
from raysched.spec.schedules import after_end, at, cron, every

START = datetime(2026, 11, 1, tzinfo=UTC)
NOW = datetime(2026, 11, 22, tzinfo=UTC)
S, H, D = timedelta(seconds=1), timedelta(hours=1), timedelta(days=1)
NONE, FAILED, COMPLETED = Reprocess


def spec(*schedules):
    return JobSpec(name="etl", schedules=tuple(one.bound_to("etl", "UTC") for one in schedules))


def a_run(status, slot=START, created=NOW, run_id="etl@1"):
    return SlotRun(run_id=run_id, slot=slot, status=State(status), created_at=created)


FINAL = [state for state in State if state.final]
TABLE = [
    (None, NONE, True, "it has no run"),
    *((state, NONE, False, f"etl@1 is {state}; reprocess=none") for state in FINAL),
    ("succeeded", FAILED, False, "etl@1 is succeeded; reprocess=failed"),
    *((s, FAILED, True, f"etl@1 is {s}; reprocess=failed") for s in FINAL if s != "succeeded"),
    *((state, COMPLETED, True, f"etl@1 is {state}; reprocess=completed") for state in FINAL),
    *(
        (state, reprocess, False, f"etl@1 is {state}")
        for state in State
        if not state.final
        for reprocess in Reprocess
    ),
]


@pytest.mark.parametrize(("status", "reprocess", "runs", "reason"), TABLE)
def test_a_slot_runs_by_how_its_newest_run_ended(status, reprocess, runs, reason):
    choice = choose(START, status and a_run(status), reprocess, NOW)
    assert (choice.runs, choice.reason) == (runs, reason)


def test_a_slot_that_is_not_due_is_left_to_its_schedule():
    for reprocess in Reprocess:
        assert not choose(NOW + S, None, reprocess, NOW).runs
    assert choose(NOW, None, NONE, NOW).runs


def test_of_several_runs_of_a_slot_the_newest_counts_and_those_of_the_backfill_itself_never():
    old = a_run("succeeded", created=NOW - D, run_id="old")
    new = a_run("failed", run_id="new")
    assert newest([new, old]) == newest([old, new]) == {START: new}
    assert newest([old, new], but=frozenset({"new"})) == {START: old}


def test_the_slots_are_those_of_the_schedule_from_start_and_before_end():
    daily = spec(cron("0 6 * * *"))
    first = START + 6 * H
    assert slots_between(daily, first, first + 2 * D, NOW) == [first, first + D]
    assert slots_between(daily, first + S, first + D, NOW) == []
    assert slots_between(spec(at(START), after_end("1h")), START, NOW, NOW) == [START]


@given(
    st.integers(0, 300),
    st.integers(1, 300),
    st.sampled_from([7, 60, 600]),
    st.dictionaries(st.integers(0, 300), st.sampled_from(list(State))),
    st.sampled_from(list(Reprocess)),
)
def test_every_slot_of_a_range_has_one_choice_and_no_other_instant_has(
    first, length, period, states, reprocess
):
    start, end = START + first * S, START + (first + length) * S
    job = spec(every(timedelta(seconds=period), start=START))
    last = {
        START + n * period * S: a_run(state, START + n * period * S) for n, state in states.items()
    }
    slots = slots_between(job, start, end, NOW)
    assert slots == [START + n * S for n in range(first, first + length) if n % period == 0]
    table = choices(slots, last, reprocess, NOW)
    assert [choice.slot for choice in table] == slots
    for choice in table:
        known = last.get(choice.slot)
        assert choice.last == known
        assert choice.reason
        if known is None:
            assert choice.runs
        if known is not None and not known.status.final:
            assert not choice.runs
    fewer = [sum(c.runs for c in choices(slots, last, each, NOW)) for each in Reprocess]
    assert fewer == sorted(fewer)


REFUSED = {
    "end before start": (spec(every("1h")), NOW, START, InputError, "is not after"),
    "empty range": (spec(every("1h")), START, START, InputError, "is not after"),
    "future": (spec(every("1h")), NOW + S, NOW + D, InputError, "in the future"),
    "no schedule": (spec(), START, NOW, Conflict, "no schedule"),
    "after end": (spec(after_end("1h")), START, NOW, Conflict, "follow the ends"),
    "too many": (spec(every("1s")), START, NOW, InputError, f"more than {MOST_SLOTS:,}"),
}


@pytest.mark.parametrize(("job", "start", "end", "error", "words"), REFUSED.values(), ids=REFUSED)
def test_a_range_that_cannot_be_meant_is_refused_and_says_what_to_do(job, start, end, error, words):
    with pytest.raises(error) as caught:
        slots_between(job, start, end, NOW)
    assert words in str(caught.value)
    assert caught.value.fix


def test_exactly_as_many_slots_as_may_be_are_taken():
    end = START + MOST_SLOTS * S
    assert len(slots_between(spec(every("1s")), START, end, NOW)) == MOST_SLOTS
    with pytest.raises(InputError):
        slots_between(spec(every("1s")), START, end + S, NOW)


def test_a_runs_line_survives_the_database_and_a_run_without_one_reads_as_before():
    run = Run(
        run_id="etl@x",
        job="etl",
        version="v",
        trigger=Trigger.BACKFILL,
        created_at=START,
        queued_at=START,
        line=Line(name="etl@b", limit=4),
    )
    assert run_from_json(run_to_json(run)) == run
    assert run.line_name == "etl@b"
    old = {name: value for name, value in run_to_json(run).items() if name != "line"}
    assert run_from_json(old).line_name == "etl"
