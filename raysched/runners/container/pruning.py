"""Removes images that were built on this node and that nothing has used for a day.

Law: each job's last used image stays, and so does whatever a container needs, which the
engine sees to. Nothing is removed while anything is being built, since a build may be
reading the layers of an older image. What is removed is built again when it is asked for.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from raysched.runners.container.engine import Engine
from raysched.runners.container.faults import Absent, Refused

UNUSED_S = 24 * 3600.0
EVERY_S = 3600.0
_BUILDING = "building"
_PRUNED = "pruned"


class Use(NamedTuple):
    """The last use of an image by one job."""

    job: str
    tag: str
    at: float


def superseded(uses: Iterable[Use], now: float) -> set[str]:
    """Return the images that are no job's last and that none has used for a day."""
    last: dict[str, Use] = {}
    kept, known = set(), set()
    for use in uses:
        known.add(use.tag)
        if now - use.at < UNUSED_S:
            kept.add(use.tag)
        if use.job not in last or use.at > last[use.job].at:
            last[use.job] = use
    return known - kept - {use.tag for use in last.values()}


def note_use(folder: Path, home: str, job: str, tag: str) -> None:
    """Remember that a job of a home uses an image now."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    owner = json.dumps([home, job])
    name = hashlib.sha256(f"{owner}{tag}".encode()).hexdigest()[:32]
    new = folder / f".{name}.{os.getpid()}"
    new.write_text(json.dumps({"job": owner, "tag": tag}))
    os.replace(new, folder / f"{name}.use")


@contextmanager
def building(folder: Path) -> Iterator[None]:
    """Keep images from being removed meanwhile."""
    lock = os.open(folder / _BUILDING, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_SH)
        yield
    finally:
        os.close(lock)


def due(folder: Path, now: float) -> bool:
    """Whether nobody has looked for an hour, where anything was ever built."""
    if not folder.is_dir():
        return False
    try:
        return now - (folder / _PRUNED).stat().st_mtime >= EVERY_S
    except FileNotFoundError:
        return True


def prune(engine: Engine, folder: Path, now: float) -> list[str]:
    """Remove what is superseded, unless something is being built; return what went."""
    (folder / _PRUNED).touch()
    lock = os.open(folder / _BUILDING, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return [tag for tag in superseded(_uses(folder), now) if _removed(engine, folder, tag)]
    except BlockingIOError:
        return []
    finally:
        os.close(lock)


def _uses(folder: Path) -> Iterator[Use]:
    for file in folder.glob("*.use"):
        with suppress(OSError, ValueError, KeyError):
            said = json.loads(file.read_text())
            yield Use(said["job"], said["tag"], file.stat().st_mtime)


def _removed(engine: Engine, folder: Path, tag: str) -> bool:
    try:
        engine.remove_image(tag)
    except Absent:
        pass
    except Refused:  # a container of another home needs it
        return False
    for file in folder.glob("*.use"):
        with suppress(OSError, ValueError, KeyError):
            if json.loads(file.read_text())["tag"] == tag:
                file.unlink()
    return True
