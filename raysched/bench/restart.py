"""A scheduler that is killed while it has very many jobs and runs."""

from __future__ import annotations

import os
import signal
import time
from datetime import UTC, datetime

from raysched.bench import crowd
from raysched.bench.report import Figure, quantile
from raysched.client import Client
from raysched.client.connect import connect
from raysched.client.deployments import of_job
from raysched.spec.job import job
from raysched.spec.schedules import every
from raysched.store.sql import SqlStore

JOBS = 100_000
ACTIVE = 10_000
DEATHS = 3
TARGET_S = 5.0
_POLL_S = 0.05


@job(name="bench-beat", schedule=every("1s"), overlap="allow", catchup="latest", num_cpus=0)
def beat() -> None:
    """Do nothing, every second."""


@job(name="bench-crowd")
def idle() -> None:
    """Wait for as long as any benchmark takes."""
    import time

    time.sleep(3600)


def measure(client: Client, *, jobs: int = JOBS, active: int = ACTIVE) -> list[Figure]:
    """Give the scheduler its jobs and runs, kill its process, and see when it decides again."""
    client = _filled(client, jobs, active)
    client.deploy(beat)
    downtimes = [_downtime(client) for _ in range(DEATHS)]
    decided = [decided for _, decided in downtimes]
    worst, status = max(decided), client.status()
    return [
        Figure(
            name="killed, to the first slot decided, worst",
            value=f"{worst:.1f} s (median {quantile(decided, 0.5):.1f}, {DEATHS} times)",
            target=f"at most {TARGET_S:g} s",
            met=worst <= TARGET_S,
        ),
        Figure(
            name="killed, to the first answer, worst",
            value=f"{max(answered for answered, _ in downtimes):.1f} s",
        ),
        Figure(name="jobs", value=f"{status['jobs']:,}"),
        Figure(
            name="unfinished runs",
            value=", ".join(f"{count:,} {state}" for state, count in status["runs"].items()),
        ),
    ]


def _filled(client: Client, jobs: int, active: int) -> Client:
    """Return a client of a scheduler that has started on a filled database in place of this."""
    from raysched.cluster.handle import SchedulerHandle
    from raysched.cluster.scheduler import SystemClock

    SchedulerHandle.find().stop()
    clock = SystemClock()
    store = SqlStore(client.home / "state.db", clock)
    store.open()
    now = clock.now().replace(microsecond=0)
    crowd.fill(store, jobs, like=of_job(idle), now=now, active=active)
    store.close()
    return connect(client.home)


def _downtime(client: Client) -> tuple[float, float]:
    """Kill the scheduler; return the seconds to its first answer and to its first decision."""
    _decided(client, datetime.now(UTC))
    pid = client.status()["pid"]
    killed = datetime.now(UTC)
    os.kill(pid, signal.SIGKILL)
    client.status()
    answered = datetime.now(UTC)
    decided = _decided(client, killed)
    return (answered - killed).total_seconds(), (decided - killed).total_seconds()


def _decided(client: Client, since: datetime) -> datetime:
    """Return when the first slot after an instant was decided, which may be yet to come."""
    while True:
        found = client.decisions(job="bench-beat", since=since).decided_at
        if len(found):
            return found.min().to_pydatetime()  # type: ignore[no-any-return]
        time.sleep(_POLL_S)
