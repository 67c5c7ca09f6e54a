"""The states of a run, as one table.

An event that the table does not list for a state is illegal: it raises and
changes nothing. Nothing else in raysched assigns a state.

    queued ──start──► running ──succeed──► succeeded
      ▲                  │ fail, time_out, lose ──► failed, timed_out, lost
      │ requeue          │ retry
      └──── retrying ◄───┘

`cancel` ends a run from every unfinished state. A run that was never seen to
start (a short one tells of its start and end together, a worker may die before
it can tell) passes from `queued` straight to its end.
"""

from __future__ import annotations

from enum import StrEnum

from raysched.errors import IllegalTransition


class State(StrEnum):
    """Where a run stands."""

    QUEUED = "queued"
    RUNNING = "running"
    RETRYING = "retrying"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    CANCELLED = "cancelled"
    LOST = "lost"
    SKIPPED = "skipped"

    @property
    def final(self) -> bool:
        """Whether a run in this state is finished for good."""
        return not TRANSITIONS[self]


class Event(StrEnum):
    """What can happen to a run."""

    START = "start"
    SUCCEED = "succeed"
    FAIL = "fail"
    TIME_OUT = "time_out"
    CANCEL = "cancel"
    LOSE = "lose"
    RETRY = "retry"
    REQUEUE = "requeue"
    RULE_OUT = "rule_out"


_ENDS = {
    Event.SUCCEED: State.SUCCEEDED,
    Event.FAIL: State.FAILED,
    Event.TIME_OUT: State.TIMED_OUT,
    Event.LOSE: State.LOST,
    Event.CANCEL: State.CANCELLED,
    Event.RETRY: State.RETRYING,
}

TRANSITIONS: dict[State, dict[Event, State]] = {
    State.QUEUED: {**_ENDS, Event.START: State.RUNNING, Event.RULE_OUT: State.SKIPPED},
    State.RUNNING: _ENDS,
    State.RETRYING: {Event.REQUEUE: State.QUEUED, Event.CANCEL: State.CANCELLED},
    State.SUCCEEDED: {},
    State.FAILED: {},
    State.TIMED_OUT: {},
    State.CANCELLED: {},
    State.LOST: {},
    State.SKIPPED: {},
}


def step(state: State, event: Event) -> State:
    """Return the state that follows `state` upon `event`.

    Raises:
        IllegalTransition: the table has no such step.
    """
    try:
        return TRANSITIONS[state][event]
    except KeyError:
        raise IllegalTransition(
            f"a run that is {state} cannot {event}.",
            why=f"from {state} it can {', '.join(TRANSITIONS[state]) or 'do nothing more'}.",
        ) from None
