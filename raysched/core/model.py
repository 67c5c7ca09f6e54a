"""The values that decisions are made of: runs, outcomes, verdicts.

Frozen; changed by copy. Each has a JSON form in which a datetime is whole
microseconds since the epoch, in UTC.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from raysched.core.causes import Cause
from raysched.core.pickling import by_fields
from raysched.core.states import Event, State
from raysched.errors import Ambiguous
from raysched.spec.units import from_us, iso, shown, to_us


class Decision(StrEnum):
    """What became of a slot."""

    FIRED = "fired"
    """It made a run."""
    SKIPPED = "skipped"
    """It came due on time, and a pause or the overlap policy ruled it out."""
    COALESCED = "coalesced"
    """It came due while no scheduler was up; a later slot ran in its stead."""
    MISSED = "missed"
    """It came due while no scheduler was up, and nothing ran in its stead."""


class Trigger(StrEnum):
    """What made a run."""

    SCHEDULE = "schedule"
    MANUAL = "manual"
    RETRY = "retry"
    BACKFILL = "backfill"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The decision about one slot, or about all slots from `slot` to `last_slot`."""

    slot: datetime
    last_slot: datetime
    decision: Decision
    reason: str
    cause: Cause | None = None


NODE_DIED = "NodeDiedError"
"""The `error_type` of an attempt that was lost because its node died; it is Ray's name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """How the attempt before the current one ended."""

    attempt: int
    status: State
    reason: str
    ended_at: datetime
    node_ip: str | None = None
    node_lost: bool = False


class Stop(StrEnum):
    """Why the scheduler has an attempt ended before its time."""

    CANCELLED = "cancelled"
    TIMED_OUT = "timed_out"


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """The line of a backfill, in which its runs wait for each other and nobody else does.

    At most `limit` of them are under way together.
    """

    name: str
    limit: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One execution of a job, while it is unfinished.

    `attempt` numbers the current try from 1; 0 before the first. `launcher` is the
    incarnation of the launcher that the current attempt was handed to, None while
    none is. `line` is the one that it waits in, None for that of its job. `stop` is
    set before an attempt is ended on purpose, so that whatever its worker reports
    afterwards, the run ends as the scheduler meant.
    """

    run_id: str
    job: str
    version: str
    trigger: Trigger
    created_at: datetime
    queued_at: datetime
    slot: datetime | None = None
    origin: str | None = None
    params: Mapping[str, Any] = field(default_factory=dict)
    priority: int = 0
    state: State = State.QUEUED
    reason: str = ""
    attempt: int = 0
    launcher: str | None = None
    started_at: datetime | None = None
    attempt_started_at: datetime | None = None
    retry_at: datetime | None = None
    stop: Stop | None = None
    stop_reason: str = ""
    node_id: str | None = None
    node_ip: str | None = None
    worker_pid: int | None = None
    log_lines: int = 0
    tried: Tried | None = None
    line: Line | None = None

    @property
    def line_name(self) -> str:
        """The name of the line in which it waits for a place."""
        return self.job if self.line is None else self.line.name

    @property
    def key(self) -> str:
        """The current attempt's key, which fences its reports."""
        return attempt_key(self.run_id, self.attempt)


@by_fields
@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How one attempt ended, as its worker or its launcher tells it."""

    event: Event
    reason: str = ""
    started_at: datetime | None = None
    finished_at: datetime | None = None
    node_id: str | None = None
    node_ip: str | None = None
    worker_pid: int | None = None
    peak_memory_bytes: int | None = None
    cpu_time_s: float | None = None
    exit_code: int | None = None
    error_type: str | None = None
    error_message: str | None = None
    traceback: str | None = None
    log_lines: int = 0
    metrics: Mapping[str, float] = field(default_factory=dict)
    result_kind: str | None = None
    result_json: str | None = None
    result_rows: int | None = None
    result_path: str | None = None
    image: str | None = None
    oom_killed: bool | None = None
    partial_path: str | None = None


def attempt_key(run_id: str, attempt: int) -> str:
    """Return the key of an attempt: `flights-daily@2026-11-22T06:00:00Z#1`."""
    return f"{run_id}#{attempt}"


def slot_run_id(job: str, slot: datetime) -> str:
    """Return the id of the one run that a fired slot makes."""
    return f"{job}@{iso(slot)}"


def manual_run_id(job: str, moment: datetime, request: str, n: int = 0) -> str:
    """Return the id of the nth run, from 0, made by a request; the same one gives the same id.

    The number stands beside the hash and not in it: hashes this short, of the
    thousands of runs of one backfill, would collide.
    """
    suffix = hashlib.sha256(request.encode(errors="replace")).hexdigest()[:6]
    return f"{job}@{iso(moment)}-{suffix}" + (f"-{n}" if n else "")


def born(run_id: str) -> datetime | None:
    """Return an instant before a run was made, so that older files need not be opened."""
    match = re.search(r"@(\d{4}-\d\d-\d\d)T", run_id)
    try:
        # A day earlier, for an id may carry the clock of the machine that triggered it.
        return datetime.fromisoformat(f"{match[1]}T00:00Z") - timedelta(days=1) if match else None
    except (ValueError, OverflowError):
        return None  # there is no 30th of February


MOST_RESOLVED = 10
"""How many ids a prefix is resolved to: enough to say that it fits several."""


def one_of(prefix: str, ids: Sequence[str]) -> str | None:
    """Return which of the ids that begin with a prefix is meant; None if there are none.

    Raises:
        Ambiguous: several begin so, and none is the prefix itself.
    """
    if prefix in ids:
        return prefix
    if len(ids) > 1:
        more = " or more" if len(ids) >= MOST_RESOLVED else ""
        raise Ambiguous(
            f"{len(ids)}{more} runs begin with {shown(prefix)}.",
            why="among them " + ", ".join(ids[:3]),
            fix="add characters.",
        )
    return ids[0] if ids else None


_INSTANTS = {"created_at", "queued_at", "slot", "started_at", "attempt_started_at", "retry_at"}
_FIELDS = [f.name for f in fields(Run)]


def run_to_json(run: Run) -> dict[str, Any]:
    """Return the JSON form of a run, without the fields that are None."""
    data = {}
    for name in _FIELDS:
        value = getattr(run, name)
        if value is not None:
            data[name] = to_us(value) if name in _INSTANTS else value
    if run.line is not None:
        data["line"] = asdict(run.line)
    if run.tried is not None:
        data["tried"] = {**asdict(run.tried), "ended_at": to_us(run.tried.ended_at)}
    return data


def run_from_json(data: Mapping[str, Any]) -> Run:
    """Return the run that `run_to_json` wrote."""
    values: dict[str, Any] = {
        name: from_us(value) if name in _INSTANTS else value
        for name, value in data.items()
        if name in _FIELDS
    }
    values["state"] = State(values["state"])
    values["trigger"] = Trigger(values["trigger"])
    if "stop" in values:
        values["stop"] = Stop(values["stop"])
    if "line" in values:
        values["line"] = Line(**values["line"])
    if "tried" in values:
        values["tried"] = _tried(values["tried"])
    return Run(**values)


def _tried(data: Mapping[str, Any]) -> Tried:
    values = {**data, "ended_at": from_us(data["ended_at"]), "status": State(data["status"])}
    return Tried(**{each.name: values[each.name] for each in fields(Tried) if each.name in values})
