"""What users are shown, while the scheduler works, rests, is killed, or never was."""

from __future__ import annotations

import os
import signal
import sqlite3
import stat
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import samples
from samples import START, TICK, TOCK, deployed, finished, let_through, run, seal

import raysched as rs
from raysched.core.ports import Changes
from raysched.core.states import State
from raysched.errors import InputError, StoreError
from raysched.store import consulting, peek, query, reader, whereabouts
from raysched.store.archive import FileArchive, Question
from raysched.store.history import History
from raysched.store.query import frame, resolve
from raysched.store.sealer import Sealer
from raysched.store.sql import SqlStore
from raysched.testing.clock import FakeClock

HERE = os.path.dirname(samples.__file__)


def beside(home):
    """The database's files with all that changes when one of them is written."""
    found = {}
    for path in home.glob("state.db*"):
        if not path.name.endswith("-shm"):  # the index of the log, which is rebuilt at will
            found[path.name] = (path.stat().st_mtime_ns, path.read_bytes())
    return found


def ids(home, dataset="runs", **asked):
    return list(frame(home, dataset, **asked)["run_id"])


# What is found.


def test_a_home_without_a_database_shows_its_files(store, home):
    store.commit(finished(TICK, ["tick@1"]))
    seal(store, home)
    store.close()
    for path in home.glob("state.db*"):
        path.unlink()
    assert ids(home) == ["tick@1"]
    assert resolve(home, "tick") == ["tick@1"]
    assert not list(home.glob("state.db*"))


def test_a_home_in_which_nothing_ever_ran_shows_nothing(home):
    assert ids(home) == []
    assert resolve(home, "tick") == []


def test_unfinished_unsealed_and_sealed_runs_are_one_frame(store, home):
    store.commit(finished(TICK, ["tick@sealed"]))
    seal(store, home)
    store.commit(finished(TICK, ["tick@unsealed"]))
    live = run(TICK, "tick@live", state=State.RETRYING, reason="exit code 1", attempt=2)
    store.commit(Changes(runs={live.run_id: live}))
    found = frame(home, "runs").set_index("run_id")
    assert sorted(found.index) == ["tick@live", "tick@sealed", "tick@unsealed"]
    row = found.loc["tick@live"]
    assert (row["status"], row["reason"], row["attempts"]) == ("retrying", "exit code 1", 2)
    assert row.isna()["finished_at"]
    assert row["version"] == TICK.version
    assert found.loc["tick@unsealed", "status"] == "succeeded"


@pytest.mark.parametrize("sealed", [False, True], ids=["unsealed", "sealed"])
def test_every_filter_speaks_of_files_and_database_alike(store, home, sealed):
    store.commit(finished(TICK, ["tick@1", "tick@2"]))
    store.commit(finished(TOCK, ["tock@1"]))
    if sealed:
        seal(store, home)
    live = run(TICK, "tick@live", created_at=START + timedelta(seconds=1))
    store.commit(Changes(runs={"tick@live": live}))
    assert ids(home, job="tock") == ["tock@1"]
    assert ids(home, run_id="tick@2") == ["tick@2"]
    assert ids(home, run_id=["tick@2", "tick@live"]) == ["tick@2", "tick@live"]
    assert ids(home, status="queued") == ["tick@live"]
    assert ids(home, status=["succeeded"], job="tick") == ["tick@1", "tick@2"]
    assert ids(home, since=START + timedelta(seconds=1)) == ["tick@live"]
    assert ids(home, until=START + timedelta(seconds=1)) == ["tick@1", "tick@2", "tock@1"]
    assert ids(home, "attempts", run_id="tick@1") == ["tick@1"]
    assert ids(home, "logs", run_id="tick@1") == ["tick@1"] * 2
    assert len(ids(home, "decisions", job="tick")) == 2
    assert ids(home, run_id="tick@' OR 1=1 --\0") == []


def test_a_question_that_makes_no_sense_is_refused(store, home):
    with pytest.raises(InputError, match="no dataset"):
        frame(home, "../runs")
    with pytest.raises(InputError, match="time zone"):
        frame(home, "runs", since=datetime(2026, 1, 1))
    with pytest.raises(InputError, match="no status"):
        frame(home, "logs", status="failed")
    with pytest.raises(InputError, match="'fail' is no status") as caught:
        frame(home, "runs", status=["succeeded", "fail"])
    assert caught.value.fix == "write 'failed' if that is meant."


