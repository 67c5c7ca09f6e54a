"""What follows the end of an attempt: a final state, or another try."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from raysched.core.explain import retry_reason
from raysched.core.model import NODE_DIED, Outcome, Run, Stop, Tried
from raysched.core.states import Event, step
from raysched.spec.policies import Retry
from raysched.spec.units import spell

_MEANT = {Stop.CANCELLED: Event.CANCEL, Stop.TIMED_OUT: Event.TIME_OUT}
_RETRIED = {Event.FAIL, Event.LOSE, Event.TIME_OUT}


@dataclass(frozen=True, slots=True, kw_only=True)
class Aftermath:
    """How the attempt counts, and what becomes of its run.

    `retry_at` is when it is tried again, `tried` how this attempt ended then.
    """

    attempt_event: Event
    attempt_reason: str
    run_event: Event
    reason: str
    retry_at: datetime | None = None
    tried: Tried | None = None


def _reason(outcome: Outcome) -> str:
    if outcome.reason or outcome.event is Event.SUCCEED:
        return outcome.reason
    return outcome.error_message or f"the attempt ended with {outcome.event} and gave no reason"


def conclude(run: Run, outcome: Outcome, policy: Retry, now: datetime) -> Aftermath:
    """Return what an attempt's outcome means for its run.

    An attempt that the scheduler had stopped ends as the scheduler meant, whatever
    its worker reports: a function that returned while its kill was on the way is not
    a success.
    """
    meant = None if run.stop is None else _MEANT[run.stop]
    event = meant or outcome.event
    reason = run.stop_reason if meant else _reason(outcome)
    never_began = run.stop is Stop.TIMED_OUT and run.attempt_started_at is None
    if event not in _RETRIED or never_began or run.attempt > policy.retries:
        return Aftermath(attempt_event=event, attempt_reason=reason, run_event=event, reason=reason)
    delay = policy.delay_after(run.attempt)
    tried = Tried(
        attempt=run.attempt,
        status=step(run.state, event),
        reason=reason,
        ended_at=outcome.finished_at or now,
        node_ip=run.node_ip,
        node_lost=event is Event.LOSE and outcome.error_type == NODE_DIED,
    )
    return Aftermath(
        attempt_event=event,
        attempt_reason=reason,
        run_event=Event.RETRY,
        reason=retry_reason(tried, policy.retries + 1, spell(delay)),
        retry_at=now + delay,
        tried=tried,
    )
