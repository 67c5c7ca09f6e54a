"""Why a run is where it is, or how it ended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from raysched.core.capacity import Room
from raysched.core.causes import Cause
from raysched.core.dispatch import Wait
from raysched.core.explain.explanation import Explanation, verb
from raysched.core.model import NODE_DIED, Run, Tried
from raysched.core.ports import LauncherState
from raysched.core.states import State
from raysched.spec.definition import JobSpec
from raysched.spec.units import iso

_SHOWN = 3  # earlier attempts that a reason names


@dataclass(frozen=True, slots=True, kw_only=True)
class RunView:
    """What the explanation of an unfinished run looks at.

    `deployed` is whether the job still is; `wait` says what keeps the run from Ray, `room`
    whether the cluster can hold it, if that is known.
    """

    run: Run
    spec: JobSpec
    launcher: LauncherState = LauncherState.ATTACHED
    deployed: bool = True
    wait: Wait | None = None
    room: Room | None = None


def explain_run(view: RunView) -> Explanation:
    """Return why an unfinished run is where it is."""
    run, spec = view.run, view.spec
    cause, reason, fix = _of_run(view)
    if run.state is State.QUEUED and run.tried is not None and not run.stop:
        reason = f"{reason}; {_past(run.tried)}"
    if not view.deployed:
        reason = f"{reason}; its job was deleted"
    holders = view.wait.holders if view.wait and cause in (Cause.OVERLAP, Cause.MAX_ACTIVE) else ()
    return Explanation(
        job=run.job,
        run_id=run.run_id,
        status=run.state,
        cause=cause,
        reason=reason,
        fix=fix,
        timezone=spec.timezone,
        retry_at=run.retry_at,
        attempt=run.attempt,
        most_attempts=spec.retry.retries + 1,
        attempts=[_tried(run.tried)] if run.tried else [],
        waits_for=holders,
        nodes=view.room.nodes if view.room and cause not in _ELSEWHERE else (),
    )


#: Causes that have nothing to do with the nodes.
_ELSEWHERE = frozenset(
    {Cause.STOPPING, Cause.RUNNING, Cause.RETRY_DELAY, Cause.NODE_LOST, Cause.NO_LAUNCHER}
    | {Cause.OVERLAP, Cause.MAX_ACTIVE}
)


#: Why a run waits while no launcher is attached, and what to do about it.
_WITHOUT_LAUNCHER = {
    LauncherState.STARTING: (
        "waits for the launcher, which is starting",
        "wait a few seconds; if this lasts, see `raysched status`.",
    ),
    LauncherState.LOST: (
        "waits for a launcher: none answers",
        "it is started anew by itself; if this lasts, see `raysched status`.",
    ),
}


def _of_run(view: RunView) -> tuple[Cause, str, str | None]:
    run, spec, wait = view.run, view.spec, view.wait
    if run.stop:
        return Cause.STOPPING, f"being ended: {run.stop_reason}", None
    if run.state is State.RETRYING:
        lost = run.tried is not None and run.tried.node_lost
        at = f", at {iso(run.retry_at)}" if run.retry_at else ""
        return (Cause.NODE_LOST if lost else Cause.RETRY_DELAY), f"{run.reason}{at}", None
    if run.state is State.RUNNING:
        return Cause.RUNNING, _running(run, spec), None
    if view.launcher is not LauncherState.ATTACHED:
        return Cause.NO_LAUNCHER, *_WITHOUT_LAUNCHER[view.launcher]
    if wait is not None and wait.holders:
        chosen = spec.max_active is not None or run.line is not None
        cause = Cause.MAX_ACTIVE if chosen else Cause.OVERLAP
        return (
            cause,
            _placeless(run, wait),
            f"wait, or cancel one with client.cancel(id) {_cli(wait)}.",
        )
    return _with_ray(view)


def _placeless(run: Run, wait: Wait) -> str:
    line = "job" if run.line is None else "backfill"
    return f"waits for {wait.holders[0]}: {wait.limit} at a time of this {line}"


def _cli(wait: Wait) -> str:
    return f"or `raysched cancel {wait.holders[0]}`"


def _with_ray(view: RunView) -> tuple[Cause, str, str | None]:
    wait, room = view.wait, view.room
    turn = (
        f"waits for its turn: {wait.ahead} runs of this shape are with Ray and have not started"
        if wait
        else "with Ray, which has not started it"
    )
    if room is None:
        return Cause.STARTING, turn, None
    return room.cause, f"{room.reason}; {turn}" if wait else room.reason, room.fix


def _running(run: Run, spec: JobSpec) -> str:
    since = f" since {iso(run.attempt_started_at)}" if run.attempt_started_at else ""
    where = f" on node {run.node_ip}" if run.node_ip else ""
    return f"attempt {run.attempt} of {spec.retry.retries + 1} runs{where}{since}"


def _past(tried: Tried) -> str:
    if tried.node_lost:
        return f"attempt {tried.attempt} was {_lost(tried.node_ip, tried.ended_at)}"
    return f"attempt {tried.attempt} {verb(tried.status)}: {tried.reason}"


def _lost(node: str | None, at: datetime | None) -> str:
    return f"lost with node {node or 'unknown'}" + (f" at {iso(at)}" if at else "")


def _tried(tried: Tried) -> dict[str, Any]:
    return {**asdict(tried), "status": str(tried.status)}


def retry_reason(tried: Tried, most: int, delay: str) -> str:
    """Return the reason of a run that waits for its next attempt."""
    if tried.node_lost:
        ended = f"was {_lost(tried.node_ip, tried.ended_at)}"
        return f"attempt {tried.attempt} of {most} {ended}; again in {delay}"
    return f"attempt {tried.attempt} of {most}: {tried.reason}; again in {delay}"


def explain_finished(
    row: Mapping[str, Any], attempts: Sequence[Mapping[str, Any]] = ()
) -> Explanation:
    """Return how a run ended, from its row of history and those of its attempts."""
    status = str(row["status"])
    told = [_attempt(each) for each in sorted(attempts, key=lambda each: each["attempt"])]
    lost = bool(told) and told[-1]["node_lost"] and status == State.LOST
    reason = row["reason"] or row.get("error_message") or f"it {verb(status)}"
    if lost:
        used = "its retries are used up" if len(told) > 1 else "it has no retries"
        reason = f"{_ended(told[-1])}; {used}"
    before = told[:-1] if told and told[-1]["status"] == status else told
    if before:
        left_out = len(before) - _SHOWN
        more = f"; and {left_out} earlier" if left_out > 0 else ""
        reason += "; before: " + "; ".join(_ended(each) for each in before[-_SHOWN:]) + more
    run_id = row["run_id"]
    again = (
        f"{to_open(row)}look at it with `raysched run {run_id}`, read its output with "
        f"client.logs(id) or `raysched logs {run_id}`, and run it again with run.retry() or "
        f"`raysched retry {run_id}`."
    )
    return Explanation(
        job=row["job"],
        run_id=run_id,
        status=status,
        cause=Cause.NODE_LOST if lost else Cause.FINISHED,
        reason=reason,
        fix=None if status == State.SUCCEEDED else again,
        timezone=row.get("timezone"),
        attempt=row.get("attempts"),
        attempts=told,
    )


def to_open(row: Mapping[str, Any]) -> str:
    """Return the advice to open the notebook that a run left as far as it came, if it did."""
    path = row.get("partial_path")
    return f"open {path}, below the home, in Jupyter, or " if path else ""


def explain_unattended(row: Mapping[str, Any]) -> Explanation:
    """Return why an unfinished run gets no further while no scheduler runs, from its row."""
    known = f"; last known: {row['reason']}" if row["reason"] else ""
    return Explanation(
        job=row["job"],
        run_id=row["run_id"],
        status=str(row["status"]),
        cause=Cause.NO_SCHEDULER,
        reason=f"no scheduler is running{known}",
        fix="run `raysched up`: it goes on then.",
        timezone=row.get("timezone"),
        attempt=row.get("attempts"),
    )


def _attempt(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "attempt": row["attempt"],
        "status": str(row["status"]),
        "reason": row["reason"] or "",
        "ended_at": row["finished_at"],
        "node_ip": row["node_ip"],
        "node_lost": row["error_type"] == NODE_DIED,
    }


def _ended(attempt: Mapping[str, Any]) -> str:
    number = f"attempt {attempt['attempt']}"
    if attempt["node_lost"]:
        return f"{number} was {_lost(attempt['node_ip'], attempt['ended_at'])}"
    reason = f": {attempt['reason']}" if attempt["reason"] else ""
    return f"{number} {verb(attempt['status'])}{reason}"
