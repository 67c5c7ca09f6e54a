"""The life of an attempt, carried out on the book: launched, reported on, concluded, adopted.

What a launcher tells of any but a run's current attempt is refused here.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from raysched.core import records
from raysched.core.model import Outcome, Run
from raysched.core.orders import Beat, Ended, LogLine, Order, Report, Started
from raysched.core.ports import Results
from raysched.core.retries import conclude
from raysched.core.states import Event, State, step
from raysched.engine import runs
from raysched.engine.book import Book
from raysched.errors import RayschedError

_logger = logging.getLogger(__name__)


def launch(book: Book, run_id: str, launcher: str) -> None:
    """Start the next attempt of a run: it leaves for the launcher once this is durable."""
    run = book.runs[run_id]
    run = replace(
        run, attempt=run.attempt + 1, launcher=launcher, attempt_started_at=None, log_lines=0
    )
    book.put_run(run)
    book.orders.append(_order(book, run))


def _order(book: Book, run: Run) -> Order:
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
            # Told again after it was accepted, it names files that are not there any more.
            _refuse(book, report.outcome.result_path, report.outcome.partial_path)
        return
    match report:
        case Started():
            _started(book, run, report)
        case Beat():
            _beat(book, run, report)
        case Ended():
            run = _log(book, run, report.outcome.node_ip, report.lines)
            _ended(book, run, report.outcome, results, now)


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
    if end := runs.must_end_by(book, run):
        book.alarm("stop", run, end)


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


def _ended(book: Book, run: Run, outcome: Outcome, results: Results, now: datetime) -> None:
    """Conclude the current attempt of a run: it is finished, or tried again later."""
    spec = book.version_of(run).spec
    book.paces[run.job, run.version].note(_seconds(outcome))
    if outcome.event is Event.TIME_OUT:  # its guard knows that it was time, not how much
        outcome = replace(outcome, reason=runs.timeout_reason(book, run))
    # No attempt ends after its end is told: a worker's clock may be ahead.
    finished_at = min(outcome.finished_at or now, now)
    outcome = _published(book, run, replace(outcome, finished_at=finished_at), results)
    outcome = _left(book, run, outcome, results)
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
        runs.finish(book, run, after.run_event, after.reason, outcome)
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
        _refuse(book, outcome.result_path)
        return replace(
            outcome, result_kind=None, result_json=None, result_rows=None, result_path=None
        )
    if outcome.result_path is None:
        return outcome
    try:
        path = results.publish(run.run_id, run.job, outcome.result_path)
    except RayschedError as error:
        _refuse(book, outcome.result_path)
        return replace(
            outcome,
            event=Event.FAIL,
            reason=f"the result could not be published: {error.what}",
            error_type=type(error).__name__,
            error_message=str(error),
            result_path=None,
        )
    return replace(outcome, result_path=path)


def _left(book: Book, run: Run, outcome: Outcome, results: Results) -> Outcome:
    """Make visible what an attempt without a result leaves, before its end is on record.

    That it cannot be changes nothing of how the attempt ended.
    """
    if outcome.partial_path is None:
        return outcome
    path = None
    try:
        path = results.publish_partial(run.run_id, run.job, run.attempt, outcome.partial_path)
    except RayschedError as error:
        _logger.warning("%s", error)
        _refuse(book, outcome.partial_path)
    return replace(outcome, partial_path=path)


def _refuse(book: Book, *hidden: str | None) -> None:
    """Have staged files removed, once it is on record that nobody will publish them."""
    book.refused.extend(each for each in hidden if each is not None)


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
                runs.ask_to_stop(book, mine, now)
        elif run.launcher != launcher or run.state is State.RUNNING:
            if book.version_of(run).spec.container is not None:
                _resume(book, book.put_run(replace(run, launcher=launcher)), now)
                continue
            died = Outcome(event=Event.LOSE, reason="the launcher that owned it died")
            _ended(book, run, died, results, now)
        elif run.stop:
            stopped = Outcome(event=Event.CANCEL, reason=run.stop_reason)
            _ended(book, run, stopped, results, now)
        else:
            book.orders.append(_order(book, run))


def _resume(book: Book, run: Run, now: datetime) -> None:
    book.orders.append(replace(_order(book, run), resumed=True, node_id=run.node_id))
    if run.stop:
        runs.ask_to_stop(book, run, now)
