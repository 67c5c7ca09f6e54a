"""A result is staged in the home, or shipped there piece by piece: one contract, two ways.

And the rest of a staged result's life: it is published, dropped, or swept up.
"""

from __future__ import annotations

import errno
import os
import shutil
import time

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import fs as pafs
from samples import deployed, run, version

from raysched.core.ports import Changes
from raysched.core.states import State
from raysched.errors import StoreError
from raysched.spec.notebook import ExecutedNotebook
from raysched.store import beacon, leftovers, results
from raysched.store.dock import PIECE_BYTES, Dock, Dropped, Piece, Whole
from raysched.store.ferry import Ferry
from raysched.store.history import History
from raysched.store.home import STAGING, LocalHome, RemoteHome
from raysched.store.sql import SqlStore

JOB = "etl"
RUN = "etl@2026-11-22T06:00:00Z"
KEY = f"{RUN}#1"
FRAME = pd.DataFrame({"n": range(1000), "t": ["łódź"] * 1000})


class Killed(BaseException):
    """The worker's process dies here."""


@pytest.fixture
def home(tmp_path):
    return History(tmp_path / "home").home


@pytest.fixture(params=["here", "shipped"])
def place(request, home):
    return home if request.param == "here" else shipped(home)


def shipped(home, key=KEY):
    arriving = Dock(home.root)
    return Ferry(lambda hidden, step: arriving.take(key, hidden, step))


def written(place, value=FRAME, attempt=1):
    return results.write_result(place, JOB, RUN, attempt, value)


def noise(rows):
    """A table that does not compress: eight bytes a row."""
    return pa.table({"noise": np.random.default_rng(1).integers(0, 1 << 62, rows)})


def staged(home):
    root = f"{home.root}/{results.STAGED}"
    return [os.path.join(folder, name) for folder, _, names in os.walk(root) for name in names]


# -- one contract


def test_a_staged_result_is_hidden_until_it_is_published_and_comes_back_equal(home, place):
    kept = written(place)
    assert kept.rows == 1000
    assert len(staged(home)) == 1
    assert not (os.path.exists(home.path(kept.final_path)))
    results.publish(home, kept.hidden_path, kept.final_path)
    back = results.read_result(home, kept.final_path).to_pandas()
    pd.testing.assert_frame_equal(back, FRAME)
    assert staged(home) == []


def test_a_table_of_many_pieces_is_the_same_table(home, place):
    kept = written(place, table := noise(2_000_000))
    assert os.path.getsize(staged(home)[0]) > 3 * PIECE_BYTES
    results.publish(home, kept.hidden_path, kept.final_path)
    assert results.read_result(home, kept.final_path) == table


@pytest.mark.parametrize("error", [ValueError("bad page"), SystemExit("out"), KeyboardInterrupt()])
def test_a_value_that_fails_on_the_way_leaves_nothing(home, place, error):
    def batches():
        for _ in range(3):
            yield noise(1_000_000).to_batches()[0]
        raise error

    schema = pa.schema({"noise": pa.int64()})
    with pytest.raises(Exception, match="while its batches were read"):
        written(place, pa.RecordBatchReader.from_batches(schema, batches()))
    assert staged(home) == []


@given(st.lists(st.binary(max_size=50), max_size=20))
@settings(deadline=None, max_examples=50)
def test_whatever_is_written_in_whatever_portions_arrives(tmp_path_factory, portions):
    home = History(tmp_path_factory.getbasetemp() / "any").home
    hidden = f"{results.STAGED}/{results.owned_by(JOB, RUN, 1)}.{'0' * 32}.parquet.tmp"
    told = []

    def fill(file):
        at = 0
        for portion in portions:
            assert file.tell() == at
            at += file.write(portion)

    inner = Dock(home)
    ferry = Ferry(lambda name, step: (told.append(step), inner.take(KEY, name, step)))
    ferry.stage(hidden, fill)
    assert home.read_bytes(hidden) == b"".join(portions)
    home.discard(hidden)


# -- death at each step


def test_a_worker_that_dies_at_any_step_leaves_nothing_that_a_reader_sees(home):
    table = noise(1_500_000)
    steps = []
    arriving = Dock(home)

    def tell(hidden, step):
        arriving.take(KEY, hidden, step)
        steps.append(step)

    written(Ferry(tell), table)
    assert len(steps) >= 4
    for n in range(len(steps)):
        for after in (False, True):
            count = 0

            def tell(hidden, step, n=n, after=after):
                nonlocal count
                count += 1
                if count > n + 1 or (count == n + 1 and not after):
                    raise Killed
                arriving.take(KEY, hidden, step)
                if count == n + 1:
                    raise Killed

            with pytest.raises(Killed):
                written(Ferry(tell), table)
    assert not os.path.exists(home.path(results.RESULTS))
    assert leftovers.sweep(home, list, young_s=-60)
    assert staged(home) == []


