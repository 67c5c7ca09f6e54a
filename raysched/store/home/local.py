"""A home on a local or mounted POSIX file system.

Law: every system call of the store on files is here, in an order that a power
failure cannot break: the contents, then the name, then the folder.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pyarrow import fs as pafs

from raysched.store.home.base import STAGING, Fill, Home

# Logs, parameters and results may hold secrets, so a home that raysched makes is
# its owner's alone. What lies below is readable by the group, so that one
# `chmod g+rx` on the home, and nothing else, shares the history with a team.
_HOME_MODE, _FOLDER_MODE, _FILE_MODE = 0o700, 0o750, 0o640

_SYNC_BYTES = 64 * 1024 * 1024  # of a file that comes in pieces, between two waits for the disk

# What a kernel or file system answers that has no such operation, or not here.
_UNSUPPORTED = frozenset(
    {errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EXDEV, errno.EPERM}
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

    def names(self, folder: str) -> dict[str, bool]:
        try:
            with os.scandir(self.path(folder)) as entries:
                return dict(sorted((entry.name, entry.is_dir()) for entry in entries))
        except FileNotFoundError:
            return {}

    def stat(self, rel: str) -> os.stat_result:
        """What the file system knows of a file. Raises: FileNotFoundError."""
        return os.stat(self.path(rel))

    def stage(self, temp: str, fill: Fill, *, keep: bool = False) -> None:
        path = self.path(temp)
        self.make_folder(os.path.dirname(path))
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        fd = os.open(path, flags, _FILE_MODE)
        try:
            with os.fdopen(fd, "wb") as file:
                fill(file)
                file.flush()
                os.fsync(fd)
            if keep:
                sync_folder(os.path.dirname(path))
        except BaseException:
            self.discard(temp)
            raise

    def stage_piece(self, temp: str, offset: int, piece: memoryview) -> None:
        """Write a piece of a file below `.staging`, one that begins at 0 or where others end.

        Written again it changes nothing. The name and the last pieces are not durable yet.

        Raises:
            FileNotFoundError: the file has no beginning.
            ValueError: the piece would leave a hole.
        """
        path, create = self.path(temp), 0
        if offset == 0:
            self.make_folder(os.path.dirname(path))
            create = os.O_CREAT
        fd = os.open(path, os.O_RDWR | create | os.O_CLOEXEC | os.O_NOFOLLOW, _FILE_MODE)
        try:
            if not 0 <= offset <= os.fstat(fd).st_size:
                raise ValueError(f"a piece at {offset} does not follow on what is there")
            end = offset + len(piece)
            while offset < end:
                offset += os.pwrite(fd, piece[offset - end :], offset)
            # The writer waits for the disk here, so that the kernel never holds much of a
            # large file, and its end is durable soon after its last piece.
            if end // _SYNC_BYTES != (end - len(piece)) // _SYNC_BYTES:
                os.fdatasync(fd)
        finally:
            os.close(fd)

    def finish_pieces(self, temp: str, size: int) -> None:
        """Make a file of so many bytes, written in pieces, and its name durable.

        Raises:
            FileNotFoundError: it is not there.
            ValueError: it has another size.
        """
        fd = os.open(self.path(temp), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            if os.fstat(fd).st_size != size:
                raise ValueError(f"{os.fstat(fd).st_size} of {size} bytes arrived")
            os.fsync(fd)
        finally:
            os.close(fd)
        sync_folder(os.path.dirname(self.path(temp)))

    def place(self, temp: str, rel: str) -> None:
        final = self.path(rel)
        self.make_folder(os.path.dirname(final))
        os.replace(self.path(temp), final)
        sync_folder(os.path.dirname(final))

    def claim(self, temp: str, rel: str) -> None:
        final = self.path(rel)
        self.make_folder(os.path.dirname(final))
        try:
            with suppress(FileExistsError):
                self.link(temp, rel)
        except NotImplementedError:
            # Files are merged under a name that was there before. Where no name can be
            # refused to a second comer there must be no merging.
            self.can_swap = False
            os.replace(self.path(temp), final)
        sync_folder(os.path.dirname(final))
        self.discard(temp)

    def sync(self, folder: str) -> None:
        sync_folder(self.path(folder))

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

    @property
    def writable(self) -> bool:
        return os.access(self.path(STAGING), os.W_OK | os.X_OK)

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
