"""The life of a run, carried out on the book: made, launched, reported on, stopped, finished."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from raysched.core import records
from raysched.core.model import Line, Outcome, Run, Stop, Trigger
from raysched.core.orders import Beat, Ended, LogLine, Order, Report, Started
from raysched.core.ports import Results, StopOrder
from raysched.core.retries import conclude
from raysched.core.states import Event, State, step
from raysched.engine.book import Book
from raysched.engine.explain import of_run
from raysched.errors import NotFound, RayschedError
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


def launch(book: Book, run_id: str, launcher: str) -> None:
    """Start the next attempt of a run: it leaves for the launcher once this is durable."""
    run = book.runs[run_id]
    run = replace(
        run, attempt=run.attempt + 1, launcher=launcher, attempt_started_at=None, log_lines=0
    )
    book.put_run(run)
    book.orders.append(order(book, run))


def order(book: Book, run: Run) -> Order:
    """Return the launch order of a run's current attempt."""
    version = book.version_of(run)
    spec = version.spec
    return Order(
        key=run.key,
        run_id=run.run_id,
        attempt=run.attempt,
        job=run.job,
        version=run.version,
        code_hash=version.code_hash,
        shape=book.shape_of(run),
        params=run.params,
        env=spec.env,
        slot=run.slot,
        timezone=spec.timezone,
        timeout_s=spec.timeout.total_seconds() if spec.timeout else None,
        container=spec.container,
    )


def hear(book: Book, report: Report, launcher: str, results: Results, now: datetime) -> None:
    """Take in news of an attempt; news of any but the current attempt is refused."""
    run = book.runs.get(report.key.rpartition("#")[0])
    if run is None or run.key != report.key or run.launcher != launcher:
        if isinstance(report, Ended):
            # Told again after it was accepted, it names a file that is not there any more.
            _refuse(book, report.outcome)
        return
    match report:
        case Started():
            _started(book, run, report)
        case Beat():
            _beat(book, run, report)
        case Ended():
            run = _log(book, run, report.outcome.node_ip, report.lines)
            ended(book, run, report.outcome, results, now)


def _started(book: Book, run: Run, news: Started) -> None:
    if run.state is State.RUNNING:
        return
    run = book.put_run(
        replace(
            run,
            state=step(run.state, Event.START),
            reason="",
            started_at=run.started_at or news.started_at,
            attempt_started_at=news.started_at,
            node_id=news.node_id,
            node_ip=news.node_ip,
            worker_pid=news.worker_pid,
        )
    )
    book.dispatch.started(run.run_id)
    book.alarm("queue", run, None)
    timeout = book.version_of(run).spec.timeout
    if timeout:
        book.alarm("stop", run, news.started_at + timeout + slack(book, run))


def slack(book: Book, run: Run) -> timedelta:
    """Return how much later than at its timeout the scheduler itself ends a run."""
    container = book.version_of(run).spec.container
    return GUARD_SLACK if container is None else GUARD_SLACK + container.grace + IMAGE_SLACK


def _beat(book: Book, run: Run, news: Beat) -> None:
    live = book.live[run.key]
    live.progress = news.progress or live.progress
    live.metrics.update(news.metrics)
    if news.lines:
        book.put_run(_log(book, run, run.node_ip, news.lines))


def _log(book: Book, run: Run, node_ip: str | None, lines: Sequence[LogLine]) -> Run:
    """Record the lines that are not on record yet: news may be told twice."""
    fresh = [line for line in lines if line.line_no > run.log_lines]
    if not fresh:
        return run
    for row in records.log_rows(run, node_ip, fresh):
        book.record("logs", row)
    return replace(run, log_lines=fresh[-1].line_no)


