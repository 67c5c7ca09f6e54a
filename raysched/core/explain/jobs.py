"""Why a job is where it is: paused, held up by its runs, or waiting for its next slot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from raysched.core.capacity import WANTING, Room
from raysched.core.causes import Cause
from raysched.core.explain.explanation import Explanation
from raysched.core.model import Decision
from raysched.core.slots import JobView, next_due
from raysched.core.states import State
from raysched.show.text import instant


def explain_job(
    view: JobView,
    runs: Sequence[Explanation],
    *,
    unfinished: int,
    status: State | None,
    room: Room | None = None,
) -> Explanation:
    """Return why a job is where it is.

    `runs` explain the oldest of its unfinished runs, of which there are `unfinished`, and
    `status` is the foremost state among these; `room` is what the cluster has for a run of it.
    """
    spec = view.spec
    slot = None if view.pause is not None else next_due(view)
    causes = _causes_of_job(view, runs, room, slot)
    told = [reason for _, reason, _ in causes]
    if unfinished > len(runs):
        told.insert(len(runs) + (view.pause is not None), f"and {unfinished - len(runs)} more runs")
    paused = "paused" if view.pause is not None else "waiting"
    return Explanation(
        job=spec.name,
        status=paused if status is None else status,
        cause=causes[0][0],
        reason="; ".join(told),
        fix=causes[0][2],
        next_slot=slot,
        decided=view.decided,
        timezone=spec.timezone,
        waits_for=[run.run_id for run in runs if run.run_id],
        nodes=runs[0].nodes if runs else (),
    )


def _causes_of_job(
    view: JobView, runs: Sequence[Explanation], room: Room | None, slot: datetime | None
) -> list[tuple[Cause, str, str | None]]:
    """Return all that keeps a job from running, what matters most first."""
    name, found = view.spec.name, list[tuple[Cause, str, str | None]]()
    if view.pause is not None:
        fix = f"client.resume({name!r}), or `raysched resume {name}`."
        found.append((Cause.PAUSED, f"paused{': ' if view.pause else ''}{view.pause}", fix))
    for run in runs:
        found.append((run.cause, f"{run.run_id} is {run.status}: {run.reason}", run.fix))
    if room and not runs and room.cause in WANTING:
        found.append((room.cause, room.reason, room.fix))
    if slot is not None:
        at = instant(slot, view.spec.timezone)
        found.append((Cause.NOT_DUE, f"its next slot is {at}", None))
    elif not view.spec.schedules:
        fix = f"client.trigger({name!r}), or `raysched trigger {name}`."
        found.append((Cause.NO_SCHEDULE, "it has no schedule and runs when triggered", fix))
    elif view.pause is None and not runs:
        fix = "declare another schedule, and deploy it."
        found.append((Cause.EXHAUSTED, "its schedule names no further slot", fix))
    return found


def with_last_slot(job: Explanation, rows: Sequence[Mapping[str, Any]]) -> Explanation:
    """Return a job's explanation that also tells of its last slot, if that made no run.

    `rows` are those of the decisions since `job.decided`.
    """
    last = max(rows, key=lambda row: row["last_slot"] or row["slot"], default=None)
    if last is None or last["decision"] == Decision.FIRED:
        return job
    first, until = last["slot"], last["last_slot"] or last["slot"]
    at = instant(until, job.timezone or "UTC")
    which = f"slot, {at}, was" if first == until else f"slots, up to {at}, were"
    why = f": {last['reason']}" if last["reason"] else ""
    return replace(
        job,
        reason=f"{job.reason}; its last {which} {last['decision']}{why}",
        last_slot={
            "slot": first,
            "last_slot": until,
            "decision": str(last["decision"]),
            "cause": last["cause"],
            "reason": last["reason"],
        },
    )


def explain_deleted(name: str) -> Explanation:
    """Return the explanation of a job that was deployed once and is no more."""
    return Explanation(
        job=name,
        status="deleted",
        cause=Cause.DELETED,
        reason="it was deleted; its history stays",
        fix="deploy it again.",
    )