def test_a_row_that_is_sealed_while_it_is_read_is_seen_once(store, home, monkeypatch):
    store.commit(finished(TICK, ["tick@1", "tick@2"]))
    real = reader.read

    def sealed_just_before(*args, **options):
        seal(store, home)
        return real(*args, **options)

    monkeypatch.setattr(reader, "read", sealed_just_before)
    assert ids(home) == ["tick@1", "tick@2"]
    assert len(frame(home, "logs")) == 4


def test_a_run_that_ends_and_is_sealed_while_it_is_read_is_shown_as_ended(store, home, monkeypatch):
    store.commit(Changes(runs={"tick@1": run(TICK, "tick@1")}))
    real = reader.read

    def ended_just_before(*args, **options):
        store.commit(finished(TICK, ["tick@1"]))
        seal(store, home)
        return real(*args, **options)

    monkeypatch.setattr(reader, "read", ended_just_before)
    assert list(frame(home, "runs")["status"]) == ["succeeded"]


@pytest.fixture
def postgres_state(postgres_url, home, clock):
    """The URL of a state that has a run which is sealed, one which is not, and one under way."""
    store = SqlStore(postgres_url, clock)
    store.open()
    store.commit(deployed(TICK))
    store.commit(finished(TICK, ["tick@1"]))
    seal(store, home)
    store.commit(finished(TICK, ["tick@2"]))
    store.commit(Changes(runs={"tick@3": run(TICK, "tick@3")}))
    store.close()
    return postgres_url


def test_postgres_answers_by_its_url(postgres_state, home):
    assert sorted(ids(home, state_url=postgres_state)) == ["tick@1", "tick@2", "tick@3"]
    assert resolve(home, "tick@", state_url=postgres_state) == ["tick@2", "tick@3", "tick@1"]
    assert resolve(home, "tick@\0", state_url=postgres_state) == []


def test_postgres_is_merged_in_once_the_home_names_it(postgres_state, home):
    assert ids(home) == ["tick@1"]
    whereabouts.note(home, postgres_state)
    assert sorted(ids(home)) == sorted(rs.runs(home).run_id) == ["tick@1", "tick@2", "tick@3"]
    assert list(rs.logs(home, run_id="tick@2").run_id) == ["tick@2"] * 2
    assert resolve(home, "tick@") == ["tick@2", "tick@3", "tick@1"]
    archive = FileArchive(home)
    exported = [each.to_pylist() for each in archive.batches(Question(dataset="runs"))]
    assert sorted(row["run_id"] for rows in exported for row in rows) == [
        "tick@1",
        "tick@2",
        "tick@3",
    ]
    assert peek.job_names(home) == ["tick"]
    assert peek.unfinished(home, "tick@", 10) == ["tick@3"]
    assert peek.finished(home, "tick@", 10) == ["tick@2", "tick@1"]
    (home / whereabouts.NOTE).unlink()
    assert ids(home) == ["tick@1"]


def test_the_files_answer_alone_and_say_so_while_postgres_does_not(store, home):
    store.commit(finished(TICK, ["tick@1"]))
    seal(store, home)
    whereabouts.note(home, f"postgresql://me:secret@/x?host={home}")
    with pytest.warns(UserWarning, match="does not answer") as told:
        assert ids(home) == ["tick@1"]
    assert "secret" not in str(told[0].message)
    assert peek.finished(home, "", 10) == ["tick@1"]
    assert peek.job_names(home) == []


def test_a_note_that_may_bear_a_password_is_its_owners_alone(home):
    for url in ("postgresql://me:secret@db/x", "postgresql://other@db/y"):
        whereabouts.note(home, url)
        assert whereabouts.noted(home) == url
        assert stat.S_IMODE((home / whereabouts.NOTE).stat().st_mode) == 0o600
    assert not list(home.glob(".*.tmp"))


def test_a_postgres_without_our_tables_holds_nothing(postgres_url, home):
    assert ids(home, state_url=postgres_url) == []


def test_a_url_may_name_another_sqlite_file(store, home, tmp_path):
    store.commit(finished(TICK, ["tick@1"]))
    History(tmp_path / "other")
    assert ids(tmp_path / "other", state_url=f"sqlite:///{home}/state.db") == ["tick@1"]


def test_paths_with_characters_that_mean_something_in_a_uri_are_found(tmp_path, clock):
    home = tmp_path / "a?b#c%20d é"
    History(home)
    store = SqlStore(home / "state.db", clock)
    store.open()
    store.commit(deployed(TICK))
    store.commit(finished(TICK, ["tick@1"]))
    assert ids(home) == ["tick@1"]
    store.close()
    assert ids(home) == ["tick@1"]
    assert sorted(each.name for each in tmp_path.iterdir()) == [home.name]