def ended(book: Book, run: Run, outcome: Outcome, results: Results, now: datetime) -> None:
    """Conclude the current attempt of a run: it is finished, or tried again later."""
    spec = book.version_of(run).spec
    book.paces[run.job, run.version].note(_seconds(outcome))
    if outcome.event is Event.TIME_OUT:  # its guard knows that it was time, not how much
        outcome = replace(outcome, reason=timeout_reason(book, run))
    # No attempt ends after its end is told: a worker's clock may be ahead.
    finished_at = min(outcome.finished_at or now, now)
    outcome = _published(book, run, replace(outcome, finished_at=finished_at), results)
    started = run.attempt_started_at or outcome.started_at
    run = replace(
        run,
        started_at=run.started_at or started,
        attempt_started_at=started,
        node_id=outcome.node_id or run.node_id,
        node_ip=outcome.node_ip or run.node_ip,
        worker_pid=outcome.worker_pid or run.worker_pid,
    )
    after = conclude(run, outcome, spec.retry, now)
    status = step(run.state, after.attempt_event)
    row = records.attempt_row(
        run, spec, outcome, status=status, reason=after.attempt_reason, epoch=book.epoch
    )
    book.record("attempts", row)
    if after.retry_at is None:
        _finish(book, run, after.run_event, after.reason, outcome)
        return
    book.live.pop(run.key, None)
    book.dispatch.started(run.run_id)
    run = replace(
        run,
        state=step(run.state, after.run_event),
        reason=after.reason,
        retry_at=after.retry_at,
        tried=after.tried,
        launcher=None,
        stop=None,
        stop_reason="",
    )
    book.put_run(run)
    book.alarm("queue", run, None)
    book.alarm("stop", run, None)
    book.alarm("retry", run, run.retry_at)


def _seconds(outcome: Outcome) -> float | None:
    """Return how long an attempt took that came to its own end."""
    start, end = outcome.started_at, outcome.finished_at
    if start is None or end is None or outcome.event not in (Event.SUCCEED, Event.FAIL):
        return None
    return (end - start).total_seconds()


def _published(book: Book, run: Run, outcome: Outcome, results: Results) -> Outcome:
    """Make the result file of a success visible before the success is on record.

    If the process dies in between, the launcher tells the success again, and
    publishing again is harmless.
    """
    if outcome.event is not Event.SUCCEED or run.stop:
        _refuse(book, outcome)
        return replace(
            outcome, result_kind=None, result_json=None, result_rows=None, result_path=None
        )
    if outcome.result_path is None:
        return outcome
    try:
        path = results.publish(run.run_id, run.job, outcome.result_path)
    except RayschedError as error:
        _refuse(book, outcome)
        return replace(
            outcome,
            event=Event.FAIL,
            reason=f"the result could not be published: {error.what}",
            error_type=type(error).__name__,
            error_message=str(error),
            result_path=None,
        )
    return replace(outcome, result_path=path)


def _refuse(book: Book, outcome: Outcome) -> None:
    """Have a staged result removed, once it is on record that nobody will publish it."""
    if outcome.result_path is not None:
        book.refused.append(outcome.result_path)


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
        _finish(book, run, event, reason, Outcome(event=event, finished_at=now))
        return step(run.state, event)
    if run.stop is None:
        run = book.put_run(replace(run, stop=stop, stop_reason=reason))
    _ask_to_stop(book, run, now)
    return run.state


def _ask_to_stop(book: Book, run: Run, now: datetime) -> None:
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
            fix="look at client.runs().",
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


def adopt(
    book: Book, launcher: str, known: frozenset[str], results: Results, now: datetime
) -> None:
    """Match the attempts that are under way with those that the launcher owns.

    One that it owns goes on. One that it never heard of was lost on the way to it and
    is ordered again under the same key. One of an earlier launcher died with it, and so
    did one that had begun; but a container outlives them, and is ordered again, too, to
    be watched by another worker.
    """
    for run in [run for run in book.runs.values() if run.launcher is not None]:
        if run.key in known:
            mine = replace(run, launcher=launcher)
            if run.launcher != launcher:
                book.put_run(mine)
            if mine.stop:
                _ask_to_stop(book, mine, now)
        elif run.launcher != launcher or run.state is State.RUNNING:
            if book.version_of(run).spec.container is not None:
                _resume(book, book.put_run(replace(run, launcher=launcher)), now)
                continue
            died = Outcome(event=Event.LOSE, reason="the launcher that owned it died")
            ended(book, run, died, results, now)
        elif run.stop:
            stopped = Outcome(event=Event.CANCEL, reason=run.stop_reason)
            ended(book, run, stopped, results, now)
        else:
            book.orders.append(order(book, run))


def _resume(book: Book, run: Run, now: datetime) -> None:
    book.orders.append(replace(order(book, run), resumed=True, node_id=run.node_id))
    if run.stop:
        _ask_to_stop(book, run, now)


def _finish(book: Book, run: Run, event: Event, reason: str, outcome: Outcome) -> None:
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
