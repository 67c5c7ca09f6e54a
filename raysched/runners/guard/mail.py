"""The guard's end of the mailbox, in which the worker lays down the terms of an attempt."""

from __future__ import annotations

import os

from raysched.runners.guard import wire


class Mail:
    """What lies in the memory that the worker shares; see `raysched.runners.mailbox`."""

    def __init__(self, memory: int) -> None:
        self._memory = memory
        self._taken = wire.NO_TERMS  # the number of the last terms that were taken up

    def take(self) -> wire.Watch | None:
        """Take up the terms that stand there, once, and return them."""
        number, _ = self._standing()
        if number in (wire.NO_TERMS, self._taken):
            return None
        os.pwrite(self._memory, wire.SERIAL.pack(number), wire.TAKEN_AT)
        # The worker may have withdrawn them just before it could read that.
        still, terms = self._standing()
        if still != number:
            return None
        self._taken = number
        return wire.Watch.unpack(terms)

    def _standing(self) -> tuple[int, bytes]:
        mail = os.pread(self._memory, 4096, 0)
        if len(mail) <= wire.TERMS_AT:
            return wire.NO_TERMS, b""
        return wire.SERIAL.unpack_from(mail, wire.NUMBER_AT)[0], mail[wire.TERMS_AT :]
