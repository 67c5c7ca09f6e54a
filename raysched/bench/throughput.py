"""No-op runs a second, each recorded, logged and durable, against bare Ray tasks."""

from __future__ import annotations

import statistics
import time

from raysched.bench.report import Figure, processor_seconds, where
from raysched.client import Client
from raysched.core.states import State
from raysched.spec.job import job

RUNS = 2000
ROUNDS = 5
TARGET = 0.5
POLL_S = 0.02  # to ask more often would be work for the scheduler that no one asked for


@job(name="bench-noop", overlap="allow")
def noop() -> None:
    """Do nothing."""


def measure(client: Client) -> list[Figure]:
    """Run no-ops and bare tasks in turn, and return the ratio of their rates."""
    client.deploy(noop)
    _runs(client, 300)
    _tasks(300)
    ratios, rates, bare = [], [], []
    before = processor_seconds()
    spent_on_tasks: dict[str, float] = {}
    for _ in range(ROUNDS):
        rates.append(RUNS / _runs(client, RUNS))
        middle = processor_seconds()
        bare.append(RUNS / _tasks(RUNS))
        after = processor_seconds()
        for role in after:
            spent = after[role] - middle.get(role, 0)
            spent_on_tasks[role] = spent_on_tasks.get(role, 0) + spent
        ratios.append(rates[-1] / bare[-1])
    total = processor_seconds()
    ours = {role: total[role] - spent_on_tasks.get(role, 0) for role in total}
    ratio = statistics.median(ratios)
    return [
        Figure(
            name="runs/s against bare Ray tasks/s",
            value=f"{ratio:.2f} (from {min(ratios):.2f} to {max(ratios):.2f})",
            target=f"at least {TARGET}",
            met=ratio >= TARGET,
        ),
        Figure(name="runs/s, median", value=f"{statistics.median(rates):,.0f}"),
        Figure(name="bare tasks/s, median", value=f"{statistics.median(bare):,.0f}"),
        Figure(name="processor ms a run", value=where(before, ours, RUNS * ROUNDS)),
        Figure(name="processor ms a bare task", value=where({}, spent_on_tasks, RUNS * ROUNDS)),
    ]


def _runs(client: Client, count: int) -> float:
    """Return the seconds from the trigger until every run is finished and on record."""
    start = time.perf_counter()
    runs = client.trigger_many(noop, [{}] * count)
    while client.status()["runs"]:
        time.sleep(POLL_S)
    seconds = time.perf_counter() - start
    recorded = client.runs(job="bench-noop").set_index("run_id").loc[[run.id for run in runs]]
    assert (recorded.status == State.SUCCEEDED).all()
    return seconds


def _tasks(count: int) -> float:
    """Return the seconds that bare tasks take which do the same."""
    import ray

    task = ray.remote(max_retries=0)(_nothing)
    ray.get(task.remote())
    start = time.perf_counter()
    ray.get([task.remote() for _ in range(count)])
    return time.perf_counter() - start


def _nothing() -> None:
    pass
