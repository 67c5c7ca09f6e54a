"""Where a home's state is, if it is no file in the home: the URL of its database.

The scheduler notes it in the home, so that who reads the history finds the rows that no
file holds yet, whether a scheduler runs or not. The URL may bear a password: the note is
its owner's alone, as the state itself is where it is a file.

Law: the standard library alone, for a shell that completes a word waits for it.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

NOTE = "state.url"
"""The name of the note below a home."""


def note(home: str | Path, state_url: str | None) -> None:
    """Note the URL in the place of a former one; None for a state that is in the home.

    Raises:
        OSError: the home cannot be written.
    """
    path = Path(home) / NOTE
    if state_url is None:
        path.unlink(missing_ok=True)
        return
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


def without_password(url: str) -> str:
    """Return a URL as it may be shown: without who logs in, and by what."""
    head, at, tail = url.rpartition("@")
    return f"{head.partition('://')[0]}://***@{tail}" if at else url
