"""What wakes the guard: descriptors, and who handles each of them."""

from __future__ import annotations

import select
from collections.abc import Callable, Iterator


class Loop:
    """Descriptors that are waited for together."""

    def __init__(self) -> None:
        self._poll = select.epoll()
        self._handlers: dict[int, Callable[[], None]] = {}

    def on(self, fd: int, handler: Callable[[], None], events: int = select.EPOLLIN) -> None:
        """Have a descriptor's events handled, in place of how they were before."""
        if fd in self._handlers:
            self._poll.modify(fd, events)
        else:
            self._poll.register(fd, events)
        self._handlers[fd] = handler

    def off(self, fd: int) -> None:
        """Wait for a descriptor no more."""
        if self._handlers.pop(fd, None):
            self._poll.unregister(fd)

    def has(self, fd: int) -> bool:
        """Return whether a descriptor is waited for."""
        return fd in self._handlers

    def ready(self, timeout_s: float | None) -> Iterator[Callable[[], None]]:
        """Yield the handlers of what has happened; after `timeout_s` seconds there may be none."""
        for fd, _ in self._poll.poll(timeout_s):
            if handler := self._handlers.get(fd):  # else the one before has taken it away
                yield handler
