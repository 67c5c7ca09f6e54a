"""The line by which the scheduler gives its launcher orders: a Unix socket on the head.

A call from one actor to another takes longer than all else between a trigger and
its task; both of these live on the head, and this takes a tenth of it. What comes in
is unpickled: the socket lies in a folder of this user's alone.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Client, Connection, Listener
from pathlib import Path
from typing import Any

from raysched.cluster import mail
from raysched.cluster.names import guard_directory
from raysched.runners.private import make_private

_log = logging.getLogger(__name__)


def answer(name: str, take: Callable[[Any], None]) -> None:
    """Take messages on the line `name` of this node from now on, each caller's in their order."""
    make_private(guard_directory())
    with _short(name) as path:
        listener = Listener(path, family="AF_UNIX", backlog=4)
    threading.Thread(
        target=_accept, args=(listener, take), name="raysched-line", daemon=True
    ).start()


class Line:
    """An open line; whoever gave orders on it before is still heard to the end."""

    def __init__(self, name: str) -> None:
        """Open it.

        Raises:
            OSError: nobody answers.
        """
        with _short(name) as path:
            self._connection = Client(path, family="AF_UNIX")

    def say(self, message: Any) -> None:
        """Send a message.

        Raises:
            OSError: nobody listens any more; perhaps the last ones were not heard either.
        """
        self._connection.send_bytes(mail.bag(message))


@contextmanager
def _short(name: str) -> Iterator[str]:
    """A short path to the socket, as its address holds only 107 bytes."""
    folder = os.open(guard_directory(), os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{Path(name).name}.sock"
    finally:
        os.close(folder)


def _accept(listener: Listener, take: Callable[[Any], None]) -> None:
    while True:
        connection = listener.accept()
        threading.Thread(
            target=_listen, args=(connection, take), name="raysched-line", daemon=True
        ).start()


def _listen(connection: Connection, take: Callable[[Any], None]) -> None:
    with suppress(EOFError, OSError):
        while True:
            message = mail.unbag(connection.recv_bytes())
            try:
                take(message)
            except Exception:  # one message's fault is its own
                _log.exception("an order could not be carried out")
