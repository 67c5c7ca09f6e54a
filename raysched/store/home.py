"""A home: the one directory or URI where everything durable lives.

Law: a file is finished before it has a name that readers see. Whatever is not
finished lives under `.staging`, never inside a dataset's folder: pandas skips
hidden names there, but Polars and DuckDB do not. All system calls of the store
on files are in this module.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import json
import os
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from pyarrow import fs as pafs

from raysched.errors import StoreError

STAGING = ".staging"
MARKER = "raysched-home.json"
FORMAT = 1

# Logs, parameters and results may hold secrets, so a home that raysched makes is
# its owner's alone. What lies below is readable by the group, so that one
# `chmod g+rx` on the home, and nothing else, shares the history with a team.
_HOME_MODE, _FOLDER_MODE, _FILE_MODE = 0o700, 0o750, 0o640

# What a kernel or file system answers that has no such operation, or not here.
_UNSUPPORTED = frozenset(
    {errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EXDEV, errno.EPERM}
)

Fill = Callable[[Any], None]  # writes a file's bytes to the binary stream that it is given


class Home(ABC):
    """Files by their path relative to the home, always with forward slashes."""

    can_swap: bool
    fs: pafs.FileSystem
    id: str

    @abstractmethod
    def path(self, rel: str) -> str:
        """The path that `self.fs` understands."""

    @abstractmethod
    def sizes(self, folder: str) -> dict[str, int | None]:
        """Each name in a folder with its size in bytes, or None for a folder; sorted.

        A folder that is not there is empty.
        """

    @abstractmethod
    def stage(self, temp: str, fill: Fill) -> None:
        """Write a durable file below `.staging`; nothing is left when `fill` raises."""

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
    def _claim(self, temp: str, rel: str) -> None:
        """Like `place`, but the first one to come keeps the name."""

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
            self._claim(temp, MARKER)
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


class LocalHome(Home):
    """A home on a local or mounted POSIX file system."""

    def __init__(self, root: str | Path) -> None:
        self.root = os.path.abspath(os.path.expanduser(root))
        self.fs = pafs.LocalFileSystem()
        self.can_swap = True  # until the file system says otherwise
        self._durable_folders: set[str] = set()

    def path(self, rel: str) -> str:
        return os.path.join(self.root, rel)

    def sizes(self, folder: str) -> dict[str, int | None]:
        found: dict[str, int | None] = {}
        with suppress(FileNotFoundError), os.scandir(self.path(folder)) as entries:
            for entry in entries:
                # A file may be renamed away between the listing and its size.
                with suppress(FileNotFoundError):
                    found[entry.name] = None if entry.is_dir() else entry.stat().st_size
        return dict(sorted(found.items()))

    def stage(self, temp: str, fill: Fill) -> None:
        path = self.path(temp)
        self.make_folder(os.path.dirname(path))
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        fd = os.open(path, flags, _FILE_MODE)
        try:
            with os.fdopen(fd, "wb") as file:
                fill(file)
                file.flush()
                os.fsync(fd)
        except BaseException:
            self.discard(temp)
            raise

    def place(self, temp: str, rel: str) -> None:
        final = self.path(rel)
        self.make_folder(os.path.dirname(final))
        os.replace(self.path(temp), final)
        sync_folder(os.path.dirname(final))

    def _claim(self, temp: str, rel: str) -> None:
        with suppress(FileExistsError):
            os.link(self.path(temp), self.path(rel))
        sync_folder(self.root)
        self.discard(temp)

    def discard(self, rel: str) -> None:
        with suppress(FileNotFoundError):
            os.unlink(self.path(rel))

    def read_bytes(self, rel: str) -> bytes:
        return Path(self.path(rel)).read_bytes()

    def make_folder(self, path: str) -> None:
        """Make a folder and its parents, durable in theirs.

        A folder that an earlier process made is made durable again: that process
        may have died before it could.
        """
        if path in self._durable_folders and os.path.isdir(path):
            return
        parent = os.path.dirname(path)
        inside = path.startswith(self.root + os.sep)
        if inside or not os.path.isdir(parent):
            self.make_folder(parent)
        made = True
        try:
            os.mkdir(path, _HOME_MODE if path == self.root else _FOLDER_MODE)
        except FileExistsError:
            if not os.path.isdir(path):
                raise NotADirectoryError(errno.ENOTDIR, "not a directory", path) from None
            made = False
        if made or inside:
            sync_folder(parent)
        elif path == self.root:
            with suppress(PermissionError):  # somebody else's folder may be closed to us
                sync_folder(parent)
        self._durable_folders.add(path)

    def link(self, rel: str, other: str) -> None:
        """Give a file a second name.

        Raises:
            NotImplementedError: this file system has no hard links.
        """
        with _supported():
            os.link(self.path(rel), self.path(other))

    def swap(self, one: str, other: str) -> None:
        """Exchange two folders in one atomic step, durably.

        Raises:
            NotImplementedError: this kernel or file system has no such step (NFS,
                some FUSE and overlay file systems, anything but Linux).
        """
        paths = self.path(one), self.path(other)
        with _supported():
            _exchange(*paths)
        for path in paths:
            sync_folder(os.path.dirname(path))

    def remove_folder(self, rel: str) -> bool:
        """Remove an empty folder; False when it is not empty."""
        try:
            os.rmdir(self.path(rel))
        except FileNotFoundError:
            return True
        except OSError as error:
            if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
                return False
            raise
        return True

    @contextmanager
    def lock(self, rel: str) -> Iterator[bool]:
        """Hold a lock that dies with this process; yields False when another holds it."""
        path = self.path(rel)
        self.make_folder(os.path.dirname(path))
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _FILE_MODE)
        try:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:  # held, or a file system without locks: nobody is safe there
                yield False
            else:
                yield True
        finally:
            os.close(fd)


class RemoteHome(Home):
    """A home in an object store, through pyarrow.fs.

    A move there is a copy and a removal; the copy appears whole. There is no
    atomic exchange of many objects for one, so files are never rolled up.
    """

    can_swap = False

    def __init__(self, filesystem: pafs.FileSystem, root: str) -> None:
        self.fs = filesystem
        self._root = root.rstrip("/")

    def path(self, rel: str) -> str:
        return f"{self._root}/{rel}" if rel else self._root

    def sizes(self, folder: str) -> dict[str, int | None]:
        selector = pafs.FileSelector(self.path(folder), allow_not_found=True)
        found = {
            info.base_name: info.size if info.type == pafs.FileType.File else None
            for info in self.fs.get_file_info(selector)
        }
        return dict(sorted(found.items()))

    def stage(self, temp: str, fill: Fill) -> None:
        # Stores without real folders ignore this; the others need it.
        self.fs.create_dir(self.path(temp).rpartition("/")[0], recursive=True)
        try:
            # Closing uploads even a file cut short by an error: hence the staging
            # name here too, and the removal below.
            with self.fs.open_output_stream(self.path(temp)) as file:
                fill(file)
        except BaseException:
            self.discard(temp)
            raise

    def place(self, temp: str, rel: str) -> None:
        self.fs.create_dir(self.path(rel).rpartition("/")[0], recursive=True)
        self.fs.move(self.path(temp), self.path(rel))

    def _claim(self, temp: str, rel: str) -> None:
        if self.exists(rel):
            self.discard(temp)
        else:
            self.place(temp, rel)  # no store-wide way to be the only one; both markers are valid

    def discard(self, rel: str) -> None:
        with suppress(FileNotFoundError):
            self.fs.delete_file(self.path(rel))

    def read_bytes(self, rel: str) -> bytes:
        with self.fs.open_input_stream(self.path(rel)) as file:
            return bytes(file.read())


def open_home(where: str | Path | Home, *, create: bool = False) -> Home:
    """The home at a local path or a URI that pyarrow.fs opens.

    Raises:
        StoreError: it cannot be reached, it does not exist and `create` is not
            given, or a newer raysched made it.
    """
    if isinstance(where, Home):
        return where
    with storing(f"the home {where} cannot be opened."):
        home = _locate(where)
        if isinstance(home, LocalHome):
            if create:
                home.make_folder(home.root)
            elif not os.path.isdir(home.root):
                raise StoreError(
                    f"there is no raysched home at {home.root}.",
                    fix="start a scheduler with this home, or give the path of another.",
                )
        home.check_format(create=create)
        return home


def _locate(where: str | Path) -> Home:
    if isinstance(where, Path) or "://" not in where:
        return LocalHome(where)
    try:
        filesystem, root = pafs.FileSystem.from_uri(where)
    except ValueError as error:  # an unknown scheme, or a URI that is not one
        raise StoreError(
            f"the home {where} cannot be opened.",
            why=str(error),
            fix="give a local path, or a URI such as s3://bucket/folder.",
        ) from error
    if isinstance(filesystem, pafs.LocalFileSystem):
        return LocalHome(root)
    return RemoteHome(filesystem, root)


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


def sync_folder(path: str) -> None:
    """Make the names in a folder durable."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


@contextmanager
def _supported() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in _UNSUPPORTED:
            raise NotImplementedError(str(error)) from error
        raise


def _exchange(one: str, other: str) -> None:
    """renameat2(…, RENAME_EXCHANGE), which Python's os does not offer."""
    try:
        renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError):
        raise OSError(errno.ENOSYS, "no renameat2 in this C library") from None
    at_fdcwd, exchange = -100, 2
    if renameat2(at_fdcwd, os.fsencode(one), at_fdcwd, os.fsencode(other), exchange) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), one, None, other)
