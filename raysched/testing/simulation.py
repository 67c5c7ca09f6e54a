"""What the production engine would do with some jobs over a span of time."""

from __future__ import annotations

from collections.abc import Sequence

from raysched.errors import InputError
from raysched.spec.declared import DeclaredJob
from raysched.spec.units import Instant, instant, iso
from raysched.testing.frames import Frames
from raysched.testing.launcher import Script
from raysched.testing.world import World


def simulate(
    jobs: Sequence[DeclaredJob], start: Instant, end: Instant, *, script: Script | None = None
) -> Frames:
    """Run the production engine from `start` to `end` in virtual time and return what it did.

    No job's code runs: `script` says how long an attempt takes and how it ends; left
    out, each succeeds at once.

    Raises:
        InputError: `end` is not after `start`.
        InvalidUnit: a naive instant.
    """
    first, last = instant(start, of="start"), instant(end, of="end")
    if last <= first:
        raise InputError(f"end={iso(last)} is not after start={iso(first)}.", fix="swap them.")
    world = World(first, script=script)
    world.deploy(*jobs)
    world.run_until(last)
    return Frames(world.disk)
