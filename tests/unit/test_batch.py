"""What a worker does with a task that several attempts share, and what it leaves behind."""

import pytest

from raysched.cluster.batch import Batch, Notes, read_notes
from raysched.cluster.mail import Kind, OrderLetter, ReportLetter

KEYS = ["a#1", "b#1", "c#1"]


def orders(keys=KEYS):
    return [OrderLetter(key, "shape", "hash", b"code", b"order") for key in keys]


def end(key):
    return ReportLetter(key, Kind.END, b"end of " + key.encode())


@pytest.fixture
def notes(tmp_path):
    return Notes(tmp_path, KEYS)


def test_attempts_are_worked_off_in_their_order_and_all_told_at_the_end():
    batch = Batch(1, orders(), None)
    for key in KEYS:
        assert batch.next().key == key
        batch.over(end(key))
    assert batch.next() is None
    assert batch.untold() == [end(key) for key in KEYS]


def test_what_stands_behind_a_long_attempt_is_given_back_and_not_begun():
    batch = Batch(1, orders(), None)
    batch.next()
    batch.over(end("a#1"))
    batch.next()
    told = batch.give_back()
    assert told == [end("a#1"), ReportLetter("c#1", Kind.BACK, b"")]
    assert batch.next() is None


def test_what_was_acknowledged_is_not_told_again_and_the_rest_is():
    batch = Batch(1, orders(), None)
    batch.next()
    batch.over(end("a#1"))
    batch.next()
    told = batch.give_back()
    batch.over(end("b#1"))
    batch.told(len(told))
    assert batch.give_back() == [end("b#1")]
    assert batch.untold() == [end("b#1")]


def test_the_notes_say_what_had_ended_and_what_had_begun(tmp_path, notes):
    batch = Batch(1, orders(), notes)
    assert read_notes(tmp_path, KEYS) is None
    batch.next()
    assert read_notes(tmp_path, KEYS) == ([], "a#1")
    batch.over(end("a#1"))
    assert read_notes(tmp_path, KEYS) == ([], "a#1")
    batch.next()
    assert read_notes(tmp_path, KEYS) == ([end("a#1")], "b#1")
    batch.over(end("b#1"))
    batch.next()
    assert read_notes(tmp_path, KEYS) == ([end("a#1"), end("b#1")], "c#1")


def test_notes_cut_short_at_any_byte_say_what_the_whole_ones_before_said(tmp_path, notes):
    batch = Batch(1, orders(), notes)
    batch.next()
    batch.over(end("a#1"))
    (file,) = tmp_path.glob("*.notes")
    first = file.stat().st_size
    batch.next()
    whole = file.read_bytes()
    for size in range(len(whole)):
        file.write_bytes(whole[:size])
        assert read_notes(tmp_path, KEYS) == (None if size < first else ([], "a#1"))


def test_removed_notes_say_nothing(tmp_path, notes):
    notes.write([], "a#1")
    notes.remove()
    assert read_notes(tmp_path, KEYS) is None
    assert list(tmp_path.iterdir()) == []
