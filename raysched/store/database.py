"""How a state database is opened: SQLite by path, PostgreSQL by URL.

Law: whatever differs between the two, and whatever a driver says when it fails,
stays in this module. It knows no table.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

from sqlalchemy import (
    URL,
    Connection,
    Dialect,
    Engine,
    NullPool,
    QueuePool,
    create_engine,
    event,
    make_url,
)
from sqlalchemy.exc import ArgumentError, DBAPIError, OperationalError, SQLAlchemyError

from raysched.errors import StoreError
from raysched.store.home.local import sync_folder
from raysched.store.whereabouts import without_password

Mode = Literal["write", "share", "read"]

# How long one process waits for another's transaction. Ours last milliseconds.
_BUSY_S = 10.0

# A write-ahead log that one long reader has let grow is cut back to this.
_WAL_BYTES = 64 * 1024 * 1024

_POSTGRES_OPTIONS = {
    "connect_timeout": 10,
    "application_name": "raysched",
    "tcp_user_timeout": 30_000,  # a server that vanished is noticed, not waited for
}

# A head that loses its network inside a transaction holds the epoch; its successor must
# not wait for TCP to give up. And what is acknowledged is durable, whatever the server's
# default; a stronger setting than "on" stays.
_POSTGRES_SESSION = (
    "SET idle_in_transaction_session_timeout = '10s'",
    "SELECT set_config('synchronous_commit', 'on', false)"
    " WHERE current_setting('synchronous_commit') IN ('off', 'local')",
)

_FIXES = (
    (("not a database", "malformed", "corrupt"), "restore it from a backup, or move it away to "
     "start with no jobs; the history in the files stays."),
    (("is full", "No space"), "free some space."),
    (("locked",), "find the program that keeps it locked, and end it."),
    (("readonly", "read-only", "unable to open", "permission denied"),
     "check that it is there, yours and writable."),
    (("connection", "timeout expired"), "check that the server runs, and that the URL is right."),
)  # fmt: skip


class Database:
    """One SQL database, opened lazily; threads may share it."""

    def __init__(self, where: str | Path) -> None:
        """Remember where the database is.

        Raises:
            StoreError: it is neither a path nor the URL of a SQLite or PostgreSQL database,
                or PostgreSQL's driver is not installed.
        """
        self.url = _locate(where)
        shown = without_password(self.url.render_as_string())
        self.name = self.path if self.is_sqlite else shown
        self._engine = self._sqlite() if self.is_sqlite else _postgres(self.url)
        share: dict[str, Any] = {"sqlite_begin": "BEGIN"}
        read = {**share, **({} if self.is_sqlite else _POSTGRES_READ)}
        self._engines = {
            "write": self._engine.execution_options(sqlite_begin="BEGIN IMMEDIATE"),
            "share": self._engine.execution_options(**share),
            "read": self._engine.execution_options(**read),
        }

    @property
    def is_sqlite(self) -> bool:
        """Whether it is SQLite rather than PostgreSQL."""
        return self.url.get_backend_name() == "sqlite"

    @property
    def dialect(self) -> Dialect:
        """What statements are compiled for."""
        return self._engine.dialect

    @property
    def path(self) -> str:
        """The file of a SQLite database."""
        assert self.url.database
        return self.url.database

    @contextmanager
    def transaction(self, mode: Mode, what: str) -> Iterator[Connection]:
        """A transaction that is committed at the end, and rolled back on any exception.

        `write` may change things and, on SQLite, excludes other writers from its first
        moment; `share` may hold row locks on PostgreSQL; `read` sees one snapshot.
        `what` opens the message of the error.

        Raises:
            StoreError: the database refused, or could not be reached.
        """
        with speaking(what, self.name), self._engines[mode].begin() as connection:
            yield connection

    @contextmanager
    def cursor(self, what: str) -> Iterator[Any]:
        """A `write` transaction as the driver's own cursor, for what happens at every turn.

        Core takes as long about a small transaction as the disk.

        Raises:
            StoreError: the database refused, or could not be reached.
        """
        with speaking(what, self.name, self.dialect.loaded_dbapi.Error):
            connection = self._engine.raw_connection()
            try:
                cursor = connection.cursor()
                if self.is_sqlite:
                    cursor.execute("BEGIN IMMEDIATE")
                yield cursor
                connection.commit()
            finally:
                connection.close()  # to the pool, which rolls back what is not committed

    def create(self) -> None:
        """Make SQLite's file, readable by its owner alone, if it is not there.

        Raises:
            StoreError: a directory is in its place, or the file system refuses.
        """
        if not self.is_sqlite:
            return
        what = f"the state database {self.path} cannot be opened."
        if os.path.isdir(self.path):
            raise StoreError(
                what, why="it is a directory.", fix="move it away, or choose another home."
            )
        try:
            # Never opened if it exists: closing a descriptor drops every POSIX lock that
            # this process holds on the file, those of an open SQLite connection too.
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            os.close(os.open(self.path, flags, 0o600))
            sync_folder(os.path.dirname(self.path))
        except FileExistsError:
            return
        except OSError as error:
            raise StoreError(
                what, why=str(error), fix="check that its directory is there, yours and writable."
            ) from error

    def close(self) -> None:
        """Close every connection that is not in use."""
        self._engine.dispose()

    def _sqlite(self) -> Engine:
        return _sqlite_engine(partial(_connect_to_write, self.path), QueuePool, max_overflow=-1)


@contextmanager
def speaking(what: str, name: str, driver: type[Exception] = sqlite3.Error) -> Iterator[None]:
    """Turn what a driver says of the database `name` into a StoreError. Raises: StoreError."""
    try:
        yield
    except (SQLAlchemyError, driver) as error:
        # SQLAlchemy's own text adds the statement, which helps no user.
        said = error.orig if isinstance(error, DBAPIError) and error.orig else error
        why = f"{name}: {' '.join(str(said).split())[:300]}"
        fix = next((fix for words, fix in _FIXES if any(each in why for each in words)), None)
        raise StoreError(what, why=why, fix=fix) from error


def is_unreachable(error: StoreError) -> bool:
    """Whether an error means that a server, or the driver for it, is not there for us now."""
    cause = error.__cause__
    is_server = isinstance(cause, OperationalError) and not isinstance(cause.orig, sqlite3.Error)
    return is_server or isinstance(cause, ImportError)


@contextmanager
def reading_file(path: str, *, immutable: bool) -> Iterator[Connection]:
    """A snapshot of a SQLite database that belongs to another process.

    `immutable` takes no lock and makes no file, and is right only while nobody writes.

    Raises:
        sqlalchemy.exc.SQLAlchemyError: the database refused.
    """
    uri = f"file:{quote(path)}?mode=ro{'&immutable=1' if immutable else ''}"
    engine = _sqlite_engine(lambda: sqlite3.connect(uri, uri=True, timeout=_BUSY_S), NullPool)
    with engine.execution_options(sqlite_begin="BEGIN").begin() as connection:
        yield connection


def _locate(where: str | Path) -> URL:
    if isinstance(where, Path) or "://" not in where:
        return URL.create("sqlite", database=os.path.abspath(os.path.expanduser(where)))
    try:
        url = make_url(where)
        backend = url.get_backend_name()
    except ArgumentError:
        backend = ""  # the message could show a password
    if backend == "sqlite" and url.database:
        return url.set(database=os.path.abspath(url.database))
    if backend in ("postgresql", "postgres"):
        return url.set(drivername="postgresql+psycopg")
    raise StoreError(
        "the state database's URL is refused.",
        why="it is a path, or begins with postgresql://.",
        fix="write for example postgresql://user@host/raysched.",
    )


def _sqlite_engine(connect: Callable[[], sqlite3.Connection], pool: Any, **more: Any) -> Engine:
    def connected() -> sqlite3.Connection:
        connection = connect()
        connection.isolation_level = None  # the driver's own BEGIN would come too late
        return connection

    engine = create_engine(
        "sqlite://",
        creator=connected,
        poolclass=pool,
        hide_parameters=True,
        paramstyle="named",  # values by name, as psycopg takes them
        **more,
    )

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql(connection.get_execution_options()["sqlite_begin"])

    return engine


def _connect_to_write(path: str) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=_BUSY_S, check_same_thread=False)
    try:
        if connection.execute("PRAGMA journal_mode = WAL").fetchone() != ("wal",):
            raise StoreError(
                f"the state database {path} cannot keep a write-ahead log there.",
                why="network and some FUSE file systems lack what SQLite needs.",
                fix="put the home on a local disk, or use PostgreSQL for the state.",
            )
        for pragma in (
            "synchronous = FULL",
            "foreign_keys = ON",
            f"journal_size_limit = {_WAL_BYTES}",
        ):
            connection.execute(f"PRAGMA {pragma}")
    except BaseException:
        connection.close()
        raise
    return connection


_POSTGRES_READ = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}


def _postgres(url: URL) -> Engine:
    options = {name: value for name, value in _POSTGRES_OPTIONS.items() if name not in url.query}
    try:
        engine = create_engine(
            url, connect_args=options, pool_pre_ping=True, max_overflow=-1, hide_parameters=True
        )
    except ImportError as error:
        raise StoreError(
            "PostgreSQL's driver is not installed.",
            why=str(error),
            fix="pip install 'raysched[postgres]'.",
        ) from error

    @event.listens_for(engine, "connect")
    def connected(connection: Any, record: object) -> None:
        with connection.cursor() as cursor:
            for statement in _POSTGRES_SESSION:
                cursor.execute(statement)
        connection.commit()

    return engine
