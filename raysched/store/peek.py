"""A glance at a home for a shell that completes a word: names and ids, nothing else.

Law: the standard library alone, pyarrow where a file must be opened and psycopg where the
state is PostgreSQL's; no engine, no schema check, no error. It hints: what is damaged,
locked or slow to answer has no hint.
"""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

from raysched.store import whereabouts

_BUSY_S = 0.2
_CONNECT_S = 2  # less is more than libpq takes
_BUDGET_S = 0.3  # for files of the history


def job_names(home: Path) -> list[str]:
    """Return the names of the deployed jobs, in order."""
    return [name for (name,) in _ask(home, "SELECT name FROM jobs ORDER BY name")]


def tags(home: Path) -> list[str]:
    """Return the tags of the deployed jobs, in order."""
    rows = _ask(
        home,
        "SELECT v.spec FROM jobs j JOIN versions v ON v.job = j.name AND v.version = j.version",
    )
    return sorted({tag for (spec,) in rows for tag in json.loads(spec)["tags"]})


def unfinished(home: Path, prefix: str, most: int) -> list[str]:
    """Return ids of unfinished runs, the newest first."""
    return _ids(home, "SELECT run_id FROM runs WHERE {} ORDER BY n DESC", prefix, most)


def finished(home: Path, prefix: str, most: int) -> list[str]:
    """Return ids of finished runs, the newest first as far as is known at a glance."""
    asked = "SELECT run_id FROM outbox WHERE dataset = 'runs' AND {} ORDER BY seq DESC"
    found = dict.fromkeys(_ids(home, asked, prefix, most))
    with suppress(ImportError):
        import pyarrow.parquet  # noqa: F401 - its loading is none of the files' time
    until = time.monotonic() + _BUDGET_S
    for file in _newest_files(home / "runs"):
        if len(found) >= most or time.monotonic() > until:
            break
        found |= dict.fromkeys(_of_file(file, prefix))
    return list(found)[:most]


def _ids(home: Path, asked: str, prefix: str, most: int) -> list[str]:
    within = asked.format("run_id >= ? AND run_id < ?")
    return [run for (run,) in _ask(home, f"{within} LIMIT {most}", (prefix, f"{prefix}\U0010ffff"))]


def _ask(home: Path, sql: str, values: Sequence[str] = ()) -> list[tuple[Any, ...]]:
    try:
        url = whereabouts.noted(home)
    except (OSError, UnicodeError):
        return []
    if url is None:
        return _ask_file(home / "state.db", sql, values)
    return _ask_server(url, sql, values) if url.startswith("postgres") else []


def _ask_server(url: str, sql: str, values: Sequence[str]) -> list[tuple[Any, ...]]:
    connection = _connection(url)
    if connection is not None:
        with suppress(Exception):  # whatever it is: no hint
            return list(connection.execute(sql.replace("?", "%s"), values))
    return []


@lru_cache(maxsize=1)
def _connection(url: str) -> Any:
    """Return this process's connection to PostgreSQL; None if it cannot be had at once."""
    with suppress(Exception):
        import psycopg

        plain = f"postgresql://{url.partition('://')[2]}"  # without SQLAlchemy's driver
        return psycopg.connect(plain, autocommit=True, connect_timeout=_CONNECT_S)
    return None


def _ask_file(path: Path, sql: str, values: Sequence[str]) -> list[tuple[Any, ...]]:
    # Without a log nobody has it open, and an ordinary opening would leave files behind.
    immutable = "" if os.path.exists(f"{path}-wal") else "&immutable=1"
    uri = f"file:{quote(str(path))}?mode=ro{immutable}"
    try:
        with closing(sqlite3.connect(uri, uri=True, timeout=_BUSY_S)) as connection:
            return list(connection.execute(sql, values))
    except (sqlite3.Error, UnicodeError):
        return []


def _newest_files(folder: Path) -> Iterator[Path]:
    for day in sorted(folder.glob("date=*"), reverse=True):
        with suppress(OSError):
            yield from sorted(day.glob("[!._]*.parquet"), key=os.path.getmtime, reverse=True)


def _of_file(file: Path, prefix: str) -> list[str]:
    try:
        from pyarrow import parquet

        ids = parquet.ParquetFile(file).read(columns=["run_id"]).column("run_id").to_pylist()
    except Exception:  # torn, rolled up since, or not ours: no hint
        return []
    return [run for run in reversed(ids) if run.startswith(prefix)]
