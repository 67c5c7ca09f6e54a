"""The history and the results of a home, read from its files or from afar: the same answers."""

from __future__ import annotations

import pickle
from datetime import datetime, timedelta

import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import ipc
from samples import START, TICK, TOCK, finished, run, seal

from raysched.core.ports import Changes
from raysched.core.records import run_row
from raysched.core.states import State
from raysched.errors import InputError, StoreError
from raysched.spec.notebook import ExecutedNotebook
from raysched.store import layout, query, reader, results, stream
from raysched.store.archive import FileArchive, Question
from raysched.store.desk import Desk
from raysched.store.distant import DistantArchive
from raysched.store.home import open_home
from raysched.store.schema import schema_of, to_table

DAY = timedelta(days=1)


class Wire:
    """Calls a desk as if from another machine: only what can be pickled travels."""

    def __init__(self, desk):
        self.desk, self.calls, self.largest = desk, [], 0

    def __call__(self, method, *arguments):
        self.calls.append(method)
        arguments = pickle.loads(pickle.dumps(arguments))
        answer = pickle.dumps(getattr(self.desk, method)(*arguments))
        self.largest = max(self.largest, len(answer))
        return pickle.loads(answer)


def distant(home, piece_bytes=300):
    return DistantArchive(Wire(Desk(home, piece_bytes=piece_bytes)))


@pytest.fixture(params=["files", "distant"])
def archive(request, home):
    return FileArchive(home) if request.param == "files" else distant(home)


def fill(store, home):
    """Sealed runs on three days, unsealed ones, and one that goes on."""
    for n in range(3):
        ids = [f"tick@{n}-{k}" for k in range(5)]
        store.commit(finished(TICK, ids, end=START + n * DAY))
        seal(store, home)
    store.commit(finished(TOCK, ["tock@1"], end=START + 3 * DAY))
    live = run(TICK, "tick@live", state=State.RETRYING, reason="exit code 1", attempt=2)
    store.commit(Changes(runs={live.run_id: live}))


def ids(archive, dataset="runs", **asked):
    return sorted(archive.frame(Question(dataset=dataset, **asked))["run_id"])


# -- one contract


QUESTIONS = [
    *({"dataset": name} for name in ("runs", "attempts", "decisions", "logs")),
    {"dataset": "runs", "job": "tock"},
    {"dataset": "runs", "job": ["tick", "tock"], "status": "succeeded"},
    {"dataset": "runs", "status": "retrying"},
    {"dataset": "runs", "run_id": "tick@1-1"},
    {"dataset": "runs", "run_id": "nobody' OR 1=1 --\0"},
    {"dataset": "runs", "since": START + timedelta(seconds=1)},
    {"dataset": "runs", "until": START},
    {"dataset": "logs", "run_id": "tick@2-4"},
    {"dataset": "decisions", "since": START + DAY, "job": "tick"},
]


@pytest.mark.parametrize("asked", QUESTIONS, ids=lambda asked: "-".join(map(str, asked)))
def test_every_question_has_the_answer_that_the_files_and_the_database_give(
    store, home, archive, asked
):
    fill(store, home)
    found = archive.frame(Question(**asked))
    pd.testing.assert_frame_equal(found, query.frame(home, **asked))


def test_a_home_in_which_nothing_ever_ran_has_empty_answers_with_all_columns(home, archive):
    found = archive.frame(Question(dataset="runs"))
    assert len(found) == 0
    assert {"run_id", "status", "tags"} <= set(found.columns)
    assert archive.resolve("tick") == []


def test_a_run_is_shown_once_and_as_ended_however_its_rows_move(store, home, archive):
    store.commit(Changes(runs={"tick@1": run(TICK, "tick@1")}))
    assert ids(archive, status="queued") == ["tick@1"]
    done = finished(TICK, ["tick@1"])
    store.commit(done)
    assert ids(archive, status="succeeded") == ["tick@1"]
    seal(store, home)
    # As if the scheduler died between the file and the deletion of its rows.
    store.commit(done)
    assert ids(archive) == ["tick@1"]
    assert ids(archive, status="queued") == []
    assert len(ids(archive, "logs")) == 2


