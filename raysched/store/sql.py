"""The state database: what the scheduler must not forget, in one SQL database.

Law: every write is one short transaction that first makes sure that no other
scheduler has taken over. Versions of jobs and their code are never deleted:
they are small, and they are the history of what was deployed.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, Literal

from sqlalchemy import Connection, Dialect, Table, bindparam, delete, select, update
from sqlalchemy.dialects import postgresql, sqlite

from raysched.core.model import Run, run_to_json
from raysched.core.ports import Changes, Clock, JobRecord, Snapshot, Version
from raysched.errors import NotFound, StaleEpoch, StoreError
from raysched.spec.units import shown, to_us
from raysched.store import loading
from raysched.store.database import Database
from raysched.store.loading import storable
from raysched.store.schema import FOLDER_TIME
from raysched.store.tables import NUMBERED, code, jobs, make_tables, meta, outbox, runs, versions

_DAY_US = 86_400_000_000
_JOB_CHANGES = ("version", "deployed_us", "decided_us", "last_end_us", "pause")
_CHUNK = 1_000  # lines of one run that share a row of the outbox
_MOST_IDS = 500  # that one question names: SQLite looks its values up one by one

_encode = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode
_EPOCH = select(meta.c.value).where(meta.c.key == "epoch")
# On PostgreSQL the lock makes a successor's `open` wait for this transaction, and this
# one wait for it; SQLite ignores the clause and lets in one writer at a time anyway.
_EPOCH_HELD = _EPOCH.with_for_update(read=True)


class SqlStore:
    """The engine's `Store` on SQLite or PostgreSQL; threads may share it."""

    def __init__(self, where: str | Path, clock: Clock) -> None:
        """Remember where the database is: a path, or a URL.

        Raises:
            StoreError: the URL is refused.
        """
        self._db = Database(where)
        self._clock = clock
        self._epoch = ""
        # One writer at a time, in the order of arrival: SQLite would have the engine
        # poll while the sealer writes.
        self._turn = threading.Lock()
        self._sql = _Statements(self._db.dialect)

    @property
    def epoch(self) -> int:
        """The epoch that `open` gave."""
        return int(self._epoch)

    def open(self) -> Snapshot:
        """Take the home over under a new epoch, and return what it holds.

        Raises:
            StoreError: the database cannot be opened or read, or is a newer raysched's.
        """
        what = f"the state database {self._db.name} cannot be opened."
        self._db.create()
        with self._turn, self._db.transaction("write", what) as connection:
            make_tables(connection, self._db.name)
            found = connection.execute(_EPOCH.with_for_update()).scalar_one()
            epoch = str(int(found) + 1)
            connection.execute(update(meta).where(meta.c.key == "epoch").values(value=epoch))
        # From here on no older scheduler can change anything, so the snapshot may be
        # taken at leisure.
        self._epoch = epoch
        with self._db.transaction("read", what) as connection:
            return loading.snapshot(connection, int(epoch))

    def close(self) -> None:
        """Close the connections."""
        self._db.close()

    def commit(self, changes: Changes) -> None:
        """Make `changes` durable in one transaction.

        Raises:
            StaleEpoch: another scheduler has opened the home since.
            StoreError: nothing of it was committed; only when PostgreSQL's connection is
                lost during the commit itself, perhaps all of it was.
        """
        now = to_us(self._clock.now())
        try:
            rows = list(_outbox_rows(changes.rows, now))
            with self._turn, self._db.cursor("the turn could not be committed.") as cursor:
                cursor.execute(self._sql.epoch)
                self._check(cursor.fetchone()[0])
                for statement, values in self._sql.of(changes, rows, now):
                    cursor.executemany(statement, values)
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            raise StoreError(
                "the turn could not be committed.", why=f"a value has no stored form: {error}"
            ) from error

    @contextmanager
    def fenced(self, mode: Literal["write", "share"], what: str) -> Iterator[Connection]:
        """A transaction of mode `write` or `share`, refused once this scheduler is outdated.

        Raises:
            StaleEpoch: another scheduler has opened the home since.
            StoreError: the database refused; nothing was changed.
        """
        alone = self._turn if mode == "write" else nullcontext()
        with alone, self._db.transaction(mode, what) as connection:
            self._check(connection.execute(_EPOCH_HELD).scalar())
            yield connection

    def _check(self, epoch: str | None) -> None:
        if epoch != self._epoch:
            raise StaleEpoch(
                f"this scheduler, of epoch {self._epoch or 'none'}, has been replaced.",
                why=f"the epoch of {self._db.name} is {epoch}.",
                fix="stop this one; the other goes on.",
            )

    def code(self, code_hash: str) -> bytes:
        """Return a job's pickled function.

        Raises:
            NotFound: no version of any job has this code.
            StoreError: the database cannot be read.
        """
        if storable(code_hash):
            with self._reading() as connection:
                query = select(code.c.blob).where(code.c.hash == code_hash)
                if (found := connection.execute(query).scalar()) is not None:
                    return bytes(found)
        raise NotFound(
            f"there is no code {shown(code_hash)}.",
            why="no version of any job has it.",
            fix="deploy the job again.",
        )

    def has_job(self, name: str) -> bool:
        """Return whether a job of this name is deployed, or was once.

        Raises:
            StoreError: the database cannot be read.
        """
        if not storable(name):
            return False
        with self._reading() as connection:
            query = select(versions.c.job).where(versions.c.job == name).limit(1)
            return connection.execute(query).first() is not None

    def has_any_run(self, run_ids: Collection[str]) -> bool:
        """Return whether any of these runs is unfinished, or finished and not yet sealed.

        Raises:
            StoreError: the database cannot be read.
        """
        ids = [each for each in run_ids if storable(each)]
        with self._reading() as connection:
            return any(
                loading.has_any_run(connection, ids[first : first + _MOST_IDS])
                for first in range(0, len(ids), _MOST_IDS)
            )

    def unfinished(self) -> Sequence[Run]:
        """Return the runs that are not over, by what is committed.

        Raises:
            StoreError: the database cannot be read.
        """
        with self._reading() as connection:
            return loading.unfinished(connection)

    def unsealed(self, dataset: str, *, run_id: str | None = None) -> list[dict[str, Any]]:
        """Return the rows of history that no file holds yet, unfinished runs among them.

        Raises:
            StoreError: the database cannot be read.
        """
        with self._reading() as connection:
            return loading.unsealed(connection, dataset, run_id)

    def _reading(self) -> Any:
        return self._db.transaction("read", "the state database cannot be read.")


