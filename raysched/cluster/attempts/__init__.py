"""An attempt in its worker, by the kind of its job: a function, or a container.

Each begins when it is made, `run`s for as long as it needs its lease, and `end`s with what
there is to tell. While it runs the herald's thread asks for its lines.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, Protocol

from raysched.core.orders import Ended, LogLine
from raysched.core.states import Event
from raysched.runners.words import Line, Verdict

if TYPE_CHECKING:
    from raysched.store.home import Staging


VERDICTS: Mapping[Verdict, Event] = {
    "timed_out": Event.TIME_OUT,
    "cancelled": Event.CANCEL,
}
"""How an attempt counts that was ended from outside of its code."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Here:
    """The worker that an attempt runs in."""

    node_id: str
    node_ip: str
    pid: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What all attempts of a launcher have in common."""

    home: str
    launcher: str
    incarnation: str


class Rest(Enum):
    """What is left to do for an attempt that has run."""

    END = "end"
    """To end it."""

    END_BESIDE = "end beside"
    """To end it, which needs no lease: the worker may run another meanwhile."""

    NOTHING = "nothing"
    """Another process of this node is at it, and ends it."""


class Attempt(Protocol):
    """An attempt under way."""

    address: str
    """Where it is told to stop, on its node; empty if its key is enough."""

    announced_after_s: float
    """How long it must last to be worth a message."""

    def told(self) -> tuple[tuple[float, float] | None, dict[str, float]]:
        """Return the progress and the metrics that the job has told of."""

    def tail(self) -> list[LogLine]:
        """Return the lines since the last call; from any thread."""

    def run(self) -> Rest:
        """Run it for as long as it needs its lease; nothing that the job does wrong escapes."""

    def end(self, untold: Sequence[LogLine]) -> Ended:
        """Clear up and return its end, with the lines that nobody has acknowledged."""


def staging_of(setting: Setting, key: str) -> Callable[[], Staging]:
    """Return what says, when there is a file to keep, where an attempt's are staged."""

    def staging() -> Staging:
        from raysched.cluster import shipping  # pyarrow, which most no-op jobs never need

        return shipping.staging(setting, key)

    return staging


def log_lines(lines: Sequence[Line]) -> list[LogLine]:
    """Return lines as a report bears them."""
    return [
        LogLine(ts_us=line.ts_us, stream=line.stream, line_no=line.line_no, text=line.text)
        for line in lines
    ]


def where(here: Here) -> dict[str, Any]:
    """Return the columns that say where an attempt ran."""
    return {"node_id": here.node_id, "node_ip": here.node_ip, "worker_pid": here.pid}
