"""What becomes of due slots, against an enumeration of every one of them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raysched.core import slots
from raysched.core.causes import Cause
from raysched.core.model import Decision
from raysched.core.slots import MOST_QUEUED, ON_TIME, JobView, counted_from, next_due, settle
from raysched.spec.definition import JobSpec
from raysched.spec.policies import Catchup, Overlap
from raysched.spec.schedules import after_end, at, cron, every, next_slot
from raysched.spec.units import MICROSECOND

START = datetime(2026, 11, 22, tzinfo=UTC)
FIRED, SKIPPED, COALESCED, MISSED = Decision


class _Crowd(tuple):
    def __repr__(self):
        return f"<{len(self)} runs>"


A_CROWD = _Crowd(["a"] * MOST_QUEUED)


def view(schedule, *, unfinished=(), pause=None, decided=START, **policies):
    each = schedule if isinstance(schedule, list) else [schedule]
    bound = tuple(one.bound_to("job", "UTC") for one in each)
    return JobView(
        spec=JobSpec(name="job", schedules=bound, **policies),
        decided=decided,
        last_end=START,
        pause=pause,
        unfinished=unfinished,
    )


def decisions(view, now):
    return [verdict.decision for verdict in settle(view, now)]


def enumerated(view, now):
    """Every due slot with its decision, one by one and by the words of the policies."""
    spec, due, slot = view.spec, [], view.decided
    while (slot := next_slot(spec.schedules, slot, view.last_end)) is not None and slot <= now:
        due.append(slot)
    if not due:
        return {}
    newest, grace, room = due[-1], spec.misfire_grace, MOST_QUEUED - len(view.unfinished)
    in_the_way = spec.overlap is Overlap.SKIP and len(view.unfinished) >= spec.limit
    piled_up = room <= 0 and spec.overlap is not Overlap.REPLACE
    each = {}
    for n, slot in enumerate(reversed(due)):
        late = grace is not None and now - slot > grace
        if view.pause is not None:
            each[slot] = SKIPPED
        elif grace is not None and now - newest > grace:
            each[slot] = MISSED
        elif spec.catchup is Catchup.ALL and (len(due) > 1 or now - newest > ON_TIME):
            each[slot] = MISSED if late or n >= spec.max_catchup else FIRED
        elif spec.catchup is Catchup.NONE and now - newest > ON_TIME:
            each[slot] = MISSED
        elif slot == newest:
            each[slot] = SKIPPED if in_the_way or piled_up else FIRED
        elif spec.catchup is Catchup.LATEST and not (in_the_way or piled_up):
            each[slot] = COALESCED
        else:
            each[slot] = MISSED
    if spec.catchup is Catchup.ALL and (len(due) > 1 or now - newest > ON_TIME):
        for slot in sorted(slot for slot in each if each[slot] is FIRED)[max(0, room) :]:
            each[slot] = SKIPPED
    return each


SCHEDULES = st.sampled_from(
    [
        every("1s"),
        every("7s"),
        every("10s", jitter="9s"),
        every("1m", start=START + timedelta(seconds=90), end=START + timedelta(seconds=400)),
        cron("*/2 * * * *"),
        cron("*/20 * * * * *", seconds=True),
        cron("0 3 * * *"),
        at(START + timedelta(seconds=100)),
        [every("1m"), cron("*/3 * * * *"), at(START + timedelta(seconds=61))],
        after_end("45s"),
        [after_end("45s"), every("1m")],
    ]
)


@settings(max_examples=500, deadline=None)
@given(
    schedule=SCHEDULES,
    passed=st.timedeltas(timedelta(0), timedelta(minutes=12)),
    overlap=st.sampled_from(Overlap),
    catchup=st.sampled_from(Catchup),
    max_catchup=st.integers(1, 12),
    grace=st.none() | st.sampled_from([1, 10, 60, 300]).map(lambda s: timedelta(seconds=s)),
    pause=st.none() | st.sampled_from(["", "note"]),
    unfinished=st.sampled_from([(), ("a",), ("a", "b"), A_CROWD]),
    max_active=st.none() | st.integers(1, 2),
)
def test_every_due_slot_gets_exactly_the_verdict_that_the_policies_say(
    schedule, passed, overlap, catchup, max_catchup, grace, pause, unfinished, max_active
):
    job = view(
        schedule,
        unfinished=unfinished,
        pause=pause,
        overlap=overlap,
        catchup=catchup,
        max_catchup=max_catchup,
        misfire_grace=grace,
        max_active=max_active,
    )
    now = START + passed
    verdicts, expected = settle(job, now), enumerated(job, now)
    assert all(first.last_slot < second.slot for first, second in pairwise(verdicts))
    found = {}
    for verdict in verdicts:
        covered = [slot for slot in expected if verdict.slot <= slot <= verdict.last_slot]
        assert {verdict.slot, verdict.last_slot} <= set(covered)
        assert (verdict.cause is None) == (verdict.decision is FIRED)
        found |= dict.fromkeys(covered, verdict.decision)
        assert verdict.reason or verdict.decision is FIRED
    assert found == expected
    assert bool(verdicts) == (next_due(job) is not None and next_due(job) <= now)
    assert len(verdicts) <= max_catchup + 1


class CountedSchedule:
    """A schedule that counts how often it is asked."""

    def __init__(self, inner):
        self.inner, self.asked = inner, 0

    def after(self, moment, last_end):
        self.asked += 1
        return self.inner.after(moment, last_end)

    def before(self, moment, last_end):
        self.asked += 1
        return self.inner.before(moment, last_end)


@pytest.mark.parametrize("catchup", Catchup)
@pytest.mark.parametrize("inner", [every("1s"), cron("* * * * * *", seconds=True)])
def test_ten_years_of_every_second_are_decided_in_bounded_work(inner, catchup):
    schedule = CountedSchedule(inner.bound_to("job", "UTC"))
    spec = JobSpec(name="job", schedules=(schedule,), catchup=catchup, max_catchup=1000)
    job = JobView(spec=spec, decided=START, last_end=START)
    verdicts = settle(job, START + timedelta(days=3652))
    assert len(verdicts) == 1001
    assert schedule.asked <= 1002
    assert verdicts[0].slot == START + timedelta(seconds=1)
    assert verdicts[-1].last_slot == START + timedelta(days=3652)


@pytest.mark.parametrize(
    ("late", "decision"),
    [(timedelta(0), FIRED), (ON_TIME, FIRED), (ON_TIME + MICROSECOND, MISSED)],
)
def test_without_catchup_a_slot_fires_up_to_the_last_microsecond_of_being_on_time(late, decision):
    job = view(every("1h"), catchup=Catchup.NONE)
    assert decisions(job, START + timedelta(hours=1) + late) == [decision]


@pytest.mark.parametrize("catchup", Catchup)
@pytest.mark.parametrize(
    ("late", "decision"),
    [(timedelta(0), FIRED), (timedelta(0, 5), FIRED), (timedelta(0, 5, 1), MISSED)],
)
def test_the_grace_of_a_misfire_is_exact(catchup, late, decision):
    job = view(every("1h"), catchup=catchup, misfire_grace=timedelta(seconds=5))
    (verdict,) = settle(job, START + timedelta(hours=1) + late)
    assert verdict.decision is decision
    assert decision is FIRED or "misfire_grace=5s" in verdict.reason


def test_all_that_is_caught_up_waits_in_line_whatever_the_overlap():
    job = view(every("1m"), catchup=Catchup.ALL, max_catchup=3, unfinished=("busy",))
    verdicts = settle(job, START + timedelta(minutes=5))
    assert [verdict.decision for verdict in verdicts] == [MISSED, FIRED, FIRED, FIRED]
    assert verdicts[0].reason == "more than max_catchup=3 slots were due"
    assert (verdicts[0].slot, verdicts[0].last_slot) == (
        START + timedelta(minutes=1),
        START + timedelta(minutes=2),
    )
    assert verdicts[1].reason == "2m late; catchup=all"


def test_catching_up_never_piles_up_more_runs_than_a_job_may_have():
    job = view(
        every("1s"), catchup=Catchup.ALL, max_catchup=20, unfinished=("x",) * (MOST_QUEUED - 5)
    )
    verdicts = settle(job, START + timedelta(seconds=30))
    assert [v.decision for v in verdicts] == [MISSED] + [FIRED] * 5 + [SKIPPED] * 15


def test_slots_are_not_coalesced_into_one_that_is_skipped():
    job = view(every("1m"), unfinished=("busy",))
    assert decisions(job, START + timedelta(minutes=3)) == [MISSED, MISSED, SKIPPED]
    assert "busy is unfinished" in settle(job, START + timedelta(minutes=3))[-1].reason


def test_a_pause_is_quoted_in_the_reason_of_what_it_skips():
    job = view(every("1m"), pause="until Monday")
    (verdict,) = settle(job, START + timedelta(minutes=1))
    assert (verdict.decision, verdict.reason) == (SKIPPED, "paused: until Monday")
    assert settle(view(every("1m"), pause=""), START + timedelta(minutes=1))[0].reason == "paused"


@pytest.mark.parametrize(
    ("running", "limit", "gone"), [(0, None, 0), (1, None, 1), (2, 3, 0), (3, 3, 1), (5, 3, 3)]
)
def test_a_replacing_slot_cancels_the_oldest_to_make_room_for_one(running, limit, gone):
    runs = tuple(f"run-{n}" for n in range(running))
    job = view(every("1m"), overlap=Overlap.REPLACE, max_active=limit, unfinished=runs)
    assert slots.replaced(job) == runs[:gone]
    assert decisions(job, START + timedelta(minutes=1)) == [FIRED]


def test_an_after_end_schedule_counts_from_now_when_its_slot_made_no_run():
    chain = view(after_end("1m"), decided=START + timedelta(minutes=1))
    now = START + timedelta(minutes=9)
    assert counted_from(chain, now) == now
    mixed = view([after_end("1m"), every("1h")], decided=START + timedelta(minutes=1))
    assert counted_from(mixed, now) == now


@pytest.mark.parametrize(
    "job",
    [
        view(after_end("1m")),
        view(after_end("1m"), decided=START + timedelta(minutes=1), unfinished=("busy",)),
        view(every("1m"), decided=START + timedelta(minutes=1)),
    ],
    ids=["its slot is still to come", "a run is under way", "no after-end schedule"],
)
def test_otherwise_it_counts_from_the_end_of_the_last_run(job):
    assert counted_from(job, START + timedelta(minutes=9)) == START


CAUSES = {
    "paused": ({"pause": "note"}, timedelta(0), Cause.PAUSED),
    "overlap": ({"unfinished": ("a",)}, timedelta(0), Cause.OVERLAP),
    "crowd": (
        {"unfinished": A_CROWD, "overlap": Overlap.QUEUE},
        timedelta(0),
        Cause.QUEUE_LIMIT,
    ),
    "crowd, catching up": (
        {"unfinished": A_CROWD, "catchup": Catchup.ALL},
        timedelta(minutes=5),
        Cause.QUEUE_LIMIT,
    ),
    "too late": ({"misfire_grace": timedelta(seconds=1)}, timedelta(minutes=5), Cause.MISFIRE),
    "no catch-up": ({"catchup": Catchup.NONE}, timedelta(minutes=5), Cause.MISFIRE),
}


@pytest.mark.parametrize(("options", "late", "cause"), CAUSES.values(), ids=CAUSES)
def test_a_slot_that_does_not_fire_bears_its_cause(options, late, cause):
    job = view(every("1h"), **options)
    assert {each.cause for each in settle(job, START + timedelta(hours=1) + late)} == {cause}
