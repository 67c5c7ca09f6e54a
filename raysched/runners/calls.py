"""What others on a node ask of its guards: to end an attempt, and the last words of a dead one."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from raysched.runners.guard import wire
from raysched.runners.guard.wire import Inbox, Kind
from raysched.runners.words import LastWords, mark_of, read_words

LAST_WORDS_WAIT_S = 12.0  # more than a guard takes to end what does not want to end
CALL_WAIT_S = 12.0
WORDS_KEPT_S = 24 * 3600  # for callers that never come


def stop(address: str, key: str, *, grace_s: float = 0) -> bool:
    """End the attempt `key` if the guard at `address` watches just that one now.

    True means that its end is certain: the worker and all below it are killed at
    once, or after `grace_s`, at whose start its child processes get a SIGTERM, if
    the attempt has not ended by itself until then. False means that the attempt
    is over, that another one is under way, or that nobody listens.
    """
    frame = wire.frame(Kind.STOP, body=wire.pack_stop(mark_of(key), grace_s))
    inbox = Inbox()
    try:
        with _connected(Path(address)) as sock:
            sock.settimeout(CALL_WAIT_S)
            sock.sendall(frame, socket.MSG_NOSIGNAL)
            while chunk := sock.recv(4096):
                inbox.feed(chunk)
                for answer in inbox.frames():
                    return answer.kind is Kind.YES
    except OSError:
        pass
    return False


def last_words(directory: Path, key: str) -> LastWords | None:
    """Return, once, what the guard saved of an attempt whose worker died.

    A guard that is still writing is waited for. Nothing is polled: each guard on
    the node is asked, and says that the attempt is not its own, or hangs up when
    it has written.
    """
    mark = mark_of(key)
    file = directory / f"{mark.decode()}.words"
    if not file.exists():
        _await_writer(directory, mark)
    # Renamed first: of two callers only one gets it.
    taken = file.with_name(f".{mark.decode()}.{os.getpid()}.{threading.get_ident()}")
    try:
        file.rename(taken)
    except FileNotFoundError:
        return None
    body = taken.read_bytes()
    taken.unlink()
    return read_words(wire.Words.unpack(body))


def sweep(directory: Path) -> None:
    """Remove the sockets of guards that are gone, and last words and notes that nobody fetched."""
    for path in directory.glob("*.sock"):
        # A living worker's socket is never stale for long, and is its own guard's to replace.
        if not Path("/proc", path.stem).exists() and not _listens(path):
            path.unlink(missing_ok=True)
    for path in [*directory.glob("*.words"), *directory.glob("*.notes"), *directory.glob(".*")]:
        with suppress(OSError):
            if time.time() - path.lstat().st_mtime > WORDS_KEPT_S:
                path.unlink()


def _await_writer(directory: Path, mark: bytes) -> None:
    deadline = time.monotonic() + LAST_WORDS_WAIT_S
    # Guards' sockets bear pids. A launcher listens here, too, and would never answer.
    for path in directory.glob("[0-9]*.sock"):
        with suppress(OSError), _connected(path) as sock:
            sock.settimeout(max(0.01, deadline - time.monotonic()))
            sock.sendall(wire.frame(Kind.AWAIT, body=wire.pack_stop(mark)), socket.MSG_NOSIGNAL)
            # A byte means "not mine". Its end comes when the guard's does, and then the file is
            # there, as there is only one guard that can write it.
            if not sock.recv(1):
                return


@contextmanager
def _connected(path: Path) -> Iterator[socket.socket]:
    """Connect through the folder's descriptor, as a socket's address holds only 107 bytes."""
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(f"/proc/self/fd/{folder}/{path.name}")
            yield sock
    finally:
        os.close(folder)


def _listens(path: Path) -> bool:
    try:
        with _connected(path):
            return True
    except ConnectionRefusedError:
        return False
    except OSError:
        return True  # nobody knows: better one file too many
