"""The history a batch at a time, and as one file for elsewhere: the same rows, each once."""

from __future__ import annotations

import json
import os
from datetime import timedelta

import pandas as pd
import pyarrow as pa
import pytest
from samples import START, TICK, TOCK, finished, run, seal

from raysched.cli import main
from raysched.core.ports import Changes
from raysched.errors import Conflict, InputError, StoreError
from raysched.spec.notebook import ExecutedNotebook
from raysched.store import export, results, stream
from raysched.store.history import History
from raysched.store.home import open_home
from raysched.store.query import batches, frame
from raysched.store.schema import DATASETS, KEYS, schema_of
from raysched.store.sealer import Sealer
from raysched.store.summary import summary
from raysched.testing.clock import FakeClock

DAY = timedelta(days=1)


@pytest.fixture
def store(store, home):
    """Runs of three days in files, one not sealed yet, one not over."""
    for day in range(3):
        store.commit(finished(TICK, [f"tick@{day}-{n}" for n in range(4)], end=START + day * DAY))
        store.commit(finished(TOCK, [f"tock@{day}"], end=START + day * DAY))
        seal(store, home)
    store.commit(finished(TICK, ["tick@unsealed"]))
    store.commit(Changes(runs={"tick@live": run(TICK, "tick@live")}))
    return store


def keys_of(frame, dataset):
    return sorted(map(tuple, frame[list(KEYS[dataset])].itertuples(index=False)))


@pytest.mark.parametrize("dataset", DATASETS)
@pytest.mark.parametrize(
    "asked", [{}, {"job": "tock"}, {"since": START + timedelta(seconds=1)}], ids=str
)
def test_a_stream_holds_what_a_frame_does(store, home, dataset, asked):
    table = pa.Table.from_batches(batches(home, dataset, **asked), schema_of(dataset))
    whole = frame(home, dataset, **asked)
    assert keys_of(table.to_pandas(), dataset) == keys_of(whole, dataset)


def test_a_stream_is_filtered_by_state_in_files_and_database(store, home):
    found = pa.Table.from_batches(batches(home, "runs", status="queued"), schema_of("runs"))
    assert found.column("run_id").to_pylist() == ["tick@live"]
    with pytest.raises(InputError, match="have no status"):
        list(batches(home, "logs", status="queued"))


def test_a_row_that_is_in_a_file_and_in_the_database_still_is_given_once_as_the_file_has_it(
    store, home
):
    # Read before a sealing, streamed after it.
    pending = _unsealed(store, "runs")
    assert set(pending.column("run_id").to_pylist()) == {"tick@unsealed", "tick@live"}
    store.commit(finished(TICK, ["tick@live"]))
    seal(store, home)
    found = stream.batches(open_home(home), "runs", unsealed=pending)
    rows = [row for batch in found for row in batch.to_pylist()]
    ids = [row["run_id"] for row in rows]
    assert len(ids) == len(set(ids)) == 17
    (live,) = [row for row in rows if row["run_id"] == "tick@live"]
    assert live["status"] == "succeeded"
    queued = stream.batches(open_home(home), "runs", status="queued", unsealed=pending)
    assert list(queued) == []  # it was, but is no more


def _unsealed(store, dataset):
    from raysched.store.schema import to_table

    return to_table(dataset, store.unsealed(dataset))


def test_a_roll_up_in_the_middle_of_a_stream_loses_and_doubles_nothing(store, home):
    store.commit(finished(TICK, ["tick@2-9"], end=START + 2 * DAY))
    seal(store, home)
    found = stream.batches(open_home(home), "logs")
    rows = next(found).num_rows
    clock = FakeClock(START + 100 * DAY)
    Sealer(store, History(home), clock).seal(everything=True)  # closed days are rolled up
    rows += sum(batch.num_rows for batch in found)
    assert rows == len(frame(home, "logs"))


def test_a_large_file_is_given_in_small_batches(store, home):
    store.commit(finished(TICK, ["tick@talks"], lines=40_000))
    seal(store, home)
    sizes = [batch.num_rows for batch in batches(home, "logs")]
    assert sum(sizes) == 40_032
    assert max(sizes) <= 16 * 1024


