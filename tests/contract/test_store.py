"""What every `Store` does: one body over the fake, SQLite and PostgreSQL."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta

import pytest
import samples
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from samples import START, deployed, finished, let_through, record, run, version
from sqlalchemy import create_engine, text
from sqlalchemy.exc import OperationalError

from raysched.core.model import Run, Stop, Trigger
from raysched.core.ports import Changes
from raysched.core.states import State
from raysched.errors import NotFound, StaleEpoch, StoreError
from raysched.spec.policies import Overlap, Retry
from raysched.spec.resources import Resources
from raysched.spec.schedules import after_end, at, cron, every
from raysched.store import tables
from raysched.store.sql import SqlStore
from raysched.testing.store import MemoryDisk, MemoryStore

TICK = version()
HOSTILE = [
    "NUL \0 inside",
    "'; DROP TABLE runs; --",
    'double " and back \\ and % and _',
    "emoji 🦀, Ä, \u202e, \ufeff",
    "half a pair \ud83e",
    "line\nbreak\r\ttab\x1b[31m",
    "long " * 2_000,
]


class SqlDisk:
    """A SQL database, and the stores that a test has opened on it."""

    def __init__(self, where, clock):
        self.where = where
        self._clock = clock
        self._opened = []

    def store(self):
        self._opened.append(SqlStore(self.where, self._clock))
        return self._opened[-1]

    def rows(self, dataset):
        rows = self._opened[-1].unsealed(dataset)
        return [row for row in rows if dataset != "runs" or row.get("finished_at")]

    def close(self):
        for store in self._opened:
            store.close()


class FakeDisk:
    """The fake's disk in the same clothes."""

    def __init__(self):
        self._disk = MemoryDisk()

    def store(self):
        return MemoryStore(self._disk)

    def rows(self, dataset):
        return [dict(row) for row in self._disk.dataset(dataset)]


def _sql(where, clock):
    disk = SqlDisk(where, clock)
    yield disk
    disk.close()


@pytest.fixture
def sqlite_disk(tmp_path, clock):
    yield from _sql(tmp_path / "state.db", clock)


@pytest.fixture
def postgres_disk(postgres_url, clock):
    yield from _sql(postgres_url, clock)


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def disk(request):
    """Something durable, on which a store can be opened again and again."""
    if request.param == "memory":
        return FakeDisk()
    return request.getfixturevalue(f"{request.param}_disk")


@pytest.fixture(params=["sqlite", "postgres"])
def sql_disk(request):
    """As `disk`, of the real ones."""
    return request.getfixturevalue(f"{request.param}_disk")


def opened(disk):
    store = disk.store()
    store.open()
    return store


def short(rows):
    """Rows without the columns that are null, which a store may leave out."""
    return [{name: value for name, value in row.items() if value is not None} for row in rows]


# What is committed is there after a restart.


def test_an_empty_store_opens_with_nothing_at_epoch_one(disk):
    snapshot = disk.store().open()
    assert (snapshot.epoch, dict(snapshot.jobs), list(snapshot.runs)) == (1, {}, [])


def test_every_opening_raises_the_epoch_by_one(disk):
    assert [disk.store().open().epoch for _ in range(4)] == [1, 2, 3, 4]


