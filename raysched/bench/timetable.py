"""An engine that holds very many jobs: what they cost it, and what a wake-up costs."""

from __future__ import annotations

import tempfile
import time
from datetime import UTC, datetime
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import psutil

from raysched.bench import crowd
from raysched.bench.report import Figure, quantile
from raysched.client import Client
from raysched.engine.engine import Engine
from raysched.engine.lasting import lasting
from raysched.engine.messages import Deployment
from raysched.spec.definition import JobSpec
from raysched.store.sql import SqlStore
from raysched.testing import FakeClock, FakeLauncher
from raysched.testing.world import NoResults

JOBS = 1_000_000
WAKE_UPS = 1_000
READY_S = 30.0
BYTES = 1_024
WAKE_UP_MS = 1.0


class Held(NamedTuple):
    """What it took to hold some jobs."""

    ready_s: float
    bytes: int
    wake_ups_ms: list[float]


def measure(client: Client, *, jobs: int = JOBS) -> list[Figure]:
    """Fill a database with jobs, start an engine on it in a process of its own, and wake it up."""
    now = datetime(2026, 1, 1, 12, 0, 30, tzinfo=UTC)  # nothing is due on a half minute
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "state.db"
        store = SqlStore(path, FakeClock(now))
        store.open()
        like = Deployment(spec=JobSpec(name="bench-crowd"), code_hash="0" * 64, code=b"")
        crowd.fill(store, jobs, like=like, now=now)
        store.close()
        mine, its = get_context("spawn").Pipe()
        process = get_context("spawn").Process(target=_hold, args=(path, now, its))
        process.start()
        its.close()
        held: Held = mine.recv()
        process.join()
    worst = quantile(held.wake_ups_ms, 0.99)
    each = held.bytes / jobs
    return [
        Figure(
            name="a wake-up with nothing due, p99",
            value=f"{worst:.3f} ms (median {quantile(held.wake_ups_ms, 0.5):.3f})",
            target=f"at most {WAKE_UP_MS:g} ms",
            met=worst <= WAKE_UP_MS,
        ),
        Figure(
            name="memory of the process, a job",
            value=f"{each:,.0f} bytes",
            target=f"at most {BYTES:,}",
            met=each <= BYTES,
        ),
        Figure(
            name="from the database to ready",
            value=f"{held.ready_s:.1f} s",
            target=f"at most {READY_S:g} s",
            met=held.ready_s <= READY_S,
        ),
        Figure(name="jobs, each with a cron schedule", value=f"{jobs:,}"),
    ]


def _hold(path: Path, now: datetime, answer: Any) -> None:
    clock = FakeClock(now)
    store, launcher = SqlStore(path, clock), FakeLauncher(clock)
    memory = psutil.Process().memory_info
    before, start = memory().rss, time.perf_counter()
    with lasting():
        engine = Engine(clock=clock, store=store, launcher=launcher, results=NoResults())
    engine.next_wake()
    ready_s, grown = time.perf_counter() - start, memory().rss - before
    answer.send(Held(ready_s, grown, [_wake_up_ms(engine) for _ in range(WAKE_UPS)]))


def _wake_up_ms(engine: Engine) -> float:
    start = time.perf_counter()
    engine.turn(())
    engine.next_wake()
    return 1e3 * (time.perf_counter() - start)
