"""The engine's state in memory, and what of it has changed since the last commit.

Every change of a job or a run goes through here, so that memory, the pending
transaction, the timetable and the lines of `Dispatch` cannot drift apart.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from raysched.core.dispatch import Dispatch
from raysched.core.model import Run
from raysched.core.orders import Order, Shape
from raysched.core.ports import (
    Changes,
    JobRecord,
    LauncherState,
    Snapshot,
    StopOrder,
    Version,
)
from raysched.core.sharing import Pace
from raysched.core.slots import JobView, next_due, view_of
from raysched.core.timetable import Timetable
from raysched.errors import NotFound
from raysched.spec.definition import JobSpec

Alarm = tuple[Literal["slot", "retry", "queue", "stop"], str]


@dataclass(slots=True)
class Live:
    """What a running attempt has told of itself; lost with the process, told again soon."""

    progress: tuple[float, float] | None = None
    metrics: dict[str, float] = field(default_factory=dict)


class Book:
    """Jobs, unfinished runs, alarms, lines, and the changes to commit."""

    def __init__(self, snapshot: Snapshot, window: int) -> None:
        self.epoch = snapshot.epoch
        self.launcher: str | None = None  # the one that is attached
        self.launcher_state = LauncherState.STARTING
        self.jobs: dict[str, JobRecord] = dict(snapshot.jobs)
        self.older: dict[tuple[str, str], Version] = dict(snapshot.older)  # than their jobs'
        self.runs: dict[str, Run] = {}
        self.unfinished: dict[str, dict[str, None]] = {}  # by the job
        self.lines: dict[str, dict[str, None]] = {}  # the same, by the line
        self.live: dict[str, Live] = defaultdict(Live)
        self.alarms: Timetable[Alarm] = Timetable()
        self.dispatch = Dispatch(window)
        self.paces: dict[tuple[str, str], Pace] = defaultdict(Pace)
        self.changes = Changes()
        self.touched = 0  # how often something was changed, in this turn or an earlier one
        self.orders: list[Order] = []
        self.stops: list[StopOrder] = []
        self.refused: list[str] = []  # staged files that nobody will publish
        self.finished: list[Mapping[str, Any]] = []
        self._shapes: dict[tuple[str, str], Shape] = {}
        for name in self.jobs:
            self.reschedule(name)
        for run in sorted(snapshot.runs, key=_age):
            self._index(run)

    def job(self, name: str) -> JobRecord:
        """Return a job.

        Raises:
            NotFound: no job has this name.
        """
        try:
            return self.jobs[name]
        except KeyError:
            raise NotFound(
                f"there is no job {name[:100]!r}.",
                why=f"none of the {len(self.jobs):,} that are deployed is called so.",
                fix="see `raysched jobs` or client.jobs(), or deploy it.",
            ) from None

    def put_job(self, record: JobRecord) -> None:
        """Keep a new or changed job."""
        name = record.current.spec.name
        self._supersede(name, record.current)
        self.touched += 1
        self.jobs[name] = self.changes.jobs[name] = record
        if name in self.lines:
            self.dispatch.set_limit(name, record.current.spec.limit)
        self.reschedule(name)

    def put_version(self, version: Version, code: bytes) -> None:
        """Keep a version of a job, which it is about to have, and its code."""
        self.touched += 1
        self.changes.versions[version.spec.name, version.version] = version
        self.changes.code[version.code_hash] = code

    def drop_job(self, name: str) -> None:
        """Forget a job; versions stay as long as runs of theirs are unfinished."""
        self._supersede(name, None)
        del self.jobs[name]
        self.touched += 1
        self.changes.jobs[name] = None
        self.alarms.drop(("slot", name))

    def reschedule(self, name: str) -> None:
        """Set the alarm for the job's next slot anew."""
        self.alarms.put(("slot", name), next_due(self.view(name)))

    def view(self, name: str) -> JobView:
        """Return what decisions about the job's slots look at."""
        return view_of(self.jobs[name], tuple(self.lines.get(name, ())))

    def attach_launcher(self, launcher: str) -> None:
        """Have a launcher take the orders from now on."""
        self.launcher, self.launcher_state = launcher, LauncherState.ATTACHED

    def lose_launcher(self) -> None:
        """Have nobody take orders until another launcher attaches."""
        self.launcher, self.launcher_state = None, LauncherState.LOST

    def put_run(self, run: Run) -> Run:
        """Keep a new or changed run."""
        self.touched += 1
        self.changes.runs[run.run_id] = run
        return self._index(run)

    def drop_run(self, run: Run) -> None:
        """Forget a run that is finished; its row is in the changes."""
        self.live.pop(run.key, None)
        del self.runs[run.run_id]
        _leave(self.unfinished, run.job, run.run_id)
        self.touched += 1
        self.changes.runs[run.run_id] = None
        for alarm in ("retry", "queue", "stop"):
            self.alarms.drop((alarm, run.run_id))
        self.dispatch.ended(run.run_id, run.line_name)
        if _leave(self.lines, run.line_name, run.run_id):
            self.dispatch.drop_line(run.line_name)

    def record(self, dataset: str, row: Mapping[str, Any]) -> None:
        """Add a finished row of history."""
        self.touched += 1
        self.changes.rows.append((dataset, row))

    def alarm(self, kind: str, run: Run, due: datetime | None) -> None:
        """Set, move or drop one of a run's alarms."""
        self.alarms.put((kind, run.run_id), due)  # type: ignore[arg-type]

    def version_of(self, run: Run) -> Version:
        """Return the version that a run is pinned to."""
        record = self.jobs.get(run.job)
        if record is not None and record.current.version == run.version:
            return record.current
        return self.older[run.job, run.version]

    def shape_of(self, run: Run) -> Shape:
        """Return what Ray must provide for a run."""
        key = (run.job, run.version)
        shape = self._shapes.get(key)
        if shape is None:
            shape = self._shapes[key] = _shape(self.version_of(run).spec)
        return shape

    def take_changes(self) -> Changes:
        """Return the changes since the last call."""
        changes, self.changes = self.changes, Changes()
        return changes

    def _index(self, run: Run) -> Run:
        self.runs[run.run_id] = run
        self.unfinished.setdefault(run.job, {})[run.run_id] = None
        if run.line_name not in self.lines:
            self.lines[run.line_name] = {}
            self.dispatch.set_limit(run.line_name, self._limit(run))
        self.lines[run.line_name][run.run_id] = None
        return run

    def _supersede(self, name: str, by: Version | None) -> None:
        """Keep the version that a job loses, if it has one, for its unfinished runs."""
        if name in self.jobs and name in self.unfinished:
            version = self.jobs[name].current
            if version is not by:
                self.older[name, version.version] = version

    def _limit(self, run: Run) -> int | None:
        if run.line is not None:
            return run.line.limit
        return self.jobs[run.job].current.spec.limit if run.job in self.jobs else 1


def _leave(groups: dict[str, dict[str, None]], name: str, run_id: str) -> bool:
    """Take a run out of its group; return whether it was the last, and the group is gone."""
    del groups[name][run_id]
    if groups[name]:
        return False
    del groups[name]
    return True


def _age(run: Run) -> tuple[datetime, datetime, str]:
    return run.created_at, run.slot or run.created_at, run.run_id


def _shape(spec: JobSpec) -> Shape:
    asked = spec.resources
    options: dict[str, Any] = {"num_cpus": asked.num_cpus, "placement": spec.placement}
    if asked.num_gpus:
        options["num_gpus"] = asked.num_gpus
    if asked.memory_bytes:
        options["memory"] = asked.memory_bytes
    if asked.custom:
        options["resources"] = dict(asked.custom)
    if spec.label_selector:
        options["label_selector"] = dict(spec.label_selector)
    if spec.runtime_env:
        options["runtime_env"] = dict(spec.runtime_env)
    return Shape(key=json.dumps(options, sort_keys=True), options=options)