def test_a_damaged_file_is_named(store, home):
    file = next((home / "runs").rglob("*.parquet"))
    data = bytearray(file.read_bytes())
    data[len(data) // 3] ^= 0xFF
    file.write_bytes(data)
    with pytest.raises(StoreError, match=r"\.parquet"):
        list(batches(home, "runs"))


# --- files


READ = {
    ".parquet": pd.read_parquet,
    ".csv": pd.read_csv,
    ".jsonl": lambda path: pd.read_json(path, lines=True),
    ".ndjson": lambda path: pd.read_json(path, lines=True),
}


@pytest.mark.parametrize("suffix", export.FORMATS)
@pytest.mark.parametrize("dataset", DATASETS)
def test_every_format_holds_every_row_and_column(store, home, tmp_path, suffix, dataset):
    path = tmp_path / f"out{suffix}"
    rows = export.write(path, schema_of(dataset), batches(home, dataset), force=False)
    found, whole = READ[suffix](path), frame(home, dataset)
    assert rows == len(found) == len(whole)
    assert list(found.columns) == list(whole.columns)
    assert sorted(found["job"]) == sorted(whole["job"])
    assert os.stat(path).st_mode & 0o077 == 0


def test_instants_and_lists_survive_every_format(store, home, tmp_path):
    for suffix in export.FORMATS:
        path = tmp_path / f"out{suffix}"
        export.write(path, schema_of("runs"), batches(home, "runs", job="tick"), force=False)
        row = READ[suffix](path).iloc[0]
        tags = json.loads(row["tags"]) if suffix == ".csv" else list(row["tags"])
        assert tags == ["a", "b"]
        assert pd.Timestamp(row["created_at"]) == pd.Timestamp(START)


def test_an_export_of_nothing_has_the_columns(home, tmp_path):
    for suffix in (".parquet", ".csv"):
        path = tmp_path / f"out{suffix}"
        assert export.write(path, schema_of("runs"), batches(home, "runs"), force=False) == 0
        assert list(READ[suffix](path).columns) == schema_of("runs").names


def test_an_export_that_fails_leaves_nothing_and_what_was_there_as_it_was(tmp_path):
    def broken():
        yield from schema_of("logs").empty_table().to_batches()
        raise StoreError("a file cannot be read.")

    path = tmp_path / "out.jsonl"
    path.write_text("old")
    with pytest.raises(StoreError, match="cannot be read"):
        export.write(path, schema_of("logs"), broken(), force=True)
    assert path.read_text() == "old"
    assert [each.name for each in tmp_path.iterdir()] == ["out.jsonl"]


def test_an_export_replaces_nothing_unless_forced_not_even_what_comes_meanwhile(tmp_path):
    path = tmp_path / "out.csv"

    def slow():
        path.write_text("theirs")
        yield from ()

    with pytest.raises(Conflict, match="is there already"):
        export.write(path, schema_of("logs"), slow(), force=False)
    assert path.read_text() == "theirs"
    with pytest.raises(Conflict):
        export.check(path, force=False)
    assert export.write(path, schema_of("logs"), (), force=True) == 0
    assert path.read_text().startswith('"run_id"')
    assert [each.name for each in tmp_path.iterdir()] == ["out.csv"]


@pytest.mark.parametrize("name", ["out", "out.json", "out.xlsx", ".csv"])
def test_a_name_that_says_no_format_is_refused_and_the_formats_are_named(tmp_path, name):
    with pytest.raises(InputError) as raised:
        export.check(tmp_path / name, force=True)
    assert ".jsonl" in raised.value.fix


def test_a_folder_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(InputError, match="no folder"):
        export.check(tmp_path / "absent" / "out.csv", force=False)


# --- the summary


def test_a_summary_counts_rows_files_days_and_bytes(store, home):
    found = {each.dataset: each for each in summary(home)}
    assert list(found) == [*DATASETS, "results", "partial"]
    runs = found["runs"]
    assert (runs.rows, runs.files) == (15, 3)
    assert (runs.first_day, runs.last_day) == (START.date(), (START + 2 * DAY).date())
    sizes = [path.stat().st_size for path in (home / "runs").rglob("*.parquet")]
    assert runs.bytes == sum(sizes)
    assert found["logs"].rows == 30
    assert found["results"].files == 0


def test_a_summary_counts_tables_and_notebooks_and_what_failed_attempts_left(home):
    for attempt, value in ((1, ExecutedNotebook(b"{}")), (2, pd.DataFrame({"n": [1]}))):
        kept = results.write_result(home, "nb", "nb@1", attempt, value)
        results.publish(home, kept.hidden_path, kept.final_path)
    left = results.write_result(home, "nb", "nb@2", 1, ExecutedNotebook(b"{ }"))
    results.publish(home, left.hidden_path, results.partial_path("nb", "nb@2", 1))
    found = {each.dataset: each for each in summary(home)}
    assert found["results"].files == 2
    assert (found["partial"].files, found["partial"].bytes) == (1, 3)


def test_a_summary_of_a_new_home_is_empty(home):
    assert {(each.rows, each.files, each.bytes) for each in summary(home)} == {
        (0, 0, 0),
        (None, 0, 0),
    }


# --- the command


def test_the_command_exports_summarises_and_refuses(store, home, tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.chdir(tmp_path)

    def history(*arguments, code=0):
        assert main.run(["history", *arguments, "--home", str(home)]) == code
        return capsys.readouterr()

    (row,) = [row for row in json.loads(history("-o", "json").out) if row["dataset"] == "runs"]
    assert (row["rows"], row["first_day"]) == (15, str(START.date()))
    assert "2026-03-01 to 2026-03-03" in history().out
    done = json.loads(history("--export", "runs.csv", "--job", "tick", "-o", "json").out)
    assert (done["rows"], done["dataset"]) == (14, "runs")
    assert len(pd.read_csv("runs.csv")) == 14
    told = history("--export", "runs.csv", code=2)
    assert "fix: name another file, or add --force." in told.err
    told = history("--export", "runs.csv", "--force", "--dataset", "attempts", "--since", "all")
    assert "exported 16 row(s) of attempts" in told.err
    history("--export", "x.csv", "--dataset", "logs", "--status", "failed", code=2)
    history("--export", "x.csv", "--since", "whenever", code=2)
    history("--job", "tick", code=2)
    assert not (tmp_path / "x.csv").exists()
    assert main.run(["history", "--home", str(tmp_path / "absent")]) == 6