def test_ids_are_found_by_their_beginning(store, home, archive):
    fill(store, home)
    assert archive.resolve("tick@1-") == [f"tick@1-{k}" for k in range(5)]
    assert archive.resolve("tick@li") == ["tick@live"]


def test_a_question_that_makes_no_sense_is_refused(home, archive):
    with pytest.raises(InputError, match="no dataset"):
        archive.frame(Question(dataset="../runs"))
    with pytest.raises(InputError, match="time zone"):
        archive.frame(Question(dataset="runs", since=datetime(2026, 1, 1)))
    with pytest.raises(InputError, match="no status"):
        archive.frame(Question(dataset="logs", status="failed"))


def test_a_damaged_file_is_named(store, home, archive):
    fill(store, home)
    (file, *_) = sorted((home / "runs").rglob("*.parquet"))
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(StoreError, match=file.name):
        archive.frame(Question(dataset="runs"))


def keep(home, value, run_id="tick@1"):
    written = results.write_result(home, "tick", run_id, 1, value)
    results.publish(home, written.hidden_path, written.final_path)
    return written.final_path


def test_a_result_is_read_as_it_was_written(home, archive):
    frame = pd.DataFrame({"n": range(1000), "t": ["łódź"] * 1000})
    path = keep(home, frame)
    with archive.holding(path) as here:
        pd.testing.assert_frame_equal(results.read_result(here, path).to_pandas(), frame)


def test_what_a_failed_attempt_left_is_read_as_it_was_written(home, archive):
    written = results.write_result(home, "tick", "tick@1", 2, ExecutedNotebook(b"{}"))
    path = results.partial_path("tick", "tick@1", 2)
    results.publish(home, written.hidden_path, path)
    with archive.holding(path) as here:
        assert results.read_notebook(here, path) == b"{}"


@pytest.mark.parametrize(
    "path",
    ["../state.db", "state.db", "/nowhere/x", "results/tick/../../state.db", "results/tick/x.sh",
     ".staging/results/tick/x#1.tmp", "", "\0", "results/tick/gone.parquet"],
)  # fmt: skip
def test_nothing_but_a_result_is_read(home, archive, path):
    (home / "state.db").touch()
    with pytest.raises(StoreError), archive.holding(path) as here:
        results.read_result(here, path)


def test_a_result_that_is_a_link_is_not_followed(home, archive, tmp_path):
    path = keep(home, pd.DataFrame({"n": [1]}))
    (home / path).rename(tmp_path / "elsewhere")
    (home / path).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StoreError), archive.holding(path) as here:
        results.read_result(here, path)


@pytest.mark.parametrize(
    "path",
    ["elsewhere/x", "results/x.parquet", "results/tick/a/x.parquet", "results/tick/x#1.ipynb",
     "partial/tick/x.ipynb", "partial/tick/x#y.ipynb", "partial/../x#1.ipynb"],
)  # fmt: skip
def test_a_path_is_judged_before_anything_is_written_or_asked_for_it(path):
    def never(method, *arguments):
        raise AssertionError("the desk is asked")

    with pytest.raises(StoreError, match="no path of one"), DistantArchive(never).holding(path):
        pass


# -- what of the files is read


def test_a_question_about_one_run_takes_no_more_than_its_rows_from_a_file(store, home):
    fill(store, home)
    place = open_home(home)
    wanted = reader.wanted("logs", schema_of("logs").empty_table(), run_id="tick@1-1")
    days = layout.days(place, "logs")
    rows = [len(b) for day in days for b in stream._of_day(place, "logs", day, wanted.pushed)]
    assert sum(rows) == 2


def in_batches(*asked, **filters):
    return pa.Table.from_batches(stream.batches(*asked, **filters), schema_of("runs"))


@pytest.mark.parametrize("read", [reader.read, in_batches])
def test_a_run_that_the_database_still_shows_as_queued_is_what_its_file_says(store, home, read):
    queued = to_table("runs", [run_row(run(TICK, "tick@1"), TICK.spec)])
    store.commit(finished(TICK, ["tick@1"]))
    seal(store, home)
    place = open_home(home)
    assert read(place, "runs", unsealed=queued, status="queued").num_rows == 0
    assert read(place, "runs", unsealed=queued, status="succeeded").num_rows == 1


# -- pieces


