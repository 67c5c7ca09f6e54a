"""The attempts of one Ray task, and what becomes of them if one takes long or kills the worker.

The worker's thread works them off one by one. Should one last, the herald's thread
tells of those before it and gives back those after it, so that none waits for it.
Should one kill the worker, the notes say which had ended, which had begun, and with
that which had not.
"""

from __future__ import annotations

import os
import pickle
import struct
import threading
from collections import deque
from collections.abc import Sequence
from pathlib import Path

from raysched.cluster.mail import Kind, OrderLetter, ReportLetter
from raysched.runners.words import mark_of

_SIZE = struct.Struct("<I")


class Notes:
    """A file beside the guard's, of a task that several attempts share; outlives the worker."""

    def __init__(self, directory: Path, keys: Sequence[str]) -> None:
        self._path = _path(directory, keys)
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
        self._file = os.open(self._path, flags, 0o600)

    def write(self, ended: Sequence[ReportLetter], begun: str) -> None:
        """Note the attempts that have ended since the last note, and the one that begins now."""
        record = pickle.dumps((list(ended), begun), protocol=5)
        os.write(self._file, _SIZE.pack(len(record)) + record)

    def remove(self) -> None:
        """Remove the file; what it says has been told."""
        os.close(self._file)
        self._path.unlink(missing_ok=True)


def read_notes(directory: Path, keys: Sequence[str]) -> tuple[list[ReportLetter], str] | None:
    """Return the ends that were noted of a task's attempts, and the last one begun.

    None if none had begun on this node. A last note that is not whole was never acted on.
    """
    try:
        data = _path(directory, keys).read_bytes()
    except FileNotFoundError:
        return None
    ends: list[ReportLetter] = []
    begun, at = "", 0
    while len(data) >= at + _SIZE.size:
        (size,) = _SIZE.unpack_from(data, at)
        record = data[at + _SIZE.size : at + _SIZE.size + size]
        if len(record) < size:
            break
        ended, begun = pickle.loads(record)
        ends += ended
        at += _SIZE.size + size
    return (ends, begun) if begun else None


def _path(directory: Path, keys: Sequence[str]) -> Path:
    return directory / f"{mark_of(keys[0]).decode()}.notes"


class Batch:
    """The attempts of one task, and the reports of them that nobody has acknowledged."""

    def __init__(self, serial: int, letters: Sequence[OrderLetter], notes: Notes | None) -> None:
        self.serial = serial
        self._todo = deque(letters)
        self._notes = notes
        self._untold: list[ReportLetter] = []
        self._noted = 0  # how many of the untold are in the notes
        self._lock = threading.Lock()

    def next(self) -> OrderLetter | None:
        """Return the order of the attempt to begin now."""
        with self._lock:
            if not self._todo:
                return None
            letter = self._todo.popleft()
            if self._notes:
                self._notes.write(self._untold[self._noted :], letter.key)
                self._noted = len(self._untold)
            return letter

    def over(self, letter: ReportLetter) -> None:
        """Take in the end of an attempt."""
        with self._lock:
            self._untold.append(letter)

    def give_back(self) -> list[ReportLetter]:
        """Begin no more of them, and return all that is to be told now."""
        with self._lock:
            self._untold += [ReportLetter(each.key, Kind.BACK, b"") for each in self._todo]
            self._todo.clear()
            return list(self._untold)

    def told(self, count: int) -> None:
        """Forget the first reports: the launcher has acknowledged them."""
        with self._lock:
            del self._untold[:count]

    def untold(self) -> list[ReportLetter]:
        """Return the reports that are left to tell."""
        with self._lock:
            return list(self._untold)
