"""The engine: takes messages in, decides by `core`, and carries the decisions out.

A plain class; clock, store, launcher and results are handed in. One thread calls
it. Each turn is: hear the launcher, settle what has come due, answer the users,
fill the window, commit, and only then let anything out.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from raysched.core.model import Run
from raysched.core.orders import Order
from raysched.core.ports import Clock, Launcher, Results, Store
from raysched.core.sharing import MOST, share
from raysched.core.states import State
from raysched.engine import attempts, backfill, explain, jobs, messages, runs, views
from raysched.engine.book import Book
from raysched.engine.messages import FromUser, LauncherDown, LauncherUp, Message, Reports
from raysched.errors import InputError, RayschedError

_log = logging.getLogger(__name__)

WINDOW = 128
"""How many runs of one shape may be with Ray and not started."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """What a turn gave: a reply or an error for each message, in order, and finished runs' rows."""

    replies: Sequence[Any]
    finished: Sequence[Mapping[str, Any]] = field(default_factory=tuple)


class Engine:
    """The scheduler without its actor.

    After an exception other than a user's error an engine is spent: nothing of that
    turn is durable or has left, and a new one starts from the store.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        store: Store,
        launcher: Launcher,
        results: Results,
        window: int = WINDOW,
        most_shared: int = MOST,
    ) -> None:
        """Take the home over.

        `window` is how many runs of one shape may be with Ray and not started, and
        `most_shared` how many tiny ones may share a Ray task.
        """
        self._clock = clock
        self._store = store
        self._launcher = launcher
        self._results = results
        self._most_shared = most_shared
        snapshot = store.open()
        self._book = Book(snapshot, window)
        for run in self._book.runs.values():
            # All places that are taken, before the first that is asked for.
            if run.attempt:
                self._book.dispatch.hold(run.run_id, run.line_name)
        for run in self._book.runs.values():
            self._resume_run(run)
        launcher.attach(snapshot.epoch)

    @property
    def epoch(self) -> int:
        """The number of this engine among all that have opened the home."""
        return self._book.epoch

    def next_wake(self) -> datetime | None:
        """Return when the next turn is due if no message comes before."""
        return self._book.alarms.next()

    def turn(self, inbox: Sequence[Message]) -> Turn:
        """Take messages in and do all that is due.

        Raises:
            StaleEpoch: a newer scheduler has taken over.
            StoreError: the turn could not be made durable.
        """
        now = self._clock.now()
        replies: list[Any] = [None] * len(inbox)
        for message in inbox:
            if isinstance(message, LauncherUp | LauncherDown | Reports):
                self._hear(message, now)
        self._ring(now)
        for n, message in enumerate(inbox):
            if not isinstance(message, LauncherUp | LauncherDown | Reports):
                replies[n] = self._answer(message, now)
        if self._book.launcher is not None:
            for run_id in self._book.dispatch.take():
                attempts.launch(self._book, run_id, self._book.launcher)
        return self._let_out(replies)

    def _let_out(self, replies: list[Any]) -> Turn:
        book = self._book
        changes = book.take_changes()
        # What is refused is removed for good: not by a scheduler that has been replaced.
        if changes or book.refused:
            self._store.commit(changes)
        # A crash here loses no attempt: the launcher, asked at the next start, does not
        # know it, and it is ordered again under the same key.
        orders, book.orders = book.orders, []
        stops, book.stops = book.stops, []
        refused, book.refused = book.refused, []
        finished, book.finished = book.finished, []
        try:
            if orders:
                self._launcher.launch(self._tasks(orders))
            if stops:
                self._launcher.stop(stops)
        except Exception:
            # The turn is durable, and its replies must say so. What did not leave is
            # ordered again when the launcher has told what it knows.
            _log.exception("the launcher did not take its orders")
            book.lose_launcher()
            self._launcher.attach(book.epoch)
        self._discard(refused)
        return Turn(replies=replies, finished=finished)

    def _discard(self, refused: Sequence[str]) -> None:
        """Remove staged results whose refusal is durable; what stays is swept up later."""
        for hidden in refused:
            try:
                self._results.discard(hidden)
            except RayschedError as error:
                _log.warning("%s", error)

    def _tasks(self, orders: Sequence[Order]) -> list[list[Order]]:
        paces = self._book.paces
        return share(
            orders,
            expected_s=lambda order: paces[order.job, order.version].expected_s,
            waiting=self._book.dispatch.waiting,
            most=self._most_shared,
        )

    def _resume_run(self, run: Run) -> None:
        """Put a run that an earlier engine left unfinished back where it was."""
        book = self._book
        if run.state is State.RETRYING:
            book.alarm("retry", run, run.retry_at)
        elif run.launcher is None:
            runs.enqueue(book, run)
        elif run.state is State.QUEUED:
            book.dispatch.launched(run.run_id, book.shape_of(run).key)
            book.alarm("queue", run, runs.must_start_by(book, run))
        else:
            book.alarm("stop", run, runs.must_end_by(book, run))

    def _hear(self, message: messages.FromLauncher, now: datetime) -> None:
        match message:
            case LauncherUp(launcher=launcher, known=known):
                self._book.attach_launcher(launcher)
                attempts.adopt(self._book, launcher, known, self._results, now)
            case LauncherDown():
                self._book.lose_launcher()
            case Reports(launcher=launcher, reports=reports):
                for report in reports:
                    attempts.hear(self._book, report, launcher, self._results, now)

    def _ring(self, now: datetime) -> None:
        for kind, name in self._book.alarms.pop_due(now):
            if kind == "slot":
                jobs.settle_slots(self._book, name, now)
                continue
            if name not in self._book.runs:
                continue  # a slot that came due with it has just replaced the run
            match kind:
                case "retry":
                    runs.requeue(self._book, name, now)
                case "queue":
                    runs.queue_timed_out(self._book, name, now)
                case "stop":
                    runs.run_timed_out(self._book, name, now)

    def _answer(self, message: FromUser, now: datetime) -> Any:
        answer = self._ANSWERS.get(type(message))
        if answer is None:
            return InputError(
                f"the scheduler takes no message of the kind {type(message).__name__}.",
                why="whoever sent it is of another version than the scheduler.",
                fix="run `raysched up --renew`, or use the scheduler's own version.",
            )
        before = self._book.touched
        try:
            return answer(self, message, now)
        except RayschedError as error:
            return error
        except Exception as error:
            if self._book.touched != before:
                raise
            # Its sender alone is told: the others of this turn have done nothing wrong.
            _log.exception("a message could not be answered")
            return InputError(
                f"{type(message).__name__} is refused: {type(error).__name__}: {str(error)[:300]}",
                why="something in it is not of the type that it should be.",
            )

    _ANSWERS: Mapping[type, Callable[[Engine, Any, datetime], Any]] = {
        messages.Deploy: lambda self, m, now: jobs.deploy(self._book, m.deployments, m.delete, now),
        messages.Plan: lambda self, m, now: views.plan(self._book, m, now),
        messages.Delete: lambda self, m, now: jobs.delete(self._book, m.job, now),
        messages.TriggerRuns: lambda self, m, now: jobs.trigger(
            self._book, m, self._store.has_any_run, now
        ),
        messages.Backfill: lambda self, m, now: backfill.backfill(
            self._book, m, self._store.has_any_run, now
        ),
        messages.Pause: lambda self, m, now: jobs.pause(self._book, m.jobs, m.note),
        messages.Resume: lambda self, m, now: jobs.resume(self._book, m.jobs, now),
        messages.Cancel: lambda self, m, now: runs.cancel(
            self._book, m.run_id, "cancelled by a user", now
        ),
        messages.ListJobs: lambda self, m, now: views.jobs(self._book),
        messages.ListNext: lambda self, m, now: views.upcoming(self._book, m),
        messages.ListUnfinished: lambda self, m, now: views.unfinished(self._book, m),
        messages.Explain: lambda self, m, now: explain.explain(
            self._book, m.name, m.cluster, self._store.has_job
        ),
        messages.Status: lambda self, m, now: views.status(self._book),
    }
