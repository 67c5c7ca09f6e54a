"""What lasts is kept from the cyclic collector, and the collector goes on with the rest."""

import gc

import pytest

from raysched.engine.lasting import lasting


@pytest.fixture(autouse=True)
def thawed():
    yield
    gc.unfreeze()


def test_the_collector_rests_while_what_lasts_is_made_and_never_looks_at_it():
    with lasting():
        assert not gc.isenabled()
        made = [[] for _ in range(10_000)]
    assert gc.isenabled()
    assert gc.get_freeze_count() > 10_000
    assert not any(each is made for each in gc.get_objects())


def test_a_second_time_the_first_ones_objects_can_be_collected_again():
    with lasting():
        pass
    frozen = gc.get_freeze_count()
    with lasting():
        assert gc.get_freeze_count() == 0
    assert gc.get_freeze_count() >= frozen // 2


def test_the_collector_is_back_after_a_failure_too():
    with pytest.raises(LookupError), lasting():
        raise LookupError
    assert gc.isenabled()
