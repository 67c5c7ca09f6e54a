"""The states of a run: every pair of state and event is in the table, or raises."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raysched.core.states import TRANSITIONS, Event, State, step
from raysched.errors import IllegalTransition

FINAL = {
    State.SUCCEEDED,
    State.FAILED,
    State.TIMED_OUT,
    State.CANCELLED,
    State.LOST,
    State.SKIPPED,
}


@pytest.mark.parametrize("event", Event)
@pytest.mark.parametrize("state", State)
def test_every_event_is_in_the_table_or_raises(state, event):
    before = {each: dict(steps) for each, steps in TRANSITIONS.items()}
    if event in TRANSITIONS[state]:
        assert step(state, event) is TRANSITIONS[state][event]
    else:
        with pytest.raises(IllegalTransition, match=f"{state} cannot {event}") as caught:
            step(state, event)
        assert all(str(legal) in caught.value.why for legal in TRANSITIONS[state])
    assert before == TRANSITIONS


def test_the_table_names_every_state_and_the_final_ones_are_final():
    assert set(TRANSITIONS) == set(State)
    assert {state for state in State if state.final} == FINAL


def test_every_state_reaches_a_final_one_and_is_reached_from_the_first():
    reached, grown = {State.QUEUED}, True
    while grown:
        more = {after for state in reached for after in TRANSITIONS[state].values()}
        grown = not more <= reached
        reached |= more
    assert reached == set(State)
    for state in State:
        assert state.final or Event.CANCEL in TRANSITIONS[state]


def test_only_a_queued_run_starts_and_only_a_retrying_one_is_queued_again():
    assert [s for s in State if Event.START in TRANSITIONS[s]] == [State.QUEUED]
    assert [s for s in State if Event.REQUEUE in TRANSITIONS[s]] == [State.RETRYING]
    assert [s for s in State if Event.RULE_OUT in TRANSITIONS[s]] == [State.QUEUED]


@given(st.lists(st.sampled_from(Event), max_size=30))
def test_nothing_leaves_a_final_state(events):
    state, ended = State.QUEUED, False
    for event in events:
        try:
            after = step(state, event)
        except IllegalTransition:
            continue
        assert not ended
        state, ended = after, after.final
