"""How long large code stays in Ray's store: for its attempts, and a while for those to come."""

import gc
import weakref

import pytest

from raysched.cluster.codes import Codes, Unanswered
from raysched.errors import NotFound, StoreError


class Reference:
    """As Ray's: what it refers to is there for as long as anybody holds it."""


class Store:
    """Ray's store, and the scheduler that code is fetched from."""

    def __init__(self, size=10):
        self.size, self.fetched = size, []
        self.held = weakref.WeakSet()

    def fetch(self, code_hash):
        self.fetched.append(code_hash)
        return bytes(self.size)

    def put(self, code):
        reference = Reference()
        self.held.add(reference)
        return reference

    def count(self):
        gc.collect()
        return len(self.held)


@pytest.fixture
def store():
    return Store()


@pytest.fixture
def codes(store):
    return Codes(fetch=store.fetch, put=store.put, most_bytes=30)


def test_code_is_fetched_once_for_all_runs_of_a_job(store, codes):
    for _ in range(100):
        codes.reference("a")
        codes.reference("b")
    assert store.fetched == ["a", "b"]


def test_of_a_job_that_is_deployed_again_and_again_only_the_last_versions_stay(store, codes):
    for n in range(100):
        codes.reference(f"version {n}")
    assert store.count() == 3
    codes.reference("version 99")
    assert len(store.fetched) == 100


def test_code_that_is_launched_again_and_again_outlasts_newer_code(store, codes):
    for n in range(100):
        codes.reference("often")
        codes.reference(f"once {n}")
    assert store.fetched.count("often") == 1


def test_an_attempt_keeps_its_code_and_nobody_does_after_its_end(store, codes):
    attempt = [codes.reference("long ago")]
    for n in range(100):
        codes.reference(f"version {n}")
    assert store.count() == 4
    attempt.clear()
    assert store.count() == 3


def test_code_that_is_larger_than_all_that_may_stay_is_its_attempts_alone(store, codes):
    store.size = 31
    attempt = [codes.reference("huge")]
    assert store.count() == 1
    attempt.clear()
    assert store.count() == 0


@pytest.mark.parametrize(
    "fault",
    [TimeoutError(), ValueError("no actor of this name"), StoreError("the disk is full.")],
    ids=lambda fault: type(fault).__name__,
)
def test_whatever_keeps_a_scheduler_from_giving_code_it_can_be_asked_for_again(store, fault):
    faults = [fault]

    def fetch(code_hash):
        if faults:
            raise faults.pop()
        return store.fetch(code_hash)

    codes = Codes(fetch=fetch, put=store.put)
    with pytest.raises(Unanswered, match=type(fault).__name__) as told:
        codes.reference("a")
    assert told.value.__cause__ is fault
    codes.reference("a")
    assert store.fetched == ["a"]


def test_that_there_is_no_such_code_is_an_answer(store):
    codes = Codes(fetch=lambda code_hash: NotFound(f"there is no code {code_hash}."), put=store.put)
    with pytest.raises(NotFound, match="there is no code a"):
        codes.reference("a")


def test_that_rays_store_does_not_take_code_is_not_the_schedulers_fault(store):
    def put(code):
        raise MemoryError

    with pytest.raises(MemoryError):
        Codes(fetch=store.fetch, put=put).reference("a")
