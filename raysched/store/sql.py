"""The state database: what the scheduler must not forget, in one SQL database.

Law: every write is one short transaction that first makes sure that no other
scheduler has taken over. All text of a user's is kept as ASCII JSON, which every
database stores unchanged, with NUL and half surrogate pairs in it too. Versions of
jobs and their code are never deleted: they are small, and they are the history of
what was deployed.
"""

from __future__ import annotations

import gc
import json
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from itertools import groupby
from pathlib import Path
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Dialect,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Row,
    Select,
    Table,
    Text,
    bindparam,
    delete,
    inspect,
    select,
    text,
    tuple_,
    union,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite

from raysched.core.model import Run, run_from_json, run_to_json
from raysched.core.records import run_row
from raysched.engine.ports import Changes, Clock, JobRecord, Snapshot, Version
from raysched.errors import NotFound, StaleEpoch, StoreError
from raysched.spec.job import JobSpec, spec_from_json
from raysched.spec.units import from_us, shown, to_us
from raysched.store.database import Database
from raysched.store.schema import FOLDER_TIME

#: The nth statements take a database of version n to n + 1; new databases are made whole.
_MIGRATIONS: tuple[tuple[str, ...], ...] = ()
_VERSION = len(_MIGRATIONS) + 1

_DAY_US = 86_400_000_000
_CHUNK = 1_000  # lines of one run that share a row of the outbox
_RANGE = 1_000  # keys in one IN

_NUMBERS = ("n", "seq")  # what the database gives a row

_tables = MetaData()
_Number = BigInteger().with_variant(Integer(), "sqlite")  # SQLite numbers only INTEGER by itself
# Byte by byte, as in SQLite, so that a prefix is a range of the index.
_Id = Text().with_variant(Text(collation="C"), "postgresql")

meta = Table(
    "meta",
    _tables,
    Column("key", Text, primary_key=True),
    Column("value", Text, nullable=False),
)
versions = Table(
    "versions",
    _tables,
    Column("job", Text, primary_key=True),
    Column("version", Text, primary_key=True),
    Column("code_hash", Text, nullable=False),
    Column("created_us", BigInteger, nullable=False),
    Column("spec", Text, nullable=False),
)
code = Table(
    "code",
    _tables,
    Column("hash", Text, primary_key=True),
    Column("blob", LargeBinary, nullable=False),
)
jobs = Table(
    "jobs",
    _tables,
    Column("name", Text, primary_key=True),
    Column("version", Text, nullable=False),
    Column("deployed_us", BigInteger, nullable=False),
    Column("decided_us", BigInteger, nullable=False),
    Column("last_end_us", BigInteger, nullable=False),
    Column("pause", Text),
    ForeignKeyConstraint(["name", "version"], ["versions.job", "versions.version"]),
)
runs = Table(  # the unfinished ones, numbered in the order of their creation
    "runs",
    _tables,
    Column("n", _Number, primary_key=True),
    Column("run_id", _Id, nullable=False, unique=True),
    Column("job", Text, nullable=False),
    Column("version", Text, nullable=False),
    Column("doc", Text, nullable=False),
)
outbox = Table(  # a row holds a list of rows of history; `day` counts days since 1970
    "outbox",
    _tables,
    Column("seq", _Number, primary_key=True),
    Column("dataset", Text, nullable=False),
    Column("day", Integer, nullable=False),
    Column("run_id", _Id),
    Column("doc", Text, nullable=False),
    # Of runs alone: an index of all rows would double what a commit costs.
    Index(
        "outbox_run",
        "run_id",
        sqlite_where=text("dataset = 'runs'"),
        postgresql_where=text("dataset = 'runs'"),
    ),
    sqlite_autoincrement=True,  # a number never comes back, so that order is age
)

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
            _make_tables(connection, self._db)
            found = connection.execute(_EPOCH.with_for_update()).scalar_one()
            epoch = str(int(found) + 1)
            connection.execute(update(meta).where(meta.c.key == "epoch").values(value=epoch))
        # From here on no older scheduler can change anything, so the snapshot may be
        # taken at leisure.
        self._epoch = epoch
        with self._db.transaction("read", what) as connection, _no_collection():
            return _snapshot(connection, int(epoch))

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
            with self.fenced("write", "the turn could not be committed.") as connection:
                for statement, values in self._sql.of(changes, rows, now):
                    connection.exec_driver_sql(statement, values)
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            raise StoreError(
                "the turn could not be committed.", why=f"a value has no stored form: {error}"
            ) from error

    @contextmanager
    def fenced(self, mode: Any, what: str) -> Iterator[Connection]:
        """A transaction of mode `write` or `share`, refused once this scheduler is outdated.

        Raises:
            StaleEpoch: another scheduler has opened the home since.
            StoreError: the database refused; nothing was changed.
        """
        alone = self._turn if mode == "write" else nullcontext()
        with alone, self._db.transaction(mode, what) as connection:
            found = connection.execute(_EPOCH_HELD).scalar()
            if found != self._epoch:
                raise StaleEpoch(
                    f"this scheduler, of epoch {self._epoch or 'none'}, has been replaced.",
                    why=f"the epoch of {self._db.name} is {found}.",
                    fix="stop this one; the other goes on.",
                )
            yield connection

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

    def has_run(self, run_id: str) -> bool:
        """Return whether a run of this id is unfinished, or finished and not yet sealed.

        Raises:
            StoreError: the database cannot be read.
        """
        if not storable(run_id):
            return False
        live = select(runs.c.n).where(runs.c.run_id == run_id)
        over = select(outbox.c.seq).where(outbox.c.run_id == run_id, outbox.c.dataset == "runs")
        with self._reading() as connection:
            return any(connection.execute(each.limit(1)).first() for each in (live, over))

    def unsealed(self, dataset: str, *, run_id: str | None = None) -> list[dict[str, Any]]:
        """Return the rows of history that no file holds yet, unfinished runs among them.

        Raises:
            StoreError: the database cannot be read.
        """
        with self._reading() as connection:
            return unsealed(connection, dataset, run_id)

    def _reading(self) -> Any:
        return self._db.transaction("read", "the state database cannot be read.")