def test_a_job_comes_back_with_every_field_of_its_spec(disk):
    full = version(
        "full",
        schedules=tuple(
            each.bound_to("full", "Europe/Berlin")
            for each in (
                cron("H 2 * * mon#1", jitter="5m", end="2030-01-01T00:00Z"),
                every("90s", start="2026-01-01T00:00Z"),
                after_end("15m"),
                at("2027-01-01T00:00:00.000001Z"),
            )
        ),
        timezone="Europe/Berlin",
        resources=Resources(num_cpus=0.5, num_gpus=1, memory_bytes=2**62, custom={"tpu": 2.0}),
        placement="node:10.0.0.4",
        label_selector={"zone": "a"},
        retry=Retry(3, delay="30s", backoff=2, max_delay="10m"),
        timeout=timedelta(hours=1),
        queue_timeout=timedelta(microseconds=1),
        overlap=Overlap.ALLOW,
        max_active=7,
        params={"text": HOSTILE[0], "deep": [{"a": [None, True, 1.5, -(2**63)]}]},
        tags=("etl", "daily"),
        priority=-5,
        runtime_env={"pip": ["x==1"]},
        env={"A": HOSTILE[4]},
        description=HOSTILE[3],
    )
    opened(disk).commit(deployed(full))
    snapshot = disk.store().open()
    assert snapshot.jobs == {"full": record(full)}
    assert snapshot.older == {}


def test_a_jobs_marks_and_its_pause_come_back_exactly(disk):
    moved = record(
        TICK,
        deployed_at=datetime(1970, 1, 1, tzinfo=UTC),
        decided=datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
        last_end=START + timedelta(microseconds=1),
        pause="",
    )
    store = opened(disk)
    store.commit(deployed(TICK))
    store.commit(Changes(jobs={"tick": moved}))
    assert disk.store().open().jobs == {"tick": moved}


@pytest.mark.parametrize("note", HOSTILE)
def test_a_hostile_note_of_a_pause_comes_back_as_it_was(disk, note):
    store = opened(disk)
    store.commit(deployed(TICK))
    store.commit(Changes(jobs={"tick": record(TICK, pause=note)}))
    assert disk.store().open().jobs["tick"].pause == note


def test_a_run_comes_back_with_every_field(disk):
    full = Run(
        run_id="tick@2026-03-01T12:00:00Z-0f0f0f",
        job="tick",
        version=TICK.version,
        trigger=Trigger.RETRY,
        created_at=START,
        queued_at=START + timedelta(microseconds=1),
        slot=START - timedelta(days=1),
        origin="tick@2026-02-28T12:00:00Z",
        params={text: [2**63, text] for text in HOSTILE},
        priority=-1000,
        state=State.RETRYING,
        reason=HOSTILE[0],
        attempt=3,
        launcher="abc",
        started_at=START,
        attempt_started_at=START,
        retry_at=START + timedelta(days=36_500),
        stop=Stop.TIMED_OUT,
        stop_reason=HOSTILE[4],
        node_id="n",
        node_ip="::1",
        worker_pid=2**22,
        log_lines=2**40,
    )
    store = opened(disk)
    store.commit(deployed(TICK))
    store.commit(Changes(runs={full.run_id: full}))
    assert list(disk.store().open().runs) == [full]


def test_runs_come_back_in_the_order_of_their_creation_however_they_changed_since(disk):
    store = opened(disk)
    store.commit(deployed(TICK))
    ids = [f"tick@{n}" for n in (3, 1, 2, 0)]
    store.commit(Changes(runs={each: run(TICK, each) for each in ids}))
    for each in ("tick@1", "tick@3"):
        store.commit(Changes(runs={each: run(TICK, each, attempt=1)}))
    store.commit(Changes(runs={"tick@2": None, "tick@9": run(TICK, "tick@9")}))
    found = disk.store().open().runs
    assert [each.run_id for each in found] == ["tick@3", "tick@1", "tick@0", "tick@9"]
    assert [each.attempt for each in found] == [1, 1, 0, 0]


def test_a_redeploy_and_a_delete_keep_the_versions_that_unfinished_runs_need(disk):
    old, new, other = version(), version(priority=1), version("other")
    store = opened(disk)
    store.commit(deployed(old, other))
    store.commit(Changes(runs={each: run(old, each) for each in ("tick@1", "tick@2")}))
    store.commit(deployed(new))
    found = disk.store().open()
    assert found.jobs["tick"].current == new
    assert found.older == {("tick", old.version): old}
    store = opened(disk)
    store.commit(Changes(jobs={"tick": None}))
    found = disk.store().open()
    assert list(found.jobs) == ["other"]
    assert found.older == {("tick", old.version): old}
    assert found.jobs["other"].current == other


