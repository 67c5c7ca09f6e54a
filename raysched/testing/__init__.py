"""Fakes that pass the same contract tests as the real parts, and virtual time.

simulate([daily_delays], "2026-01-01T00:00Z", "2027-01-01T00:00Z").decisions
"""

from raysched.testing.clock import FakeClock
from raysched.testing.launcher import Act, FakeLauncher
from raysched.testing.simulation import Simulation, World, simulate
from raysched.testing.store import MemoryDisk, MemoryStore

__all__ = [
    "Act",
    "FakeClock",
    "FakeLauncher",
    "MemoryDisk",
    "MemoryStore",
    "Simulation",
    "World",
    "simulate",
]
