"""Sealing, killed at every durable step: each row is seen once, at any moment, by anyone."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from contextlib import contextmanager, suppress
from datetime import date, timedelta
from pathlib import Path

import pandas as pd
import pytest
from samples import START, deployed, finished, run, version
from sqlalchemy import text

from raysched.core.ports import Changes
from raysched.errors import StaleEpoch, StoreError
from raysched.store import sealer as sealer_module
from raysched.store.history import History
from raysched.store.query import frame
from raysched.store.schema import DATASETS, KEYS
from raysched.store.sealer import Sealer
from raysched.store.sql import SqlStore
from raysched.testing.clock import FakeClock

TICK = version()
MIDNIGHT = START.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
ROWS_PER_FILE = 2
LATER = FakeClock(MIDNIGHT + timedelta(days=9))  # both days are over, and rolled up
DIED = 9


class KilledStore(SqlStore):
    """A store whose process dies at the nth durable step."""

    step = None

    @contextmanager
    def fenced(self, mode, what):
        with super().fenced(mode, what) as connection:
            yield connection
            if mode == "write":
                self.step()
        if mode == "write":
            self.step()


class KilledHistory(History):
    """A history whose process dies at the nth durable step."""

    step = None

    def write(self, *args):
        self.step()
        path = super().write(*args)
        self.step()
        return path

    def roll_up(self, *args):
        self.step()
        merged = super().roll_up(*args)
        self.step()
        return merged


class Bomb:
    """Kills its process, with no cleaning up, when it is called for the nth time."""

    def __init__(self, fuse):
        self._fuse = fuse

    def __call__(self):
        self._fuse -= 1
        if self._fuse == 0:
            os._exit(DIED)


@pytest.fixture(autouse=True)
def small_steps(monkeypatch):
    """Pages and deletions so small that a few rows take several of each."""
    monkeypatch.setattr(sealer_module, "_PAGE", 2)
    monkeypatch.setattr(sealer_module, "_DELETED", 5)  # never a whole file's rows


@pytest.fixture
def home(tmp_path):
    """A home in which runs have ended on two days, and one has not."""
    folder = tmp_path / "home"
    History(folder)
    fill(folder)
    return folder


def fill(folder, prefix="tick"):
    store = SqlStore(folder / "state.db", _Clock())
    store.open()
    store.commit(deployed(TICK))
    for day, runs in enumerate((3, 1)):
        ids = [f"{prefix}@{day}-{n}" for n in range(runs)]
        store.commit(finished(TICK, ids, end=MIDNIGHT + timedelta(days=day - 1, seconds=1)))
    store.commit(Changes(runs={f"{prefix}@live": run(TICK, f"{prefix}@live")}))
    store.close()


class _Clock:
    """A clock that moves a day on with each look: the lines of each turn have their own."""

    def __init__(self):
        self._moment = MIDNIGHT - timedelta(days=2)

    def now(self):
        self._moment += timedelta(days=1)
        return self._moment


def opened(folder, kind=SqlStore):
    store = kind(folder / "state.db", _Clock())
    store.open()
    return store


def keys(dataset, rows: pd.DataFrame):
    return Counter(map(tuple, rows[list(KEYS[dataset])].astype(str).itertuples(index=False)))


def in_files(folder, dataset):
    """What pandas alone finds."""
    if not list(folder.glob(f"{dataset}/date=*/*.parquet")):
        return Counter()
    return keys(dataset, pd.read_parquet(folder / dataset))


def seen(folder, dataset):
    """What a user is shown."""
    return keys(dataset, frame(folder, dataset))


def truth(folder):
    """Every key once, as the outbox alone tells it before anything is sealed."""
    found = {dataset: seen(folder, dataset) for dataset in DATASETS}
    assert {name: len(each) for name, each in found.items()} == {
        "runs": 5,
        "attempts": 4,
        "decisions": 4,
        "logs": 8,
    }
    assert all(set(each.values()) == {1} for each in found.values())
    return found


def in_child(work):
    """Do work in a process of its own and return its exit status: killed, it cleans nothing up."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            work()
            status = 0
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def seal_and_die(folder, fuse, *, rows=ROWS_PER_FILE):
    store, history = opened(folder, KilledStore), KilledHistory(folder)
    KilledStore.step = KilledHistory.step = Bomb(fuse)
    Sealer(store, history, LATER, rows_per_file=rows).seal(everything=True)


