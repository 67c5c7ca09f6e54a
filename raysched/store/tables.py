"""The tables of the state database, and how an older one becomes a new one.

Law: a table or a column is only ever added. Whatever is text of a user's is kept as
ASCII JSON, which every database stores unchanged, with NUL and half surrogate pairs
in it too.
"""

from __future__ import annotations

import uuid

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    inspect,
    select,
    text,
    update,
)

from raysched.errors import StoreError

#: The nth statements take a database of version n to n + 1; new databases are made whole.
_MIGRATIONS: tuple[tuple[str, ...], ...] = ()
_VERSION = len(_MIGRATIONS) + 1

#: The columns that the database itself fills.
NUMBERED = ("n", "seq")

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
    # What a scheduler could not start from must not get in.
    ForeignKeyConstraint(["job", "version"], ["versions.job", "versions.version"]),
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


def make_tables(connection: Connection, name: str) -> None:
    """Make the tables, or migrate them.

    Raises:
        StoreError: a newer raysched made them, or something else did.
    """
    if connection.dialect.name == "postgresql":  # two schedulers may come first at once
        connection.execute(text("SELECT pg_advisory_xact_lock(hashtext('raysched'))"))
    if inspect(connection).has_table("meta"):
        check_version(connection, name)
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
