"""What runs in this process while its output is kept: by descriptor, capped and cut as in a worker.

Child processes write to the same descriptors. No guard: nothing here is ended.
"""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Callable
from datetime import datetime
from types import TracebackType
from typing import Self

from raysched.cluster.attempts import log_lines
from raysched.cluster.attempts.native import LOG_LIMIT_BYTES
from raysched.core.orders import LogLine
from raysched.runners.guard.caplog import LINE_MAX, CappedLog
from raysched.runners.stdio import Stdio
from raysched.runners.words import read_lines
from raysched.spec.units import to_us


class Captured:
    """Standard output and error of this process while the block lasts; then its `lines`."""

    lines: list[LogLine]

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self._log = CappedLog(LOG_LIMIT_BYTES)

    def __enter__(self) -> Self:
        pipes = [os.pipe2(os.O_CLOEXEC) for _ in range(2)]
        self._sources = [source for source, _ in pipes]
        for source in self._sources:
            os.set_blocking(source, False)
        self._over, self._tell_over = os.pipe2(os.O_CLOEXEC)
        self._reader = threading.Thread(target=self._read, name="raysched-capture", daemon=True)
        self._reader.start()
        self._stdio = Stdio()
        self._stdio.divert([target for _, target in pipes])
        for _, target in pipes:  # descriptors 1 and 2 are what holds the pipes open
            os.close(target)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stdio.flush_back()
        self._stdio.point(self._stdio.outside)
        os.close(self._tell_over)
        self._reader.join()
        for end in (*self._stdio.outside, *self._sources, self._over):
            os.close(end)
        self._log.close(self._now_us())
        self.lines = log_lines(read_lines(self._log.rest()))

    def _now_us(self) -> int:
        return to_us(self._now())

    def _read(self) -> None:
        """Read both until it is over, and then what is left: a process may hold them open."""
        over = False
        while not over:
            poll = select.poll()
            for end in (*self._sources, self._over):
                poll.register(end, select.POLLIN)
            over = any(end == self._over for end, _ in poll.poll())
            for stream, source in enumerate(self._sources):
                self._drain(stream, source)

    def _drain(self, stream: int, source: int) -> None:
        try:
            while chunk := os.read(source, LINE_MAX):
                self._log.feed(stream, chunk, self._now_us())
        except BlockingIOError:
            return
