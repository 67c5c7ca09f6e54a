"""The guard's sockets: one to its worker, one that this user's other processes call.

Nothing here ever blocks, as the guard has but one thread, and whoever is at the
other end may be stopped or hold its GIL.
"""

from __future__ import annotations

import os
import socket
import struct

from raysched.runners.guard.wire import Inbox

_RECEIVE = 65536
_CREDENTIALS = struct.Struct("3i")  # pid, uid, gid


class Connection:
    """A socket on which frames come in and go out, neither of which ever blocks."""

    def __init__(self, sock: socket.socket, inbox: Inbox) -> None:
        sock.setblocking(False)
        self.sock = sock
        self.inbox = inbox
        self.outbox = b""

    def receive(self) -> bool:
        """Take in what has come; return False once the other side is gone."""
        try:
            while chunk := self.sock.recv(_RECEIVE):
                self.inbox.feed(chunk)
                if len(chunk) < _RECEIVE:
                    return True  # all of it; an end would wake the guard again
        except BlockingIOError:
            return True
        except OSError:
            pass
        return False

    def push(self, data: bytes = b"") -> None:
        """Send what the socket takes now, and keep the rest for later."""
        self.outbox += data
        try:
            while self.outbox:
                self.outbox = self.outbox[self.sock.send(self.outbox) :]
        except BlockingIOError:
            pass
        except OSError:
            self.outbox = b""  # nobody is left to read it


def listen(directory: str, pid: int) -> socket.socket:
    """Listen on the worker's socket, whose name appears only once it answers.

    It is bound through the directory's descriptor, as a socket's address holds
    only 107 bytes.
    """
    folder = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    short = f"/proc/self/fd/{folder}"
    hidden = f"{short}/.{pid}.sock"
    if os.path.lexists(hidden):
        os.unlink(hidden)
    listener = socket.socket(socket.AF_UNIX)
    os.umask(0o177)
    listener.bind(hidden)
    listener.listen(64)
    listener.setblocking(False)
    os.rename(hidden, f"{short}/{pid}.sock")
    os.close(folder)
    return listener


def same_user(sock: socket.socket) -> bool:
    """Return whether the other end is a process of this user."""
    peer = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    uid: int = _CREDENTIALS.unpack(peer)[1]
    return uid == os.getuid()
