"""Gives the workers' user what a container's own user left in the folder for results.

A worker that is root needs none of it. Any other may neither enter nor empty a folder that
root made in its container; the engine may, and is asked to open what is shut.
"""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from raysched.runners.container.engine import Engine
from raysched.runners.container.faults import Absent, Away, Quiet, Refused
from raysched.runners.container.room import Room
from raysched.runners.container.task import OUT

_WHOLE = os.R_OK | os.W_OK | os.X_OK


def reclaim(engine: Engine, container: str, room: Room) -> None:
    """Make all folders of a container that has ended this user's to empty, and its files to read.

    What the engine does not open stays shut. Only for the room's owner.

    Raises:
        OSError: the disk does not take a file's copy, or the folder stays shut.
    """
    if os.geteuid() == 0:
        return
    open_folders(engine, container, room.out)
    with suppress(Absent, Away, Quiet, Refused):
        for file in _unreadable(room.out):
            _copy(engine, container, file, room.copy)


def open_folders(engine: Engine, container: str, out: Path) -> None:
    """Make all folders of a container that has ended this user's to empty; needs no disk.

    What the engine does not open stays shut, and so does what lies too deep for a path.
    """
    if os.geteuid() == 0:
        return
    with suppress(Absent, Away, Quiet, Refused, OSError, RecursionError):
        if not _may(out, _WHOLE):
            above, name = os.path.split(OUT)
            engine.put(container, above, _folders([name]))
        before: Sequence[str] = ()
        while (shut := list(_shut(out))) and shut != before:
            engine.put(container, OUT, _folders(shut))
            before = shut  # those that they held are seen only now


def _shut(out: Path) -> Iterator[str]:
    for above, names, _ in os.walk(out):
        for name in names:
            folder = Path(above, name)
            if not folder.is_symlink() and not _may(folder, _WHOLE):
                yield str(folder.relative_to(out))


def _may(path: Path, mode: int) -> bool:
    return os.access(path, mode, effective_ids=True)


def _folders(names: Sequence[str]) -> bytes:
    """Return an archive that opens folders to everybody: others do not pass the room's door."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        for name in names:
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o777
            entry.uid, entry.gid = os.geteuid(), os.getegid()
            tar.addfile(entry)
    return file.getvalue()


def _unreadable(out: Path) -> list[Path]:
    """Return the results that only another user may read."""
    found = [Path(entry) for entry in os.scandir(out) if entry.is_file(follow_symlinks=False)]
    return [file for file in found if file.suffix == ".parquet" and not _may(file, os.R_OK)]


def _copy(engine: Engine, container: str, file: Path, new: Path) -> None:
    """Put a copy that this user may read in the place of a file.

    It is written outside the container's folder, where a link may lie under any name.
    """
    try:
        with open(new, "wb") as content:
            engine.copy(container, f"{OUT}/{file.name}", content)
        os.replace(new, file)
    finally:
        new.unlink(missing_ok=True)