def test_code_comes_back_byte_by_byte_and_an_unknown_hash_is_not_found(disk):
    store = opened(disk)
    blob = bytes(range(256)) * 1000
    store.commit(replace_code(deployed(TICK), blob))
    assert store.code(TICK.code_hash) == blob
    assert opened(disk).code(TICK.code_hash) == blob
    for unknown in ("", "none", *HOSTILE):
        with pytest.raises(NotFound):
            store.code(unknown)


def replace_code(changes, blob):
    changes.code = dict.fromkeys(changes.code, blob)
    return changes


def test_a_job_that_was_deleted_is_known_and_one_that_never_was_is_not(disk):
    store = opened(disk)
    store.commit(deployed(TICK))
    store.commit(Changes(jobs={"tick": None}))
    assert store.has_job("tick")
    assert not any(store.has_job(each) for each in ("tock", "TICK", "tic_", "%", *HOSTILE))


def test_a_run_is_known_while_it_is_unfinished_and_until_it_is_sealed(disk):
    store = opened(disk)
    store.commit(deployed(TICK))
    assert not store.has_any_run(["tick@1"])
    store.commit(Changes(runs={"tick@1": run(TICK, "tick@1")}))
    assert store.has_any_run(["tick@1"])
    store.commit(finished(TICK, ["tick@1"]))
    assert store.has_any_run(["tick@1"])
    assert not store.has_any_run(["tick@", "TICK@1", "tick@_", "%", *HOSTILE])


def test_the_last_of_ten_thousand_runs_that_are_asked_for_together_is_found(disk):
    store = opened(disk)
    store.commit(deployed(TICK))
    ids = [f"tick@{n}" for n in range(10_000)]
    assert not store.has_any_run([])
    assert not store.has_any_run(ids)
    store.commit(finished(TICK, ids[-1:]))
    assert store.has_any_run(ids)


def test_finished_rows_come_back_once_each_in_order_and_a_line_is_a_row(disk):
    store = opened(disk)
    store.commit(deployed(TICK))
    turns = [finished(TICK, [f"tick@{n}", f"tick@{n}b"], lines=3) for n in range(3)]
    for each in turns:
        store.commit(each)
    for dataset in ("runs", "attempts", "decisions", "logs"):
        sent = [row for turn in turns for name, row in turn.rows if name == dataset]
        assert short(disk.rows(dataset)) == short(sent)


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_in_a_row_comes_back_as_it_was(disk, text):
    store = opened(disk)
    store.commit(deployed(TICK))
    changes = finished(TICK, ["tick@1"])
    for _, row in changes.rows:
        row |= {"reason": text, "error_message": text, "line": text}
    store.commit(changes)
    assert {row["line"] for row in disk.rows("logs")} == {text}
    assert [row["reason"] for row in disk.rows("runs")] == [text]


def test_thousands_of_lines_of_one_turn_stay_in_order(disk):
    store = opened(disk)
    store.commit(deployed(TICK))
    store.commit(finished(TICK, ["tick@1", "tick@2"], lines=2_500))
    for run_id in ("tick@1", "tick@2"):
        told = [row["line_no"] for row in disk.rows("logs") if row["run_id"] == run_id]
        assert told == list(range(1, 2_501))


texts = st.text(st.characters(codec=None), max_size=30)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | texts | st.floats(allow_nan=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
instants = st.datetimes(timezones=st.just(UTC), min_value=datetime(1970, 1, 1))


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    params=st.dictionaries(texts, values, max_size=4),
    reason=texts,
    queued=instants,
    attempt=st.integers(0, 2**63 - 1),
)
def test_whatever_a_run_holds_comes_back(disk, params, reason, queued, attempt):
    full = run(TICK, "tick@1", params=params, reason=reason, queued_at=queued, attempt=attempt)
    store = opened(disk)
    store.commit(deployed(TICK))
    store.commit(Changes(runs={"tick@1": full}))
    assert list(disk.store().open().runs) == [full]


