"""The life of a job, carried out on the book: deployed, its slots settled, paused, deleted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from raysched.core import records
from raysched.core.model import Decision, Stop, Trigger, Verdict, manual_run_id, slot_run_id
from raysched.core.ports import JobRecord, Version
from raysched.core.slots import counted_from, next_due, replaced, settle
from raysched.engine import runs
from raysched.engine.book import Book
from raysched.engine.messages import Deployment, TriggerRuns
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


def deploy(book: Book, deployments: Sequence[Deployment], now: datetime) -> list[dict[str, Any]]:
    """Deploy jobs and return, for each, what was done.

    A changed job keeps its pause and its decided slots: slots of the old schedule up
    to now are settled before, those of the new one count from now on.
    """
    return [_deploy(book, each, now) for each in deployments]


def _deploy(book: Book, deployment: Deployment, now: datetime) -> dict[str, Any]:
    spec = deployment.spec
    version = Version(
        spec=spec,
        code_hash=deployment.code_hash,
        version=spec.version(deployment.code_hash),
    )
    old = book.jobs.get(spec.name)
    if old and old.current.version == version.version:
        return _deployed(book, "unchanged", old)
    record = JobRecord(
        current=version,
        deployed_at=now,
        decided=max(now, old.decided) if old else now,
        last_end=old.last_end if old else now,
        pause=old.pause if old else None,
    )
    book.put_version(version, deployment.code)
    book.dispatch.set_limit(spec.name, spec.limit)
    book.put_job(record)
    _keep_going(book, spec.name, now)
    return _deployed(book, "updated" if old else "created", record)


def _deployed(book: Book, action: str, record: JobRecord) -> dict[str, Any]:
    spec = record.current.spec
    upcoming = next_due(book.view(spec.name))
    warnings = []
    if spec.schedules and upcoming is None and not book.unfinished.get(spec.name):
        warnings.append(f"its schedule names no instant after {iso(record.decided)}")
    return {
        "job": spec.name,
        "version": record.current.version,
        "action": action,
        "paused": record.pause is not None,
        "next_slot": upcoming,
        "warnings": warnings,
    }


def delete(book: Book, name: str, now: datetime) -> dict[str, Any]:
    """Delete a job; its waiting runs are cancelled, a launched one goes on to its end.

    Raises:
        NotFound: no job has this name.
    """
    book.job(name)
    waiting = [run for run in book.unfinished.get(name, ()) if book.runs[run].launcher is None]
    for run_id in waiting:
        runs.request_stop(book, run_id, Stop.CANCELLED, "its job was deleted", now)
    book.drop_job(name)
    return {"job": name, "cancelled": waiting, "running": list(book.unfinished.get(name, ()))}


def trigger(
    book: Book, request: TriggerRuns, is_over: Callable[[str], bool], now: datetime
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
    if request.again and ids and is_over(ids[0]):
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
