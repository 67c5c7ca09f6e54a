"""Names: letters, digits and a few marks; nothing that a path, a query or a terminal reads."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raysched.errors import InvalidName
from raysched.spec.names import job_name, tag

GOOD = ["a", "_", "7", "daily-delays", "flights.daily", "A_b-C.d", "_private", "x-", "a" * 100]
BAD = {
    "nothing": "",
    "a path": "a/b",
    "a path up": "..",
    "a path inside": "a/../b",
    "two dots": "a..b",
    "a hidden file": ".a",
    "a trailing dot": "a.",
    "a Windows path": "a\\b",
    "an option": "-rf",
    "a blank": "a b",
    "a trailing newline": "a\n",
    "a NUL": "a\0b",
    "an escape": "a\x1b[31m",
    "a bidi mark": "a\u202eb",
    "a zero-width mark": "a\u200bb",
    "a letter beyond ASCII": "café",
    "a digit beyond ASCII": "a\u0663",
    "a lone surrogate": "a\ud800",
    "an @ as in run ids": "a@b",
    "a # as in attempts": "a#1",
    "a quote": "a'b",
    "a lambda": "<lambda>",
    "101 characters": "a" * 101,
    "10 KB": "a" * 10_000,
    "a number": 7,
    "a bool": True,
    "bytes": b"a",
    "None": None,
    "a list": ["a"],
    "a subclass of str": type("Text", (str,), {})("a"),
}


@pytest.mark.parametrize("good", GOOD)
def test_a_plain_name_is_taken_as_it_is(good):
    assert job_name(good) == tag(good) == good


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD)
def test_any_other_name_is_refused(bad):
    for check, of in ((job_name, "job name"), (tag, "tag")):
        with pytest.raises(InvalidName) as caught:
            check(bad)
        assert caught.value.what.startswith(f"{of} ")
        assert "ASCII" in caught.value.why
        assert caught.value.fix
        assert str(caught.value).replace("\n  ", "").isprintable()


@given(st.text())
def test_a_name_that_passes_is_one_harmless_path_segment(text):
    try:
        name = job_name(text)
    except InvalidName:
        return
    assert name.isascii()
    assert name.isprintable()
    assert not set(name) & set("/\\ '\"@#:*?<>|$&;")
    assert name not in (".", "..")
    assert not name.startswith(("-", "."))
