"""A question to the scheduler's database, by a process that it does not belong to.

Law: it is never written, locked against its owner, or left with files beside it that
were not there. Without one, or where it may not be read or is not there to answer,
there is no answer, and a warning says what is left out.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from typing import NamedTuple, TypeVar

from sqlalchemy import Connection, inspect

from raysched.errors import StoreError
from raysched.store import whereabouts
from raysched.store.database import Database, is_unreachable, reading_file, speaking
from raysched.store.home import Home, LocalHome, storing
from raysched.store.tables import check_version

T = TypeVar("T")

STATE = "state.db"
"""The name of the embedded state database below a home."""

_TRIES = 10  # each more means that its owner came, went or wrote meanwhile


def consult(home: Home, state_url: str | None, ask: Callable[[Connection], T]) -> T | None:
    """Return what a question to the scheduler's database gives; None if there is none.

    `state_url` names the database if it is not the home's own.

    Raises:
        StoreError: it is damaged, a newer raysched's, or cannot be reached.
    """
    if state_url is not None:
        return _of_url(state_url, ask)
    if not isinstance(home, LocalHome):
        return None
    try:
        noted = whereabouts.noted(home.root)
    except OSError:
        _leave_out(f"{home.path(whereabouts.NOTE)} is not readable for you")
        return None
    if noted is None:
        return _of_file(home.path(STATE), ask)
    try:
        return _of_url(noted, ask)
    except StoreError as error:
        if not is_unreachable(error):
            raise
        _leave_out(f"the state database does not answer ({error.why})")
        return None


def _leave_out(why: str) -> None:
    warnings.warn(f"{why}: runs of the last minutes are left out.", stacklevel=5)


def _of_url(url: str, ask: Callable[[Connection], T]) -> T | None:
    db = Database(url)
    if db.is_sqlite:
        return _of_file(db.path, ask)
    try:
        with db.transaction("read", f"the state database {db.name} cannot be read.") as found:
            return _asked(found, db.name, ask)
    finally:
        db.close()


def _of_file(path: str, ask: Callable[[Connection], T]) -> T | None:
    for _ in range(_TRIES):
        before = _look(path)
        if before is None or before.size == 0:
            return None
        if not os.access(path, os.R_OK):
            _leave_out(f"{path} is not readable for you")
            return None
        try:
            answer = _ask_file(path, before, ask)
        except StoreError:
            if before.in_use or _look(path) == before:
                raise
        else:
            if before.in_use or _look(path) == before:
                return answer
    raise StoreError(f"the state database {path} keeps changing while it is read.")


def _ask_file(path: str, found: _Look, ask: Callable[[Connection], T]) -> T | None:
    """Ask a SQLite file.

    While it has no write-ahead log nobody has it open, and to open it in the usual way
    would leave a log and its index behind. So it is read as a constant, and the caller
    asks again if it turns out that somebody came and wrote.
    """
    what = f"the state database {path} cannot be read."
    with speaking(what, path), reading_file(path, immutable=not found.in_use) as connection:
        return _asked(connection, path, ask)


def _asked(connection: Connection, name: str, ask: Callable[[Connection], T]) -> T | None:
    if not inspect(connection).has_table("meta"):
        return None  # its scheduler is about to make the tables
    check_version(connection, name)
    return ask(connection)


class _Look(NamedTuple):
    """What tells whether a SQLite file is in use, and whether it was written in between."""

    inode: int
    size: int
    modified_ns: int
    in_use: bool


def _look(path: str) -> _Look | None:
    with storing(f"the state database {path} cannot be read."):
        try:
            found = os.stat(path)
        except FileNotFoundError:
            return None
    # A killed scheduler leaves its log. It counts as in use: what the log holds is committed.
    in_use = os.path.exists(f"{path}-wal")
    return _Look(found.st_ino, found.st_size, found.st_mtime_ns, in_use)