def test_a_newer_or_damaged_database_is_an_error_and_not_an_empty_answer(store, home):
    with store.fenced("write", "") as connection:
        connection.exec_driver_sql("UPDATE meta SET value = '99' WHERE key = 'version'")
    with pytest.raises(StoreError, match="version 99"):
        frame(home, "runs")
    store.close()
    (home / "state.db").write_bytes(b"damaged" * 1000)
    with pytest.raises(StoreError, match="cannot be read"):
        frame(home, "runs")


# Ids by their beginning.


def test_a_prefix_finds_unsealed_runs_first_then_sealed_ones(store, home):
    store.commit(finished(TICK, ["tick@a1", "tick@b1", "TICK@a1"]))
    seal(store, home)
    store.commit(finished(TICK, ["tick@a2"]))
    store.commit(Changes(runs={"tick@a3": run(TICK, "tick@a3")}))
    assert resolve(home, "tick@a") == ["tick@a2", "tick@a3", "tick@a1"]
    assert resolve(home, "tick@b1") == ["tick@b1"]
    assert resolve(home, "TICK") == ["TICK@a1"]


def test_a_whole_id_is_found_among_the_many_that_begin_with_it(store, home):
    store.commit(finished(TICK, [f"tick@a-{n}" for n in range(12)]))
    seal(store, home)
    store.commit(finished(TICK, ["tick@a"]))
    seal(store, home)
    store.commit(finished(TICK, [f"tick@a-{n}" for n in range(20, 32)]))
    assert resolve(home, "tick@a")[0] == "tick@a"
    assert "tick@a" not in resolve(home, "tick@")


@pytest.mark.parametrize("prefix", ["", "%", "_ick", "tick@%", "tick@_", "tick\\", "\0", "\ud83e"])
def test_a_wildcard_is_a_character_like_any_other(store, home, prefix):
    store.commit(finished(TICK, ["tick@a1"]))
    assert resolve(home, prefix) == []
    seal(store, home)
    assert resolve(home, prefix) == []


def test_a_prefix_is_resolved_to_ten_ids_at_most(store, home):
    store.commit(finished(TICK, [f"tick@{n:02d}" for n in range(30)]))
    assert len(resolve(home, "tick")) == 10
    seal(store, home)
    assert len(set(resolve(home, "tick"))) == 10


def test_an_id_with_its_instant_is_looked_for_from_that_day_on(store, home):
    days = [datetime(2025, 1, day, 12, tzinfo=UTC) for day in (1, 2, 20)]
    for end in [*days, START]:
        store.commit(finished(TICK, [f"tick@2025-01-02T00:00:00Z-{end:%m%d}"], end=end))
    seal(store, home)
    found = resolve(home, "tick@2025-01-02")
    assert [each[-4:] for each in found] == ["0102", "0120"]  # not before, not a year later
    assert [each[-4:] for each in resolve(home, "tick@20")] == ["0301"]  # the newest files
    assert resolve(home, "tick@2025-02-30") == []


def test_ids_are_found_in_files_that_were_rolled_up_since_they_were_listed(
    store, home, monkeypatch
):
    for n in range(3):
        store.commit(finished(TICK, [f"tick@{n}"]))
        seal_without_roll_up(store, home)
    listed, real = [], query.layout.files

    def roll_up_after_listing(*args):
        found = real(*args)
        if not listed:
            listed.append(found)
            assert History(home).roll_up("runs", (START + timedelta(hours=1)).date()) == 3
            for path in (home / ".staging").glob("runs.*/*.parquet"):
                path.unlink()
        return found

    monkeypatch.setattr(query.layout, "files", roll_up_after_listing)
    assert resolve(home, "tick") == ["tick@0", "tick@1", "tick@2"]


def seal_without_roll_up(store, home):
    Sealer(store, History(home), FakeClock(START)).seal(everything=True)


# What it does to the scheduler: nothing.


def test_reading_a_database_that_nobody_has_open_leaves_no_file_behind(store, home):
    store.commit(finished(TICK, ["tick@1"]))
    store.close()
    before = beside(home)
    assert list(before) == ["state.db"]
    assert ids(home) == ["tick@1"]
    assert resolve(home, "tick") == ["tick@1"]
    assert beside(home) == before
    assert sorted(each.name for each in home.glob("state.db*")) == ["state.db"]


def test_reading_beside_a_live_scheduler_changes_none_of_its_files(store, home):
    store.commit(finished(TICK, ["tick@1"]))
    before = beside(home)
    assert set(before) == {"state.db", "state.db-wal"}
    assert ids(home) == ["tick@1"]
    assert beside(home) == before


