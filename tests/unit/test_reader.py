"""Reading finds each row once, prunes what it may, and is never silently wrong."""

from __future__ import annotations

import os
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import parquet as pq

from raysched.errors import InputError, StoreError
from raysched.spec.units import to_us
from raysched.store import reader
from raysched.store.history import History
from raysched.store.reader import read, to_frame
from raysched.store.schema import DATASETS, by_day, to_table

DAY = date(2026, 11, 22)
START = datetime(2026, 11, 22, tzinfo=UTC)


def run(run_id, *, job="j", status="succeeded", created=START, hours=1.0, **columns):
    """The row of a run that took so many hours; None is not over yet."""
    end = None if hours is None else to_us(created + timedelta(hours=hours))
    return {
        "run_id": run_id,
        "job": job,
        "status": status,
        "created_at": to_us(created),
        "finished_at": end,
        **columns,
    }


@pytest.fixture
def home(tmp_path):
    return tmp_path / "home"


def keep(home, *rows, dataset="runs"):
    history = History(home)
    for day, some in by_day(dataset, rows).items():
        history.write(dataset, day, f"f{len(history.files(dataset, day))}", some)


def ids(table):
    return sorted(table.column("run_id").to_pylist())


def test_an_empty_home_has_every_column_and_no_row(home):
    History(home)
    for dataset, schema in DATASETS.items():
        table = read(home, dataset, since=START, job="j", run_id="r")
        assert table.schema.equals(schema)
        assert table.num_rows == 0


def test_the_folders_date_is_no_column(home):
    keep(home, run("a"))
    assert read(home, "runs").schema.equals(DATASETS["runs"])


@pytest.mark.parametrize(("dataset", "key"), [("runs", {}), ("attempts", {"attempt": 1})])
def test_a_file_from_before_a_column_was_added_is_read_with_nulls_in_it(home, dataset, key):
    old = {"run_id": "old", "finished_at": to_us(START), **key}
    keep(home, {**old, "run_id": "new", "partial_path": "partial/x"}, dataset=dataset)
    older = to_table(dataset, [old]).drop_columns(["partial_path"])
    pq.write_table(older, home / f"{dataset}/date={DAY}/older.parquet")
    table = read(home, dataset)
    assert table.schema.equals(DATASETS[dataset])
    found = zip(table["run_id"].to_pylist(), table["partial_path"].to_pylist(), strict=True)
    assert dict(found) == {"new": "partial/x", "old": None}


def test_filters_pick_by_job_status_and_run(home):
    keep(home, run("a"), run("b", status="failed"), run("c", job="k", status="lost"))
    assert ids(read(home, "runs", job="j")) == ["a", "b"]
    assert ids(read(home, "runs", status="failed")) == ["b"]
    assert ids(read(home, "runs", status=["failed", "lost"])) == ["b", "c"]
    assert ids(read(home, "runs", run_id=["a", "c"], job="k")) == ["c"]
    assert ids(read(home, "runs", job=[])) == []


@pytest.mark.parametrize("job", ["../../etc", "j' OR '1'='1", "*", "date=2026-11-22", "j\x00", "é"])
def test_a_name_is_data_whatever_it_looks_like(home, job):
    keep(home, run("a"), run("b", job=job))
    assert ids(read(home, "runs", job=job)) == ["b"]


def test_bounds_are_exact_to_the_microsecond(home):
    tick = timedelta(microseconds=1)
    keep(home, *(run(str(i), created=START + i * tick) for i in range(4)))
    assert ids(read(home, "runs", since=START + tick, until=START + 3 * tick)) == ["1", "2"]


def test_bounds_may_be_in_any_zone_and_either_side_of_a_fold(home):
    zone = ZoneInfo("America/New_York")
    first = datetime(2026, 11, 1, 1, 30, tzinfo=zone)
    keep(home, run("a", created=first), run("b", created=first.replace(fold=1)))
    assert ids(read(home, "runs", since=first.replace(fold=1))) == ["b"]
    assert ids(read(home, "runs", until=first.replace(fold=1))) == ["a"]


def test_a_bound_without_zone_and_a_status_that_is_not_there_are_refused(home):
    History(home)
    for bound in ({"since": datetime(2026, 1, 1)}, {"until": datetime(2026, 1, 1)}):
        with pytest.raises(InputError, match="time zone"):
            read(home, "runs", **bound)
    with pytest.raises(InputError, match="no status"):
        read(home, "logs", status="failed")


def test_a_long_run_is_found_by_its_beginning_though_its_folder_is_of_its_end(home):
    keep(home, run("long", created=START, hours=100))
    assert ids(read(home, "runs", since=START, until=START + timedelta(hours=1))) == ["long"]
    assert ids(read(home, "runs", since=START + timedelta(hours=1))) == []


