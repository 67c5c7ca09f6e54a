"""A backfill, carried out on the book: all its runs at once, in a line of their own."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from datetime import datetime
from typing import Any

from raysched.core.backfill import Choice, Reprocess, choices, newest, slot_run, slots_between
from raysched.core.model import Line, Trigger, manual_run_id
from raysched.engine import runs
from raysched.engine.book import Book
from raysched.engine.messages import Backfill
from raysched.spec.policies import count, policy
from raysched.spec.units import instant


def backfill(
    book: Book, request: Backfill, is_any_over: Callable[[Collection[str]], bool], now: datetime
) -> list[dict[str, Any]]:
    """Make a run for each slot that the request chooses, and return what became of each.

    The runs are one transaction: a crash leaves all of them, which the next scheduler goes
    on with, or none. A request is carried out once, as that of `trigger` is.

    Raises:
        NotFound: no job has this name.
        Conflict: its schedule names no slots of the past.
        InputError: the range is the wrong way round, in the future or too long.
        InvalidParameter: a parameter that the job does not take, or lacks.
        InvalidPolicy: `max_active` or `reprocess` is none.
        InvalidUnit: an instant without a zone.
    """
    spec = book.job(request.job).current.spec
    limit = count(request.max_active, of="max_active")
    reprocess = policy(Reprocess, request.reprocess, of="reprocess")
    start, end = instant(request.start, of="start"), instant(request.end, of="end")
    spec.signature.check(spec.name, {**spec.params, **request.params}, whole=True)
    slots = slots_between(spec, start, end, now)
    moment = instant(request.moment, of="moment")
    ids = {
        slot: manual_run_id(spec.name, moment, request.request, n) for n, slot in enumerate(slots)
    }
    own = frozenset(ids.values())
    unfinished = (slot_run(book.runs[run]) for run in book.unfinished.get(spec.name, ()))
    # First what is unfinished here: the history knew of it as it was a moment ago.
    runs_of = [*filter(None, unfinished), *request.known]
    chosen = choices(slots, newest(runs_of, own), reprocess, now)
    rows = [_row(choice, None if request.dry_run else ids[choice.slot]) for choice in chosen]
    if request.dry_run or not rows or _is_done(book, request, ids, is_any_over):
        return rows
    line = Line(name=ids[slots[0]], limit=limit)
    for choice in chosen:
        if choice.runs:
            runs.create(
                book,
                run_id=ids[choice.slot],
                job=spec.name,
                trigger=Trigger.BACKFILL,
                params=request.params,
                now=now,
                slot=choice.slot,
                line=line,
            )
    return rows


def _is_done(
    book: Book,
    request: Backfill,
    ids: Mapping[datetime, str],
    is_any_over: Callable[[Collection[str]], bool],
) -> bool:
    """Whether the request's runs are there: its answer was lost on the way."""
    if any(run_id in book.runs or run_id in book.changes.runs for run_id in ids.values()):
        return True
    seen = {run.run_id for run in request.known}
    if any(run_id in seen for run_id in ids.values()):
        return True
    return request.again and is_any_over(ids.values())


def _row(choice: Choice, run_id: str | None) -> dict[str, Any]:
    return {
        "slot": choice.slot,
        "action": "run" if choice.runs else "leave",
        "reason": choice.reason,
        "run_id": run_id if choice.runs else None,
        "last_run": choice.last.run_id if choice.last else None,
        "last_status": str(choice.last.status) if choice.last else None,
    }
