"""For tests of one's own jobs: a runner in this process, virtual time, checks; and fakes.

    def test_load(raysched_runner):
        assert raysched_runner.run(load, region="EU").result() == {"rows": 3}

The fakes pass the same contract tests as the real parts. Importing this package is
light: its parts are loaded on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from raysched.core.states import Event
    from raysched.testing.clock import FakeClock
    from raysched.testing.frames import Frames
    from raysched.testing.launcher import Act, FakeLauncher
    from raysched.testing.runner import LocalAttempt, LocalRun, LocalRunner
    from raysched.testing.schedules import assert_schedule
    from raysched.testing.sendable import assert_sendable
    from raysched.testing.simulation import simulate
    from raysched.testing.store import MemoryDisk, MemoryStore
    from raysched.testing.world import World

_PLACES = {
    "Act": "raysched.testing.launcher",
    "Event": "raysched.core.states",
    "FakeClock": "raysched.testing.clock",
    "FakeLauncher": "raysched.testing.launcher",
    "Frames": "raysched.testing.frames",
    "LocalAttempt": "raysched.testing.runner",
    "LocalRun": "raysched.testing.runner",
    "LocalRunner": "raysched.testing.runner",
    "MemoryDisk": "raysched.testing.store",
    "MemoryStore": "raysched.testing.store",
    "World": "raysched.testing.world",
    "assert_schedule": "raysched.testing.schedules",
    "assert_sendable": "raysched.testing.sendable",
    "simulate": "raysched.testing.simulation",
}

__all__ = [
    "Act",
    "Event",
    "FakeClock",
    "FakeLauncher",
    "Frames",
    "LocalAttempt",
    "LocalRun",
    "LocalRunner",
    "MemoryDisk",
    "MemoryStore",
    "World",
    "assert_schedule",
    "assert_sendable",
    "simulate",
]


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'raysched.testing' has no attribute {name!r}")
    value = getattr(import_module(_PLACES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
