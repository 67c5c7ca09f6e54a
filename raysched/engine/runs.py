"""The life of a run, carried out on the book: made, put in line, stopped, finished."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from raysched.core import records
from raysched.core.model import Line, Outcome, Run, Stop, Trigger
from raysched.core.ports import StopOrder
from raysched.core.states import Event, State, step
from raysched.engine.book import Book
from raysched.engine.explain import of_run
from raysched.errors import NotFound
from raysched.spec.units import spell

STOP_AGAIN = timedelta(seconds=10)
"""How long an attempt that is to end may go on before it is asked again."""

GUARD_SLACK = timedelta(seconds=15)
"""The guard beside the worker ends a run at its timeout; the scheduler steps in this much later."""

IMAGE_SLACK = timedelta(minutes=30)
"""A container's timeout counts from its start; its image may take this long before that."""


def create(
    book: Book,
    *,
    run_id: str,
    job: str,
    trigger: Trigger,
    params: Mapping[str, Any],
    now: datetime,
    slot: datetime | None = None,
    origin: str | None = None,
    line: Line | None = None,
) -> Run:
    """Make a run and put it in line."""
    version = book.job(job).current
    run = Run(
        run_id=run_id,
        job=job,
        version=version.version,
        trigger=trigger,
        created_at=now,
        queued_at=now,
        slot=slot,
        origin=origin,
        line=line,
        params={**version.spec.params, **params},
        priority=version.spec.priority,
    )
    enqueue(book, book.put_run(run))
    return run


def enqueue(book: Book, run: Run) -> None:
    """Put a queued run in line, and set the alarm for its queue timeout."""
    book.dispatch.enqueue(run.run_id, run.line_name, book.shape_of(run).key, run.priority)
    book.alarm("queue", run, must_start_by(book, run))


def must_start_by(book: Book, run: Run) -> datetime | None:
    """Return when a queued run has waited for its `queue_timeout`, None for any time.

    A backfill's runs wait for each other by intent.
    """
    timeout = book.version_of(run).spec.queue_timeout
    return run.queued_at + timeout if timeout and run.line is None else None


def must_end_by(book: Book, run: Run) -> datetime | None:
    """Return when the scheduler itself ends a run that has begun, None for any time.

    Later than at its timeout, which is for the guard or the container's watcher to keep.
    """
    spec = book.version_of(run).spec
    if run.attempt_started_at is None or spec.timeout is None:
        return None
    slack = GUARD_SLACK
    if spec.container is not None:
        slack += spec.container.grace + IMAGE_SLACK
    return run.attempt_started_at + spec.timeout + slack


def requeue(book: Book, run_id: str, now: datetime) -> None:
    """Put a run whose retry delay is over back in line."""
    run = book.runs[run_id]
    state = step(run.state, Event.REQUEUE)
    enqueue(book, book.put_run(replace(run, state=state, queued_at=now, retry_at=None)))


def request_stop(book: Book, run_id: str, stop: Stop, reason: str, now: datetime) -> State:
    """End a run: at once if nothing of it is under way, else by way of its launcher."""
    run = book.runs[run_id]
    if run.launcher is None:
        event = Event.CANCEL if stop is Stop.CANCELLED else Event.TIME_OUT
        finish(book, run, event, reason, Outcome(event=event, finished_at=now))
        return step(run.state, event)
    if run.stop is None:
        run = book.put_run(replace(run, stop=stop, stop_reason=reason))
    ask_to_stop(book, run, now)
    return run.state


def ask_to_stop(book: Book, run: Run, now: datetime) -> None:
    """Have an attempt ended, and ask again if it is not soon: an order may get lost."""
    assert run.stop is not None
    book.stops.append(StopOrder(key=run.key, stop=run.stop))
    book.alarm("stop", run, now + STOP_AGAIN)


def cancel(book: Book, run_id: str, reason: str, now: datetime) -> State:
    """Cancel an unfinished run.

    Raises:
        NotFound: no unfinished run has this id.
    """
    if run_id not in book.runs:
        raise NotFound(
            f"no unfinished run is called {run_id[:300]!r}.",
            why="only a run that is not over can be cancelled.",
            fix="see `raysched runs` or client.runs().",
        )
    return request_stop(book, run_id, Stop.CANCELLED, reason, now)


def queue_timed_out(book: Book, run_id: str, now: datetime) -> None:
    """End a run that has not started within its `queue_timeout`."""
    run = book.runs[run_id]
    limit = book.version_of(run).spec.queue_timeout
    assert limit is not None
    where = of_run(book, run).reason
    request_stop(
        book,
        run_id,
        Stop.TIMED_OUT,
        f"not started within queue_timeout={spell(limit)}: {where}",
        now,
    )


def run_timed_out(book: Book, run_id: str, now: datetime) -> None:
    """End a run whose guard should have ended it by now."""
    request_stop(book, run_id, Stop.TIMED_OUT, timeout_reason(book, book.runs[run_id]), now)


def timeout_reason(book: Book, run: Run) -> str:
    """Return the reason of a run that exceeds its timeout."""
    timeout = book.version_of(run).spec.timeout
    return f"ran longer than timeout={spell(timeout)}" if timeout else "timed out"


def finish(book: Book, run: Run, event: Event, reason: str, outcome: Outcome) -> None:
    """Put a run that is over on record, and forget it; `outcome` is that of its last attempt."""
    run = replace(run, state=step(run.state, event), reason=reason)
    row = records.run_row(run, book.version_of(run).spec, outcome)
    book.record("runs", row)
    book.finished.append(row)
    book.drop_run(run)
    record = book.jobs.get(run.job)
    if record and record.current.spec.follows_itself:
        assert outcome.finished_at is not None
        # Not before `decided`, even by a worker's clock: the next slot would count as decided.
        end = max(record.last_end, record.decided, outcome.finished_at)
        book.put_job(replace(record, last_end=end))