# Of two schedulers on one home, only the later one is heard.


def test_an_older_scheduler_commits_nothing_any_more(disk):
    older = opened(disk)
    older.commit(deployed(TICK))
    newer = opened(disk)
    with pytest.raises(StaleEpoch):
        older.commit(Changes(runs={"tick@1": run(TICK, "tick@1")}))
    with pytest.raises(StaleEpoch):
        older.commit(finished(TICK, ["tick@2"]))
    newer.commit(Changes(runs={"tick@3": run(TICK, "tick@3")}))
    assert [each.run_id for each in disk.store().open().runs] == ["tick@3"]
    assert disk.rows("runs") == []


def test_an_older_scheduler_hears_of_it_even_with_nothing_to_commit(disk):
    older = opened(disk)
    opened(disk)
    with pytest.raises(StaleEpoch):
        older.commit(Changes())


def test_a_successor_waits_for_the_transaction_under_way_and_sees_it(sql_disk):
    older = opened(sql_disk)
    older.commit(deployed(TICK))
    found = []
    successor = threading.Thread(target=lambda: found.append(sql_disk.store().open()))
    with older.fenced("write", "") as connection:
        successor.start()
        assert _epoch_is_held(sql_disk.where)
        connection.execute(text("UPDATE jobs SET pause = '\"held\"'"))
    successor.join()
    assert found[0].jobs["tick"].pause == "held"
    with pytest.raises(StaleEpoch):
        older.commit(deployed(TICK))


def _epoch_is_held(where):
    """Whether nobody could change the epoch now, asked without waiting."""
    change = "UPDATE meta SET value = value WHERE key = 'epoch'"
    url = str(where)
    if "://" not in url:
        engine = create_engine(f"sqlite:///{url}", connect_args={"timeout": 0})
    else:
        engine = create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
        change = f"SET lock_timeout = '1ms'; {change}"
    with engine.connect() as connection:
        try:
            connection.exec_driver_sql(change)
        except OperationalError:
            return True
    return False


# A commit is whole or not at all.


@pytest.mark.parametrize(
    "bad",
    [
        pytest.param(Changes(rows=[("runs", {"run_id": "r"})]), id="a row that has not ended"),
        pytest.param(
            Changes(rows=[("logs", {"run_id": "r", "line": object()})]), id="no form in JSON"
        ),
        pytest.param(
            Changes(runs={"r": run(version("never-deployed"), "r")}), id="an unknown version"
        ),
        pytest.param(
            Changes(jobs={"x": record(version("never-deployed"))}), id="a job without its version"
        ),
        pytest.param(
            Changes(rows=[("decisions", {"decided_at": 10**40})]), id="an instant beyond all"
        ),
        pytest.param(
            Changes(runs={"\ud83e": run(TICK, "\ud83e")}), id="an id that no database can hold"
        ),
    ],
)
def test_a_commit_that_fails_leaves_nothing_of_it_behind(sql_disk, bad):
    store = opened(sql_disk)
    store.commit(deployed(TICK))
    store.commit(Changes(runs={"tick@1": run(TICK, "tick@1")}))
    changes = finished(TICK, ["tick@1"])
    changes.runs["tick@2"] = run(TICK, "tick@2")
    changes.jobs |= {"tick": record(TICK, pause="paused"), **bad.jobs}
    changes.runs |= bad.runs
    changes.rows += bad.rows
    with pytest.raises(StoreError):
        store.commit(changes)
    for snapshot in (sql_disk.store().open(),):
        assert [each.run_id for each in snapshot.runs] == ["tick@1"]
        assert snapshot.jobs == {"tick": record(TICK)}
    assert all(sql_disk.rows(each) == [] for each in ("runs", "attempts", "decisions", "logs"))