class _Statements:
    """The statements of a commit, compiled once for one dialect.

    They go to the driver as they are: Core would prepare the values of each row anew,
    and take as long about it as the database.
    """

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self.epoch = str(
            _EPOCH_HELD.compile(dialect=dialect, compile_kwargs={"literal_binds": True})
        )
        self._code = self._insert(code, new_only=True)
        self._versions = self._insert(versions, new_only=True)
        self._jobs = self._insert(jobs, "name", changing=_JOB_CHANGES)
        self._runs = self._insert(runs, "run_id", changing=("doc",))
        self._outbox = self._insert(outbox)
        self._drop_job = self._compiled(delete(jobs).where(jobs.c.name == bindparam("name")))
        self._drop_run = self._compiled(delete(runs).where(runs.c.run_id == bindparam("run_id")))

    def of(
        self, changes: Changes, rows: list[dict[str, Any]], now: int
    ) -> Iterator[tuple[str, list[dict[str, Any]]]]:
        """Yield each statement with its values, what is referred to before what refers."""
        parts = (
            (self._code, [{"hash": h, "blob": blob} for h, blob in changes.code.items()]),
            (self._versions, [_version_row(each, now) for each in changes.versions.values()]),
            (self._jobs, [_job_row(each) for each in changes.jobs.values() if each]),
            (self._drop_job, [{"name": n} for n, each in changes.jobs.items() if each is None]),
            (self._runs, [_run_values(each) for each in changes.runs.values() if each]),
            (self._drop_run, [{"run_id": i} for i, each in changes.runs.items() if each is None]),
            (self._outbox, rows),
        )
        return ((statement, values) for statement, values in parts if values)

    def _insert(
        self, table: Table, key: str = "", changing: Iterable[str] = (), *, new_only: bool = False
    ) -> str:
        """An insert; where the key is known, the row keeps its number and the rest changes."""
        given = [column.name for column in table.columns if column.name not in NUMBERED]
        insert = sqlite.insert if self._dialect.name == "sqlite" else postgresql.insert
        statement = insert(table).values({name: bindparam(name) for name in given})
        if new_only:
            statement = statement.on_conflict_do_nothing()
        elif key:
            changes = {name: statement.excluded[name] for name in changing}
            statement = statement.on_conflict_do_update(index_elements=[key], set_=changes)
        return self._compiled(statement)

    def _compiled(self, statement: Any) -> str:
        return str(statement.compile(dialect=self._dialect))


def _version_row(version: Version, now: int) -> dict[str, Any]:
    return {
        "job": version.spec.name,
        "version": version.version,
        "code_hash": version.code_hash,
        "created_us": now,
        "spec": _encode(version.spec.to_json()),
    }


def _job_row(record: JobRecord) -> dict[str, Any]:
    return {
        "name": record.current.spec.name,
        "version": record.current.version,
        "deployed_us": to_us(record.deployed_at),
        "decided_us": to_us(record.decided),
        "last_end_us": to_us(record.last_end),
        "pause": None if record.pause is None else _encode(record.pause),
    }


def _run_values(run: Run) -> dict[str, Any]:
    return {
        "run_id": run.run_id,
        "job": run.job,
        "version": run.version,
        "doc": _encode(run_to_json(run)),
    }


def _outbox_rows(
    rows: Iterable[tuple[str, Mapping[str, Any]]], now: int
) -> Iterator[dict[str, Any]]:
    """Yield outbox rows: one for each row of history, one for a run's lines told together.

    Columns that are null are left out: half of what would be written.
    """
    lines: dict[str, list[Mapping[str, Any]]] = {}
    for dataset, row in rows:
        if dataset == "logs":
            chunk = lines.setdefault(row["run_id"], [])
            chunk.append(row)
            if len(chunk) == _CHUNK:
                yield _outbox_row("logs", now, row["run_id"], lines.pop(row["run_id"]))
        else:
            at = row.get(FOLDER_TIME[dataset])
            if at is None:
                raise ValueError(f"a row of {dataset} has no {FOLDER_TIME[dataset]}")
            short = {name: value for name, value in row.items() if value is not None}
            yield _outbox_row(dataset, at, row.get("run_id"), [short])
    for run_id, chunk in lines.items():
        yield _outbox_row("logs", now, run_id, chunk)


def _outbox_row(
    dataset: str, at: int, run_id: str | None, rows: list[Mapping[str, Any]]
) -> dict[str, Any]:
    return {
        "dataset": dataset,
        "day": at // _DAY_US,
        "run_id": run_id,
        "doc": _encode(rows),
    }
