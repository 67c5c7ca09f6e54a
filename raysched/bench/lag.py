"""The lag of a hundred jobs that all fire every second."""

from __future__ import annotations

import time

from raysched.bench.report import Figure, quantile
from raysched.client import Client
from raysched.spec.job import Job, job
from raysched.spec.schedules import every

JOBS = 100
SECONDS = 20
TARGET_MS = 25.0


def tick() -> None:
    """Do nothing."""


def measure(client: Client) -> list[Figure]:
    """Let the jobs fire, and return how late their slots were decided and their runs began."""
    jobs: list[Job[[], None]] = [
        job(name=f"bench-tick-{n}", schedule=every("1s"), overlap="allow")(tick)
        for n in range(JOBS)
    ]
    client.deploy(*jobs)
    time.sleep(SECONDS)
    for each in jobs:
        client.delete(each)
    # The first second warms the workers up, and is no one's lag but Ray's.
    runs = client.runs(since="1h")
    runs = runs[runs.job.str.startswith("bench-tick-") & runs.started_at.notna()]
    runs = runs[runs.slot > runs.slot.min()]
    decided = [1000 * seconds for seconds in runs.lag_s]
    began = [1000 * seconds for seconds in (runs.started_at - runs.slot).dt.total_seconds()]
    p99 = quantile(decided, 0.99)
    return [
        Figure(
            name="slot to decision, p99",
            value=f"{p99:.1f} ms (median {quantile(decided, 0.5):.1f}, worst {max(decided):.1f})",
            target=f"below {TARGET_MS:g} ms",
            met=p99 < TARGET_MS,
        ),
        Figure(
            name="slot to first line, median and p99",
            value=f"{quantile(began, 0.5):.1f} ms, {quantile(began, 0.99):.1f} ms",
        ),
        Figure(name="runs", value=f"{len(decided):,} of {JOBS} jobs in {SECONDS} s"),
    ]
