"""A worker's standard output and error, sent elsewhere for a while and then given back.

What is buffered on the way, in Python or in libc, goes to the side on which it
was written. Descriptors 1 and 2 alone are inherited by a job's children.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from io import TextIOWrapper
from typing import Any, TextIO

_NAMES = {"stdout": 1, "stderr": 2}
_libc = ctypes.CDLL(None)


class Stdio:
    """Standard output and error of this process."""

    def __init__(self) -> None:
        self.outside = [_copy(fd) for fd in _NAMES.values()]
        self._undo: list[Callable[[], None]] = []
        self._own: dict[str, TextIO] = {}
        self._files = {name: ctypes.c_void_p.in_dll(_libc, name) for name in _NAMES}

    def divert(self, targets: list[int]) -> None:
        """Send both to these descriptors, from Python line by line."""
        self._flush()
        self._undo = [self._make_timely(name, fd) for name, fd in _NAMES.items()]
        self.point(targets)

    def flush_back(self) -> None:
        """Push out what is buffered, and buffer again as before; may block like any print."""
        self._flush()
        while self._undo:
            self._undo.pop()()

    def point(self, targets: list[int]) -> None:
        """Let descriptors 1 and 2 stand for these, whatever they are now."""
        for fd, target in zip(_NAMES.values(), targets, strict=True):
            os.dup2(target, fd)

    def _flush(self) -> None:
        for name in _NAMES:
            # Not fflush(NULL): that waits for the lock of every file in the process, and
            # a thread that a job left reading one would hold its lock for ever.
            _libc.fflush(self._files[name])
            with suppress(Exception):  # None, closed, anybody's object: a job may do that
                getattr(sys, name).flush()

    def _make_timely(self, name: str, fd: int) -> Callable[[], None]:
        stream = getattr(sys, name, None)
        if not _writes_to(stream, fd):
            # Closed, or replaced by something that keeps what is printed from the descriptor.
            own = self._own_stream(name, fd)
            setattr(sys, name, own)
            return lambda: self._put_back(name, own, stream)
        if isinstance(stream, TextIOWrapper) and not stream.line_buffering:
            stream.reconfigure(line_buffering=True)
            return lambda: _buffer_again(stream)
        return lambda: None

    def _own_stream(self, name: str, fd: int) -> TextIO:
        own = self._own.get(name)
        if own is None or own.closed:
            own = open(  # noqa: SIM115 - it lives as long as the worker
                fd, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False
            )
            self._own[name] = own
        return own

    @staticmethod
    def _put_back(name: str, own: TextIO, stream: Any) -> None:
        if (
            getattr(sys, name, None) is own
        ):  # otherwise the job's replacement stays: it may be meant
            setattr(sys, name, stream)


def _writes_to(stream: Any, fd: int) -> bool:
    try:
        return not stream.closed and stream.fileno() == fd
    except Exception:  # None, or any object: it is not ours
        return False


def _buffer_again(stream: TextIOWrapper) -> None:
    with suppress(Exception):  # closed by the job
        stream.reconfigure(line_buffering=False)


def _copy(fd: int) -> int:
    """Return a copy that no child inherits, of nothing if the descriptor is closed."""
    try:
        return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 3)
    except OSError:
        return os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
