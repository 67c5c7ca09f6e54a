"""Rows become Arrow and come back without a microsecond or a column lost."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from enum import StrEnum
from zoneinfo import ZoneInfo

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raysched.errors import InputError, StoreError
from raysched.spec.units import to_us
from raysched.store.schema import (
    DATASETS,
    FOLDER_TIME,
    INSTANT,
    KEYS,
    TIME,
    by_day,
    conform,
    schema_of,
    to_table,
)

MICROS = st.integers(-(2**55), 2**55)
VALUES = {
    pa.string(): st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    pa.int64(): st.integers(-(2**63), 2**63 - 1),
    pa.float64(): st.floats(allow_nan=False),
    pa.bool_(): st.booleans(),
    INSTANT: MICROS,
    pa.list_(pa.string()): st.lists(st.text("ab", max_size=3), max_size=3),
}


def to_rows(table):
    """An Arrow table as rows, with instants as whole microseconds: the way back."""
    for index, field in enumerate(table.schema):
        if field.type == INSTANT:
            table = table.set_column(index, field.name, table.column(index).cast(pa.int64()))
    return table.to_pylist()


def rows_of(dataset):
    """Rows with any of the columns, and always those that identify them."""
    columns = {field.name: VALUES[field.type] for field in DATASETS[dataset]}
    keys = {name: columns.pop(name) for name in KEYS[dataset]}
    optional = {name: st.none() | values for name, values in columns.items()}
    return st.lists(st.fixed_dictionaries(keys, optional=optional), max_size=4)


@pytest.mark.parametrize("dataset", DATASETS)
@settings(deadline=None)  # the first table of a process takes its time
@given(data=st.data())
def test_a_row_comes_back_as_it_went_in(dataset, data):
    rows = data.draw(rows_of(dataset))
    whole = [{name: row.get(name) for name in DATASETS[dataset].names} for row in rows]
    table = to_table(dataset, json.loads(json.dumps(rows)))
    assert table.schema.equals(DATASETS[dataset])
    assert to_rows(table) == whole


def test_the_columns_are_those_that_users_are_promised():
    promised = (
        "run_id, job, version, slot, trigger, status, reason, attempts, created_at, queued_at, "
        "started_at, finished_at, duration_s, lag_s, node_id, node_ip, num_cpus, num_gpus, "
        "memory_bytes, peak_memory_bytes, cpu_time_s, exit_code, error_type, error_message, "
        "params, result_kind, result_json, result_rows, result_path, image, tags"
    )
    assert DATASETS["runs"].names == [
        *promised.split(", "),
        *("timezone", "metrics", "origin", "oom_killed", "backfill", "partial_path"),
    ]
    logs = "run_id, job, attempt, ts, stream, line_no, line, node_ip"
    assert DATASETS["logs"].names == logs.split(", ")
    decisions = "job, slot, decision, reason, run_id, decided_at, schedule, policy"
    assert DATASETS["decisions"].names == [*decisions.split(", "), "last_slot", "cause"]


def test_every_instant_has_microseconds_and_a_zone():
    for schema in DATASETS.values():
        for field in schema:
            assert not pa.types.is_timestamp(field.type) or field.type == INSTANT


def test_what_identifies_and_orders_a_row_is_a_column():
    for dataset, schema in DATASETS.items():
        assert {*KEYS[dataset], TIME[dataset]} <= set(schema.names)
        assert dataset not in FOLDER_TIME or FOLDER_TIME[dataset] in schema.names


def test_no_rows_are_an_empty_table_of_the_whole_schema():
    assert to_table("runs", []).schema.equals(DATASETS["runs"])
    assert to_rows(to_table("runs", [])) == []


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"run_id": "r", "colour": 1}, "'colour'"),
        ({"job": "j"}, "run_id"),
        ({"run_id": "r", "created_at": 1.5}, "runs.created_at"),
        ({"run_id": "r", "created_at": datetime(2026, 1, 1, tzinfo=UTC)}, "runs.created_at"),
        ({"run_id": "r", "attempts": True}, "runs.attempts"),
        ({"run_id": "r", "attempts": 2**63}, "runs.attempts"),
        ({"run_id": "r", "num_cpus": "many"}, "runs.num_cpus"),
        ({"run_id": "r", "status": 3}, "runs.status"),
    ],
)
def test_a_row_that_does_not_fit_is_refused_by_its_column(row, says):
    with pytest.raises(StoreError, match=says):
        to_table("runs", [row])


def test_half_a_surrogate_pair_is_shown_escaped_rather_than_blocking_the_run():
    rows = [{"run_id": "r", "error_message": "file \udcff", "tags": ["a", "\ud800"]}]
    (row,) = to_rows(to_table("runs", rows))
    assert row["error_message"] == "file \\udcff"
    assert row["tags"] == ["a", "\\ud800"]


def test_there_is_no_other_dataset():
    with pytest.raises(InputError, match="no dataset"):
        schema_of("results")


def test_a_table_with_other_columns_is_not_taken_for_the_dataset():
    with pytest.raises(StoreError, match="not one of runs"):
        conform("runs", pa.table({"run_id": ["r"]}))


def test_both_instants_of_a_repeated_hour_stay_apart():
    first = datetime(2026, 11, 1, 1, 30, 0, 123456, tzinfo=ZoneInfo("America/New_York"))
    rows = [{"run_id": str(i), "slot": to_us(first.replace(fold=i))} for i in (0, 1)]
    assert to_table("runs", rows).column("slot").to_pylist() == [
        datetime(2026, 11, 1, 5, 30, 0, 123456, tzinfo=UTC),
        datetime(2026, 11, 1, 6, 30, 0, 123456, tzinfo=UTC),
    ]


def test_a_status_may_be_a_member_of_a_closed_set():
    class Status(StrEnum):
        FAILED = "failed"

    assert to_rows(to_table("runs", [{"run_id": "r", "status": Status.FAILED}]))[0]["status"] == (
        "failed"
    )


def test_rows_are_split_by_the_utc_day_of_their_end():
    midnight = to_us(datetime(2026, 3, 2, tzinfo=UTC))
    rows = [{"run_id": str(i), "finished_at": midnight + i} for i in (-1, 0, 1)]
    split = by_day("runs", rows)
    assert {day: [row["run_id"] for row in rows] for day, rows in split.items()} == {
        date(2026, 3, 1): ["-1"],
        date(2026, 3, 2): ["0", "1"],
    }
    with pytest.raises(StoreError, match="finished_at"):
        by_day("runs", [{"run_id": "live", "started_at": midnight}])
