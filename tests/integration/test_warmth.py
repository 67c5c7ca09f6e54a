"""A worker is kept for the next run, and not for ever."""

import os

import ray

from raysched.cluster import warm
from raysched.cluster.warm import Warmth
from support import until


def owned() -> int:
    return len(ray._private.worker.global_worker.core_worker.get_all_reference_counts())


def test_what_keeps_a_worker_goes_when_its_time_is_up(client):
    before = owned()
    warmth = Warmth(lasting_s=0.3)
    warmth.renew()
    warmth.renew()
    assert owned() == before + 1
    until(lambda: owned() == before)
    warmth.renew()
    assert owned() == before + 1
    until(lambda: owned() == before)


def test_a_worker_that_runs_an_older_installation_is_not_kept(client):
    before = owned()
    warmth = Warmth(lasting_s=30)
    warmth.renew()
    assert owned() == before + 1
    found = os.stat(warm.__file__)
    try:
        os.utime(warm.__file__, ns=(found.st_atime_ns, found.st_mtime_ns + 1))
        warmth.renew()
        assert owned() == before
    finally:
        os.utime(warm.__file__, ns=(found.st_atime_ns, found.st_mtime_ns))