def storable(name: str) -> bool:
    """Whether a text can be looked for: PostgreSQL has no NUL, nobody half a surrogate pair."""
    return "\0" not in name and name.isprintable()


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
    rows = [row for doc in docs for row in json.loads(doc)]
    if dataset == "runs":
        specs: dict[str, JobSpec] = {}
        for doc, spec in connection.execute(live.order_by(runs.c.n)):
            if spec not in specs:
                specs[spec] = spec_from_json(json.loads(spec))
            rows.append(run_row(run_from_json(json.loads(doc)), specs[spec]))
    return rows


class _Statements:
    """The statements of a commit, compiled once for one dialect.

    They go to the driver as they are: Core would prepare the values of each row anew,
    and take as long about it as the database.
    """

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._code = self._insert(code, new_only=True)
        self._versions = self._insert(versions, new_only=True)
        self._jobs = self._insert(jobs, key="name")
        self._runs = self._insert(runs, key="run_id")
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

    def _insert(self, table: Table, *, key: str = "", new_only: bool = False) -> str:
        """An insert; with `key`, it changes the row that has it, and a run keeps its number."""
        given = [column.name for column in table.columns if column.name not in _NUMBERS]
        insert = sqlite.insert if self._dialect.name == "sqlite" else postgresql.insert
        statement = insert(table).values({name: bindparam(name) for name in given})
        if new_only:
            statement = statement.on_conflict_do_nothing()
        elif key:
            changed = {name: statement.excluded[name] for name in given if name != key}
            statement = statement.on_conflict_do_update(index_elements=[key], set_=changed)
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


def _make_tables(connection: Connection, db: Database) -> None:
    """Make or migrate the tables."""
    if not db.is_sqlite:  # two schedulers may come first at once
        connection.execute(text("SELECT pg_advisory_xact_lock(hashtext('raysched'))"))
    if inspect(connection).has_table("meta"):
        check_version(connection, db.name)
        found = connection.execute(select(meta.c.value).where(meta.c.key == "version")).scalar_one()
        for statement in (s for step in _MIGRATIONS[int(found) - 1 :] for s in step):
            connection.execute(text(statement))
        connection.execute(update(meta).where(meta.c.key == "version").values(value=str(_VERSION)))
        return
    _tables.create_all(connection, checkfirst=False)
    first = {"version": str(_VERSION), "id": uuid.uuid4().hex, "epoch": "0"}
    connection.execute(meta.insert(), [{"key": k, "value": v} for k, v in first.items()])


def check_version(connection: Connection, name: str) -> None:
    """Check that a database is one that this raysched knows.

    Raises:
        StoreError: a newer raysched made it, or something else did.
    """
    found = connection.execute(select(meta.c.value).where(meta.c.key == "version")).scalar()
    if found is None or not found.isdecimal():
        raise StoreError(
            f"{name} is not a raysched state database.",
            why="its table meta names no version.",
            fix="choose another home, or another database.",
        )
    if int(found) > _VERSION:
        raise StoreError(
            f"the state database {name} has version {found}; this raysched knows {_VERSION}.",
            why="a newer raysched has opened it.",
            fix="upgrade raysched here.",
        )


def _snapshot(connection: Connection, epoch: int) -> Snapshot:
    try:
        found = _versions(connection)
        return Snapshot(
            epoch=epoch,
            jobs={row.name: _job(row, found) for row in connection.execute(select(jobs))},
            runs=_runs(connection),
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
    return {
        (job, version): Version(
            spec=spec_from_json(json.loads(spec)), code_hash=code_hash, version=version
        )
        for job, version, code_hash, spec in connection.execute(query)
    }


def _job(row: Row[Any], found: Mapping[tuple[str, str], Version]) -> JobRecord:
    return JobRecord(
        current=found[row.name, row.version],
        deployed_at=from_us(row.deployed_us),
        decided=from_us(row.decided_us),
        last_end=from_us(row.last_end_us),
        pause=None if row.pause is None else json.loads(row.pause),
    )


def _runs(connection: Connection) -> Sequence[Run]:
    docs = connection.execute(select(runs.c.doc).order_by(runs.c.n)).scalars()
    return tuple(run_from_json(json.loads(doc)) for doc in docs)


@contextmanager
def _no_collection() -> Iterator[None]:
    """Keep the cyclic collector off: a million new objects, none of them garbage, cost it seconds."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()
