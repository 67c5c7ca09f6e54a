"""Files of history appear whole, are merged in one step, and never twice."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
import threading
from datetime import UTC, date, datetime, timedelta

import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import fs as pafs
from pyarrow import parquet as pq

from raysched.errors import InputError, StoreError
from raysched.spec.units import to_us
from raysched.store import rollup
from raysched.store.history import History
from raysched.store.home import MARKER, STAGING, RemoteHome, local, open_home
from raysched.store.reader import read
from raysched.store.schema import DATASETS, to_table

DAY = date(2026, 11, 22)
NOON = to_us(datetime(2026, 11, 22, 12, tzinfo=UTC))


def run(number, **columns):
    """The row of a run that ended on DAY."""
    return {"run_id": f"r{number}", "job": "j", "finished_at": NOON + number, **columns}


def seal(history, *numbers, name=None):
    """Write runs as one file, named after them as the scheduler does."""
    name = name or f"{numbers[0]:06d}-{numbers[-1]:06d}"
    return history.write("runs", DAY, name, [run(number) for number in numbers])


def plain(home):
    """The run ids that plain pandas sees, in order, duplicates and all."""
    frame = pd.read_parquet(home / "runs", columns=["run_id"])
    return sorted(frame.run_id, key=lambda text: int(text[1:]))


def ids(count):
    return [f"r{number}" for number in range(count)]


def names(history, day=DAY):
    return [path.rpartition("/")[2] for path in history.files("runs", day)]


def staged(home):
    """What is unfinished, the lock apart."""
    return sorted(set(os.listdir(home / STAGING)) - {"roll-up.lock"})


@pytest.fixture
def home(tmp_path):
    return tmp_path / "home"


@pytest.fixture
def history(home):
    return History(home)


class Clock:
    """Seconds that pass when told to."""

    now = 0.0

    def __call__(self):
        return self.now


# -- writing ------------------------------------------------------------------------


def test_rows_land_in_one_file_of_their_day_with_the_promised_format(history, home):
    path = seal(history, 0, 1)
    assert path == "runs/date=2026-11-22/000000-000001.parquet"
    metadata = pq.read_metadata(home / path)
    assert metadata.row_group(0).column(0).compression == "ZSTD"
    assert pq.read_schema(home / path).equals(DATASETS["runs"])
    assert os.listdir(home / STAGING) == []


def test_plain_pandas_without_raysched_reads_each_run_once(history, home):
    seal(history, 0, 1)
    seal(history, 2)
    code = (
        "import sys, pandas; frame = pandas.read_parquet(sys.argv[1]);"
        "assert 'raysched' not in sys.modules;"
        "print(sorted(frame.run_id), frame.finished_at.dtype, frame.run_id.dtype)"
    )
    for rolled in (False, True):
        if rolled:
            assert history.roll_up("runs", DAY) == 2
        shown = subprocess.run(
            [sys.executable, "-I", "-c", code, str(home / "runs")],
            capture_output=True,
            text=True,
            check=True,
            cwd="/",
        ).stdout
        assert shown == "['r0', 'r1', 'r2'] datetime64[us, UTC] str\n"


def test_instants_are_exact_to_the_microsecond_for_plain_readers(history, home):
    end = datetime(2026, 11, 22, 23, 59, 59, 999999, tzinfo=UTC)
    history.write("runs", DAY, "a", [{"run_id": "r", "finished_at": to_us(end)}])
    assert pd.read_parquet(home / "runs").finished_at[0] == end


def test_a_table_is_written_as_its_rows_are(history, home):
    history.write("runs", DAY, "a", to_table("runs", [run(0)]))
    assert plain(home) == ["r0"]


def test_a_name_written_again_is_there_once(history, home):
    assert seal(history, 0, 1) == seal(history, 0, 1)
    assert plain(home) == ids(2)


def test_no_rows_make_no_file(history, home):
    assert history.write("runs", DAY, "a", []) == ""
    assert history.days("runs") == []


@pytest.mark.parametrize("name", ["", ".a", "_a", "a/b", "..", "a\n", "é", "a" * 151])
def test_a_name_that_is_no_plain_file_name_is_refused(history, name):
    with pytest.raises(StoreError, match="cannot name"):
        history.write("runs", DAY, name, [run(0)])


@pytest.mark.parametrize("end", [None, NOON + 86_400_000_000])
def test_a_row_of_another_day_is_refused_since_no_reader_would_find_it(history, end):
    with pytest.raises(StoreError, match="do not belong"):
        history.write("runs", DAY, "a", [run(0), {"run_id": "x", "finished_at": end}])
    assert history.days("runs") == []


def test_a_day_is_a_date_and_a_dataset_one_of_ours(history):
    with pytest.raises(StoreError, match="no date"):
        history.write("runs", datetime(2026, 11, 22, tzinfo=UTC), "a", [run(0)])
    with pytest.raises(InputError):
        history.write("../runs", DAY, "a", [run(0)])
    with pytest.raises(InputError):
        history.files("../runs", DAY)


def test_a_full_disk_is_an_error_and_leaves_nothing(history, home, monkeypatch):
    def full(fd):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(local.os, "fsync", full)
        with pytest.raises(StoreError, match="No space left") as caught:
            seal(history, 0)
    assert caught.value.fix == "free some space."
    assert history.files("runs", DAY) == []
    assert staged(home) == []


def test_contents_are_durable_before_the_name_and_the_name_before_the_return(history, monkeypatch):
    trace = []
    for call in ("fsync", "link"):
        real = getattr(os, call)

        def traced(*args, call=call, real=real):
            if call == "fsync":
                target = os.readlink(f"/proc/self/fd/{args[0]}")
                trace.append("contents" if target.endswith(".tmp") else os.path.basename(target))
            else:
                trace.append("name")
            return real(*args)

        monkeypatch.setattr(local.os, call, traced)
    seal(history, 0)
    # The new folders' own names become durable in their parents as well.
    assert trace == ["contents", "home", "runs", "name", "date=2026-11-22"]


# -- homes --------------------------------------------------------------------------


def test_a_home_is_its_owners_alone_and_shared_by_one_chmod(history, home):
    seal(history, 0)
    assert os.stat(home).st_mode & 0o777 == 0o700
    path = home / history.files("runs", DAY)[0]
    assert os.stat(path.parent).st_mode & 0o050 == 0o050
    assert os.stat(path).st_mode & 0o777 == 0o640


def test_a_home_keeps_its_identity(history, home):
    assert History(home).home.id == history.home.id != ""
    assert json.loads((home / MARKER).read_text())["format"] == 1


def test_a_home_of_a_newer_format_is_refused(history, home):
    (home / MARKER).write_text('{"id": "x", "format": 2}')
    with pytest.raises(StoreError, match="upgrade"):
        History(home)
    with pytest.raises(StoreError, match="upgrade"):
        read(home, "runs")


@pytest.mark.parametrize("text", ["", "[]", '{"id": "x"}', "\xff"])
def test_a_marker_that_is_none_is_refused(history, home, text):
    (home / MARKER).write_bytes(text.encode("latin-1"))
    with pytest.raises(StoreError, match="marker"):
        History(home)


def test_a_home_that_cannot_be_made_or_found_is_an_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be opened"):
        History(tmp_path / "file" / "home")
    with pytest.raises(StoreError, match="no raysched home"):
        open_home(tmp_path / "nowhere")
    with pytest.raises(StoreError, match="s3://"):
        open_home("teapot://home")


def test_a_file_uri_is_a_local_home(tmp_path):
    history = History(f"file://{tmp_path}/home")
    seal(history, 0)
    assert plain(tmp_path / "home") == ["r0"]


def test_an_object_store_holds_the_same_history_unmerged():
    store = pafs._MockFileSystem()
    home = RemoteHome(store, "bucket/home")
    home.check_format(create=True)
    history = History(home)
    seal(history, 0, 1)
    seal(history, 0, 1)
    seal(history, 2)
    assert history.needs_roll_up(DAY + timedelta(1)) == []
    assert history.roll_up("runs", DAY) == history.recover() == 0
    assert history.days("runs") == [DAY]
    assert names(history) == ["000000-000001.parquet", "000002-000002.parquet"]
    assert sorted(read(home, "runs").column("run_id").to_pylist()) == ids(3)
    assert pq.read_table("bucket/home/runs", filesystem=store).num_rows == 3


# -- rolling up -----------------------------------------------------------------------


def test_a_day_becomes_one_file_and_stays_one(history, home):
    for number in range(5):
        seal(history, number)
    assert history.roll_up("runs", DAY) == 5
    (merged,) = history.files("runs", DAY)
    assert plain(home) == ids(5)
    assert pq.read_schema(home / merged).equals(DATASETS["runs"])
    assert history.roll_up("runs", DAY) == 0


def test_the_merged_file_keeps_one_name_through_every_merge(history, home):
    # Whoever listed the folder before, and looks each file up only now, must find it.
    for number in (5, 6, 3, 7, 1):
        seal(history, number)
        history.roll_up("runs", DAY)
    assert names(history) == ["000005-000005.parquet"]


def test_a_listing_interrupted_by_a_roll_up_misses_nothing(history, home, monkeypatch):
    seal(history, 0)
    seal(history, 1)
    real, rolled = os.scandir, []

    def opened_before(path):
        entries = real(path)
        if str(path).endswith("date=2026-11-22") and not rolled:
            rolled.append(True)
            assert history.roll_up("runs", DAY) == 2
        return entries

    monkeypatch.setattr(local.os, "scandir", opened_before)
    assert sorted(read(home, "runs").column("run_id").to_pylist()) == ids(2)
    assert rolled


def test_a_name_is_remembered_through_every_merge(history, home):
    for number in range(4):
        seal(history, number)
        history.roll_up("runs", DAY)
        for earlier in range(number + 1):
            seal(History(home), earlier)  # by a successor that repeats what it finds unforgotten
        assert plain(home) == ids(number + 1)
    assert len(names(history)) == 1


def test_a_large_file_is_kept_as_it_is(history, home, monkeypatch):
    kept = seal(history, *range(100))
    inode = os.stat(home / kept).st_ino
    monkeypatch.setattr(rollup, "LARGE", os.stat(home / kept).st_size)
    seal(history, 100)
    seal(history, 101)
    assert history.roll_up("runs", DAY) == 2
    assert os.stat(home / kept).st_ino == inode
    assert plain(home) == ids(102)
    seal(history, *range(100))
    assert plain(home) == ids(102)


def test_past_days_of_several_files_and_days_of_very_many_are_worth_it(history):
    for number in range(33):
        seal(history, number)
        busy = history.needs_roll_up(DAY) == [("runs", DAY)]
        past = history.needs_roll_up(DAY + timedelta(1)) == [("runs", DAY)]
        assert (busy, past) == (number >= 32, number >= 1)
    history.roll_up("runs", DAY)
    assert history.needs_roll_up(DAY + timedelta(1)) == []
    seal(history, 33)
    assert history.needs_roll_up(DAY + timedelta(1)) == [("runs", DAY)]


def test_a_file_that_comes_while_the_merge_is_built_is_carried_over(history, home, monkeypatch):
    seal(history, 0)
    seal(history, 1)
    real = rollup.RollUp._exchange

    def late(self, generation, before):
        seal(history, 2)
        real(self, generation, before)

    monkeypatch.setattr(rollup.RollUp, "_exchange", late)
    assert history.roll_up("runs", DAY) == 2
    assert plain(home) == ids(3)
    assert len(names(history)) == 2


def test_a_file_renamed_into_the_folder_just_swapped_away_is_brought_back(history, home):
    seal(history, 0)
    seal(history, 1)
    history.roll_up("runs", DAY)
    (generation,) = staged(home)
    other = History(home.parent / "other")
    os.rename(
        home.parent / "other" / seal(other, 2),
        home / STAGING / generation / "000002-000002.parquet",
    )
    assert history.recover() == 1
    assert plain(home) == ids(3)
    assert staged(home) == []


def test_a_file_that_a_merged_one_holds_already_is_dropped_by_the_next_roll_up(history, home):
    seal(history, 0)
    seal(history, 1)
    history.roll_up("runs", DAY)
    other = History(home.parent / "other")
    late = seal(other, 1)
    os.rename(home.parent / "other" / late, home / late)  # by a process fenced off too late
    assert plain(home) == ["r0", "r1", "r1"]
    assert read(home, "runs").num_rows == 2
    history.roll_up("runs", DAY)
    assert plain(home) == ids(2)


def test_the_old_folder_stays_full_until_readers_that_opened_it_are_through(home):
    clock = Clock()
    history = History(home, clock=clock)
    seal(history, 0)
    seal(history, 1)
    reader = os.open(home / "runs/date=2026-11-22", os.O_RDONLY)
    history.roll_up("runs", DAY)
    clock.now += 59
    history.roll_up("runs", DAY)
    assert sorted(os.listdir(reader)) == ["000000-000000.parquet", "000001-000001.parquet"]
    os.close(reader)
    clock.now += 1
    history.roll_up("runs", DAY)
    assert staged(home) == []
    assert plain(home) == ids(2)


def test_only_one_process_rolls_up(history, home):
    seal(history, 0)
    seal(history, 1)
    with open(home / STAGING / "roll-up.lock", "w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        assert history.roll_up("runs", DAY) == 0
        (home / STAGING / "x.tmp").write_text("in use")
        assert history.recover() == 0
    assert history.roll_up("runs", DAY) == 2


@pytest.mark.parametrize("refusing", ["_exchange", "link"])
def test_without_an_exchange_of_folders_the_files_stay(history, home, monkeypatch, refusing):
    def refuse(*args):
        raise OSError(22, "Invalid argument")

    seal(history, *range(100))
    monkeypatch.setattr(rollup, "LARGE", os.stat(home / history.files("runs", DAY)[0]).st_size)
    seal(history, 100)
    seal(history, 101)
    monkeypatch.setattr(local if refusing == "_exchange" else local.os, refusing, refuse)
    assert history.roll_up("runs", DAY) == 0
    assert plain(home) == ids(102)
    assert staged(home) == []
    assert history.needs_roll_up(DAY + timedelta(1)) == []


def test_a_damaged_file_stops_the_roll_up_of_its_day_and_is_named(history, home):
    path = home / seal(history, 0)
    seal(history, 1)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(StoreError, match="000000-000000"):
        history.roll_up("runs", DAY)
    assert names(history) == ["000000-000000.parquet", "000001-000001.parquet"]
    assert staged(home) == []


def test_a_damaged_merge_keeps_what_it_replaced_from_being_deleted(history, home):
    seal(history, 0)
    seal(history, 1)
    history.roll_up("runs", DAY)
    (merged,) = history.files("runs", DAY)
    (home / merged).write_bytes(b"PAR1")
    (generation,) = staged(home)
    again = History(home)
    again.recover()
    assert sorted(os.listdir(home / STAGING / generation)) == [
        "000000-000000.parquet",
        "000001-000001.parquet",
    ]
    assert seal(again, 2) in again.files("runs", DAY)  # new rows are not held up by it


def test_row_groups_are_gathered_and_an_older_file_gains_the_new_columns(history, home):
    seal(history, 0)
    older = to_table("runs", [run(1)]).drop_columns(["origin", "metrics"])
    pq.write_table(older, home / "runs/date=2026-11-22/older.parquet")
    history.roll_up("runs", DAY)
    file = pq.ParquetFile(home / history.files("runs", DAY)[0])
    assert file.num_row_groups == 1
    assert file.schema_arrow.equals(DATASETS["runs"])
    assert plain(home) == ids(2)


def test_polars_and_duckdb_would_see_no_unfinished_file(history, home):
    seal(history, 0)
    seal(history, 1)
    history.roll_up("runs", DAY)
    # They take hidden names for data, so below a dataset there may be none at all.
    found = [name for _, folders, files in os.walk(home / "runs") for name in folders + files]
    assert all(name[0] not in "._" for name in found)
    assert staged(home) != []


# -- readers and writers at once -------------------------------------------------------


@pytest.mark.parametrize("reader", [plain, lambda home: read(home, "runs")["run_id"].to_pylist()])
def test_a_reader_during_roll_ups_never_sees_a_row_twice_or_not_at_all(history, home, reader):
    seal(history, 0)
    durable = [1]
    seen, wrong = [], []
    over = threading.Event()

    def look():
        while not over.is_set():
            least = durable[0]
            try:
                found = reader(home)
            except FileNotFoundError:
                assert reader is plain  # ours lists again instead
                continue
            most = durable[0] + 1  # the file being written may be there already
            seen.append(len(found))
            if len(set(found)) != len(found) or not least <= len(found) <= most:
                wrong.append((least, found, most))

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        for number in range(1, 60):
            seal(history, number)
            durable[0] = number + 1
            assert history.roll_up("runs", DAY) == 2
    finally:
        over.set()
        watcher.join()
    assert wrong == []
    assert seen
    assert plain(home) == ids(60)


def test_writers_and_roll_ups_of_many_threads_lose_nothing(history, home):
    def write(first):
        for number in range(first, first + 20):
            seal(history, number)

    writers = [threading.Thread(target=write, args=(first,)) for first in (0, 20, 40)]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        history.roll_up("runs", DAY)
    history.roll_up("runs", DAY)
    assert plain(home) == ids(60)


# -- crashes ---------------------------------------------------------------------------


class Dying:
    """`os`, in which the process dies instead of its nth change to the disk."""

    CHANGES = frozenset({"open", "fsync", "replace", "link", "mkdir", "rmdir", "unlink"})

    def __init__(self, left):
        self.left = left

    def __getattr__(self, name):
        real = getattr(os, name)
        return self.dying(real) if name in self.CHANGES else real

    def dying(self, real):
        def call(*args, **named):
            if self.left == 0:
                os._exit(7)
            self.left -= 1
            return real(*args, **named)

        return call


@pytest.fixture
def no_power_failure(monkeypatch):
    """A process that dies leaves what it wrote, synced or not: so this need not wait."""
    monkeypatch.setattr(os, "fsync", lambda fd: None)


def dies(action, left):
    """Whether a process that does `action` and dies at a change got so far."""
    child = os.fork()
    if child == 0:
        try:
            dying = Dying(left)
            local._exchange = dying.dying(local._exchange)
            local.os = dying
            action()
            os._exit(0)
        except BaseException:
            os._exit(3)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in (0, 7)
    return code == 7


def points(tmp_path, prepare, action):
    """Each home in which `action` died one change later than in the one before."""
    left, died = 0, True
    while died:
        home = tmp_path / str(left)
        prepare(home)
        died = dies(lambda home=home: action(home), left)
        yield home
        left += 1
    assert left > 5


def test_a_crash_at_any_step_of_a_first_write_is_made_good_by_repeating(tmp_path, no_power_failure):
    def action(home):
        seal(History(home), 0, 1)

    for home in points(tmp_path, lambda home: None, action):
        again = History(home)
        again.recover()
        assert staged(home) == [] if (home / STAGING).exists() else True
        if again.days("runs") and again.files("runs", DAY):
            assert plain(home) == ids(2)
        seal(again, 0, 1)
        assert plain(home) == ids(2)


def test_a_crash_at_any_step_of_a_roll_up_leaves_every_row_once(
    tmp_path, monkeypatch, no_power_failure
):
    monkeypatch.setattr(rollup, "_GRACE_S", 0.0)
    monkeypatch.setattr(rollup, "LARGE", 20_000)

    def prepare(home):
        history = History(home)
        history.write(
            "runs", DAY, "large", [run(n, reason=os.urandom(50).hex()) for n in range(400)]
        )
        seal(history, 400, 401)
        seal(history, 402)

    def action(home):
        history = History(home)
        history.roll_up("runs", DAY)
        seal(history, 403)
        history.roll_up("runs", DAY)  # retires what the first one left

    for home in points(tmp_path, prepare, action):
        before = plain(home)
        assert before in (ids(403), ids(404))
        again = History(home)
        again.recover()
        assert plain(home) == before
        assert staged(home) == []
        for numbers in ((400, 401), (402,), (403,)):
            seal(again, *numbers)
        assert plain(home) == ids(404)
        again.roll_up("runs", DAY)
        assert plain(home) == ids(404)
        assert len(again.files("runs", DAY)) == 2


def test_a_crash_at_any_step_of_the_recovery_is_made_good_by_the_next(tmp_path, no_power_failure):
    def prepare(home):
        history = History(home)
        seal(history, 0)
        seal(history, 1)
        history.roll_up("runs", DAY)
        (home / STAGING / "cut.tmp").write_text("PAR1")

    for home in points(tmp_path, prepare, lambda home: History(home).recover()):
        assert plain(home) == ids(2)
        History(home).recover()
        assert plain(home) == ids(2)
        assert staged(home) == []


def test_recovery_leaves_alone_what_live_workers_are_writing(history, home):
    result = home / STAGING / "results" / "j"
    result.mkdir(parents=True)
    (result / "r#1.tmp").write_text("")
    assert history.recover() == 0
    assert (result / "r#1.tmp").exists()


def test_an_error_in_the_merge_leaves_the_day_and_is_swept_up(history, home, monkeypatch):
    seal(history, 0)
    seal(history, 1)
    with monkeypatch.context() as patch:
        patch.setattr(rollup.parquet, "write", lambda *args: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            history.roll_up("runs", DAY)
    assert plain(home) == ids(2)
    assert history.recover() == 1
    assert staged(home) == []
    assert history.roll_up("runs", DAY) == 2


def test_a_merge_holds_one_row_group_at_a_time(history, home, monkeypatch):
    from raysched.store import parquet

    monkeypatch.setattr(parquet, "_GROUP_ROWS", 3)
    for number in range(7):
        seal(history, number)
    history.roll_up("runs", DAY)
    file = pq.ParquetFile(home / history.files("runs", DAY)[0])
    assert [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)] == [3, 3, 1]
    assert isinstance(file.read(), pa.Table)
