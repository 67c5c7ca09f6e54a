"""Who else calls on the guard: other processes of this user, each on a connection of its own."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable

from raysched.runners.guard import wire
from raysched.runners.guard.loop import Loop
from raysched.runners.guard.sockets import Connection, same_user
from raysched.runners.guard.wire import Frame, Inbox

FRAME_MAX = 4096


class Callers:
    """Takes calls in, and has each frame served; whoever sends anything else is cut off."""

    def __init__(
        self, listener: socket.socket, loop: Loop, serve: Callable[[Connection, Frame], None]
    ) -> None:
        self._listener, self._loop, self._serve = listener, loop, serve
        self._connected: dict[int, Connection] = {}
        loop.on(listener.fileno(), self._accept)

    def _accept(self) -> None:
        try:
            sock, _ = self._listener.accept()
        except OSError:
            return
        if not same_user(sock):
            sock.close()
            return
        caller = Connection(sock, Inbox(FRAME_MAX))
        self._connected[sock.fileno()] = caller
        self._loop.on(sock.fileno(), lambda: self._hear(caller))

    def _hear(self, caller: Connection) -> None:
        there = caller.receive()
        try:
            for frame in caller.inbox.frames():
                self._serve(caller, frame)
        except (wire.FrameError, struct.error):
            there = False
        if not there and caller.sock.fileno() in self._connected:
            self._dismiss(caller)

    def _dismiss(self, caller: Connection) -> None:
        del self._connected[caller.sock.fileno()]
        self._loop.off(caller.sock.fileno())
        caller.sock.close()
