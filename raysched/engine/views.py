"""What the engine answers to questions: plain dicts, read off the book."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from datetime import datetime
from typing import Any

from raysched.core import records
from raysched.core.model import Run
from raysched.core.plan import Change
from raysched.core.slots import next_due
from raysched.core.states import State
from raysched.engine.book import Book
from raysched.engine.explain import of_run
from raysched.engine.jobs import planned, runs_of, warnings
from raysched.engine.messages import ListNext, ListUnfinished, Plan
from raysched.spec.schedules import next_slot


def jobs(book: Book) -> list[dict[str, Any]]:
    """Return a row for each job, by name."""
    return [_job(book, name) for name in sorted(book.jobs)]


def _job(book: Book, name: str) -> dict[str, Any]:
    record = book.jobs[name]
    spec = record.current.spec
    states = Counter(book.runs[run].state for run in book.unfinished.get(name, ()))
    return {
        "job": name,
        "version": record.current.version,
        "schedule": spec.schedule_text,
        "timezone": spec.timezone,
        "next_slot": next_due(book.view(name)) if record.pause is None else None,
        "paused": record.pause is not None,
        "pause_note": record.pause,
        "running": states[State.RUNNING],
        "queued": states[State.QUEUED] + states[State.RETRYING],
        "num_cpus": spec.resources.num_cpus,
        "num_gpus": spec.resources.num_gpus,
        "memory_bytes": spec.resources.memory_bytes,
        "resources": dict(spec.resources.custom),
        "tags": list(spec.tags),
        "deployed_at": record.deployed_at,
        "description": spec.description,
    }


def upcoming(book: Book, question: ListNext) -> list[dict[str, Any]]:
    """Return the slots to come up to `question.until`, by time."""
    names = [question.job] if question.job else sorted(book.jobs)
    slots = heapq.merge(*(_slots(book, name, question.until) for name in names))
    return [
        {"slot": slot, "job": name, "paused": book.jobs[name].pause is not None}
        for slot, name in (pair for _, pair in zip(range(question.most), slots, strict=False))
    ]


def plan(book: Book, question: Plan, now: datetime) -> list[dict[str, Any]]:
    """Return what a deploy would do to each job, and with `prune` to every other."""
    done = [planned(book, each, now) for each in question.deployments]
    named = {each.job for each in done}
    for name in sorted(book.jobs) if question.prune else ():
        if name not in named:
            runs = tuple(book.unfinished.get(name, ()))
            done.append(Change(job=name, before=book.jobs[name], after=None, unfinished=runs))
    return [_planned(book, each) for each in done]


def _planned(book: Book, done: Change) -> dict[str, Any]:
    known = done.after or done.before
    assert known
    waiting, launched = runs_of(book, done.job)
    if done.after:
        waiting, launched = [], [*waiting, *launched]
    before, after = done.slots
    return {
        "job": done.job,
        "action": str(done.action),
        "version_before": done.before.current.version if done.before else None,
        "version": done.after.current.version if done.after else None,
        "changes": [asdict(each) for each in done.differences],
        "paused": known.pause is not None,
        "timezone": known.current.spec.timezone,
        "next_slot_before": before,
        "next_slot": after,
        "cancelled": waiting,
        "go_on": launched,
        "warnings": warnings(done),
    }


def _slots(book: Book, name: str, until: datetime) -> Iterator[tuple[datetime, str]]:
    record = book.job(name)
    slot = record.decided
    while True:
        following = next_slot(record.current.spec.schedules, slot, record.last_end)
        if following is None or following > until:
            return
        yield following, name
        slot = following


def unfinished(book: Book, question: ListUnfinished) -> list[dict[str, Any]]:
    """Return the rows of unfinished runs, with what they tell of themselves, oldest first."""
    found = (run for run in book.runs.values() if run.run_id.startswith(question.prefix))
    return [_run(book, run) for _, run in zip(range(question.most), found, strict=False)]


def _run(book: Book, run: Run) -> dict[str, Any]:
    live = book.live.get(run.key)
    return {
        **records.run_row(run, book.version_of(run).spec),
        "reason": "" if run.state is State.RUNNING and not run.stop else of_run(book, run).reason,
        "progress": live.progress if live else None,
        "metrics": live.metrics if live else {},
    }


def status(book: Book) -> dict[str, Any]:
    """Return counts of jobs and runs, the epoch, and how it stands with the launcher."""
    return {
        "epoch": book.epoch,
        "launcher": book.launcher,
        "launcher_state": str(book.launcher_state),
        "jobs": len(book.jobs),
        "paused": sum(record.pause is not None for record in book.jobs.values()),
        "runs": dict(Counter(str(run.state) for run in book.runs.values())),
        "with_ray": sum(run.launcher is not None for run in book.runs.values()),
        "next_wake": book.alarms.next(),
    }
