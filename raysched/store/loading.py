"""What the state database holds, read back as values and as rows of history.

Law: reads only, on a connection that the caller opened.
"""

from __future__ import annotations

import gc
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Select, select, tuple_, union

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
        with _no_collection():
            found = _versions(connection)
            return Snapshot(
                epoch=epoch,
                jobs=_jobs(connection, found),
                runs=unfinished(connection),
                versions=found,
            )
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(
            "the state database holds what this raysched cannot read.",
            why=repr(error)[:300],
            fix="upgrade raysched, or restore the database from a backup.",
        ) from error


def _versions(connection: Connection) -> dict[tuple[str, str], Version]:
    """The versions that jobs and unfinished runs need."""
    needed = union(select(jobs.c.name, jobs.c.version), select(runs.c.job, runs.c.version))
    query = select(versions.c.job, versions.c.version, versions.c.code_hash, versions.c.spec)
    query = query.where(tuple_(versions.c.job, versions.c.version).in_(needed))
    rows = connection.execute(query).all()
    return {
        (job, version): Version(spec=spec_from_json(doc), code_hash=code_hash, version=version)
        for (job, version, code_hash, _), doc in zip(
            rows, parsed([row[3] for row in rows]), strict=True
        )
    }


def _jobs(connection: Connection, found: Mapping[tuple[str, str], Version]) -> dict[str, JobRecord]:
    return {
        name: JobRecord(
            current=found[name, version],
            deployed_at=from_us(deployed),
            decided=from_us(decided),
            last_end=from_us(last_end),
            pause=None if pause is None else json.loads(pause),
        )
        for name, version, deployed, decided, last_end, pause in connection.execute(
            select(jobs)
        ).all()
    }


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


@contextmanager
def _no_collection() -> Iterator[None]:
    """Keep the cyclic collector off: of many new objects none is garbage, and it looks at all."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()