def seal(folder, *, rows=ROWS_PER_FILE, everything=True):
    store = opened(folder)
    paths = Sealer(store, History(folder), _Clock(), rows_per_file=rows).seal(everything)
    assert [row["run_id"] for row in store.unsealed("runs")] == ["tick@live"]
    assert all(not store.unsealed(each) for each in ("attempts", "decisions", "logs"))
    store.close()
    return paths


def check_while_dead(folder, expected):
    for dataset, whole in expected.items():
        assert seen(folder, dataset) == whole, dataset
        plain = in_files(folder, dataset)
        assert plain <= whole, dataset  # some rows, none twice


def check_sealed(folder, expected):
    for dataset, whole in expected.items():
        assert seen(folder, dataset) == whole, dataset
        live = Counter({("tick@live",): 1} if dataset == "runs" else {})
        assert in_files(folder, dataset) == whole - live, dataset


def test_sealing_moves_every_finished_row_into_a_file_of_its_day(home):
    expected = truth(home)
    paths = seal(home)
    check_sealed(home, expected)
    assert len(set(paths)) == len(paths)
    runs = [path for path in paths if path.startswith("runs/")]
    days = sorted(Path(path).parent.name for path in runs)
    assert days == ["date=2026-03-01"] * 2 + ["date=2026-03-02"]  # of 2, 1 and 1 rows
    assert all((home / path).exists() for path in paths)


def test_every_row_is_seen_once_wherever_sealing_is_killed(home, tmp_path):
    expected = truth(home)
    fuse, status = 0, DIED
    while status == DIED:
        fuse += 1
        folder = tmp_path / f"copy-{fuse}"
        shutil.copytree(home, folder)
        status = in_child(lambda folder=folder, fuse=fuse: seal_and_die(folder, fuse))
        assert status in (DIED, 0)
        check_while_dead(folder, expected)
        # The next sealer may be another version, with other limits.
        seal(folder, rows=5)
        check_sealed(folder, expected)
        shutil.rmtree(folder)
    assert fuse > 35, "that many durable steps were to be seen"


def test_sealing_killed_at_every_step_and_again_while_it_recovers_loses_and_doubles_nothing(
    home, tmp_path
):
    expected = truth(home)
    for fuse in range(2, 40, 7):
        folder = tmp_path / f"copy-{fuse}"
        shutil.copytree(home, folder)
        for again in (fuse, fuse - 1, 3, 1):
            in_child(lambda folder=folder, again=again: seal_and_die(folder, again))
            check_while_dead(folder, expected)
        seal(folder)
        check_sealed(folder, expected)


def test_rows_that_come_after_a_crash_are_not_mixed_into_the_files_of_the_plan(home):
    assert in_child(lambda: seal_and_die(home, 5)) == DIED  # the plan and a file are durable
    store = opened(home)
    store.commit(finished(TICK, ["tick@late"], end=MIDNIGHT + timedelta(seconds=2)))
    store.close()
    expected = {dataset: seen(home, dataset) for dataset in DATASETS}
    assert expected["runs"][("tick@late",)] == 1
    assert any(in_files(home, dataset) for dataset in DATASETS)
    seal(home)
    check_sealed(home, expected)


def test_a_row_stays_in_the_database_for_one_more_call(home):
    store = opened(home)
    sealing = Sealer(store, History(home), _Clock())
    assert sealing.seal() == []
    store.commit(finished(TICK, ["tick@young"]))
    assert sealing.seal() != []
    assert [row["run_id"] for row in store.unsealed("attempts")] == ["tick@young"]
    assert store.has_any_run(["tick@young"])
    assert not store.has_any_run(["tick@0-0"])
    assert sealing.seal() != []
    assert store.unsealed("attempts") == []
    assert sealing.seal() == []
    store.close()


def test_a_database_that_starts_anew_in_an_old_home_writes_over_no_file(home):
    first = seal(home)
    for path in home.glob("state.db*"):
        path.unlink()
    fill(home, prefix="tock")  # the same numbers for other rows
    store = opened(home)
    second = Sealer(store, History(home), _Clock(), rows_per_file=ROWS_PER_FILE).seal(True)
    store.close()
    assert not set(first) & set(second)
    assert len(in_files(home, "runs")) == 8
    assert set(in_files(home, "runs").values()) == {1}


