"""Policies: closed sets, whole numbers in range, and delays that never overflow."""

from __future__ import annotations

import math
from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostile import Hostile
from raysched.errors import DeclarationError, InvalidPolicy, InvalidUnit
from raysched.spec.policies import Catchup, Overlap, Placement, Retry, count, policy, retry


@pytest.mark.parametrize("kind", [Overlap, Catchup, Placement])
def test_a_policy_is_named_by_its_word_or_its_member(kind):
    for member in kind:
        assert policy(kind, str(member), of="it") is policy(kind, member, of="it") is member


@pytest.mark.parametrize("kind", [Overlap, Catchup, Placement])
@pytest.mark.parametrize(
    "bad", ["", "Skip", "SKIP", "skip ", "none\n", None, 0, True, ["skip"], b"skip", Hostile()]
)
def test_any_other_word_is_refused_with_the_choices(kind, bad):
    with pytest.raises(InvalidPolicy, match="of_it=") as caught:
        policy(kind, bad, of="of_it")
    assert all(f'"{member}"' in caught.value.why for member in kind)
    assert 'of_it="' in caught.value.fix


def test_each_member_of_a_policy_is_not_one_of_another():
    with pytest.raises(InvalidPolicy):
        policy(Overlap, Catchup.ALL, of="overlap")


@pytest.mark.parametrize("bad", [0, -1, 11, True, 1.0, 1.5, "3", None, math.nan, 10**4000])
def test_a_count_is_a_whole_number_in_its_range(bad):
    with pytest.raises(InvalidPolicy, match="places=") as caught:
        count(bad, of="places", most=10)
    assert "whole number from 1 to 10" in caught.value.why
    assert count(int(caught.value.fix.partition("=")[2].rstrip(".")), of="places", most=10)


@pytest.mark.parametrize(
    "bad", [-1, 1001, True, 1.5, "3", None, [], np.int64(3), {"retries": 3}, Hostile()]
)
def test_retries_are_a_count_or_a_policy(bad):
    with pytest.raises(InvalidPolicy, match="retries=") as caught:
        retry(bad)
    assert "from 0 to 1,000" in caught.value.why
    with pytest.raises(InvalidPolicy):
        Retry(bad)


@pytest.mark.parametrize(
    "bad", [0, 0.99, -2, 100.1, math.nan, math.inf, True, "2", None, 10**400, Hostile()]
)
def test_a_backoff_is_a_number_from_1_to_100(bad):
    with pytest.raises(InvalidPolicy, match="backoff=") as caught:
        Retry(1, backoff=bad)
    assert "1 to 100" in caught.value.why


@pytest.mark.parametrize("bad", ["5", 5, "-5s", timedelta(-1), "", Hostile()])
@pytest.mark.parametrize("option", ["delay", "max_delay"])
def test_a_delay_is_a_duration(option, bad):
    with pytest.raises(InvalidUnit, match=f"^{option}="):
        Retry(1, **{option: bad})


def test_each_delay_is_the_one_before_times_backoff_up_to_the_longest():
    policy = Retry(5, delay="30s", backoff=2, max_delay="3m")
    assert [policy.delay_after(n).total_seconds() for n in range(1, 6)] == [30, 60, 120, 180, 180]
    assert Retry(3, delay="2h").delay_after(1) == timedelta(hours=2)  # and not the default's hour
    assert Retry(3, delay="1h", max_delay="1m").delay_after(1) == timedelta(minutes=1)
    assert Retry(3, delay="1m", max_delay="0s").delay_after(1) == timedelta(0)
    assert Retry(3).delay_after(3) == timedelta(0)


@given(
    delay=st.timedeltas(timedelta(0), timedelta(days=36_500)),
    longest=st.timedeltas(timedelta(0), timedelta(days=36_500)),
    backoff=st.one_of(st.integers(1, 100), st.floats(1, 100)),
    attempt=st.integers(1, 1000),
)
def test_no_delay_overflows_shrinks_or_exceeds_the_longest(delay, longest, backoff, attempt):
    policy = Retry(1000, delay=delay, backoff=backoff, max_delay=longest)
    now, later = policy.delay_after(attempt), policy.delay_after(attempt + 1)
    assert timedelta(0) <= now <= later <= longest
    assert now >= min(delay, longest)


def test_the_extreme_policy_reaches_its_longest_delay():
    assert Retry(1000, delay="1ms", backoff=100.0).delay_after(1000) == timedelta(hours=1)
    assert Retry(1000, backoff=100.0).delay_after(1000) == timedelta(0)


def test_a_retry_policy_does_not_depend_on_how_it_was_written():
    assert Retry(3, "90s", 2) == Retry(3, "1m30s", 2.0) == retry(Retry(3, timedelta(seconds=90), 2))
    assert retry(3) == Retry(3)
    assert issubclass(InvalidPolicy, DeclarationError)
