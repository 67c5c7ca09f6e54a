"""The example jobs, called as the plain functions that they are; and how a folder is read."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

pytest.importorskip("pandas")
import pandas as pd

from raysched.client.folder import scan
from raysched.errors import InputError, NotFound

JOBS = Path(__file__).parents[2] / "jobs"


@pytest.fixture(scope="module")
def jobs():
    found = scan(JOBS)
    assert found.faults == []
    return {each.job.name: each.job for each in found.found}


@pytest.fixture(scope="module")
def lake(jobs, tmp_path_factory):
    folder = tmp_path_factory.mktemp("lake")
    jobs["flights_ingest"](str(folder))
    return str(folder)


def test_a_scan_finds_the_jobs_and_no_helper(jobs):
    native = ["daily_delays", "flights_ingest", "hourly_profile", "weather_anomalies"]
    assert sorted(jobs) == sorted([*native, "carriers", "holidays"])


def test_every_job_has_a_schedule_a_timeout_a_tag_and_a_description(jobs):
    for job in jobs.values():
        assert job.spec.schedules
        assert job.spec.timeout
        assert "flights" in job.spec.tags
        assert job.spec.description


def test_the_ingest_writes_all_flights_by_month_and_the_second_time_nothing(jobs, lake):
    before = {file: file.stat().st_mtime_ns for file in Path(lake).rglob("*.parquet")}
    again = jobs["flights_ingest"](lake)
    assert len(before) == len(again) == 12
    assert again["rows"].sum() == 336_776
    assert not again["written"].any()
    assert before == {file: file.stat().st_mtime_ns for file in Path(lake).rglob("*.parquet")}
    assert len(pd.read_parquet(Path(lake) / "flights")) == 336_776


def test_the_ingest_replaces_a_month_of_another_source(jobs, lake):
    pd.DataFrame({"day": [1]}).to_parquet(Path(lake) / "flights" / "month=3" / "flights.parquet")
    again = jobs["flights_ingest"](lake)
    assert again.loc[again["written"], "month"].to_list() == [3]
    assert again["rows"].sum() == 336_776


def test_the_delays_of_a_day_are_the_same_with_and_without_the_ingested_files(jobs, lake, tmp_path):
    ingested = jobs["daily_delays"](day="2013-06-15", data=lake)
    direct = jobs["daily_delays"](day="2013-06-15", data=str(tmp_path / "absent"))
    pd.testing.assert_frame_equal(ingested, direct)
    assert ingested["flights"].sum() == 801
    assert set(ingested["origin"]) == {"EWR", "JFK", "LGA"}


def test_the_delays_can_be_of_one_airport(jobs, lake):
    assert set(jobs["daily_delays"]("JFK", day="2013-06-15", data=lake)["origin"]) == {"JFK"}
    with pytest.raises(ValueError, match="no flight left XXX on 2013-06-15"):
        jobs["daily_delays"]("XXX", day="2013-06-15", data=lake)


@pytest.mark.parametrize(
    ("day", "in_2013"), [("2026-11-22", "2013-11-22"), ("2024-02-29", "2013-02-28")]
)
def test_a_day_of_another_year_becomes_the_same_day_of_2013(jobs, lake, day, in_2013):
    assert jobs["daily_delays"](day=day, data=lake)["day"].iloc[0] == pd.Timestamp(in_2013)


def test_bad_weather_is_joined_with_the_delays_in_it(jobs, lake):
    hours = jobs["weather_anomalies"](day="2013-12-10", data=lake)
    assert len(hours) == 7
    assert (hours["visib"] < 2).all()


@pytest.mark.parametrize("day", ["2013-02-08", "2013-02-09"])
def test_a_day_of_the_blizzard_fails_on_purpose(jobs, lake, day):
    with pytest.raises(RuntimeError, match=f"{day}: 5.% of .* were cancelled, more than 30%"):
        jobs["weather_anomalies"](day=day, data=lake)


def test_the_profile_counts_every_flight_and_shows_a_child_process(jobs, lake, capfd):
    counts = jobs["hourly_profile"](day="2013-06-15", data=lake)
    assert sum(counts.values()) == 801
    busiest = capfd.readouterr().out.split("child process:\n")[1].splitlines()[0]
    assert int(busiest.split()[0]) == max(counts.values())


# --- how a folder is read


def test_a_broken_file_hides_no_other(tmp_path):
    shutil.copytree(JOBS, tmp_path / "jobs", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "jobs" / "a_broken.py").write_text("import raysched\n\ndef oops(:\n")
    (tmp_path / "jobs" / "z_broken.py").write_text("raise SystemExit\n")
    found = scan(tmp_path / "jobs")
    assert len(found.found) == 6
    assert [(fault.file.name, fault.line) for fault in found.faults] == [
        ("a_broken.py", 3),
        ("z_broken.py", 1),
    ]
    assert found.faults[0].error == "SyntaxError: invalid syntax"  # its place stands before it


def test_a_package_that_is_missing_is_told_with_what_to_do(tmp_path):
    (tmp_path / "lacking.py").write_text("import nowhere_to_be_found\n")
    [fault] = scan(tmp_path).faults
    assert fault.error.startswith("ModuleNotFoundError: No module named 'nowhere_to_be_found'")
    assert "fix: install nowhere_to_be_found beside raysched" in fault.error


def test_a_file_that_is_neither_python_nor_toml_declares_no_jobs(tmp_path):
    (tmp_path / "notes.md").write_text("# Notes\n")
    with pytest.raises(InputError, match=r"notes\.md' is no job file"):
        scan(tmp_path / "notes.md")


def test_a_folder_that_is_not_there_is_told_with_where_it_was_looked_for(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(NotFound, match="no folder or file 'jobs'") as caught:
        scan("jobs")
    assert str(tmp_path) in caught.value.why


def _folder(folder, says):
    folder.mkdir(exist_ok=True)
    (folder / "_helper.py").write_text(f"def says():\n    return {says!r}\n")
    (folder / "speak.py").write_text(
        "import _helper\nimport raysched as rs\n\n"
        "@rs.job\ndef speak():\n    return _helper.says()\n"
    )
    return scan(folder).found[0].job


def test_two_folders_may_have_helpers_of_one_name(tmp_path):
    first, second = _folder(tmp_path / "a", "first"), _folder(tmp_path / "b", "second")
    assert (first(), second()) == ("first", "second")
    assert "_helper" not in sys.modules


def test_an_edited_helper_is_read_again(tmp_path):
    before = _folder(tmp_path / "a", "one")
    after = _folder(tmp_path / "a", "another")
    assert (before(), after()) == ("one", "another")


def test_a_module_of_the_users_own_is_not_replaced_by_a_helper_of_its_name(tmp_path, monkeypatch):
    mine = type(sys)("_helper")
    monkeypatch.setitem(sys.modules, "_helper", mine)
    assert _folder(tmp_path / "a", "theirs")() == "theirs"
    assert sys.modules["_helper"] is mine
