"""What a home can do: the interface, and the marker that says what a folder is.

Law: a file is finished before it has a name that readers see. Whatever is not
finished lives under `.staging`, never inside a dataset's folder: pandas skips
hidden names there, but Polars and DuckDB do not.
"""

from __future__ import annotations

import errno
import json
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from pyarrow import fs as pafs

from raysched.errors import StoreError

STAGING = ".staging"
MARKER = "raysched-home.json"
FORMAT = 1

Fill = Callable[[Any], object]  # writes a file's bytes to the binary stream that it is given


class Staging(Protocol):
    """Where a file can be made durable under a hidden name: a home, or the way to one."""

    def stage(self, temp: str, fill: Fill, *, keep: bool = False) -> None:
        """Write a file below `.staging`; nothing is left when `fill` raises.

        Its contents survive a power failure; its name does if it is to be kept.
        """


class Home(ABC):
    """Files by their path relative to the home, always with forward slashes."""

    can_swap: bool
    fs: pafs.FileSystem
    id: str

    @abstractmethod
    def path(self, rel: str) -> str:
        """The path that `self.fs` understands."""

    @abstractmethod
    def names(self, folder: str) -> dict[str, bool]:
        """The names in a folder, sorted, each with whether it is a folder itself.

        A folder that is not there is empty. A listing opens and measures nothing: what
        it names may be gone a moment later, and that must be an error then, not a gap.
        """

    @abstractmethod
    def stage(self, temp: str, fill: Fill, *, keep: bool = False) -> None:
        """Write a file below `.staging`; nothing is left when `fill` raises.

        Its contents survive a power failure; its name does if it is to be kept.
        """

    @abstractmethod
    def place(self, temp: str, rel: str) -> None:
        """Give a staged file its final name, durably; it replaces what has that name.

        Raises:
            FileNotFoundError: `temp` is not there.
        """

    @abstractmethod
    def discard(self, rel: str) -> None:
        """Remove a file if it is there."""

    @abstractmethod
    def read_bytes(self, rel: str) -> bytes:
        """A whole small file. Raises: FileNotFoundError."""

    @abstractmethod
    def claim(self, temp: str, rel: str) -> None:
        """Like `place`, but the first one to come keeps the name, for ever."""

    @abstractmethod
    def sync(self, folder: str) -> None:
        """Make the names in a folder durable."""

    @property
    def writable(self) -> bool:
        """Whether this process may stage files in it."""
        return True

    def new_temp(self) -> str:
        """A staging name that no other writer uses."""
        return f"{STAGING}/{uuid.uuid4().hex}.tmp"

    def exists(self, rel: str) -> bool:
        """Whether a file has this name."""
        return bool(self.fs.get_file_info(self.path(rel)).type == pafs.FileType.File)

    def check_format(self, *, create: bool) -> None:
        """Read the home's marker, writing it first where `create` allows.

        Raises:
            StoreError: a newer raysched made this home, or the marker is not one.
        """
        try:
            text = self.read_bytes(MARKER)
        except FileNotFoundError:
            if not create:
                self.id = ""  # a copied history without its marker is still readable
                return
            marker = json.dumps({"id": uuid.uuid4().hex, "format": FORMAT}) + "\n"
            temp = self.new_temp()
            self.stage(temp, lambda file: file.write(marker.encode()))
            self.claim(temp, MARKER)
            text = self.read_bytes(MARKER)  # another process may have been first
        try:
            found = json.loads(text)
            version, self.id = int(found["format"]), str(found["id"])
        except (ValueError, KeyError, TypeError) as error:
            raise StoreError(
                f"{self.path(MARKER)} is not a raysched home marker.",
                why=repr(error),
                fix="restore the file, or choose an empty directory as home.",
            ) from error
        if version > FORMAT:
            raise StoreError(
                f"the home {self.path('')} has format {version}; this raysched knows {FORMAT}.",
                why="a newer raysched has written it.",
                fix="upgrade raysched here.",
            )


@contextmanager
def storing(what: str) -> Iterator[None]:
    """Turn what the file system refuses into a StoreError.

    Raises:
        StoreError: an OSError was raised inside.
    """
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        fix = "free some space." if full else "check that the home is there, yours and writable."
        raise StoreError(what, why=str(error), fix=fix) from error