def test_since_opens_no_older_file(home):
    keep(home, run("old", created=START - timedelta(days=3)), run("new"))
    (path,) = (home / "runs/date=2026-11-19").iterdir()
    path.write_bytes(b"not opened")
    assert ids(read(home, "runs", since=START + timedelta(hours=-1))) == ["new"]
    with pytest.raises(StoreError):
        read(home, "runs")


def test_a_clock_that_is_behind_hides_nothing(home):
    # The head took the line in at 23:59:59; the worker's clock said 00:00:01.
    row = {"run_id": "r", "attempt": 1, "line_no": 1, "ts": to_us(START) + 1_000_000}
    History(home).write("logs", DAY - timedelta(1), "a", [row])
    assert read(home, "logs", since=START).num_rows == 1


@pytest.mark.parametrize("year", [1, 9999])
def test_a_bound_at_the_end_of_time_is_a_bound(home, year):
    keep(home, run("a"))
    found = read(home, "runs", since=datetime(year, 1, 1, tzinfo=UTC))
    assert found.num_rows == (1 if year == 1 else 0)


def test_an_attempt_that_never_started_counts_by_its_end(home):
    rows = [
        {"run_id": "a", "attempt": 1, "finished_at": to_us(START)},
        {"run_id": "b", "attempt": 1, "finished_at": to_us(START), "started_at": to_us(START) - 1},
    ]
    keep(home, *rows, dataset="attempts")
    assert ids(read(home, "attempts", since=START)) == ["a"]
    assert ids(read(home, "attempts", until=START)) == ["b"]


# -- with what no file holds yet --------------------------------------------------------


def both(home, sealed, unsealed, **filters):
    keep(home, *sealed)
    table = read(home, "runs", unsealed=to_table("runs", unsealed), **filters)
    assert table.schema.equals(DATASETS["runs"])
    return dict(
        zip(*(table.column(name).to_pylist() for name in ("run_id", "reason")), strict=True)
    )


def test_unsealed_rows_are_merged_in(home):
    live = run("live", status="running", hours=None)
    assert both(home, [run("a")], [live]) == {"a": None, "live": None}
    assert ids(read(home, "runs", unsealed=to_table("runs", []))) == ["a"]


def test_a_row_in_both_places_is_the_files(home):
    assert both(home, [run("a", reason="file")], [run("a", reason="database")]) == {"a": "file"}


def test_a_finished_row_wins_over_an_unfinished_one_wherever_it_is(home):
    live = {"status": "running", "hours": None, "reason": "live"}
    unsealed = [run("a", **live), run("b", **live), run("b", reason="over")]
    assert both(home, [run("a", reason="over")], unsealed) == {"a": "over", "b": "over"}


def test_a_status_that_a_run_no_longer_has_does_not_find_it(home):
    live = {"status": "running", "hours": None}
    sealed, unsealed = [run("a", status="failed")], [run("a", **live), run("b", **live)]
    assert both(home, sealed, unsealed, status="running") == {"b": None}
    assert ids(read(home, "runs", status="failed", unsealed=to_table("runs", unsealed))) == ["a"]


def test_filters_hold_for_unsealed_rows_too(home):
    unsealed = [run("a", job="k"), run("b", created=START - timedelta(days=9)), run("c")]
    assert both(home, [run("d")], unsealed, job="j", since=START) == {"c": None, "d": None}


def test_each_dataset_has_its_own_identity(home):
    logs = [
        {"run_id": "r", "attempt": attempt, "line_no": line, "ts": to_us(START)}
        for attempt in (1, 2)
        for line in (1, 2)
    ]
    History(home).write("logs", DAY, "a", logs)
    assert read(home, "logs", unsealed=to_table("logs", logs)).num_rows == 4
    rows = [{"job": "j", "slot": to_us(START) + i, "decided_at": to_us(START)} for i in (0, 0, 1)]
    keep(home, rows[0], dataset="decisions")
    assert read(home, "decisions", unsealed=to_table("decisions", rows)).num_rows == 2


def test_a_table_of_something_else_is_not_merged_in(home):
    History(home)
    with pytest.raises(StoreError, match="not one of runs"):
        read(home, "runs", unsealed=pa.table({"run_id": ["a"]}))


# -- damage -----------------------------------------------------------------------------


def damaged(home, damage):
    """A home with one file of three damaged; its path."""
    for number in range(3):
        keep(home, *(run(f"{number}-{i}", reason=f"why {i}") for i in range(50)))
    path = home / "runs/date=2026-11-22/f1.parquet"
    path.write_bytes(damage(path.read_bytes()))
    return path


@pytest.mark.parametrize("left", [0, 3, 4, 100, 0.5, -1])
def test_a_truncated_file_is_named(home, left):
    path = damaged(home, lambda data: data[: int(len(data) * left) if left == 0.5 else left])
    with pytest.raises(StoreError, match=r"f1\.parquet") as caught:
        read(home, "runs")
    assert "move it out" in caught.value.fix
    os.rename(path, home / "f1.parquet")
    assert read(home, "runs").num_rows == 100


