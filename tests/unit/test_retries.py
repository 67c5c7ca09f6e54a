"""What follows an attempt: the stop that was meant wins, then the policy speaks."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raysched.core.model import Outcome, Run, Stop, Trigger
from raysched.core.retries import conclude
from raysched.core.states import Event
from raysched.spec.policies import Retry

NOW = datetime(2026, 11, 22, 6, tzinfo=UTC)
ENDS = [Event.SUCCEED, Event.FAIL, Event.TIME_OUT, Event.CANCEL, Event.LOSE]


def a_run(attempt=1, stop=None, began=True):
    return Run(
        run_id="job@2026-11-22T06:00:00Z",
        job="job",
        version="v",
        trigger=Trigger.SCHEDULE,
        created_at=NOW,
        queued_at=NOW,
        attempt=attempt,
        attempt_started_at=NOW if began else None,
        stop=stop,
        stop_reason="the scheduler meant it" if stop else "",
    )


@pytest.mark.parametrize("event", [Event.FAIL, Event.LOSE, Event.TIME_OUT])
def test_a_failed_lost_or_timed_out_attempt_is_tried_again_after_its_delay(event):
    policy = Retry(2, delay="30s", backoff=2)
    first = conclude(a_run(1), Outcome(event=event, reason="boom"), policy, NOW)
    assert (first.attempt_event, first.attempt_reason) == (event, "boom")
    assert first.run_event is Event.RETRY
    assert first.retry_at == NOW + timedelta(seconds=30)
    assert first.reason == "attempt 1 of 3: boom; again in 30s"
    assert conclude(a_run(2), Outcome(event=event), policy, NOW).retry_at == NOW + timedelta(
        seconds=60
    )
    last = conclude(a_run(3), Outcome(event=event, reason="boom"), policy, NOW)
    assert (last.run_event, last.reason, last.retry_at) == (event, "boom", None)


@pytest.mark.parametrize("event", [Event.SUCCEED, Event.CANCEL])
def test_a_success_or_a_cancellation_is_not_tried_again(event):
    after = conclude(a_run(1), Outcome(event=event), Retry(5), NOW)
    assert (after.run_event, after.retry_at) == (event, None)


@given(
    event=st.sampled_from(ENDS),
    stop=st.sampled_from(Stop),
    attempt=st.integers(1, 1001),
    retries=st.integers(0, 1000),
    began=st.booleans(),
)
def test_an_attempt_that_was_stopped_ends_as_the_scheduler_meant(
    event, stop, attempt, retries, began
):
    after = conclude(a_run(attempt, stop, began), Outcome(event=event), Retry(retries), NOW)
    meant = {Stop.CANCELLED: Event.CANCEL, Stop.TIMED_OUT: Event.TIME_OUT}[stop]
    assert after.attempt_event is meant
    assert after.attempt_reason == "the scheduler meant it"
    assert after.run_event in (meant, Event.RETRY)
    assert not (stop is Stop.CANCELLED and after.retry_at)


def test_a_run_that_never_began_in_time_is_not_queued_again():
    stopped = a_run(1, Stop.TIMED_OUT, began=False)
    assert conclude(stopped, Outcome(event=Event.TIME_OUT), Retry(5), NOW).retry_at is None


@given(
    attempt=st.integers(1, 1000),
    backoff=st.one_of(st.integers(1, 100), st.floats(1, 100)),
    delay=st.timedeltas(timedelta(0), timedelta(days=36_500)),
)
def test_no_policy_overflows_the_calendar(attempt, backoff, delay):
    policy = Retry(1000, delay=delay, backoff=backoff)
    after = conclude(a_run(attempt), Outcome(event=Event.FAIL), policy, NOW)
    assert NOW <= after.retry_at <= NOW + max(delay, timedelta(hours=1))


@pytest.mark.parametrize("event", [Event.FAIL, Event.TIME_OUT, Event.LOSE, Event.CANCEL])
def test_an_end_without_a_reason_is_given_one(event):
    silent = conclude(a_run(), Outcome(event=event), Retry(0), NOW)
    assert event in silent.reason
    assert conclude(a_run(), Outcome(event=event, error_message="boom"), Retry(0), NOW).reason
