"""Tells the guard that an attempt begins without waking it.

Most attempts are short and silent, and waking another process costs more than
all else in `watch`. So the terms are laid into memory that the guard shares,
and a timer that it also holds is set: the guard reads them when it wakes for
whatever comes first, be it output, a call, the attempt's end, or the timer.
"""

from __future__ import annotations

import ctypes
import os
import time

from raysched.runners.guard import wire

_ABSOLUTE = 1  # TFD_TIMER_ABSTIME

_libc = ctypes.CDLL(None, use_errno=True)


class Mailbox:
    """Room for the terms of one attempt, and the timer that makes the guard look."""

    def __init__(self) -> None:
        self.memory = os.memfd_create("raysched-mailbox", os.MFD_CLOEXEC)
        self.timer = _libc.timerfd_create(time.CLOCK_MONOTONIC, os.O_CLOEXEC | os.O_NONBLOCK)
        if self.timer < 0:
            error = ctypes.get_errno()
            os.close(self.memory)
            raise OSError(error, os.strerror(error))

    def post(self, serial: int, terms: wire.Watch, look_at: float) -> None:
        """Lay the terms down, and have the guard look at that instant if it has not before."""
        # The number comes last: the guard that sees it finds the terms complete. They stay
        # until it has answered a release.
        os.pwrite(self.memory, terms.pack(), wire.TERMS_AT)
        self._number(serial)
        seconds = int(look_at)
        at = (ctypes.c_long * 4)(0, 0, seconds, int((look_at - seconds) * 1e9))
        _libc.timerfd_settime(self.timer, _ABSOLUTE, at, None)

    def withdraw(self, serial: int) -> bool:
        """Take the terms back, if the guard has not taken them up; say whether that was so.

        The guard says in the memory which terms it takes up, looks whether they still
        stand, and only then acts on them. So either it finds them withdrawn, or its word
        is found here.
        """
        self._number(wire.NO_TERMS)
        if os.pread(self.memory, wire.SERIAL.size, wire.TAKEN_AT) != wire.SERIAL.pack(serial):
            return True
        self._number(serial)
        return False

    def _number(self, serial: int) -> None:
        os.pwrite(self.memory, wire.SERIAL.pack(serial), wire.NUMBER_AT)

    def close(self) -> None:
        """Give the memory and the timer back."""
        os.close(self.memory)
        os.close(self.timer)
