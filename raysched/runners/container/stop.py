"""Ends an attempt, and looks at one, from any process of its node, whoever watches it."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from raysched.errors import EngineUnavailable
from raysched.runners.container.engine import Engine
from raysched.runners.container.faults import Absent, Away, Quiet, Refused
from raysched.runners.container.room import Room
from raysched.runners.container.task import name_of
from raysched.runners.words import Verdict

_GRACE_S = 10.0


def stop(rooms: Path, key: str, verdict: Verdict, home: str) -> bool:
    """End an attempt: SIGTERM, its grace, SIGKILL. Returns whether it is here and not over.

    The reason is on disk before the signal is sent, so that whoever watches knows whose
    doing it is. An engine that is away is no obstacle: the watcher sees to it later.
    """
    room = Room(rooms, name_of(home, key))
    if not room.exists() or room.farewell() is not None or room.reaped() is not None:
        return False
    room.condemn(verdict)
    with suppress(Absent, Away, Quiet, Refused, EngineUnavailable):
        engine = Engine.here()
        labels = engine.inspect(room.name)["Config"]["Labels"]
        engine.stop(room.name, float(labels.get("raysched.grace", _GRACE_S)))
    return True


def holds(rooms: Path, key: str, home: str) -> bool:
    """Whether this node has the attempt's room: it is or was here, and can be taken over."""
    return Room(rooms, name_of(home, key)).exists()


def watched(rooms: Path, key: str, home: str) -> bool:
    """Whether any process of this node holds the attempt's room."""
    return Room(rooms, name_of(home, key)).watched()