def test_reading_waits_for_no_transaction_and_holds_none_up(store, home):
    store.commit(finished(TICK, ["tick@1"]))
    with store.fenced("write", "") as connection:
        connection.exec_driver_sql("DELETE FROM outbox")
        assert ids(home) == ["tick@1"]
    assert ids(home) == []


def test_a_scheduler_that_starts_and_ends_during_a_read_makes_it_read_again(
    store, home, clock, monkeypatch
):
    store.commit(finished(TICK, ["tick@1"]))
    store.close()
    real, calls = consulting._asked, []

    def interrupted(*args):
        if not calls:
            other = SqlStore(home / "state.db", clock)
            other.open()
            other.commit(finished(TICK, ["tick@2"]))
            other.close()
            assert not (home / "state.db-wal").exists()
        calls.append(args)
        return real(*args)

    monkeypatch.setattr(consulting, "_asked", interrupted)
    assert ids(home) == ["tick@1", "tick@2"]
    assert len(calls) == 2


def test_the_rows_of_a_killed_scheduler_are_read_from_its_log(home):
    program = f"""
import os, signal, sys
sys.path.insert(0, {HERE!r})
from samples import *
from raysched.store.sql import SqlStore
from raysched.testing.clock import FakeClock
store = SqlStore({str(home / "state.db")!r}, FakeClock())
store.open()
store.commit(deployed(version()))
store.commit(finished(version(), ["tick@1"]))
store.commit(Changes(runs={{"tick@2": run(version(), "tick@2")}}))
os.kill(os.getpid(), signal.SIGKILL)
"""
    died = subprocess.run([sys.executable, "-c", program], check=False)
    assert died.returncode == -signal.SIGKILL
    before = beside(home)
    assert "state.db-wal" in before
    for _ in range(2):
        assert sorted(ids(home)) == ["tick@1", "tick@2"]
        assert beside(home) == before
        (home / "state.db-shm").unlink()  # as a restored backup has none


def test_every_read_beside_a_busy_scheduler_is_whole_and_each_run_is_seen_once(home):
    """Another process commits and seals without pause; nothing may vanish in between."""
    program = f"""
import sys
sys.path.insert(0, {HERE!r})
from samples import *
from raysched.store.history import History
from raysched.store.sealer import Sealer
from raysched.store.sql import SqlStore
from raysched.testing.clock import FakeClock
clock, tick = FakeClock(START + timedelta(days=3)), version()
store = SqlStore({str(home / "state.db")!r}, clock)
store.open()
store.commit(deployed(tick))
sealer = Sealer(store, History({str(home)!r}), clock)
for n in range(25):
    made = [f"tick@{{n:02d}}-{{k}}" for k in range(5)]
    store.commit(Changes(runs={{each: run(tick, each) for each in made}}))
    print(n, flush=True)
    store.commit(finished(tick, made, lines=1))
    sealer.seal()
store.close()
"""
    writer = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    reads = most = 0
    while writer.poll() is None:
        found = ids(home)
        assert len(set(found)) == len(found)
        assert len(found) % 5 == 0, "a transaction was seen in part"
        assert len(found) >= most, "a run that was seen before has vanished"
        most, reads = len(found), reads + 1
    assert writer.wait() == 0
    assert reads > 3
    assert len(ids(home)) == 125
    assert set(frame(home, "runs")["status"]) == {"succeeded"}


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
@pytest.mark.parametrize("url", [None, "postgresql://me:secret@db/x"])
def test_a_user_who_may_read_the_files_alone_sees_these_and_is_told(store, home, tmp_path, url):
    whereabouts.note(home, url)
    store.commit(finished(TICK, ["tick@1"]))
    seal(store, home)
    store.commit(finished(TICK, ["tick@2"]))
    child = os.fork()
    if child == 0:
        status = 1
        try:
            # As with `chmod g+rx` on the home, for one of its group.
            os.setgroups([])
            os.chmod(home, 0o750)
            let_through(tmp_path)
            os.setuid(65_534)
            with pytest.warns(UserWarning, match="not readable"):
                assert ids(home) == ["tick@1"]
            status = 0
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_an_empty_file_in_the_place_of_a_database_holds_nothing(home):
    Path(home / "state.db").touch()
    assert ids(home) == []
    assert (home / "state.db").stat().st_size == 0
    assert sqlite3.connect(home / "state.db").execute("PRAGMA user_version").fetchone() == (0,)