def test_an_answer_comes_in_pieces_and_a_small_one_in_one(store, home):
    fill(store, home)
    many = distant(home, piece_bytes=1)
    assert len(many.frame(Question(dataset="runs"))) == 17
    assert many._call.calls == ["ask"] + ["more"] * 16
    one = distant(home, piece_bytes=1 << 20)
    assert len(one.frame(Question(dataset="runs", run_id="tick@1-1"))) == 1
    assert one._call.calls == ["ask"]


def test_a_question_about_one_run_moves_no_history(store, home):
    store.commit(finished(TICK, [f"tick@{n:04d}" for n in range(2000)]))
    seal(store, home)
    afar = distant(home, piece_bytes=1 << 20)
    assert ids(afar, run_id="tick@0007") == ["tick@0007"]
    assert afar._call.largest < 16_000


def test_no_piece_is_larger_than_it_may_be(store, home):
    store.commit(finished(TICK, [f"tick@{n:04d}" for n in range(500)]))
    seal(store, home)
    desk = Desk(home, piece_bytes=8_000)
    piece = desk.ask(Question(dataset="runs"))
    rows, number = 0, 0
    while True:
        table = ipc.open_stream(piece.rows).read_all()
        assert table.nbytes < 16_000
        rows, number = rows + table.num_rows, number + 1
        if not piece.more:
            break
        piece = desk.more(piece.more, number)
    assert (rows, number > 10) == (500, True)


def test_a_piece_that_got_lost_on_the_way_is_given_again(store, home):
    fill(store, home)
    desk = Desk(home, piece_bytes=1)
    first = desk.ask(Question(dataset="runs"))
    second = desk.more(first.more, 1)
    assert desk.more(first.more, 1) == second
    assert desk.more(first.more, 2) != second
    assert desk.more(first.more, 1) is None


def test_an_answer_that_is_forgotten_half_way_is_asked_for_again(store, home):
    fill(store, home)

    class Replaced(Wire):
        """The desk is another one from the third call on."""

        def __call__(self, method, *arguments):
            if len(self.calls) == 2:
                self.desk = Desk(home, piece_bytes=300)
            return super().__call__(method, *arguments)

    wire = Replaced(Desk(home, piece_bytes=300))
    assert len(DistantArchive(wire).frame(Question(dataset="runs"))) == 17
    assert wire.calls.count("ask") == 2


def test_an_answer_that_is_always_forgotten_is_an_error(store, home):
    fill(store, home)

    def call(method, *arguments):
        return getattr(Desk(home, piece_bytes=300), method)(*arguments)

    with pytest.raises(StoreError, match="could not be read to its end"):
        DistantArchive(call).frame(Question(dataset="runs"))


def test_answers_that_nobody_goes_on_asking_for_are_forgotten(store, home):
    fill(store, home)
    now = 0.0
    desk = Desk(home, piece_bytes=1, clock=lambda: now)
    left = desk.ask(Question(dataset="runs"))
    now = 61.0
    assert desk.ask(Question(dataset="runs")).more
    assert desk.more(left.more, 1) is None
    kept = [desk.ask(Question(dataset="runs")).more for _ in range(40)]
    assert [desk.more(name, 1) is None for name in kept] == [True] * 8 + [False] * 32


def test_an_answer_that_fails_half_way_does_not_seem_whole_when_it_is_asked_for_again(store, home):
    fill(store, home)
    file = sorted((home / "runs").rglob("*.parquet"))[1]
    file.write_bytes(file.read_bytes()[:-20])
    desk = Desk(home, piece_bytes=1)
    name, number = desk.ask(Question(dataset="runs")).more, 1

    def read_on():
        nonlocal number
        while desk.more(name, number):
            number += 1

    with pytest.raises(StoreError, match=file.name):
        read_on()
    assert desk.more(name, number) is None


def test_a_result_is_fetched_in_pieces(home):
    path = keep(home, pd.DataFrame({"n": range(10_000)}))
    afar = distant(home, piece_bytes=1000)
    with afar.holding(path) as here:
        assert results.read_result(here, path).num_rows == 10_000
    assert afar._call.calls.count("file") == (home / path).stat().st_size // 1000 + 2
    assert afar._call.largest < 1100
