"""What the state database holds, read back as values and as rows of history.

Law: reads only, on a connection that the caller opened.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from sys import intern
from typing import Any

from sqlalchemy import Connection, Select, except_, select, tuple_

from raysched.core.model import Run, run_from_json
from raysched.core.ports import JobRecord, Snapshot, Version
from raysched.core.records import run_row
from raysched.errors import StoreError
from raysched.spec.definition import JobSpec, spec_from_json
from raysched.spec.units import from_us
from raysched.store.tables import jobs, outbox, runs, versions

_TOGETHER = 1_000  # documents parsed in one go


def storable(name: str) -> bool:
    """Whether a text can be looked for: PostgreSQL has no NUL, nobody half a surrogate pair."""
    try:
        return b"\0" not in name.encode()
    except UnicodeEncodeError:
        return False


def unsealed(connection: Connection, dataset: str, run_id: str | None) -> list[dict[str, Any]]:
    """Return the rows of a dataset that a database holds; of all runs, or of one."""
    if run_id is not None and not storable(run_id):
        return []
    found: Select[Any] = select(outbox.c.doc).where(outbox.c.dataset == dataset)
    live: Select[Any] = select(runs.c.doc, versions.c.spec).join(
        versions, (versions.c.job == runs.c.job) & (versions.c.version == runs.c.version)
    )
    if run_id is not None:
        found, live = found.where(outbox.c.run_id == run_id), live.where(runs.c.run_id == run_id)
    docs = connection.execute(found.order_by(outbox.c.seq)).scalars().all()
    rows = [row for doc in parsed(docs) for row in doc]
    if dataset == "runs":
        specs: dict[str, JobSpec] = {}
        for doc, spec in connection.execute(live.order_by(runs.c.n)):
            if spec not in specs:
                specs[spec] = spec_from_json(json.loads(spec))
            rows.append(run_row(run_from_json(json.loads(doc)), specs[spec]))
    return rows


def snapshot(connection: Connection, epoch: int) -> Snapshot:
    """Return what a scheduler of this epoch starts from, runs in the order of their creation.

    Raises:
        StoreError: a document is not one that this raysched can read.
    """
    try:
        return Snapshot(
            epoch=epoch,
            jobs=_jobs(connection),
            runs=unfinished(connection),
            older=_older(connection),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(
            "the state database holds what this raysched cannot read.",
            why=repr(error)[:300],
            fix="upgrade raysched, or restore the database from a backup.",
        ) from error


def _jobs(connection: Connection) -> dict[str, JobRecord]:
    query = select(
        versions.c.spec,
        versions.c.version,
        versions.c.code_hash,
        jobs.c.deployed_us,
        jobs.c.decided_us,
        jobs.c.last_end_us,
        jobs.c.pause,
    ).join(jobs, (versions.c.job == jobs.c.name) & (versions.c.version == jobs.c.version))
    instant = lru_cache(maxsize=1_024)(from_us)  # jobs that were deployed together share some
    found = {}
    for spec, version, code_hash, deployed, decided, last_end, pause in _with_docs(
        connection, query
    ):
        current = _version(spec, version, code_hash)
        found[current.spec.name] = JobRecord(
            current=current,
            deployed_at=instant(deployed),
            decided=instant(decided),
            last_end=instant(last_end),
            pause=None if pause is None else json.loads(pause),
        )
    return found


def _older(connection: Connection) -> dict[tuple[str, str], Version]:
    """The versions that unfinished runs need, and no job has any more."""
    needed = except_(select(runs.c.job, runs.c.version), select(jobs.c.name, jobs.c.version))
    query = select(versions.c.spec, versions.c.version, versions.c.code_hash)
    query = query.where(tuple_(versions.c.job, versions.c.version).in_(needed))
    found = [_version(*row) for row in _with_docs(connection, query)]
    return {(each.spec.name, each.version): each for each in found}


def _version(spec: Mapping[str, Any], version: str, code_hash: str) -> Version:
    return Version(spec=spec_from_json(spec), code_hash=intern(code_hash), version=version)


def _with_docs(connection: Connection, query: Select[Any]) -> Iterator[tuple[Any, ...]]:
    """Yield the rows of a query, the first column of each parsed: a few rows at a time."""
    result = connection.execute(query.execution_options(yield_per=_TOGETHER))
    for rows in result.partitions():
        for row, doc in zip(rows, parsed([row[0] for row in rows]), strict=True):
            yield doc, *row[1:]


def unfinished(connection: Connection) -> tuple[Run, ...]:
    """Return the runs that are not over, in the order of their creation."""
    docs = connection.execute(select(runs.c.doc).order_by(runs.c.n)).scalars().all()
    return tuple(map(run_from_json, parsed(docs)))


def has_any_run(connection: Connection, run_ids: Sequence[str]) -> bool:
    """Return whether a database holds any of these runs, unfinished or finished."""
    live = select(runs.c.n).where(runs.c.run_id.in_(run_ids))
    over = select(outbox.c.seq).where(outbox.c.run_id.in_(run_ids), outbox.c.dataset == "runs")
    return any(connection.execute(each.limit(1)).first() for each in (live, over))


def parsed(docs: Sequence[str]) -> Iterator[Any]:
    """Yield what documents hold, parsed many at a time: each name in them is made once then."""
    for first in range(0, len(docs), _TOGETHER):
        yield from json.loads(f"[{','.join(docs[first : first + _TOGETHER])}]")