def test_a_step_that_is_told_twice_and_a_dock_that_is_made_anew_change_nothing(home):
    def tell(hidden, step):
        Dock(home.root).take(KEY, hidden, step)
        Dock(home.root).take(KEY, hidden, step)

    table = noise(1_500_000)
    kept = written(Ferry(tell), table)
    results.publish(home, kept.hidden_path, kept.final_path)
    assert results.read_result(home, kept.final_path) == table


def test_a_full_disk_is_said_to_the_writer_and_the_part_that_fitted_is_removed(home, monkeypatch):
    written_so_far = 0
    real = os.pwrite

    def pwrite(fd, data, offset):
        nonlocal written_so_far
        written_so_far += len(data)
        if written_so_far > 2 * PIECE_BYTES:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(fd, data, offset)

    monkeypatch.setattr(os, "pwrite", pwrite)
    table = noise(1_500_000)
    with pytest.raises(StoreError, match="No space") as caught:
        written(shipped(home), table)
    assert caught.value.fix == "free some space."
    assert staged(home) == []


def test_the_dock_itself_keeps_no_file_that_the_disk_refused(home, monkeypatch):
    arriving = Dock(home)
    arriving.take(KEY, MINE, Piece(0, b"abc"))

    def refuse(fd, data, offset):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "pwrite", refuse)
    with pytest.raises(StoreError, match="Input/output error"):
        arriving.take(KEY, MINE, Piece(3, b"def"))
    assert staged(home) == []


def test_whatever_is_written_at_once_leaves_in_pieces_of_their_size(home):
    block = os.urandom(3 * PIECE_BYTES + 1)
    shipped(home).stage(MINE, lambda file: file.write(block))
    assert home.read_bytes(MINE) == block


# -- what the dock refuses

TOKEN = "0123456789abcdef" * 2
MINE = f"{results.STAGED}/{results.owned_by(JOB, RUN, 1)}.{TOKEN}.ipynb.tmp"


@pytest.mark.parametrize(
    "hidden",
    [
        MINE.replace("#1", "#2"),
        MINE.replace("etl/", "other/"),
        MINE.replace("06~00", "07~00"),
        MINE.replace(".tmp", ".parquet"),
        MINE.replace("ipynb", "sh"),
        MINE.replace(TOKEN, "x"),
        "/nowhere/x",
        "../../x",
        f"{STAGING}/../results/etl/x",
        "results/etl/x.parquet",
        "",
        "\0",
    ],
)
def test_the_dock_takes_no_name_but_one_of_the_attempt_itself(home, hidden):
    with pytest.raises(StoreError, match="no staged result"):
        Dock(home).take(KEY, hidden, Piece(0, b"x"))
    assert staged(home) == []


@pytest.mark.parametrize("key", ["", "#", "x", "#1", "etl@x#y", "../..@x#1"])
def test_the_dock_takes_no_key_that_is_none(home, key):
    with pytest.raises(StoreError):
        Dock(home).take(key, MINE, Piece(0, b"x"))


@pytest.mark.parametrize(
    "step",
    [
        Piece(4, b"x"),
        Piece(-1, b"x"),
        Piece(0, b"x" * (PIECE_BYTES + 1)),
        Piece(0, "text"),
        Piece("0", b"x"),
        Whole(4),
        Whole(2),
        "no step",
        None,
    ],
)
def test_the_dock_takes_no_step_that_does_not_follow_on_those_before(home, step):
    arriving = Dock(home)
    arriving.take(KEY, MINE, Piece(0, b"abc"))
    with pytest.raises(StoreError):
        arriving.take(KEY, MINE, step)
    assert home.read_bytes(MINE) == b"abc"


def test_the_dock_follows_no_link(home, tmp_path):
    outside = tmp_path / "outside"
    outside.write_bytes(b"precious")
    os.makedirs(os.path.dirname(home.path(MINE)))
    os.symlink(outside, home.path(MINE))
    for step in (Piece(0, b"x"), Whole(8), Dropped()):
        with pytest.raises(StoreError):
            Dock(home).take(KEY, MINE, step)
    assert outside.read_bytes() == b"precious"


def test_no_result_is_shipped_to_an_object_store():
    with pytest.raises(StoreError, match="object store"):
        Dock(RemoteHome(pafs._MockFileSystem(), "bucket")).take(KEY, MINE, Piece(0, b"x"))


