"""What a backfill runs: the slots that it names, and what becomes of each.

Pure: the job's present definition, the request, what is known of the slots and `now` go
in, one choice for each slot comes out. Nothing here makes a run.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from raysched.core.model import Run
from raysched.core.states import State
from raysched.errors import Conflict, InputError
from raysched.spec.definition import JobSpec
from raysched.spec.schedules import AfterEnd, next_slot
from raysched.spec.units import MICROSECOND, iso

MOST_SLOTS = 10_000
"""How many slots one backfill may name: its runs are made in one transaction."""

MAX_ACTIVE = 4
"""How many runs of a backfill are under way together, if nothing else is said."""


class Reprocess(StrEnum):
    """What becomes of a slot that has a run already, by how the newest of its runs ended."""

    NONE = "none"
    """It is left alone."""
    FAILED = "failed"
    """It runs once more if that run ended in any other state than `succeeded`."""
    COMPLETED = "completed"
    """It runs once more if that run is over, however it ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotRun:
    """A run that a slot has already."""

    run_id: str
    slot: datetime
    status: State
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What becomes of a slot: whether a backfill runs it, why, and the newest of its runs."""

    slot: datetime
    runs: bool
    reason: str
    last: SlotRun | None = None


def slots_between(spec: JobSpec, start: datetime, end: datetime, now: datetime) -> list[datetime]:
    """Return the slots that a job's present schedule names in [start, end), oldest first.

    Raises:
        InputError: `end` is not after `start`, `start` is in the future, or there are too many.
        Conflict: the job's schedule names no slots of the past.
    """
    _check_range(start, end, now)
    schedules = [each for each in spec.schedules if not isinstance(each, AfterEnd)]
    if not schedules:
        raise _no_slots(spec)
    found, slot = list[datetime](), start - MICROSECOND
    while (following := next_slot(schedules, slot, start)) is not None and following < end:
        if len(found) == MOST_SLOTS:
            raise InputError(
                f"there are more than {MOST_SLOTS:,} slots of {spec.name!r} from {iso(start)} "
                f"to {iso(end)}.",
                why="a backfill's runs are made all at once.",
                fix=f"begin with the part before {iso(following)}, then do the rest.",
            )
        found.append(following)
        slot = following
    return found


def _check_range(start: datetime, end: datetime, now: datetime) -> None:
    if end <= start:
        raise InputError(f"end={iso(end)} is not after start={iso(start)}.", fix="swap them.")
    if start > now:
        raise InputError(
            f"start={iso(start)} is in the future.",
            why="a slot that has not come due yet is its schedule's to fire.",
            fix="choose a range of the past.",
        )


def _no_slots(spec: JobSpec) -> Conflict:
    if spec.schedules:
        return Conflict(
            f"job {spec.name!r} cannot be backfilled.",
            why="its slots follow the ends of its own runs, so that the past has none.",
            fix="trigger it with the parameters of the past.",
        )
    return Conflict(
        f"job {spec.name!r} cannot be backfilled.",
        why="it has no schedule, and so no slots.",
        fix="give it a schedule, or trigger it with the parameters of the past.",
    )


def choose(slot: datetime, last: SlotRun | None, reprocess: Reprocess, now: datetime) -> Choice:
    """Return what becomes of a slot whose newest run is `last`."""
    runs, reason = _choice(slot, last, reprocess, now)
    return Choice(slot=slot, runs=runs, reason=reason, last=last)


def _choice(
    slot: datetime, last: SlotRun | None, reprocess: Reprocess, now: datetime
) -> tuple[bool, str]:
    if slot > now:
        return False, "it is not due yet: its schedule fires it"
    if last is None:
        return True, "it has no run"
    told = f"{last.run_id} is {last.status}"
    if not last.status.final:
        return False, told
    if reprocess is Reprocess.FAILED and last.status is State.SUCCEEDED:
        return False, f"{told}; reprocess=failed"
    return reprocess is not Reprocess.NONE, f"{told}; reprocess={reprocess}"


def newest(runs: Iterable[SlotRun], but: frozenset[str] = frozenset()) -> dict[datetime, SlotRun]:
    """Return, by slot, the newest of the runs, leaving out those whose ids are in `but`.

    Of one run that is there twice the first counts.
    """
    found: dict[datetime, SlotRun] = {}
    for run in runs:
        known = found.get(run.slot)
        if run.run_id not in but and (known is None or _age(known) < _age(run)):
            found[run.slot] = run
    return found


def _age(run: SlotRun) -> tuple[datetime, str]:
    return run.created_at, run.run_id


def choices(
    slots: Sequence[datetime],
    last: Mapping[datetime, SlotRun],
    reprocess: Reprocess,
    now: datetime,
) -> list[Choice]:
    """Return what becomes of each slot; `last` holds the newest run of those that have one."""
    return [choose(slot, last.get(slot), reprocess, now) for slot in slots]


def slot_run(run: Run) -> SlotRun | None:
    """Return an unfinished run as one that its slot has; None if it is about no slot."""
    if run.slot is None:
        return None
    return SlotRun(run_id=run.run_id, slot=run.slot, status=run.state, created_at=run.created_at)
