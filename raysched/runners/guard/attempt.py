"""The attempt under way, as the guard knows it: its terms, its output, its verdict.

It decides nothing and touches no process: `program.py` does.
"""

from __future__ import annotations

import time

from raysched.runners.guard import wire
from raysched.runners.guard.caplog import CappedLog
from raysched.runners.guard.procs import ticks_at


class Attempt:
    """The attempt under way, as the guard knows it."""

    def __init__(self, terms: wire.Watch) -> None:
        self.mark = terms.mark
        self.baseline = terms.baseline
        self.deadline = terms.began + terms.timeout_s
        self.sample_at = terms.began + wire.SAMPLE_S
        self.start = ticks_at(terms.began)
        self.variable = wire.MARK_VARIABLE.encode() + b"=" + terms.mark
        self.log = CappedLog(terms.log_limit, terms.first_line)
        self.verdict = 0
        self.condemned = False  # the worker is being killed: no answer any more
        self.peak = 0
        self.seen: frozenset[wire.Identity] = frozenset()
        self.zombies: list[int] = []
        if terms.notice:
            self.log.note(terms.notice.decode(), now_us())

    def cancelled(self) -> None:
        """Note that someone asked for its end, unless the time was up first."""
        self.verdict = self.verdict or wire.VERDICTS.index("cancelled")

    def timed_out(self) -> None:
        """Note that its time is up, unless the end was asked for first."""
        self.verdict = self.verdict or wire.VERDICTS.index("timed_out")

    def mourn(self, killed: dict[wire.Identity, str]) -> None:
        """Say in its log which of its processes had to be killed."""
        named = [f"{name} (pid {pid})" for (pid, _), name in sorted(killed.items())]
        more = f" and {len(named) - 5} more" if len(named) > 5 else ""
        them = "1 process" if len(named) == 1 else f"{len(named)} processes"
        self.log.close(now_us())
        self.log.note(
            f"ended {them} that the attempt left running: {', '.join(named[:5])}{more}", now_us()
        )

    def words(self) -> bytes:
        """Return the last words: what was not handed out yet, and the verdict."""
        return wire.Words(self.verdict, self.peak, self.zombies, self.log.rest()).pack()


def now_us() -> int:
    """Return the time in UTC microseconds."""
    return time.time_ns() // 1000