def test_a_flipped_byte_in_any_column_is_an_error_that_names_the_file(home):
    path = damaged(home, lambda data: data)
    whole, group = path.read_bytes(), pq.read_metadata(path).row_group(0)
    for number in range(group.num_columns):
        column = group.column(number)
        start = column.dictionary_page_offset or column.data_page_offset
        path.write_bytes(flip(whole, start + column.total_compressed_size - 1))
        with pytest.raises(StoreError, match=r"f1\.parquet"):
            read(home, "runs")


def flip(data, place):
    return data[:place] + bytes([data[place] ^ 0x10]) + data[place + 1 :]


def test_hidden_and_foreign_names_are_ignored(home):
    keep(home, run("a"))
    day = home / "runs/date=2026-11-22"
    for name in (".a.parquet", "_a.parquet", "a.parquet.tmp", "README"):
        (day / name).write_bytes(b"junk")
    (home / "runs/date=2026-02-30").mkdir()
    (home / "runs/notes").mkdir()
    (home / "runs/notes/a.parquet").write_bytes(b"junk")
    assert ids(read(home, "runs")) == ["a"]


def test_a_file_that_vanishes_after_the_listing_is_found_where_it_went(home, monkeypatch):
    history = History(home)
    history.write("runs", DAY, "a", [run("a")])
    history.write("runs", DAY, "b", [run("b")])
    real, calls = reader._load, []

    def late(*args):
        if not calls:
            assert history.roll_up("runs", DAY) == 2
        calls.append(args)
        return real(*args)

    monkeypatch.setattr(reader, "_load", late)
    assert ids(read(home, "runs")) == ["a", "b"]
    assert len(calls) == 2


def test_a_listing_that_is_always_outdated_ends_in_an_error(home, monkeypatch):
    keep(home, run("a"))
    monkeypatch.setattr(reader.layout, "files", lambda *args: ["runs/date=2026-11-22/gone.parquet"])
    with pytest.raises(StoreError, match="keep vanishing"):
        read(home, "runs")


def test_a_folder_that_cannot_be_listed_is_an_error(home):
    History(home)
    (home / "runs").write_text("")
    with pytest.raises(StoreError, match="cannot be listed"):
        read(home, "runs")


# -- frames -----------------------------------------------------------------------------


def test_a_frame_is_sorted_and_its_dtypes_never_depend_on_its_rows(home):
    keep(home, run("b", exit_code=1, created=START + timedelta(1), tags=["x"]), run("a"))
    full, empty = to_frame(read(home, "runs")), to_frame(read(home, "runs", job="none"))
    assert full.run_id.tolist() == ["a", "b"]
    assert (full.dtypes == empty.dtypes).all()
    assert str(full.created_at.dtype) == "datetime64[us, UTC]"
    assert str(full.status.dtype) == "str"
    assert str(full.exit_code.dtype) == "Int64"
    assert full.exit_code.isna().tolist() == [True, False]
    assert full.created_at[0] == START
    assert isinstance(full, pd.DataFrame)


def test_lines_of_one_instant_stay_in_order():
    rows = [{"run_id": "r", "attempt": 1, "line_no": n, "ts": 0} for n in (10, 9, 11)]
    assert to_frame(to_table("logs", rows)).line_no.tolist() == [9, 10, 11]


def test_any_other_table_becomes_a_frame_as_it_is():
    assert to_frame(pa.table({"x": [2, 1]})).x.tolist() == [2, 1]
    assert np.isnan(to_frame(pa.table({"x": [None, 1.0]})).x[0])


def test_frames_are_small_and_their_text_behaves_as_text():
    rows = [
        run(f"job-{n % 3}@{n}", job=f"job-{n % 3}", version="0123456789ab", node_id="f" * 56)
        for n in range(300)
    ]
    frame = to_frame(to_table("runs", rows))
    objects = frame.astype({name: object for name in frame if frame[name].dtype == "str"})
    assert frame.memory_usage(deep=True).sum() < 0.6 * objects.memory_usage(deep=True).sum()
    one = frame[frame["job"] == "job-1"]
    assert one.groupby("job")["run_id"].count().to_dict() == {"job-1": 100}  # no empty groups
    other = pd.DataFrame({"job": ["job-1", "nobody"], "owner": ["a", "b"]})
    merged = frame.merge(other, on="job")
    assert len(merged) == 100
    assert merged["job"].dtype == frame["job"].dtype
    assert (frame["job"] + "!").iloc[0] == "job-0!"
    assert not (frame["job"] == "nobody").any()
    assert frame.sort_values("job")["job"].is_monotonic_increasing
