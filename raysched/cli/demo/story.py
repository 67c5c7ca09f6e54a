"""What happens in the demo: the jobs, on schedules of seconds, and what is done to them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import raysched as rs
from raysched.cli.demo import boxes
from raysched.cli.demo.screen import Screen, heading
from raysched.client.folder import scan
from raysched.core.states import State
from raysched.errors import DeclarationError, NotFound

if TYPE_CHECKING:
    from raysched.client import Client, Run
    from raysched.spec.declared import DeclaredJob

_LONGEST_S = 75.0
_LAST_RUNS_S = 15.0
_TICK_S = 0.4
_BLIZZARD = "2013-02-09"
_SLOTS = 3
_CHANGES: dict[str, dict[str, Any]] = {
    "flights_ingest": {"schedule": None},
    "daily_delays": {"schedule": rs.every("3s")},
    "weather_anomalies": {"schedule": rs.every("5s"), "retries": rs.Retry(1, delay="1s")},
    "hourly_profile": {"schedule": None, "timeout": None},
    boxes.JOB: {"schedule": rs.every("5s"), "params": {"day": _BLIZZARD}},
}


def play(client: Client, folder: Path, home: Path, screen: Screen) -> None:
    """Deploy the example jobs, fire, fail, cancel, pause and wait for what comes of it."""
    start = datetime.now(UTC)
    without = boxes.obstacle()
    names = [name for name in _CHANGES if name != boxes.JOB or without is None]
    client.deploy(*_for_the_demo(folder, home / "flights-data", names))
    client.pause("weather_anomalies", note="by the demo, to show skipped slots")
    heading(f"{len(names)} jobs: one fires every 3 s, one is paused, one will fail, one hang")
    if without is None:
        heading("and one is a container, built from jobs/carriers/Dockerfile, every 5 s")
    else:
        heading(f"container jobs are left out: {without}")
    triggered = [
        client.trigger("flights_ingest"),
        client.trigger("weather_anomalies", day=_BLIZZARD),
        client.trigger("hourly_profile", day="2013-07-04", rest_s=0.2),
    ]
    hangs = client.trigger("hourly_profile", day="2013-12-24", rest_s=600.0)
    until = time.monotonic() + _LONGEST_S
    while time.monotonic() < until:
        rows = screen.update(start)
        if hangs is not None and _has_begun(rows, hangs.id):
            hangs.cancel()
        if _has_shown_all(client, rows, [*triggered, hangs], start, without is None):
            break
        time.sleep(_TICK_S)
    _wind_up(client, screen, start, names)


def _for_the_demo(folder: Path, data: Path, names: Sequence[str]) -> list[DeclaredJob]:
    """Return the jobs with schedules and delays of seconds; all else stays as declared."""
    found = scan(folder)
    if found.faults:
        raise DeclarationError(
            f"the example jobs in {folder} have faults.",
            why=found.faults[0].error,
            fix=f"see `raysched check {folder}`.",
        )
    jobs = {each.job.name: each.job for each in found.found}
    if missing := set(names) - jobs.keys():
        raise NotFound(f"there is no job {min(missing)!r} in {folder}.")
    where = {"FLIGHTS_DATA": str(data)}
    return [jobs[name].options(env=where, **_CHANGES[name]) for name in names]


def _has_begun(rows: list[dict[str, Any]], run_id: str) -> bool:
    return any(row["run_id"] == run_id and row["progress"] for row in rows)


def _has_shown_all(
    client: Client,
    rows: list[dict[str, Any]],
    triggered: list[Run],
    start: datetime,
    container: bool,
) -> bool:
    states = {row["run_id"]: State(row["status"]) for row in rows}
    if not all(run.id in states and states[run.id].final for run in triggered):
        return False
    fired = [row for row in rows if row["trigger"] == "schedule" and row["status"] == "succeeded"]
    if container and boxes.JOB not in {row["job"] for row in fired}:
        return False
    decided = client.decisions(since=start)
    return len(fired) >= _SLOTS and int((decided["decision"] == "skipped").sum()) >= _SLOTS - 1


def _wind_up(client: Client, screen: Screen, start: datetime, names: Sequence[str]) -> None:
    """Let no further slot fire, wait for the runs under way, and write everything to files."""
    for name in names:
        client.pause(name, note="the demo is over")
    until = time.monotonic() + _LAST_RUNS_S
    while time.monotonic() < until:
        if all(State(row["status"]).final for row in screen.update(start)):
            break
        time.sleep(_TICK_S)
    client.seal()
