"""Where a home's state is, if it is no file in the home: the URL of its database.

The scheduler notes it in the home, so that who reads the history finds the rows that no
file holds yet, whether a scheduler runs or not. The URL may bear a password: the note is
its owner's alone, as the state itself is where it is a file.

Law: the standard library and the errors alone, for a shell that completes a word waits for it.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from raysched.errors import Conflict

NOTE = "state.url"
"""The name of the note below a home."""


def note(home: str | Path, state_url: str) -> None:
    """Note the URL in the place of a former one.

    Raises:
        OSError: the home cannot be written.
    """
    path = Path(home) / NOTE
    temp = path.with_name(f".{NOTE}.{os.getpid()}.tmp")
    temp.unlink(missing_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    try:
        with os.fdopen(os.open(temp, flags, 0o600), "w") as file:
            file.write(f"{state_url}\n")
            file.flush()
            os.fsync(file.fileno())
        os.replace(temp, path)
    except BaseException:
        with suppress(OSError):
            temp.unlink()
        raise


def noted(home: str | Path) -> str | None:
    """Return the URL that the scheduler of a home has noted; None if its state is in the home.

    Raises:
        OSError: there is a note that this user may not read.
    """
    try:
        return (Path(home) / NOTE).read_text(encoding="utf-8").strip() or None
    except FileNotFoundError:
        return None


def check_named(home: str | Path, state_url: str | None) -> None:
    """Refuse to begin a home's state anew where it is in a database, and none is named.

    The home alone does not say whether it is the one that this database goes with, or a copy.

    Raises:
        Conflict: a URL is noted in the home, and none is named.
        OSError: there is a note that this user may not read.
    """
    url = noted(home) if state_url is None else None
    if url is not None:
        raise Conflict(
            f"the state of {home} is at {without_password(url)}, and none is named.",
            why="an empty state in its place would know no job, and decide slots again.",
            fix=f"raysched up --state-url URL, or rs.connect(state_url=...); for an empty state "
            f"remove {Path(home) / NOTE}.",
        )


def without_password(url: str) -> str:
    """Return a URL as it may be shown: without who logs in and by what, and without its query."""
    scheme, is_url, rest = url.partition("://")
    if not is_url:
        return url
    place, asks, query = rest.partition("?")
    if "@" in query:  # a password may hold a "?", and a query an "@"
        return f"{scheme}://***"
    _, at, server = place.rpartition("@")
    return f"{scheme}://{'***@' if at else ''}{server}{'?***' if asks else ''}"
