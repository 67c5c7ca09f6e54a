"""The life of a job, carried out on the book: deployed, its slots settled, paused, deleted."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from raysched.core import records
from raysched.core.model import Decision, Stop, Trigger, Verdict, manual_run_id, slot_run_id
from raysched.core.plan import Action, Change, change
from raysched.core.ports import Version
from raysched.core.slots import counted_from, replaced, settle
from raysched.engine import runs
from raysched.engine.book import Book
from raysched.engine.messages import Deployment, TriggerRuns
from raysched.errors import InputError
from raysched.spec.units import instant, iso


def settle_slots(book: Book, name: str, now: datetime) -> None:
    """Decide every slot of a job that has come due, and make the runs of those that fire.

    The decisions, the runs and the mark up to which slots are decided are one
    transaction: a crash leaves all of them or none.
    """
    verdicts = settle(book.view(name), now)
    for verdict in verdicts:
        run_id = _fire(book, name, verdict, now) if verdict.decision is Decision.FIRED else None
        spec = book.jobs[name].current.spec
        book.record("decisions", records.decision_row(verdict, spec, run_id, now))
    record = book.jobs[name]
    if verdicts:
        book.put_job(replace(record, decided=verdicts[-1].last_slot))
        _keep_going(book, name, now)
    else:
        book.reschedule(name)


def _keep_going(book: Book, name: str, now: datetime) -> None:
    """See to it that an after-end schedule whose slot made no run has another slot."""
    start = counted_from(book.view(name), now)
    if start != book.jobs[name].last_end:
        book.put_job(replace(book.jobs[name], last_end=start))


def _fire(book: Book, name: str, verdict: Verdict, now: datetime) -> str:
    run_id = slot_run_id(name, verdict.slot)
    for victim in replaced(book.view(name)):
        runs.request_stop(book, victim, Stop.CANCELLED, f"replaced by {run_id}", now)
    runs.create(
        book,
        run_id=run_id,
        job=name,
        trigger=Trigger.SCHEDULE,
        params={},
        now=now,
        slot=verdict.slot,
    )
    return run_id


def deploy(
    book: Book, deployments: Sequence[Deployment], delete_too: Sequence[str], now: datetime
) -> list[dict[str, Any]]:
    """Deploy jobs, delete others, and return, for each, what was done.

    Raises:
        InputError: a job is to be deployed and to be deleted.
    """
    both = {each.spec.name for each in deployments} & set(delete_too)
    if both:
        raise InputError(
            f"job {min(both)!r} is to be deployed and to be deleted.",
            fix="leave it out of one of the two.",
        )
    done = [_deploy(book, each, now) for each in deployments]
    return done + [_delete(book, name, now) for name in dict.fromkeys(delete_too)]


def _deploy(book: Book, deployment: Deployment, now: datetime) -> dict[str, Any]:
    spec = deployment.spec
    done = planned(book, deployment, now)
    assert done.after
    if done.action is not Action.UNCHANGED:
        book.put_version(done.after.current, deployment.code)
        book.put_job(done.after)
    return {
        "job": spec.name,
        "version": done.after.current.version,
        "action": str(done.action),
        "paused": done.after.pause is not None,
        "next_slot": done.slots[1],
        "warnings": warnings(done),
    }


def planned(book: Book, deployment: Deployment, now: datetime) -> Change:
    """Return what a deploy makes of a job."""
    spec = deployment.spec
    version = Version(
        spec=spec,
        code_hash=deployment.code_hash,
        version=spec.version(deployment.code_hash),
    )
    return change(book.jobs.get(spec.name), version, tuple(book.unfinished.get(spec.name, ())), now)


def warnings(done: Change) -> list[str]:
    """Return what the user should know of a job as it is after a deploy."""
    after = done.after
    if after and after.current.spec.schedules and not done.slots[1] and not done.unfinished:
        return [f"its schedule names no instant after {iso(after.decided)}"]
    return []


def _delete(book: Book, name: str, now: datetime) -> dict[str, Any]:
    row = {"job": name, "version": None, "action": str(Action.DELETED), "paused": False}
    if name not in book.jobs:
        return {**row, "next_slot": None, "warnings": []}
    row["version"] = book.jobs[name].current.version
    gone = delete(book, name, now)
    told = [f"waiting run {run} is cancelled" for run in gone["cancelled"]]
    told += [f"run {run} goes on to its end" for run in gone["running"]]
    return {**row, "next_slot": None, "warnings": told}


def delete(book: Book, name: str, now: datetime) -> dict[str, Any]:
    """Delete a job; its waiting runs are cancelled, a launched one goes on to its end.

    Raises:
        NotFound: no job has this name.
    """
    book.job(name)
    waiting = runs_of(book, name)[0]
    for run_id in waiting:
        runs.request_stop(book, run_id, Stop.CANCELLED, "its job was deleted", now)
    book.drop_job(name)
    return {"job": name, "cancelled": waiting, "running": list(book.unfinished.get(name, ()))}


def runs_of(book: Book, name: str) -> tuple[list[str], list[str]]:
    """Return a job's unfinished runs: those that wait, and those that are launched."""
    found = [book.runs[run] for run in book.unfinished.get(name, ())]
    waiting = [run.run_id for run in found if run.launcher is None]
    return waiting, [run.run_id for run in found if run.launcher is not None]


def trigger(
    book: Book, request: TriggerRuns, is_any_over: Callable[[Collection[str]], bool], now: datetime
) -> list[str]:
    """Make a run for each set of parameters, and return their ids.

    A request is carried out once: when its runs, unfinished or over, are there already,
    its answer was lost on the way, and is given again.

    Raises:
        NotFound: no job has this name.
        InvalidParameter: a parameter that the job does not take, or lacks.
        InvalidUnit: a moment without a zone.
    """
    moment = instant(request.moment, of="moment")
    slot = None if request.slot is None else instant(request.slot, of="slot")
    spec = book.job(request.job).current.spec
    for params in request.params:
        spec.signature.check(spec.name, {**spec.params, **params}, whole=True)
    ids = [
        manual_run_id(request.job, moment, request.request, n) for n in range(len(request.params))
    ]
    if any(run_id in book.runs or run_id in book.changes.runs for run_id in ids):
        return ids
    if request.again and is_any_over(ids):
        return ids
    for run_id, params in zip(ids, request.params, strict=True):
        runs.create(
            book,
            run_id=run_id,
            job=request.job,
            trigger=Trigger.RETRY if request.origin else Trigger.MANUAL,
            params=params,
            now=now,
            slot=slot,
            origin=request.origin,
        )
    return ids


def pause(book: Book, names: Sequence[str], note: str) -> list[str]:
    """Pause jobs; one that is paused already gets the new note.

    Raises:
        NotFound: no job has one of the names; none is paused then.
    """
    found = [book.job(name) for name in names]
    for record in found:
        book.put_job(replace(record, pause=note[:1000].encode(errors="replace").decode()))
    return list(names)


def resume(book: Book, names: Sequence[str], now: datetime) -> list[str]:
    """Resume jobs; the slots that passed meanwhile stay skipped.

    Raises:
        NotFound: no job has one of the names; none is resumed then.
    """
    found = [book.job(name) for name in names]
    for record in found:
        book.put_job(replace(record, pause=None))
    return list(names)
