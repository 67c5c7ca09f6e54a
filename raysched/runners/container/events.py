"""What the engine's events prove about one container: a pure fold.

Law: an exit code is an outcome only if nobody else ended the container. The
engine says so in its events (`kill`, `stop`), which it keeps in memory: a view of
them that has the container's start has everything since.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

# USR1, USR2, CHLD, CONT, URG, WINCH: sent to tell a process something, not to end it.
_HARMLESS = frozenset({"10", "12", "17", "18", "23", "28"})


@dataclass(frozen=True, slots=True)
class Seen:
    """What was seen of one container so far."""

    start_ns: int | None = None
    kill: str | None = None  # the signal that somebody sent it, ourselves included
    oom: bool = False
    died: bool = False
    gone: bool = False

    def after(self, event: Mapping[str, Any]) -> Seen:
        """Return what is known after one more event; seeing one twice changes nothing."""
        match event.get("Action"):
            case "start" if self.start_ns is None:
                return replace(self, start_ns=event["timeNano"])
            case "kill" if not self.died and _signal(event) not in _HARMLESS:
                return replace(self, kill=_signal(event))
            case "stop" | "restart" if self.kill is None:
                return replace(self, kill="15")
            case "oom":
                return replace(self, oom=True)
            case "die" | "destroy" as end:
                return replace(self, died=True, gone=self.gone or end == "destroy")
        return self

    def union(self, other: Seen) -> Seen:
        """Return what either has seen."""
        return Seen(
            start_ns=self.start_ns or other.start_ns,
            kill=self.kill or other.kill,
            oom=self.oom or other.oom,
            died=self.died or other.died,
            gone=self.gone or other.gone,
        )


def _signal(event: Mapping[str, Any]) -> str:
    return str(event["Actor"]["Attributes"].get("signal", "?"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Witness:
    """An engine at one instant: which process, since which boot, and what survives it."""

    engine: str | None  # None: not known
    boot: str
    live_restore: bool


def trusted(*, complete: bool, launched: Witness, now: Witness) -> bool:
    """Whether nobody can have ended the container without an event that we saw.

    `complete` says that the engine still had the container's start when it was asked,
    and hence each event since.
    """
    if complete or (launched.engine is not None and launched.engine == now.engine):
        return True
    # Another engine now. One with live-restore leaves containers alone as it stops and
    # shows the kills of its own start; a reboot ends them all the same.
    return launched.live_restore and now.live_restore and launched.boot == now.boot
