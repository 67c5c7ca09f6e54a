"""What is shown of a run and of a client: cards and short texts, made of rows.

Pure: rows and an instant go in. Whatever is missing in a row is not shown.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from raysched.core.ports import LauncherState
from raysched.core.states import State
from raysched.show.card import Bar, Card, Facts, Lines, Part, Table
from raysched.show.text import instant, length, one_line, size, until

Row = Mapping[str, Any]

NOT_ANSWERING = "not answering"
_MOST_JOBS = 50
_DURING: Mapping[str, str] = {State.SUCCEEDED: "in", State.RUNNING: "for"}
_SHORT = 160


def run_text(row: Row, now: datetime) -> str:
    """Return a run's state in a few words: `succeeded in 1.2s`, `running for 8.0s, 3 of 10`."""
    status, took = row["status"], length(_took(row, now))
    if status == State.RUNNING:
        bar = _bar(row)
        return f"running for {took}" + (f", {bar.text}" if bar else "")
    if status == State.SUCCEEDED:
        return f"succeeded in {took}" if took else "succeeded"
    why = _shortened(row.get("reason") or row.get("error_message") or "")
    words = f"{status} after {took}" if took and State(status).final else str(status)
    return f"{words}: {why}" if why else words


def run_card(row: Row, now: datetime, *, lines: Sequence[str] = (), note: str = "") -> Card:
    """Return the card of a run, with its last lines of output."""
    attempts = row.get("attempts")
    facts = {
        "slot": _slot(row),
        "started by": _trigger(row),
        "attempts": f"{attempts}" if attempts else "",
        "reason": row.get("reason") or "",
        "error": _error(row),
        "params": _json(row.get("params")),
        "metrics": ", ".join(f"{name} {value:,.15g}" for name, value in _metrics(row).items()),
        "result": _result(row),
        "partial notebook": row.get("partial_path") or "",
        "node": row.get("node_ip") or "",
        "peak memory": size(row.get("peak_memory_bytes")),
    }
    bar = _bar(row)
    parts: list[Part] = [bar] if bar else []
    parts.append(Facts(facts=facts))
    parts.append(Lines(name="last lines", lines=lines))
    said = _note(row, now, note)
    return Card(kind="Run", title=row["run_id"], state=row["status"], note=said, parts=parts)


def brief_card(row: Row, now: datetime, *, note: str = "") -> Card:
    """Return the card of a run with nothing but its state and its progress."""
    bar, said = _bar(row), _note(row, now, note)
    parts = (bar,) if bar else ()
    return Card(kind="Run", title=row["run_id"], state=row["status"], note=said, parts=parts)


def _note(row: Row, now: datetime, note: str) -> str:
    took = length(_took(row, now))
    when = f"{_DURING.get(row['status'], 'after')} {took}" if took else ""
    return " · ".join(filter(None, (when, note)))


def unknown_card(kind: str, title: str, why: str) -> Card:
    """Return the card of something that cannot be asked about now."""
    return Card(kind=kind, title=title, state=NOT_ANSWERING, parts=(Facts(facts={"why": why}),))


def client_text(status: Row) -> str:
    """Return what a scheduler holds in a few words: `3 jobs, 1 paused, 2 running`."""
    counts = {"jobs": status["jobs"], "paused": status["paused"], **status["runs"]}
    return ", ".join(f"{n:,} {name}" for name, n in counts.items() if n or name == "jobs")


def client_card(status: Row, jobs: Sequence[Row], last: Mapping[str, str], now: datetime) -> Card:
    """Return the card of a client: counts, and a row for each job; `last` are last states."""
    runs: Mapping[str, int] = status["runs"]
    facts = {
        "home": str(status["home"]),
        "jobs": f"{status['jobs']:,}" + _bracket(f"{status['paused']:,} paused", status["paused"]),
        "unfinished runs": ", ".join(f"{count:,} {state}" for state, count in runs.items()),
        "launcher": _launcher(status),
    }
    rows = [_job(row, last.get(row["job"], ""), now) for row in jobs[:_MOST_JOBS]]
    header = ("job", "next slot", "", "last run, 24 h", "schedule")
    table = Table(header=header, rows=rows, total=len(jobs), of="jobs", states=3)
    return Card(
        kind="Client", title="scheduler", state="running", parts=(Facts(facts=facts), table)
    )


def warnings_card(what: str, rows: Sequence[Row]) -> Card | None:
    """Return the card of what a deploy's rows warn of, a line each; None if there is nothing."""
    told = {row["job"]: "\n".join(row["warnings"]) for row in rows if row["warnings"]}
    if not told:
        return None
    note = f"{len(told):,} of {len(rows):,} jobs" if len(rows) > 1 else ""
    return Card(kind=what, title="", state="warning", note=note, parts=(Facts(facts=told),))


def _launcher(status: Row) -> str:
    match status.get("launcher_state"):  # an older scheduler tells of none
        case LauncherState.STARTING:
            return "is starting; runs wait for it"
        case LauncherState.LOST:
            return "none answers; runs wait"
    return "" if status["launcher"] else "none is attached; runs wait"


def _job(row: Row, last: str, now: datetime) -> Sequence[str]:
    live = "running" if row["running"] else "queued" if row["queued"] else last
    if row["paused"]:
        return row["job"], "paused", row["pause_note"] or "", live, row["schedule"]
    slot = row["next_slot"]
    return row["job"], instant(slot, row["timezone"]), until(slot, now), live, row["schedule"]


def _bracket(text: str, when: object) -> str:
    return f" ({text})" if when else ""


def _took(row: Row, now: datetime) -> float | None:
    if row.get("duration_s") is not None:
        return float(row["duration_s"])
    started = row.get("started_at")
    if started is None or row["status"] != State.RUNNING:
        return None
    seconds: float = (now - started).total_seconds()
    return max(0.0, seconds)


def _slot(row: Row) -> str:
    return instant(row.get("slot"), row.get("timezone") or "UTC")


def _trigger(row: Row) -> str:
    made = row.get("created_at")
    zone = row.get("timezone") or "UTC"
    return f"{row.get('trigger') or ''}{f', {instant(made, zone)}' if made else ''}"


def _error(row: Row) -> str:
    kind, message = row.get("error_type") or "", row.get("error_message") or ""
    text = f"{kind}: {message}" if kind and message else kind or message
    return "" if text and text == row.get("reason") else text


def _result(row: Row) -> str:
    if row.get("result_kind") == "parquet":
        return f"{row.get('result_rows') or 0:,} rows in {row.get('result_path')}"
    if row.get("result_kind") == "notebook":
        return str(row.get("result_path"))
    text = row.get("result_json")
    return "" if text in (None, "null") else str(text)


def _bar(row: Row) -> Bar | None:
    told = row.get("progress")
    return Bar(done=told[0], total=told[1]) if told else None


def _metrics(row: Row) -> Mapping[str, float]:
    told = row.get("metrics") or {}
    found: Mapping[str, float] = json.loads(told) if isinstance(told, str) else told
    return found


def _json(text: str | None) -> str:
    return "" if text in (None, "", "{}") else str(text)


def _shortened(text: str) -> str:
    line = one_line(text[: 2 * _SHORT])
    return line if len(line) <= _SHORT else f"{line[:_SHORT]}…"
