"""Rows of history, as the engine writes them: one function a dataset.

The columns are those of `store.schema`; a datetime is whole microseconds since
the epoch.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from raysched.core.model import Outcome, Run, Verdict
from raysched.core.orders import LogLine
from raysched.core.states import State
from raysched.spec.definition import JobSpec
from raysched.spec.units import from_us, to_us


def run_row(run: Run, spec: JobSpec, outcome: Outcome | None = None) -> dict[str, Any]:
    """Return the row of a run; `outcome` is that of its last attempt, if it is over."""
    end = outcome or Outcome(event=None)  # type: ignore[arg-type]
    return {
        "run_id": run.run_id,
        "job": run.job,
        "version": run.version,
        "slot": _us(run.slot),
        "timezone": spec.timezone,
        "trigger": run.trigger,
        "origin": run.origin,
        "status": run.state,
        "reason": run.reason,
        "attempts": run.attempt,
        "created_at": to_us(run.created_at),
        "queued_at": to_us(run.queued_at),
        "started_at": _us(run.started_at),
        "finished_at": _us(end.finished_at),
        "duration_s": _seconds(run.started_at, end.finished_at),
        "lag_s": _seconds(run.slot, run.created_at) if run.trigger == "schedule" else None,
        "node_id": run.node_id,
        "node_ip": run.node_ip,
        "num_cpus": spec.resources.num_cpus,
        "num_gpus": spec.resources.num_gpus,
        "memory_bytes": spec.resources.memory_bytes,
        "peak_memory_bytes": end.peak_memory_bytes,
        "cpu_time_s": end.cpu_time_s,
        "exit_code": end.exit_code,
        "error_type": end.error_type,
        "error_message": end.error_message,
        "params": json.dumps(run.params, ensure_ascii=False),
        "metrics": json.dumps(end.metrics) if end.metrics else None,
        "result_kind": end.result_kind,
        "result_json": end.result_json,
        "result_rows": end.result_rows,
        "result_path": end.result_path,
        "image": end.image,
        "tags": list(spec.tags),
        "oom_killed": end.oom_killed,
        "backfill": None if run.line is None else run.line.name,
        "partial_path": end.partial_path,
    }


def attempt_row(
    run: Run, spec: JobSpec, outcome: Outcome, *, status: State, reason: str, epoch: int
) -> dict[str, Any]:
    """Return the row of the attempt that `run` has just finished."""
    return {
        "run_id": run.run_id,
        "job": run.job,
        "attempt": run.attempt,
        "status": status,
        "reason": reason,
        "started_at": _us(run.attempt_started_at),
        "finished_at": _us(outcome.finished_at),
        "duration_s": _seconds(run.attempt_started_at, outcome.finished_at),
        "node_id": run.node_id,
        "node_ip": run.node_ip,
        "worker_pid": run.worker_pid,
        "num_cpus": spec.resources.num_cpus,
        "num_gpus": spec.resources.num_gpus,
        "memory_bytes": spec.resources.memory_bytes,
        "peak_memory_bytes": outcome.peak_memory_bytes,
        "cpu_time_s": outcome.cpu_time_s,
        "exit_code": outcome.exit_code,
        "error_type": outcome.error_type,
        "error_message": outcome.error_message,
        "traceback": outcome.traceback,
        "epoch": epoch,
        "log_lines": run.log_lines,
        "image": outcome.image,
        "oom_killed": outcome.oom_killed,
        "partial_path": outcome.partial_path,
    }


def decision_row(
    verdict: Verdict, spec: JobSpec, run_id: str | None, now: datetime
) -> dict[str, Any]:
    """Return the row of a decision."""
    return {
        "job": spec.name,
        "slot": to_us(verdict.slot),
        "last_slot": to_us(verdict.last_slot),
        "decision": verdict.decision,
        "reason": verdict.reason,
        "run_id": run_id,
        "decided_at": to_us(now),
        "schedule": spec.schedule_text,
        "policy": f"overlap={spec.overlap} catchup={spec.catchup}",
        "cause": verdict.cause,
    }


def log_rows(run: Run, node_ip: str | None, lines: Sequence[LogLine]) -> list[Mapping[str, Any]]:
    """Return the rows of some lines of a run's current attempt."""
    return [
        {
            "run_id": run.run_id,
            "job": run.job,
            "attempt": run.attempt,
            "ts": line.ts_us,
            "stream": line.stream,
            "line_no": line.line_no,
            "line": line.text,
            "node_ip": node_ip,
        }
        for line in lines
    ]


_INSTANTS = ("slot", "created_at", "queued_at", "started_at", "finished_at")


def with_instants(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row of a run or an attempt with its instants as aware datetimes, for readers."""
    return {
        name: from_us(value) if name in _INSTANTS and type(value) is int else value
        for name, value in row.items()
    }


def _us(moment: datetime | None) -> int | None:
    return None if moment is None else to_us(moment)


def _seconds(start: datetime | None, end: datetime | None) -> float | None:
    return None if start is None or end is None else (end - start).total_seconds()
