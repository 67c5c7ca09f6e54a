"""The last day's failures out of a long history, against pandas alone on the same files."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from raysched.bench.report import Figure, quantile
from raysched.client import Client
from raysched.core.states import State
from raysched.spec.units import to_us
from raysched.store.history import History
from raysched.store.schema import INSTANT, schema_of
from raysched.store.sql import SqlStore
from raysched.testing import FakeClock

RUNS = 10_000_000
A_DAY = 100_000
UNMERGED = 32  # files of the present day, as many as there are before they are rolled up
FAILING = 50  # one run of so many fails
SAMPLES = 15
TARGET_S = 0.5
_DAY = timedelta(days=1)


def measure(client: Client, *, runs: int = RUNS) -> list[Figure]:
    """Write a history of made-up runs, and ask for what failed within 24 hours."""
    import pandas as pd

    from raysched.client.history import runs as ask

    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        _write(home, runs, datetime.now(UTC))
        since = datetime.now(UTC) - _DAY
        wanted = [
            ("date", ">=", f"{since:%Y-%m-%d}"),
            ("status", "==", "failed"),
            ("created_at", ">=", since),
        ]

        def mine() -> pd.DataFrame:
            return ask(home, since=since, status="failed")

        def bare() -> pd.DataFrame:
            return pd.read_parquet(home / "runs", filters=wanted)

        found = mine()
        assert set(found.run_id) == set(bare().run_id) != set()
        pairs = [(_seconds(mine), _seconds(bare)) for _ in range(SAMPLES)]
        disk = sum(file.stat().st_size for file in home.glob("runs/*/*.parquet"))
    ours, alone = [own for own, _ in pairs], quantile([other for _, other in pairs], 0.5)
    median = quantile(ours, 0.5)
    return [
        Figure(
            name="the last day's failures as a DataFrame, median",
            value=f"{median * 1e3:.0f} ms (worst {max(ours) * 1e3:.0f})",
            target=f"below {TARGET_S * 1e3:.0f} ms",
            met=median < TARGET_S,
        ),
        Figure(
            name="against pandas alone on the same files",
            value=f"{median / alone:.2f} (its median {alone * 1e3:.0f} ms)",
        ),
        Figure(
            name="runs of history",
            value=f"{runs:,}, {A_DAY:,} a day, {disk / 2**20:,.0f} MiB; {len(found):,} found",
        ),
    ]


def _write(home: Path, runs: int, now: datetime) -> None:
    """Write runs that ended up to `now`: past days in one file each, the present in several.

    That is how sealing and rolling up leave them.
    """
    store = SqlStore(home / "state.db", FakeClock(now))
    store.open()
    store.close()
    history = History(home)
    gap = _DAY / A_DAY
    end, left = now, runs
    while left:
        midnight = end.replace(hour=0, minute=0, second=0, microsecond=0)
        count = min(left, (end - midnight) // gap + 1)
        day = _table(end, count, gap)
        files = UNMERGED if end == now else 1
        for n in range(files):
            first, last = n * count // files, (n + 1) * count // files
            history.write("runs", midnight.date(), f"{n:04d}", day.slice(first, last - first))
        left -= count
        end -= count * gap


def _table(end: datetime, count: int, gap: timedelta) -> pa.Table:
    """Return that many runs, which finished `gap` after each other, the last at `end`."""
    ends = to_us(end) - np.arange(count)[::-1] * (gap // timedelta(microseconds=1))
    number = pa.array(ends // 1000 % 1000)
    job = pc.binary_join_element_wise("job-", pc.cast(number, pa.string()), "")
    failed = pa.array(np.arange(count) % FAILING == 0)
    duration = np.random.default_rng(0).exponential(2, count)
    begun = pa.array(ends - (duration * 1e6).astype(np.int64)).cast(INSTANT)
    instant = pc.strftime(begun, format="%Y-%m-%dT%H:%M:%SZ")
    known = {
        "job": job,
        "run_id": pc.binary_join_element_wise(job, instant, "@"),
        "version": pc.cast(number, pa.string()),
        "slot": begun,
        "trigger": _same("schedule", count),
        "status": pc.if_else(failed, str(State.FAILED), str(State.SUCCEEDED)),
        "reason": pc.if_else(failed, "ValueError: the input is empty", ""),
        "attempts": _same(1, count),
        "created_at": begun,
        "queued_at": begun,
        "started_at": begun,
        "finished_at": pa.array(ends).cast(INSTANT),
        "duration_s": pa.array(duration),
        "lag_s": pa.array(duration / 1000),
        "node_id": _same("c0ffee" * 9, count),
        "node_ip": _same("10.0.0.4", count),
        "num_cpus": _same(1.0, count),
        "num_gpus": _same(0.0, count),
        "memory_bytes": _same(0, count),
        "peak_memory_bytes": pa.array((duration * 1e8).astype(np.int64)),
        "cpu_time_s": pa.array(duration * 0.8),
        "error_type": pc.if_else(failed, "ValueError", None),
        "error_message": pc.if_else(failed, "the input is empty", None),
        "params": _same("{}", count),
        "timezone": _same("UTC", count),
    }
    schema = schema_of("runs")
    return pa.Table.from_arrays(
        [known.get(each.name, pa.nulls(count, each.type)).cast(each.type) for each in schema],
        schema=schema,
    )


def _same(value: object, count: int) -> pa.Array:
    return pa.repeat(value, count)


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