def test_a_replaced_scheduler_s_sealer_touches_nothing_and_says_so(home):
    older = opened(home)
    sealing = Sealer(older, History(home), _Clock())
    opened(home).close()
    with pytest.raises(StaleEpoch):
        sealing.seal(everything=True)
    assert not any(in_files(home, dataset) for dataset in DATASETS)
    older.close()


class KilledError(Exception):
    """In place of a process that dies."""


class DiesDeleting(Sealer):
    """A sealer that gets as far as deleting a few rows."""

    def _delete_some(self, plan):
        super()._delete_some(plan)
        raise KilledError


@pytest.mark.parametrize("moment", [1, 3, 7])
@pytest.mark.parametrize("successor", [Sealer, DiesDeleting])
def test_a_sealer_replaced_in_the_middle_of_its_plan_writes_no_row_twice(home, moment, successor):
    """Its successor completes the plan, and deletes its rows, between two of its files."""
    expected = truth(home)
    older = opened(home)

    class Overtaken(History):
        files = 0

        def write(self, *args):
            self.files += 1
            if self.files == moment:
                newer = opened(home)
                with suppress(KilledError):
                    successor(newer, History(home), _Clock()).seal(True)
                newer.close()
            return super().write(*args)

    with pytest.raises(StaleEpoch):
        Sealer(older, Overtaken(home), _Clock(), rows_per_file=ROWS_PER_FILE).seal(True)
    check_while_dead(home, expected)
    seal(home)
    check_sealed(home, expected)
    older.close()


def test_the_engine_commits_between_the_steps_of_sealing(home):
    store = opened(home)

    class Interrupted(History):
        files = 0

        def write(self, *args):
            self.files += 1
            store.commit(finished(TICK, [f"tick@during-{self.files}"]))
            return super().write(*args)

    sealing = Sealer(store, Interrupted(home), _Clock(), rows_per_file=ROWS_PER_FILE)
    paths = sealing.seal(everything=True)
    left = [row["run_id"] for row in store.unsealed("attempts")]
    assert left == [f"tick@during-{n + 1}" for n in range(len(paths))]
    store.close()


def test_a_row_that_fits_no_column_stops_sealing_loudly_and_loses_nothing(home):
    expected = truth(home)
    store = opened(home)
    with store.fenced("write", "") as connection:
        connection.execute(text("UPDATE outbox SET doc = '[{\"no_column\": 1}]' WHERE seq = 1"))
    with pytest.raises(StoreError, match="no_column"):
        Sealer(store, History(home), _Clock()).seal(everything=True)
    assert len(store.unsealed("attempts")) == len(expected["attempts"])
    store.close()


def test_a_damaged_day_does_not_keep_other_days_from_being_rolled_up(home):
    damaged = home / "runs" / "date=2026-01-01"
    damaged.mkdir(parents=True)
    for name in ("a", "b"):
        (damaged / f"{name}.parquet").write_bytes(b"PAR1 no more PAR1")
    store = opened(home)
    with pytest.raises(StoreError, match="2026-01-01"):
        Sealer(store, History(home), LATER, rows_per_file=ROWS_PER_FILE).seal(everything=True)
    assert store.unsealed("attempts") == []
    assert len(list(home.glob("attempts/date=2026-03-01/*.parquet"))) == 1
    store.close()


def test_days_are_those_of_utc(home):
    seal(home)
    for dataset, column in (("runs", "finished_at"), ("decisions", "decided_at")):
        for path in home.glob(f"{dataset}/date=*"):
            day = date.fromisoformat(path.name.removeprefix("date="))
            assert {each.date() for each in pd.read_parquet(path)[column]} == {day}


@pytest.mark.parametrize("call", range(1, 4))
def test_sealing_goes_on_after_the_disk_refused(home, call, monkeypatch):
    expected = truth(home)
    store, history = opened(home), History(home)
    real, calls = history.write, []

    def refuse(*args):
        calls.append(args)
        if len(calls) == call:
            raise StoreError("no space")
        return real(*args)

    monkeypatch.setattr(history, "write", refuse)
    sealing = Sealer(store, history, _Clock(), rows_per_file=ROWS_PER_FILE)
    with pytest.raises(StoreError, match="no space"):
        sealing.seal(everything=True)
    check_while_dead(home, expected)
    sealing.seal(everything=True)
    check_sealed(home, expected)
    store.close()