def test_a_long_file_waits_for_the_disk_on_its_way(home, monkeypatch):
    synced = []
    real = os.fdatasync
    monkeypatch.setattr(os, "fdatasync", lambda fd: (synced.append(os.fstat(fd).st_size), real(fd)))
    monkeypatch.setattr("raysched.store.home.local._SYNC_BYTES", 2 * PIECE_BYTES)
    block = bytes(PIECE_BYTES)
    shipped(home).stage(MINE, lambda file: [file.write(block) for _ in range(5)])
    assert synced == [2 * PIECE_BYTES, 4 * PIECE_BYTES]


# -- which home


def test_the_home_is_known_by_a_word_that_only_it_holds(home, tmp_path):
    beacon.light(home, "launcher", "first")
    copy = tmp_path / "copy"
    shutil.copytree(home.root, copy)
    beacon.light(home, "launcher", "second")
    assert beacon.seen(home.root, "launcher", "second").root == home.root
    assert beacon.seen(copy, "launcher", "second") is None
    assert beacon.seen(home.root, "scheduler", "second") is None
    assert beacon.seen(tmp_path / "nowhere", "launcher", "second") is None
    assert beacon.seen(tmp_path, "launcher", "second") is None


def test_a_home_that_cannot_be_written_says_so(home, tmp_path):
    assert home.writable
    assert not LocalHome(tmp_path / "nowhere").writable


# -- what is left over


@pytest.fixture
def store(home, clock):
    store = SqlStore(home.path("state.db"), clock)
    store.open()
    store.commit(deployed(version(JOB)))
    yield store
    store.close()


def test_a_staged_result_goes_when_its_run_is_over_or_tries_again(home, store):
    first, second = written(home, attempt=1), written(home, attempt=2)
    alive = run(version(JOB), RUN, state=State.RUNNING, attempt=1)
    store.commit(Changes(runs={RUN: alive}))
    assert leftovers.sweep(home, store.unfinished, young_s=-60) == [second.hidden_path]
    assert results.owner(first.hidden_path) == results.owned_by(JOB, RUN, 1)
    store.commit(Changes(runs={RUN: run(version(JOB), RUN, state=State.QUEUED, attempt=2)}))
    assert leftovers.sweep(home, store.unfinished, young_s=-60) == [first.hidden_path]
    third = written(home, attempt=2)
    assert leftovers.sweep(home, store.unfinished, young_s=-60) == []
    store.commit(Changes(runs={RUN: None}))
    assert leftovers.sweep(home, store.unfinished, young_s=-60) == [third.hidden_path]
    assert staged(home) == []


def test_what_a_failed_attempt_left_is_kept_while_its_run_tries_again_and_is_over(home, store):
    hidden = written(home, ExecutedNotebook(b"{}")).hidden_path
    kept = results.partial_path(JOB, RUN, 1)
    results.publish(home, hidden, kept)
    untold = written(home, ExecutedNotebook(b"{}"), attempt=2)  # its worker dies right here
    store.commit(Changes(runs={RUN: run(version(JOB), RUN, state=State.QUEUED, attempt=3)}))
    assert leftovers.sweep(home, store.unfinished, young_s=-60) == [untold.hidden_path]
    store.commit(Changes(runs={RUN: None}))
    assert leftovers.sweep(home, store.unfinished, young_s=-60) == []
    assert results.read_notebook(home, kept) == b"{}"


def test_a_result_that_is_staged_after_the_listing_is_not_swept_up(home, store):
    old = written(home, attempt=1)
    new = []

    def unfinished():
        # The run is made, begun and its result staged between the two looks.
        new.append(results.write_result(home, JOB, "etl@new", 1, FRAME))
        return []

    assert leftovers.sweep(home, unfinished, young_s=-60) == [old.hidden_path]
    assert staged(home) == [home.path(new[0].hidden_path)]


def test_a_young_file_is_spared_and_costs_no_question_to_the_database(home):
    written(home)

    def never():
        raise AssertionError("the database is asked")

    assert leftovers.sweep(home, never) == []
    later = time.time() + 61
    assert len(leftovers.sweep(home, list, now=lambda: later)) == 1


def test_only_staged_results_are_swept_up(home):
    folder = home.path(f"{results.STAGED}/etl")
    os.makedirs(folder)
    for name in ("x", "README", f"{RUN}#1.tmp"):
        open(f"{folder}/{name}", "w").close()
    open(home.path(f"{results.STAGED}/file"), "w").close()
    assert leftovers.sweep(home, list, young_s=-60) == []
    assert len(staged(home)) == 4


def test_nothing_is_swept_up_in_an_object_store():
    assert leftovers.sweep(RemoteHome(pafs._MockFileSystem(), "bucket"), list) == []
