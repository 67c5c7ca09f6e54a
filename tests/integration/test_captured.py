"""What a job takes along: it is weighed, and what cannot travel is named. No cluster needed."""

import os
import threading
import warnings

import pytest

import raysched as rs
from raysched.errors import NotPicklable
from raysched.runners import code
from raysched.runners.pinned import pin


def weighing(megabytes: int) -> bytes:
    return os.urandom(1024 * 1024) * megabytes


def test_more_than_10_mb_of_data_is_warned_of_with_its_largest_variables():
    table, small = weighing(12), {"a": 1}

    @rs.job(name="heavy")
    def heavy():
        return len(table) + len(small)

    with pytest.warns(UserWarning, match="job 'heavy' takes along 12.0 MiB of data") as told:
        pin(heavy)
    text = str(told[0].message)
    assert "the captured variable 'table' weighs 12.0 MiB (bytes)" in text
    assert text.index("'table'") < text.index("'small'")
    assert "read it inside the function" in text
    assert told[0].filename == __file__


def test_what_is_lighter_is_sent_without_a_word():
    table = weighing(9)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pin(rs.job(name="light")(lambda: table))


def test_more_than_64_mib_are_refused_with_the_culprit():
    table = weighing(65)
    with pytest.raises(NotPicklable, match=r"takes along 65\.0 MiB") as raised:
        pin(rs.job(name="heavy")(lambda: table))
    assert "'table' weighs 65.0 MiB (bytes)" in raised.value.why


def test_what_a_helper_uses_is_named_with_the_helper():
    lock = threading.Lock()

    def helper():
        return lock

    def outer():
        return helper()

    with pytest.raises(NotPicklable, match=r"'lock' \(used by helper\(\)\) is of"):
        code.pin(outer, name="a")
