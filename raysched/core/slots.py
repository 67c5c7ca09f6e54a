"""What becomes of the slots that have come due.

Pure: the job's definition, the last decided slot and `now` go in, verdicts come
out, one for each slot in order. A long downtime is decided by arithmetic: the
newest slots one by one, everything older in a single verdict that spans them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from raysched.core.causes import Cause
from raysched.core.model import Decision, Verdict
from raysched.core.ports import JobRecord
from raysched.spec.definition import JobSpec
from raysched.spec.policies import Catchup, Overlap
from raysched.spec.schedules import AfterEnd, last_slot, next_slot
from raysched.spec.units import MICROSECOND, iso, spell

ON_TIME = timedelta(seconds=10)
"""How late a slot may be decided and still count as on time: a scheduler that was
killed is back within 5 s, and a restart should not turn into a missed slot."""

MOST_QUEUED = 1000
"""How many unfinished runs a job may pile up, by `overlap` or by `catchup="all"`."""

_MISFIRE = Cause.MISFIRE
_TOO_MANY = f"{MOST_QUEUED:,} runs of the job are unfinished"


@dataclass(frozen=True, slots=True, kw_only=True)
class JobView:
    """What the decision about a job's slots may look at.

    `decided` is the instant up to which every slot is decided; `last_end` the end of
    the job's last run, or its deploy; `unfinished` its runs that are not over, oldest
    first.
    """

    spec: JobSpec
    decided: datetime
    last_end: datetime
    pause: str | None = None
    unfinished: Sequence[str] = ()


def view_of(record: JobRecord, unfinished: Sequence[str]) -> JobView:
    """Return what decisions about a job's slots look at, of its record and unfinished runs."""
    return JobView(
        spec=record.current.spec,
        decided=record.decided,
        last_end=record.last_end,
        pause=record.pause,
        unfinished=tuple(unfinished),
    )


def settle(view: JobView, now: datetime) -> list[Verdict]:
    """Return the verdicts on all slots after `view.decided` and up to `now`, oldest first."""
    due, older = _due(view, now)
    if not due:
        return []
    if view.pause is not None:
        reason = f"paused{view.pause and ': '}{view.pause}"
        return _all(due, older, Decision.SKIPPED, reason, Cause.PAUSED)
    return _caught_up(view, due, older, now)


def next_due(view: JobView) -> datetime | None:
    """Return the first slot that is not decided yet, or None."""
    return next_slot(view.spec.schedules, view.decided, view.last_end)


def _due(view: JobView, now: datetime) -> tuple[list[datetime], tuple[datetime, datetime] | None]:
    """Return the newest due slots, oldest first, and the span of those that are older."""
    each, newest, until = view.spec.schedules, list[datetime](), now
    while True:
        slot = last_slot(each, until, view.last_end)
        if slot is None or slot <= view.decided:
            return newest[::-1], None
        if len(newest) == view.spec.max_catchup:
            first = next_slot(each, view.decided, view.last_end)
            assert first is not None
            return newest[::-1], (first, slot)
        newest.append(slot)
        until = slot - MICROSECOND


def _caught_up(
    view: JobView, due: list[datetime], older: tuple[datetime, datetime] | None, now: datetime
) -> list[Verdict]:
    spec, newest = view.spec, due[-1]
    late = now - newest
    if spec.misfire_grace is not None and late > spec.misfire_grace:
        return _all(due, older, Decision.MISSED, _too_late(late, spec.misfire_grace), _MISFIRE)
    if spec.catchup is Catchup.ALL and (len(due) > 1 or older or late > ON_TIME):
        return _all_of_them(view, due, older, now)
    if spec.catchup is Catchup.NONE and late > ON_TIME:
        return _all(due, older, Decision.MISSED, "no scheduler was up; catchup=none", _MISFIRE)
    last = _overlapped(view, newest)
    before = (Decision.MISSED, f"no scheduler was up; catchup={spec.catchup}", _MISFIRE)
    if spec.catchup is Catchup.LATEST and last.decision is Decision.FIRED:
        before = (Decision.COALESCED, f"into the slot {iso(newest)}; catchup=latest", _MISFIRE)
    return [*_all(due[:-1], older, *before), last]


def _all_of_them(
    view: JobView, due: list[datetime], older: tuple[datetime, datetime] | None, now: datetime
) -> list[Verdict]:
    """Return verdicts that fire each due slot; they wait in line whatever `overlap` says."""
    spec, fired = view.spec, 0
    reason = f"more than max_catchup={spec.max_catchup} slots were due"
    verdicts = _all([], older, Decision.MISSED, reason, _MISFIRE)
    for slot in due:
        if spec.misfire_grace is not None and now - slot > spec.misfire_grace:
            reason = _too_late(now - slot, spec.misfire_grace)
            verdicts.append(_one(slot, Decision.MISSED, reason, _MISFIRE))
        elif len(view.unfinished) + fired >= MOST_QUEUED:
            verdicts.append(_one(slot, Decision.SKIPPED, _TOO_MANY, Cause.QUEUE_LIMIT))
        else:
            fired += 1
            verdicts.append(_one(slot, Decision.FIRED, f"{spell(now - slot)} late; catchup=all"))
    return verdicts


def _overlapped(view: JobView, slot: datetime) -> Verdict:
    spec, unfinished = view.spec, view.unfinished
    if spec.overlap is Overlap.SKIP and spec.limit is not None and len(unfinished) >= spec.limit:
        reason = f"{unfinished[0]} is unfinished; overlap=skip"
        return _one(slot, Decision.SKIPPED, reason, Cause.OVERLAP)
    if len(unfinished) >= MOST_QUEUED and spec.overlap is not Overlap.REPLACE:
        return _one(slot, Decision.SKIPPED, _TOO_MANY, Cause.QUEUE_LIMIT)
    return _one(slot, Decision.FIRED, "")


def counted_from(view: JobView, now: datetime) -> datetime:
    """Return the instant from which an after-end schedule counts: the end of the last run.

    Unless the slot that this gives is decided already and no run is under way to give
    another, because it was skipped or missed, or the schedule is new: then it is `now`,
    for the job's slots would never come again.
    """
    chains = [each for each in view.spec.schedules if isinstance(each, AfterEnd)]
    if not chains or view.unfinished or next_slot(chains, view.decided, view.last_end):
        return view.last_end
    return max(view.last_end, now)


def replaced(view: JobView) -> Sequence[str]:
    """Return the unfinished runs that a firing slot cancels: the oldest, to make room for one."""
    if view.spec.overlap is not Overlap.REPLACE or view.spec.limit is None:
        return ()
    return view.unfinished[: max(0, len(view.unfinished) - view.spec.limit + 1)]


def _all(
    due: list[datetime],
    older: tuple[datetime, datetime] | None,
    decision: Decision,
    reason: str,
    cause: Cause,
) -> list[Verdict]:
    spans = [(older[0], older[1])] if older else []
    spans += [(slot, slot) for slot in due]
    return [
        Verdict(slot=first, last_slot=last, decision=decision, reason=reason, cause=cause)
        for first, last in spans
    ]


def _one(slot: datetime, decision: Decision, reason: str, cause: Cause | None = None) -> Verdict:
    return Verdict(slot=slot, last_slot=slot, decision=decision, reason=reason, cause=cause)


def _too_late(late: timedelta, grace: timedelta) -> str:
    return f"{spell(late)} late; misfire_grace={spell(grace)}"
