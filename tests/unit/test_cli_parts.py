"""The pure parts of the command line: `--since`, widths, what is new, what a run looks like."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from raysched.cli import runs
from raysched.cli.console import console
from raysched.cli.live import view
from raysched.cli.logs import fresh, last_of
from raysched.cli.since import since
from raysched.cli.table import Column, fitted, table_of
from raysched.cli.watch import _fitting, changed
from raysched.errors import InvalidUnit

NOW = datetime(2026, 11, 25, 21, 30, tzinfo=UTC)  # a Wednesday


# --- --since


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("all", None),
        ("2h", NOW - timedelta(hours=2)),
        ("1h30m ago", NOW - timedelta(minutes=90)),
        ("today", datetime(2026, 11, 25, tzinfo=UTC)),
        ("Yesterday", datetime(2026, 11, 24, tzinfo=UTC)),
        ("wednesday", datetime(2026, 11, 25, tzinfo=UTC)),
        ("thursday", datetime(2026, 11, 19, tzinfo=UTC)),
        ("2026-11-22", datetime(2026, 11, 22, tzinfo=UTC)),
        ("2026-11-22T06:00-05:00", datetime(2026, 11, 22, 11, tzinfo=UTC)),
        ("2026-11-22T06:00:00Z", datetime(2026, 11, 22, 6, tzinfo=UTC)),
    ],
)
def test_since_takes_lengths_instants_days_and_words(text, meant):
    assert since(text, NOW) == meant


@pytest.mark.parametrize("text", ["", "soon", "5", "2026-02-30", "2026-11-22T06:00", "-2h", "ago"])
def test_since_refuses_what_names_no_instant_and_says_what_does(text):
    with pytest.raises(InvalidUnit, match="yesterday") as raised:
        since(text, NOW)
    assert raised.value.fix


# --- widths

FIXED, FOLD, TIGHT = Column("a", "a"), Column("b", "b", fold=True), Column("c", "c", tight=True)


@pytest.mark.parametrize(
    ("columns", "natural", "room", "widths"),
    [
        ([FIXED, FOLD, TIGHT], [10, 20, 30], 80, [10, 20, 30]),
        ([FIXED, FOLD, TIGHT], [10, 20, 60], 80, [10, 20, 46]),
        ([FIXED, FOLD, TIGHT], [20, 60, 60], 80, [20, 46, 10]),
        ([FIXED, TIGHT, TIGHT], [20, 60, 30], 80, [20, 28, 28]),
        ([FIXED, FOLD, TIGHT, TIGHT], [28, 60, 30, 30], 80, [28, 26, 10, 10]),
        ([FIXED, FOLD, TIGHT, TIGHT], [40, 60, 30, 30], 80, [40, 26, 10, 0]),
        ([FIXED, FOLD, TIGHT], [60, 60, 30], 80, [60, 24, 0]),
        ([FIXED], [200], 80, [200]),
    ],
)
def test_tight_columns_give_way_first_then_names_fold_then_columns_are_left_out(
    columns, natural, room, widths
):
    assert fitted(columns, natural, room) == widths


@pytest.mark.parametrize("room", [60, 80, 120, 200])
def test_a_table_fits_its_room_and_never_cuts_what_is_neither_tight_nor_folds(room):
    zone = "2026-11-26 04:00:00 UTC+0545"
    rows = [
        {"job": "n" * 64, "slot": zone, "tags": "日本語 " * 30, "why": "🛫 why " * 40},
        {"job": "b", "slot": zone, "tags": None, "why": "\x1b[31m"},
    ]
    columns = [
        Column("job", "job", fold=True),
        Column("next slot", "slot"),
        Column("tags", "tags", tight=True),
        Column("why", "why", tight=True),
    ]
    out = console()
    out.width = room
    with out.capture() as text:
        out.print(table_of(rows, columns, room))
    lines = text.get().splitlines()
    from rich.cells import cell_len

    assert max(map(cell_len, lines)) <= room
    assert text.get().count(zone) == 2
    assert text.get().count("n") >= 64
    assert "\x1b" not in text.get()
    shown = {name for name in ("tags", "why") if name in lines[0].split()}
    left_out = {"tags", "why"} - shown
    assert all(name in lines[-1] for name in left_out)
    assert ("no room" in text.get()) == bool(left_out)


# --- watching runs


def a_run(run_id="a@1", status="running", **more):
    return {"run_id": run_id, "status": status, **more}


def test_only_what_is_new_or_in_another_state_is_told_the_oldest_first():
    rows = [a_run("c@3"), a_run("b@2", "failed"), a_run("a@1", "succeeded")]
    known = {"a@1": "succeeded", "b@2": "running"}
    assert [row["run_id"] for row in changed(known, rows)] == ["b@2", "c@3"]
    assert changed({row["run_id"]: row["status"] for row in rows}, rows) == []


def test_the_table_that_is_watched_has_as_many_rows_as_fit_and_says_so():
    rows = [a_run(f"a@{n}") for n in range(50)]
    table = _fitting(rows, 8312, [Column("run", "run_id")], height=20)
    assert table.row_count == 17
    assert "17 of 8,312 runs" in table.caption
    assert _fitting([], 0, [Column("run", "run_id")], height=1).row_count == 0


# --- following a log


def line(attempt, number):
    return {"attempt": attempt, "line_no": number, "line": f"{attempt}.{number}"}


def test_each_line_is_shown_once_and_in_its_attempts_order():
    lines = [line(2, 1), line(1, 2), line(1, 1), line(1, 3)]
    first = fresh(lines, {})
    assert [each["line"] for each in first] == ["1.1", "1.2", "1.3", "2.1"]
    seen = last_of(first)
    assert seen == {1: 3, 2: 1}
    assert [each["line"] for each in fresh([*lines, line(2, 2), line(3, 1)], seen)] == [
        "2.2",
        "3.1",
    ]


# --- the view of a run


def shown(row, last_line="", width=60):
    out = console()
    out.width = width
    with out.capture() as text:
        out.print(view(row, last_line, NOW))
    return text.get()


BORN = {"created_at": NOW, "queued_at": NOW, "started_at": None, "reason": None}


def test_a_waiting_run_says_why():
    row = {**BORN, "status": "queued", "reason": "all places are taken"}
    assert shown(row) == "queued 0.00s all places are taken\n"


def test_a_running_run_shows_its_own_progress_and_its_last_line_harmless():
    begun = NOW - timedelta(minutes=3)
    row = {**BORN, "status": "running", "started_at": begun, "progress": (3, 10)}
    text = shown(row, "step 3\x1b[2J [red]x[/red]")
    assert "running" in text
    assert "3/10 3m" in text
    assert text.splitlines()[1] == "step 3\\x1b[2J [red]x[/red]"


@pytest.mark.parametrize("progress", [(0, 0), (5, 3), (0.5, 1), (-1, 10)])
def test_odd_progress_is_shown_and_breaks_nothing(progress):
    row = {**BORN, "status": "running", "progress": progress}
    assert f"{progress[0]:g}/{progress[1]:g}" in shown(row)


def test_a_view_is_never_wider_than_the_terminal():
    row = {**BORN, "status": "queued", "reason": "x " * 200}
    assert len(shown(row, "日" * 200, width=40).splitlines()) == 2


def test_a_run_is_shown_with_units_and_without_what_it_did_not_ask_for():
    at = datetime(2026, 11, 22, 11, tzinfo=UTC)
    row = {"run_id": "a@b", "slot": at, "timezone": "America/New_York", "finished_at": at}
    row |= {"duration_s": 90.0, "cpu_time_s": 0.25, "num_cpus": 1.0, "num_gpus": 0.0}
    row |= {"memory_bytes": 0, "peak_memory_bytes": 2**20, "progress": (1.0, 4.0)}
    assert runs._readable(row, at + timedelta(seconds=5)) == {
        "run_id": "a@b",
        "slot": "2026-11-22 06:00:00 EST (5.00s ago)",
        "timezone": "America/New_York",
        "finished_at": "2026-11-22 11:00:00 UTC (5.00s ago)",
        "duration": "1m 30s",
        "cpu": "0.25s",
        "num_cpus": "1",
        "num_gpus": None,
        "memory": None,
        "peak_memory": "1.0 MiB",
        "progress": "1 of 4",
    }
