"""From a trigger to the first line of user code, against the round trip of a bare Ray task."""

from __future__ import annotations

import statistics
import time
from functools import lru_cache
from typing import Any

from raysched.bench.report import Figure, quantile
from raysched.client import Client
from raysched.spec.job import job

SAMPLES = 200
TARGET_MS = 5.0


@job(name="bench-clock", overlap="allow")
def clock() -> int:
    """Return the time at the first line, in ns."""
    import time

    return time.time_ns()


def measure(client: Client) -> list[Figure]:
    """Trigger runs and call bare tasks in turn, and return what a run takes more."""
    client.deploy(clock)
    for _ in range(20):
        _run(client)
        _task()
    pairs = [(_run(client), _task()) for _ in range(SAMPLES)]
    runs, tasks = [run for run, _ in pairs], [task for _, task in pairs]
    more = statistics.median(runs) - statistics.median(tasks)
    return [
        Figure(
            name="more than a bare round trip, median",
            value=f"{more:+.1f} ms",
            target=f"at most +{TARGET_MS:g} ms",
            met=more <= TARGET_MS,
        ),
        Figure(
            name="trigger to first line, median and p99",
            value=f"{statistics.median(runs):.1f} ms, {quantile(runs, 0.99):.1f} ms",
        ),
        Figure(
            name="bare round trip, median and p99",
            value=f"{statistics.median(tasks):.1f} ms, {quantile(tasks, 0.99):.1f} ms",
        ),
    ]


def _run(client: Client) -> float:
    """Return the ms from the call of trigger to the first line of the job."""
    start = time.time_ns()
    first_line: int = client.trigger(clock).result()
    return (first_line - start) / 1e6


@lru_cache(maxsize=1)
def _remote() -> Any:
    import ray

    return ray.remote(max_retries=0)(_nothing)


def _nothing() -> None:
    pass


def _task() -> float:
    """Return the ms that a bare task takes, there and back."""
    import ray

    start = time.perf_counter()
    ray.get(_remote().remote())
    return (time.perf_counter() - start) * 1e3
