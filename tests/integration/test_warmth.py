"""A worker is kept for the next run, and not for ever."""

import os

import ray

from raysched.cluster import warm
from raysched.cluster.warm import Warmth
from support import until


def owned(warmth: Warmth) -> bytes:
    """The object for whose sake Ray keeps the process."""
    assert warmth._owned is not None
    return warmth._owned.hex().encode()


def counted(name: bytes) -> bool:
    return name in ray._private.worker.global_worker.core_worker.get_all_reference_counts()


def test_what_keeps_a_worker_goes_when_its_time_is_up(client):
    warmth = Warmth(lasting_s=1)
    for _ in range(2):
        warmth.renew()
        first = owned(warmth)
        warmth.renew()
        assert owned(warmth) == first
        assert counted(first)
        until(lambda: not counted(first))  # noqa: B023 - called at once


def test_a_worker_that_runs_an_older_installation_is_not_kept(client):
    warmth = Warmth(lasting_s=30)
    warmth.renew()
    name = owned(warmth)
    assert counted(name)
    found = os.stat(warm.__file__)
    try:
        os.utime(warm.__file__, ns=(found.st_atime_ns, found.st_mtime_ns + 1))
        warmth.renew()
    finally:
        os.utime(warm.__file__, ns=(found.st_atime_ns, found.st_mtime_ns))
    until(lambda: not counted(name))