def test_a_store_goes_on_after_a_commit_that_failed(sql_disk):
    store = opened(sql_disk)
    store.commit(deployed(TICK))
    with pytest.raises(StoreError):
        store.commit(Changes(jobs={"x": record(version("x"))}))
    store.commit(Changes(runs={"tick@1": run(TICK, "tick@1")}))
    assert store.has_any_run(["tick@1"])


def test_threads_may_commit_and_read_at_once(sql_disk):
    store = opened(sql_disk)
    store.commit(deployed(TICK))
    failed = []

    def work(mine):
        try:
            for n in range(20):
                run_id = f"tick@{mine}-{n}"
                store.commit(Changes(runs={run_id: run(TICK, run_id)}))
                assert store.has_any_run([run_id])
                store.commit(finished(TICK, [run_id], lines=1))
                assert run_id in {row["run_id"] for row in store.unsealed("logs")}
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert failed == []
    assert len(store.unsealed("runs")) == 80


# What cannot be opened says why.


def test_a_newer_raysched_s_database_is_refused_and_left_as_it_is(sql_disk):
    store = opened(sql_disk)
    with store.fenced("write", "") as connection:
        connection.execute(text("UPDATE meta SET value = '99' WHERE key = 'version'"))
    with pytest.raises(StoreError, match="version 99") as told:
        sql_disk.store().open()
    assert "upgrade raysched" in told.value.fix
    store.commit(deployed(TICK))  # its epoch was not taken


def test_an_older_database_is_migrated_once(sql_disk, monkeypatch):
    opened(sql_disk).commit(deployed(TICK))
    monkeypatch.setattr(tables, "_MIGRATIONS", (("ALTER TABLE jobs ADD COLUMN extra TEXT",),))
    monkeypatch.setattr(tables, "_VERSION", 2)
    for _ in range(2):
        assert sql_disk.store().open().jobs == {"tick": record(TICK)}
    with opened(sql_disk).fenced("share", "") as connection:
        assert connection.execute(text("SELECT extra FROM jobs")).all() == [(None,)]


def test_another_program_s_database_is_refused(sql_disk, tmp_path):
    path = tmp_path / "other.db"
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE meta (key TEXT, value TEXT)")
    with pytest.raises(StoreError, match="not a raysched state database"):
        SqlStore(path, None).open()


@pytest.mark.parametrize("content", [b"no database at all" * 1000, b"SQLite format 3\0" * 500])
def test_a_corrupt_file_is_refused_with_what_to_do(tmp_path, clock, content):
    path = tmp_path / "state.db"
    path.write_bytes(content)
    with pytest.raises(StoreError) as told:
        SqlStore(path, clock).open()
    assert str(path) in told.value.what
    assert "backup" in told.value.fix
    assert path.read_bytes() == content


def test_a_document_that_cannot_be_read_is_refused(sql_disk):
    store = opened(sql_disk)
    store.commit(deployed(TICK))
    with store.fenced("write", "") as connection:
        connection.execute(text("UPDATE versions SET spec = '{}'"))
    with pytest.raises(StoreError, match="cannot read"):
        sql_disk.store().open()


def test_a_directory_in_place_of_the_file_is_refused(tmp_path, clock):
    with pytest.raises(StoreError) as told:
        SqlStore(tmp_path, clock).open()
    assert "directory" in told.value.why
    assert told.value.fix


def test_a_missing_home_is_refused(tmp_path, clock):
    with pytest.raises(StoreError) as told:
        SqlStore(tmp_path / "none" / "state.db", clock).open()
    assert "No such file" in told.value.why
    assert told.value.fix


@pytest.mark.parametrize("url", ["mysql://root:secret@host/db", "://", "sqlite://"])
def test_a_url_of_anything_else_is_refused_without_showing_its_password(url):
    with pytest.raises(StoreError) as told:
        SqlStore(url, None)
    assert "secret" not in str(told.value)


