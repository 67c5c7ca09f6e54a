"""Very many jobs: a state database that holds them, made by the store's own commits."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from itertools import islice

from raysched.core.model import Run, Trigger, slot_run_id
from raysched.core.ports import Changes, JobRecord, Version
from raysched.engine.messages import Deployment
from raysched.spec.schedules import cron
from raysched.store.sql import SqlStore

_COMMITTED = 10_000  # jobs in one transaction


def fill(store: SqlStore, count: int, *, like: Deployment, now: datetime, active: int = 0) -> None:
    """Deploy `count` jobs, each due once a day, all slots up to `now` being decided.

    They are `like` one of another name. The first `active` of them have a run that waits
    for its start.
    """
    versions = _versions(count, like)
    while some := list(islice(versions, _COMMITTED)):
        runs = [_run(version, now) for version in some[:active]]
        active -= len(runs)
        store.commit(
            Changes(
                code={like.code_hash: like.code},
                versions={(each.spec.name, each.version): each for each in some},
                jobs={each.spec.name: _record(each, now) for each in some},
                runs={run.run_id: run for run in runs},
            )
        )


def _versions(count: int, like: Deployment) -> Iterator[Version]:
    """Yield jobs that differ in their names, and in the minute of the day at which they run."""
    for n in range(count):
        schedule = cron(f"{n % 60} {n // 60 % 24} * * *")
        name = f"{like.spec.name}-{n:07d}"
        spec = replace(like.spec, name=name, schedules=(schedule.bound_to(name, "UTC"),))
        version = spec.version(like.code_hash)
        yield Version(spec=spec, code_hash=like.code_hash, version=version)


def _record(version: Version, now: datetime) -> JobRecord:
    return JobRecord(current=version, deployed_at=now, decided=now, last_end=now)


def _run(version: Version, now: datetime) -> Run:
    return Run(
        run_id=slot_run_id(version.spec.name, now),
        job=version.spec.name,
        version=version.version,
        trigger=Trigger.SCHEDULE,
        created_at=now,
        queued_at=now,
        slot=now,
    )
