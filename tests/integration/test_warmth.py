"""A worker is kept for the next run, and not for ever."""

import ray

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