def test_a_server_that_is_not_there_is_named_without_the_password(tmp_path, clock):
    url = f"postgresql://me:secret@/db?host={tmp_path}"
    with pytest.raises(StoreError) as told:
        SqlStore(url, clock).open()
    assert str(tmp_path) in told.value.why
    assert "secret" not in str(told.value)
    assert "server runs" in told.value.fix


def test_a_file_without_permission_is_refused(tmp_path, clock):
    path = tmp_path / "state.db"
    SqlStore(path, clock).open()
    path.chmod(0o400)
    child = os.fork()
    if child == 0:
        status = 1
        try:
            if os.getuid() == 0:  # to whom nothing is forbidden
                let_through(tmp_path)
                os.setuid(65_534)
            with pytest.raises(StoreError) as told:
                SqlStore(path, clock).open()
            assert "yours and writable" in told.value.fix
            status = 0
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


# SQLite as it must be set.


def test_the_database_and_what_lies_beside_it_are_their_owner_s_alone(tmp_path, clock):
    old = os.umask(0)
    try:
        store = SqlStore(tmp_path / "state.db", clock)
        store.open()
        modes = {each.name: stat.S_IMODE(each.stat().st_mode) for each in tmp_path.iterdir()}
    finally:
        os.umask(old)
    assert modes == dict.fromkeys(("state.db", "state.db-wal", "state.db-shm"), 0o600)
    store.close()


def test_every_connection_is_durable_and_keeps_a_log(sqlite_disk):
    with opened(sqlite_disk).fenced("write", "") as connection:
        asked = ("journal_mode", "synchronous", "foreign_keys")
        told = [connection.execute(text(f"PRAGMA {each}")).scalar() for each in asked]
    assert told == ["wal", 2, 1]


def test_numbers_of_rows_never_come_back_when_the_outbox_was_emptied(sql_disk):
    store = opened(sql_disk)
    store.commit(deployed(TICK))
    store.commit(finished(TICK, ["tick@1"]))
    with store.fenced("write", "") as connection:
        last = connection.execute(text("SELECT max(seq) FROM outbox")).scalar()
        connection.execute(text("DELETE FROM outbox"))
    store.commit(finished(TICK, ["tick@2"]))
    with store.fenced("share", "") as connection:
        assert connection.execute(text("SELECT min(seq) FROM outbox")).scalar() > last


def test_what_was_committed_survives_the_death_of_the_process(tmp_path, clock):
    path = tmp_path / "state.db"
    program = f"""
import os, signal, sys
sys.path.insert(0, {os.path.dirname(samples.__file__)!r})
from samples import *
from raysched.store.sql import SqlStore
from raysched.testing.clock import FakeClock
store = SqlStore({str(path)!r}, FakeClock())
store.open()
store.commit(deployed(version()))
store.commit(Changes(runs={{"tick@1": run(version(), "tick@1")}}))
with store.fenced("write", "") as connection:
    connection.exec_driver_sql("DELETE FROM runs")
    os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == -9
    store = SqlStore(path, clock)
    snapshot = store.open()
    assert snapshot.epoch == 2
    assert list(snapshot.runs) == [run(TICK, "tick@1")]
    store.close()


def test_postgres_commits_durably_whatever_the_server_s_default(postgres_url, clock):
    engine = create_engine(postgres_url.replace("postgresql:", "postgresql+psycopg:"))
    with engine.begin() as connection:
        connection.execute(text("ALTER ROLE raysched SET synchronous_commit = off"))
    store = SqlStore(postgres_url, clock)
    store.open()
    try:
        with store.fenced("share", "") as connection:
            assert connection.execute(text("SHOW synchronous_commit")).scalar() == "on"
    finally:
        with engine.begin() as connection:
            connection.execute(text("ALTER ROLE raysched RESET synchronous_commit"))
        engine.dispose()
        store.close()
